"""Noise of the sensor: four ways in which every channel of every pixel errs on its own.

Every function of these files takes one image (height, width, channels) of floats in [0, 1], a
`numpy.random.RandomState` and the constants of one severity, and returns the corrupted image as floats, which
`generation` clips to [0, 1]. None changes its argument.
"""

import numpy as np


def gaussian_noise(image, random, stddev):
    """Thermal noise of a dark scene: adds N(0, `stddev`^2)."""
    return image + random.normal(0, stddev, image.shape)


def shot_noise(image, random, photons):
    """Photon noise: counts are Poisson, white is `photons` of them on average; variance is value / photons."""
    return random.poisson(image * photons) / photons


def impulse_noise(image, random, amount):
    """Dead and saturated cells: a share `amount` of all values becomes 0 or 1, each with probability 1/2."""
    hit = random.random_sample(image.shape) < amount
    return np.where(hit, random.random_sample(image.shape) < 0.5, image)


def speckle_noise(image, random, stddev):
    """Multiplicative noise: adds value * N(0, `stddev`^2), so that black stays black."""
    return image + image * random.normal(0, stddev, image.shape)
