"""Corrupted images, made on the fly: a function of (seed, corruption, severity, position in the data set) alone."""

import functools
import zlib

import numpy as np

from tfnoisekd.data.pixels import as_pixels
from tfnoisekd.data.splits import check_seed
from tfnoisekd.evaluation.corruptions import frost_textures
from tfnoisekd.evaluation.corruptions.catalog import CORRUPTIONS, check_names, check_severities
from tfnoisekd.evaluation.corruptions.levels import quantise
from tfnoisekd.evaluation.corruptions.light import luma

MIN_SIDE = 8  # pixels, below which blurs and boxes leave nothing to see


def corrupt(images, corruption, severity, seed=0, positions=None, frost=None):
    """Images under one corruption at one severity.

    Args:
        images: (n, height, width, channels), uint8, or float in [0, 1], which is rounded to 256 levels first; one or
            three channels, at least 8x8.
        corruption: One of `NAMES`.
        severity: 1 to 5.
        seed: Integer in [0, 2**32).
        positions: (n,) integers, where each image is in its data set, on which its random draws depend; None for
            0 to n - 1. So a part of a data set is corrupted as the whole is.
        frost: Folder of the photographs of frost; None for drawn textures.

    Returns:
        uint8 array of the same shape.

    Raises:
        ValueError: If a name, a severity, the seed, or shape, type or values of the images are not these.

    Example:

    >>> corrupt(data.test.images[:4], "fog", severity=3, seed=0).shape
    (4, 32, 32, 3)
    """
    (name,), (level,) = check_names(corruption), check_severities(severity)
    check_seed(seed, "seed")
    images = as_levels(images)
    check_frost(frost)
    positions = np.arange(len(images)) if positions is None else np.asarray(positions)
    if positions.shape != (len(images),) or positions.dtype.kind not in "ui" or positions.min() < 0:
        raise ValueError(
            f"`positions` must be whole numbers from 0, one for each of the {len(images)} images. Received: shape "
            f"{positions.shape} and dtype {positions.dtype}"
        )
    return corrupt_levels(images, name, level, seed, positions, frost)


def corrupt_levels(images, name, severity, seed, positions, frost):
    """`corrupt` for arguments that are checked already; images (n, height, width, channels) uint8."""
    corruption = CORRUPTIONS[name]
    function = functools.partial(corruption.function, folder=frost) if name == "frost" else corruption.function
    corrupted = np.empty_like(images)
    for target, image, position in zip(corrupted, images, positions, strict=True):
        target[:] = quantise(_applied(function, corruption, image / 255, severity, seed, position))
    return corrupted


def as_levels(images):
    """Images that can be corrupted, as uint8 (n, height, width, channels).

    Raises:
        ValueError: If they are none.
    """
    images = as_pixels(np.asarray(images), "`images`")
    _, height, width, channels = images.shape
    if channels not in (1, 3) or min(height, width) < MIN_SIDE:
        raise ValueError(
            f"`images` must be at least {MIN_SIDE}x{MIN_SIDE} pixels, grey (1 channel) or RGB (3). "
            f"Received: {height}x{width} pixels with {channels} channels"
        )
    return images if images.dtype == np.uint8 else np.rint(images * 255).astype(np.uint8)


def check_frost(folder):
    """Raises FileNotFoundError or ValueError unless `folder` is None or holds the photographs of frost."""
    frost_textures.textures(folder)


def _applied(function, corruption, image, severity, seed, position):
    # RandomState, because NumPy promises never to change its stream: corrupted images stay the same for good.
    random = np.random.RandomState([seed, zlib.crc32(corruption.name.encode()), severity, int(position)])
    constants = corruption.constants[severity - 1]
    if corruption.coloured and image.shape[2] == 1:
        return luma(function(image.repeat(3, axis=2), random, *constants))
    return function(image, random, *constants)
