"""Blur: out of focus, through frosted glass, moving, zooming, and Gaussian."""

import functools
import math

import cv2
import numpy as np
from scipy import ndimage

from tfnoisekd.evaluation.corruptions.levels import quantise
from tfnoisekd.evaluation.corruptions.motion import move
from tfnoisekd.evaluation.corruptions.zoom import zoom


def gaussian_blur(image, random, sigma):
    """A Gaussian of standard deviation `sigma` pixels, cut at four of them; the edge is repeated outwards."""
    return ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest", truncate=4.0)


def defocus_blur(image, random, radius, alias):
    """Out of focus: a disk of `radius` pixels, its rim smoothed by `alias`; the image is mirrored at its edge."""
    return cv2.filter2D(image, -1, disk(radius, alias)).reshape(image.shape)


@functools.cache
def disk(radius, alias):
    """The point spread of a lens out of focus: a disk of pixels, smoothed by a 3x3 Gaussian against aliasing.

    Args:
        radius: In pixels; below 1 the disk is one pixel, and only the smoothing blurs.
        alias: Standard deviation of the smoothing, pixels.

    Returns:
        Square float64 array that sums to 1.
    """
    half = math.ceil(radius) + 2  # so that neither the disk nor its smoothed rim touches the border
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    inside = (x**2 + y**2 <= radius**2).astype(np.float64)
    return cv2.GaussianBlur(inside / inside.sum(), (3, 3), alias)


def glass_blur(image, random, sigma, iterations):
    """Frosted glass: pixels take the place of neighbours, `iterations` times, between two Gaussian blurs of `sigma`.

    Each pixel takes the values of itself or of the pixel above, to the left, or above to the left, with probability
    1/4 each; the first two rows and columns stay. This is what CIFAR-10-C's code computes: it means to swap pixels at
    most one apart, but its displacements are -1 or 0, and its swap of array views copies one way.
    """
    height, width, _ = image.shape
    image = quantise(gaussian_blur(image, random, sigma)) / 255
    y, x = np.mgrid[2:height, 2:width]
    for _ in range(iterations):
        steps = random.randint(-1, 1, (height - 2, width - 2, 2))[::-1, ::-1]  # drawn from the lower right corner on
        image[2:, 2:] = image[y + steps[..., 1], x + steps[..., 0]]
    return gaussian_blur(image, random, sigma)


def motion_blur(image, random, radius, sigma):
    """A camera that moves, in a direction drawn from -45 to 45 degrees."""
    return move(image, radius, sigma, random.uniform(-45, 45))


def zoom_blur(image, random, factors):
    """A camera that zooms during the exposure: the mean of the image and its zooms by each of `factors`."""
    return (image + sum(zoom(image, factor) for factor in factors)) / (len(factors) + 1)
