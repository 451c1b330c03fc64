"""Which examples are evaluated: all, or the same share of each class."""

import hashlib
from typing import NamedTuple

import numpy as np

from tfnoisekd.evaluation.attacks.settings import check_count

SUBSET = 4  # which draw of a seed it is; 1 to 3 are those of `data.splits`


class Examples(NamedTuple):
    """Images (n, height, width, channels), their labels (n,), and numbers (n,) that decide their random starts."""

    images: np.ndarray
    labels: np.ndarray
    numbers: np.ndarray

    @property
    def digest(self):
        """SHA-256 (hex) of the sorted numbers: equal for the same examples, in any order."""
        return hashlib.sha256(np.sort(self.numbers).astype("<i8").tobytes()).hexdigest()


def choose(images, labels, numbers=None, limit=None, seed=0):
    """The examples to attack; their places are their numbers where they have none.

    Raises:
        ValueError: If there are none, or they do not fit each other, or are fewer than `limit`.
    """
    labels = np.asarray(labels)
    numbers = np.arange(len(images)) if numbers is None else np.asarray(numbers)
    _check(images, labels, numbers)
    if limit is None:
        return Examples(images, labels, numbers)
    places = positions(labels, limit, seed)
    return Examples(images[places], labels[places], numbers[places])


def positions(labels, limit, seed):
    """Places of the examples to evaluate, sorted: all where `limit` is None, else those of `stratified`.

    Raises:
        ValueError: If `limit` is no number of examples, or above theirs.
    """
    if limit is None:
        return np.arange(len(labels))
    check_count("limit", limit)
    if limit > len(labels):
        raise ValueError(
            f"`limit` must be at most {len(labels)}, the number of examples. Received: limit={limit}; None takes all."
        )
    return stratified(labels, limit, seed)


def stratified(labels, limit, seed):
    """Places of `limit` examples, sorted: the same share of each class, decided by a seed.

    Subsets of one seed are nested: those of a lower limit are among those of a higher one.

    Args:
        labels: Integer array (n,).
        limit: Number of examples, 1 to n.
        seed: Integer in [0, 2**32).

    Returns:
        int64 array (limit,), with as many of each class as its share, rounded up or down.
    """
    # RandomState, because NumPy promises never to change its stream: a subset stays the same for good.
    order = np.random.RandomState([seed, SUBSET]).permutation(len(labels))
    shuffled = labels[order]
    # Each example gets its place within its class, as a share of the class; the first of all are then even shares.
    share = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(shuffled == label)
        share[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.sort(order[np.argsort(share, kind="stable")[:limit]]).astype(np.int64)


def _check(images, labels, numbers):
    if len(images) == 0 or not len(images) == len(labels) == len(numbers):
        raise ValueError(
            "There must be at least one image, and one label and one of `indices` for each. "
            f"Received: {len(images)} images, {len(labels)} labels and {len(numbers)} indices"
        )
    if not np.issubdtype(numbers.dtype, np.integer) or numbers.ndim != 1 or numbers.min() < 0:
        raise ValueError(
            "`indices` must be integers of at least 0. "
            f"Received: dtype {numbers.dtype} and shape {numbers.shape}, the first is {numbers.flat[0]}"
        )
