"""Weather: snow, frost and fog."""

import cv2
import numpy as np

from tfnoisekd.evaluation.corruptions.fractal import clouds
from tfnoisekd.evaluation.corruptions.frost_textures import textures
from tfnoisekd.evaluation.corruptions.levels import quantise
from tfnoisekd.evaluation.corruptions.light import luma
from tfnoisekd.evaluation.corruptions.motion import move
from tfnoisekd.evaluation.corruptions.zoom import zoom


def snow(image, random, mean, stddev, size, threshold, radius, sigma, clarity):
    """Flakes that fall past a whitened image, and the same flakes turned by 180 degrees.

    Args:
        image: (height, width, channels) floats in [0, 1].
        random: `numpy.random.RandomState`.
        mean: Mean of the noise that becomes flakes.
        stddev: Its standard deviation.
        size: The noise is zoomed by this.
        threshold: What lies below it is no flake.
        radius: Of the motion blur along the fall, whose direction is drawn from -135 to -45 degrees, pixels.
        sigma: Its standard deviation, pixels.
        clarity: Share of the image that is not whitened.
    """
    noise = zoom(random.normal(mean, stddev, (*image.shape[:2], 1)), size)
    flakes = quantise(np.where(noise < threshold, 0, noise)) / 255
    falling = quantise(move(flakes, radius, sigma, random.uniform(-135, -45))) / 255
    whitened = clarity * image + (1 - clarity) * np.maximum(image, luma(image) * 1.5 + 0.5)
    return whitened + falling + falling[::-1, ::-1]


def frost(image, random, clarity, thickness, folder=None):
    """`clarity` times the image plus `thickness` times a random crop of one of five `textures`.

    Args:
        image: (height, width, 3) floats in [0, 1].
        random: `numpy.random.RandomState`.
        clarity: Weight of the image.
        thickness: Weight of the frost.
        folder: Folder of photographs; None for the drawn textures.
    """
    every = textures(folder)
    texture = every[random.randint(len(every))]
    (height, width), sides = image.shape[:2], texture.shape[:2]
    larger = max(height / sides[0], width / sides[1])
    if larger > 1:
        wanted = (max(width, round(sides[1] * larger)), max(height, round(sides[0] * larger)))
        texture = cv2.resize(texture, wanted)
    # The last place is left out, as in CIFAR-10-C.
    top, left = (random.randint(max(1, a - b)) for a, b in zip(texture.shape, (height, width), strict=False))
    return clarity * image + thickness * texture[top : top + height, left : left + width]


def fog(image, random, thickness, decay):
    """Adds `thickness` times `clouds` of the roughness `decay`, and scales back to the image's own maximum."""
    height, width, _ = image.shape
    side = 1 << (max(height, width) - 1).bit_length()
    highest = image.max()
    misty = image + thickness * clouds(side, decay, random)[:height, :width, np.newaxis]
    return misty * highest / (highest + thickness)
