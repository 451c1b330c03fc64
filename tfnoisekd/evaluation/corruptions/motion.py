"""Motion blur as ImageMagick does it: half a Gaussian along a line."""

import math

import cv2
import numpy as np


def motion_kernel(radius, sigma, angle):
    """The weights that each pixel gives to the pixels along a line that starts at it.

    ImageMagick's `-motion-blur` (MotionBlurImage, which made CIFAR-10-C): weights exp(-i^2 / (2 sigma^2)) for
    i = 0, ..., 2 * radius, at i pixels from the start, each coordinate rounded to a whole pixel. They lie on one side
    of the pixel only, so the image also moves a little.

    Args:
        radius: Half the number of steps, pixels.
        sigma: Standard deviation of the Gaussian, pixels.
        angle: Direction of the line in degrees: 0 is to the right, 90 downwards.

    Returns:
        (4 * radius + 1, 4 * radius + 1) float64 that sums to 1, the pixel itself in the middle.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    direction = math.radians(angle)
    # Halves are rounded down, as ImageMagick does.
    right, down = (np.ceil(steps * part - 0.5).astype(int) for part in (math.cos(direction), math.sin(direction)))
    kernel = np.zeros((4 * radius + 1, 4 * radius + 1))
    np.add.at(kernel, (2 * radius + down, 2 * radius + right), weights / weights.sum())
    return kernel


def move(image, radius, sigma, angle):
    """`image` (height, width, channels) convolved with a `motion_kernel`; the edge is repeated outwards."""
    moved = cv2.filter2D(image, -1, motion_kernel(radius, sigma, angle), borderType=cv2.BORDER_REPLICATE)
    return moved.reshape(image.shape)
