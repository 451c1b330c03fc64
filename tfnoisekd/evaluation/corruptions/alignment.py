"""Which published image was made from which clean one, where the two do not come in the same order.

Accuracy needs no such pairs, natural robustness does. The files of CIFAR-10-C keep the order of CIFAR-10's test images.
TensorFlow Datasets shuffles `cifar10` and `cifar10_corrupted` differently, and a folder of images is sorted by class.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment

ALIKE = 0.8  # smallest median correlation of the pairs; the best pairs of different images of a class have about 0.6


def align(split, archive):
    """For each clean example, which row of the archive was made from it.

    Where the labels agree row by row, so do the examples. Where they are the same labels in another order, the images
    of each class are paired one to one so that the correlation of the clean images with the mildest corruption there
    is the highest.

    Args:
        split: The clean `data.Split`.
        archive: One of `archives`.

    Returns:
        (n,) int64.

    Raises:
        ValueError: If the archive has another number of examples, other labels or other images.
    """
    labels = archive.labels
    if len(labels) != len(split.labels):
        raise ValueError(
            f"`split` must hold the {len(labels)} clean images that {archive.name} was made from. Received: "
            f"{len(split.labels)} images; to evaluate a part of them, pass the whole test split and `limit`"
        )
    if np.array_equal(labels, split.labels):
        return np.arange(len(labels))
    theirs, ours = np.unique(labels, return_counts=True), np.unique(split.labels, return_counts=True)
    if not all(np.array_equal(*pair) for pair in zip(theirs, ours, strict=True)):
        raise ValueError(
            f"`split` must have the labels that {archive.name} was made with, in any order. Received: other labels; "
            f"images per class there {theirs[1].tolist()}, here {ours[1].tolist()}"
        )
    order, correlations = _pair(split, labels, archive.mildest())
    if np.median(correlations) < ALIKE:
        raise ValueError(
            f"`split` must hold the clean images that {archive.name} was made from. Received: labels in another order, "
            f"and images whose best pairs correlate by {np.median(correlations):.2f} (median), the same images by "
            f"more than {ALIKE}; if they are the same, ask for a milder corruption, too"
        )
    return order


def _pair(split, labels, published):
    """(order, the correlation of each pair)."""
    order, correlations = np.empty(len(labels), np.int64), np.empty(len(labels))
    for label in np.unique(labels):
        ours, theirs = np.flatnonzero(split.labels == label), np.flatnonzero(labels == label)
        table = _standard_rows(split.images[ours]) @ _standard_rows(published[theirs]).T
        rows, columns = linear_sum_assignment(table, maximize=True)
        order[ours[rows]] = theirs[columns]
        correlations[ours[rows]] = table[rows, columns]
    return order, correlations


def _standard_rows(images):
    """Images as float32 rows of length 1, each channel without its mean: their products are correlations."""
    images = np.asarray(images).astype(np.float32)
    rows = (images - images.mean(axis=(1, 2), keepdims=True)).reshape(len(images), -1)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)
