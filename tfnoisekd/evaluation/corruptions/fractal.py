"""Clouds by midpoint displacement (the diamond-square algorithm of Fournier, Fussell and Carpenter, 1982)."""

import numpy as np


def clouds(side, decay, random):
    """A height map that repeats itself: coarse points first, then the points between them, ever less displaced.

    Each new point is the mean of its four neighbours, first the diagonal ones, then the straight ones, plus a uniform
    displacement. Its amplitude falls by `decay`^2 each time that the distance of the points is halved.

    Args:
        side: A power of two, pixels.
        decay: At least 1; the smaller, the rougher.
        random: `numpy.random.RandomState`.

    Returns:
        (side, side) float64, its minimum 0 and its maximum 1.
    """
    heights, amplitude = np.zeros((1, 1)), 1.0
    while len(heights) < side:
        heights = _halved(heights, amplitude, random)
        amplitude /= decay**2
    heights -= heights.min()
    return heights / heights.max()


def _halved(corners, amplitude, random):
    """The map with twice as many points on each side."""

    def displaced(total):
        return total / 4 + random.uniform(-amplitude, amplitude, total.shape)

    # Point (i, j) of each part is at (2i, 2j), and one step right, down or both from there.
    pairs = corners + np.roll(corners, -1, axis=1)
    centres = displaced(pairs + np.roll(pairs, -1, axis=0))
    right = displaced(pairs + centres + np.roll(centres, 1, axis=0))
    down = displaced(corners + np.roll(corners, -1, axis=0) + centres + np.roll(centres, 1, axis=1))
    halved = np.empty((2 * len(corners), 2 * len(corners)))
    halved[::2, ::2], halved[1::2, 1::2] = corners, centres
    halved[::2, 1::2], halved[1::2, ::2] = right, down
    return halved
