"""Spatter: drops of rain or mud on the lens."""

import cv2
import numpy as np
from scipy import ndimage

WATER = np.array([175, 238, 238]) / 255  # pale turquoise
MUD = np.array([63, 42, 20]) / 255
EMBOSS = np.float32([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])  # light from the upper left
FARTHEST = 20  # pixels from the rim of a drop, beyond which it is equally bright


def spatter(image, random, mean, stddev, sigma, threshold, strength, mud):
    """Drops where smoothed noise exceeds a threshold: water that glints, or mud that covers.

    Args:
        image: (height, width, 3) floats in [0, 1].
        random: `numpy.random.RandomState`.
        mean: Mean of the noise.
        stddev: Its standard deviation.
        sigma: Standard deviation of the Gaussian that smooths the noise, pixels.
        threshold: What lies above it is liquid.
        strength: Water: the brightest glint. Mud: standard deviation of the Gaussian that smooths its rim, pixels.
        mud: Whether it is mud.
    """
    noise = random.normal(mean, stddev, image.shape[:2])
    liquid = ndimage.gaussian_filter(noise, sigma, mode="nearest", truncate=4.0)
    liquid = np.where(liquid < threshold, 0, liquid)
    if mud:
        cover = ndimage.gaussian_filter((liquid > threshold).astype(float), strength, mode="nearest", truncate=4.0)
        cover = np.where(cover < 0.8, 0, cover)[..., np.newaxis]
        return image * (1 - cover) + MUD * cover
    return image + strength * _glints(liquid)[..., np.newaxis] * WATER


def _glints(liquid):
    """How brightly water shines, (height, width) in [0, 1]: embossed by the distance from the rims of the drops."""
    levels = (np.clip(liquid, 0, 1) * 255).astype(np.uint8)
    distance = cv2.distanceTransform(255 - cv2.Canny(levels, 50, 150), cv2.DIST_L2, 5)
    distance = cv2.blur(np.minimum(distance, FARTHEST), (3, 3)).astype(np.uint8)
    relief = cv2.blur(cv2.filter2D(cv2.equalizeHist(distance), cv2.CV_8U, EMBOSS), (3, 3))
    glints = levels * relief.astype(np.float64)
    return glints / max(glints.max(), 1)  # an image without a drop has none
