"""Statistics of paired differences, from their definitions: loops, and a t distribution that is integrated."""

import itertools
import math


def mean(values):
    """Arithmetic mean."""
    return sum(values) / len(values)


def deviation(values):
    """Sample standard deviation."""
    return math.sqrt(sum((value - mean(values)) ** 2 for value in values) / (len(values) - 1))


def t_tail(t, freedom, pieces=20000):
    """P(T > t) for t >= 0 of Student's distribution, by Simpson's rule over x = sqrt(freedom) tan(u)."""
    start, end = math.atan(t / math.sqrt(freedom)), math.pi / 2
    factor = math.gamma((freedom + 1) / 2) / (math.sqrt(math.pi) * math.gamma(freedom / 2))
    step, total = (end - start) / pieces, 0.0
    for i in range(pieces + 1):
        weight = 1 if i in (0, pieces) else 4 if i % 2 else 2
        total += weight * max(math.cos(start + i * step), 0.0) ** (freedom - 1)
    return factor * total * step / 3


def p_value(differences):
    """Two-sided p value of the paired t test."""
    t = mean(differences) / (deviation(differences) / math.sqrt(len(differences)))
    return 2 * t_tail(abs(t), len(differences) - 1)


def holm(p_values):
    """Adjusted p values: the j-th smallest of m counts (m - j + 1) times, and none is below a smaller one's."""
    adjusted = []
    for p in p_values:
        smaller = [other for other in sorted(p_values) if other <= p]
        adjusted.append(max(min(1.0, (len(p_values) - j) * other) for j, other in enumerate(smaller)))
    return adjusted


def resampled_means(differences):
    """Means of all n^n resamples, sorted."""
    return sorted(mean(sample) for sample in itertools.product(differences, repeat=len(differences)))
