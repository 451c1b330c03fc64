"""Light and colour: brightness, contrast and saturation."""

import numpy as np

LUMA = np.array([0.299, 0.587, 0.114])  # shares of red, green and blue in the brightness of a pixel (ITU-R BT.601)


def brightness(image, random, amount):
    """Adds `amount` to the value of HSV, the largest of the channels; hue and saturation stay."""
    value = image.max(axis=2, keepdims=True)
    brighter = np.clip(value + amount, 0, 1)
    return np.where(value > 0, image * (brighter / np.where(value > 0, value, 1)), brighter)


def contrast(image, random, factor):
    """Multiplies the distance of each channel from its mean over the image by `factor`."""
    mean = image.mean(axis=(0, 1), keepdims=True)
    return (image - mean) * factor + mean


def saturate(image, random, factor, offset):
    """Makes the saturation of HSV `factor` times itself plus `offset`; hue and value stay.

    Grey has no hue; it counts as red, as in every conversion to HSV, so an offset tints it.
    """
    value = image.max(axis=2, keepdims=True)
    depth = value - image  # by how much each channel lies below the largest; in HSV, proportional to the saturation
    saturation = depth.max(axis=2, keepdims=True) / np.where(value > 0, value, 1)
    wanted = np.clip(saturation * factor + offset, 0, 1)
    grey = saturation == 0
    return np.where(
        grey, value * (1 - wanted * np.array([0, 1, 1])), value - depth * (wanted / np.where(grey, 1, saturation))
    )


def luma(image):
    """The brightness of each pixel, (height, width, 1), of an image with one or three channels."""
    return image if image.shape[2] == 1 else image @ LUMA[:, np.newaxis]
