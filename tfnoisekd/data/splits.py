"""Held-out parts: stratified by class, of an exact size, and decided by a seed alone."""

from numbers import Integral, Real

import numpy as np

TEST, VALIDATION, LABELS = 1, 2, 3  # which draw it is, so that the draws of one seed are independent


def hold_out(split, size, *, seed, draw, argument):
    """Divides `split` in two, keeping the share of each class and the order of the examples.

    Every class keeps at least one example in the first part. Where the size does not divide evenly, the places left
    over go to the classes that rounding treated worst.

    Args:
        split: The `Split` to divide.
        size: A fraction in (0, 1) of the examples, or a number of examples; 0 holds nothing out.
        seed: Integer in [0, 2**32), which alone decides the division.
        draw: `TEST` or `VALIDATION`.
        argument: Name of the size in messages.

    Returns:
        (kept, held_out), two `Split`s; `held_out` is None where the size is 0.

    Raises:
        ValueError: If `size` is not such a number, or too large to leave each class a training example.
    """
    check_size(size, argument)
    counts = np.bincount(split.labels)
    count = _number_of_examples(size, len(split), int(np.maximum(counts - 1, 0).sum()), argument)
    if not count:
        return split, None
    # RandomState, because NumPy promises never to change its stream: a split stays the same for good.
    random = np.random.RandomState([seed, draw])
    held = np.zeros(len(split), bool)
    for label, places in enumerate(_places(counts, count)):
        held[random.permutation(np.flatnonzero(split.labels == label))[:places]] = True
    return split.take(np.flatnonzero(~held)), split.take(np.flatnonzero(held))


def check_size(size, argument, *, at_least=0):
    """Raises ValueError unless `size` is a fraction in (0, 1) or a whole number of at least `at_least`."""
    whole = isinstance(size, Integral) or (isinstance(size, Real) and size == 0)
    valid = size >= at_least if whole else isinstance(size, Real) and 0 < size < 1
    if isinstance(size, bool) or not valid:
        raise ValueError(
            f"`{argument}` must be a fraction above 0 and below 1, or a number of examples of at least {at_least}. "
            f"Received: {argument}={size!r}"
        )


def check_seed(seed, argument="split_seed"):
    """Raises ValueError unless `seed` is one that `hold_out` takes."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed < 2**32:
        raise ValueError(f"`{argument}` must be an integer from 0 to 2**32 - 1. Received: {argument}={seed!r}")


def _number_of_examples(size, total, most, argument):
    count = int(size) if isinstance(size, Integral) or size == 0 else max(1, round(size * total))
    if count > most:
        raise ValueError(
            f"`{argument}` must leave at least one training example in each class, so it can hold out at most {most} "
            f"of these {total} examples. Received: {argument}={size!r}"
        )
    return count


def _places(counts, size):
    """How many examples each class gives up: proportional, rounded by largest remainder, never its last example."""
    exact = counts * size / counts.sum()
    most = np.maximum(counts - 1, 0)
    places = np.minimum(np.floor(exact).astype(int), most)
    while missing := size - places.sum():
        worst_first = np.argsort(places - exact, kind="stable")
        places[worst_first[(places < most)[worst_first]][:missing]] += 1
    return places
