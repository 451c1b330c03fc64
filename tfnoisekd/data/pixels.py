"""Pixels: the one value range of the package, and resizing within it."""

import numpy as np


def as_pixels(images, name):
    """`images` as uint8 in 0..255 or float32 in [0, 1], with a channel axis.

    Args:
        images: Array (N, height, width) or (N, height, width, channels), of integers in 0..255 or floats in [0, 1].
        name: What to call them in messages.

    Returns:
        (N, height, width, channels) uint8 or float32.

    Raises:
        ValueError: If shape, type or values are not these.
    """
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(
            f"{name} must have shape (N, height, width) or (N, height, width, channels) and hold at least one image. "
            f"Received: shape {images.shape}"
        )
    if images.shape[1] <= 4 < images.shape[3]:
        raise ValueError(
            f"{name} must have the channels last: (N, height, width, channels). Received: shape {images.shape}, which "
            "looks like channels first; np.moveaxis(images, 1, -1) moves them"
        )
    if images.dtype.kind in "ui":
        return _integers(images, name)
    if images.dtype.kind == "f":
        return _floats(images, name)
    raise ValueError(f"{name} must be integers in 0..255 or floats in [0, 1]. Received: dtype {images.dtype}")


def _integers(images, name):
    low, high = images.min(), images.max()
    if low < 0 or high > 255:
        raise ValueError(f"{name} of an integer dtype must lie in 0..255. Received: values from {low} to {high}")
    return images.astype(np.uint8, copy=False)


def _floats(images, name):
    low, high = images.min(), images.max()  # NaN where any value is NaN
    if not np.isfinite(low) or not np.isfinite(high):
        count = int(np.sum(~np.isfinite(images)))
        raise ValueError(f"{name} must be finite. Received: {count} NaN or infinite values; remove those images")
    if low < 0 or high > 1:
        hint = "scale them so that black is 0 and white is 1"
        if low >= 0 and high <= 255:
            hint = "these look like 0..255 stored as floats: divide by 255, or save them as uint8"
        raise ValueError(f"{name} of a float dtype must lie in [0, 1]. Received: values from {low} to {high}; {hint}")
    return images.astype(np.float32, copy=False)


def check_image_size(image_size):
    """Raises ValueError unless `image_size` is None or a number of pixels."""
    if image_size is None:
        return
    if isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < 1:
        raise ValueError(
            "`image_size` must be a positive integer, the height and width in pixels, or None to keep the size. "
            f"Received: image_size={image_size!r}"
        )


def resize(images, image_size):
    """Images of another size: bilinear, antialiased where it shrinks.

    Args:
        images: (N, height, width, channels), uint8 in 0..255 or float32 in [0, 1].
        image_size: Height and width of the result in pixels; None changes nothing.

    Returns:
        (N, image_size, image_size, channels) of the same type.
    """
    if image_size is None or images.shape[1:3] == (image_size, image_size):
        return images
    resized = np.empty((len(images), image_size, image_size, images.shape[3]), images.dtype)
    for target, image in zip(resized, images, strict=True):
        target[:] = resize_one(image, image_size)
    return resized


def resize_one(image, image_size):
    """`resize` for a single image (height, width, channels)."""
    from PIL import Image

    # One channel at a time, because Pillow has no multi-channel image of floats; the result is the same.
    channels = [
        np.asarray(Image.fromarray(image[..., i]).resize((image_size, image_size), Image.Resampling.BILINEAR))
        for i in range(image.shape[-1])
    ]
    return np.stack(channels, axis=-1)
