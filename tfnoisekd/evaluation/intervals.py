"""Intervals: how sure is a share that was counted?"""

import math


def wilson_interval(successes, n, z=1.959963984540054):
    """The 95% score interval of a share (Wilson, 1927), which stays inside [0, 1] and holds near 0 and 1 too.

    Args:
        successes: Number of images that were right, 0 to n.
        n: Number of images, at least 1.
        z: Normal quantile; the default gives 95%.

    Returns:
        (low, high).
    """
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)
