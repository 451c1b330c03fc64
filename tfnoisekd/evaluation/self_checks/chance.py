"""What luck may do: how likely is a difference between two attacks of equal strength?"""

import math

from scipy.special import betainc

SIGNIFICANT = 0.05  # one in twenty sound models may get a warning of a kind; a warning costs a second look only


def paired(more, fewer):
    """How likely two equal attacks on the same examples would differ so much: McNemar's exact test, one-sided.

    An example that both break, or neither, says nothing; of the others, each attack would break half.

    Args:
        more: Number of examples that only the attack in question breaks.
        fewer: Number of examples that only the other one breaks.

    Returns:
        P(Binomial(more + fewer, 1/2) >= more), in (0, 1]; 1 where `more` is 0.

    Example:

    >>> paired(5, 0)
    0.03125
    """
    return float(betainc(more, fewer + 1, 0.5)) if more else 1.0


def unpaired(lower, higher, n):
    """How likely one of two equal shares of n would exceed the other so much, each found on n examples by itself.

    For where only the counts are known, not which examples they are. On the same examples luck does less, so that
    what is unlikely here is more so there.

    Args:
        lower: The count, 0 to n, that is expected not to be exceeded.
        higher: The other count, 0 to n.
        n: Number of examples, at least 1.

    Returns:
        The one-sided p-value of the test of two proportions with pooled variance; 1 where `higher` is no higher.
    """
    if higher <= lower:
        return 1.0
    share = (lower + higher) / (2 * n)
    z = (higher - lower) / math.sqrt(2 * n * share * (1 - share))
    return math.erfc(z / math.sqrt(2)) / 2
