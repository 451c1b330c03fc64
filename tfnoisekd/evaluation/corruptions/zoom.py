"""Zooming into the middle of an image, its size kept: SciPy's linear zoom, as a matrix for each axis."""

import functools
import math

import numpy as np
from scipy import ndimage


def zoom(image, factor):
    """The middle of an image, magnified to the size of the whole.

    The crop of ceil(side / factor) pixels is zoomed by `scipy.ndimage.zoom` of order 1, which maps corner pixels to
    corner pixels, and cut to the size of the image. At small factors the crop is the whole image and the cut takes
    most of what the zoom added: this is CIFAR-10-C's definition, and why its weakest zooms are shifts of part of a
    pixel.

    Args:
        image: (height, width, channels) floats.
        factor: At least 1.

    Returns:
        Floats of the same shape.
    """
    rows, columns = (zoom_matrix(side, factor) for side in image.shape[:2])
    # (rows) @ (height, width, channels) @ (columns transposed), one channel after the other.
    return np.matmul(rows, np.matmul(image.transpose(2, 0, 1), columns.T)).transpose(1, 2, 0)


@functools.lru_cache(maxsize=256)
def zoom_matrix(side, factor):
    """What `zoom` does to one axis: (side, side) float64, rows that sum to 1."""
    crop = math.ceil(side / factor)
    start = (side - crop) // 2
    matrix = ndimage.zoom(np.eye(side)[start : start + crop], (factor, 1), order=1)
    cut = (len(matrix) - side) // 2
    return matrix[cut : cut + side]
