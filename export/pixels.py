"""Pixels: images as floats in [0, 1] or as bytes in 0..255; the same image either way."""

import numpy as np


def to_unit(images, name="images"):
    """float32 in [0, 1] of images that are uint8, or float and in [0, 1] already; any shape.

    Raises:
        ValueError: If the values are of another type, NaN or outside [0, 1]; `name` is the argument that it names.
    """
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255)
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"`{name}` must be uint8 in 0..255 or float in [0, 1]. Received: dtype {images.dtype}")
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 1):  # written so that NaN fails too
        raise ValueError(
            f"`{name}` of a float type must lie in [0, 1]. "
            f"Received: values from {low} to {high}; divide by 255, or pass uint8."
        )
    return images.astype(np.float32, copy=False)


def to_bytes(images, name="images"):
    """uint8 in 0..255 of the same images; floats are rounded to the nearest of the 256 values.

    Raises:
        ValueError: As `to_unit` does.
    """
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    return np.rint(to_unit(images, name) * np.float32(255)).astype(np.uint8)
