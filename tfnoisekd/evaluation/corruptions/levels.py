"""The 256 levels of a pixel."""

import numpy as np


def quantise(image):
    """Floats as uint8: clipped to [0, 1], times 255, the fraction cut off.

    CIFAR-10-C cuts off, it does not round. What lies within a thousandth below a level counts as that level, so that
    the last digit of a floating-point sum, which differs between processors, does not decide.
    """
    return (np.clip(image, 0, 1) * 255 + 1e-3).astype(np.uint8)
