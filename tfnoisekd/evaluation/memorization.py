"""Memorization: on the training images whose labels are wrong, does a model give the wrong label, or the true one?"""

import numpy as np

from tfnoisekd.evaluation import accuracy, intervals, prediction


def evaluate(model, split, corruption, batch_size=256):
    """How often a model gives the wrong label of an image it was trained on, and how often the true one.

    The images are clean and unaugmented. A model that resists wrong labels gives the true one; one that has learnt them
    by heart gives the wrong one (Zhang et al., 2017).

    Args:
        model: A `keras.Model`: images in [0, 1] -> logits (batch, num_classes).
        split: The training `data.Split`, with `indices`.
        corruption: Its `data.corruption.Corruption`, with at least one wrong label.
        batch_size: Images per forward pass.

    Returns:
        A dict of plain Python numbers: `n`, the number of wrong labels; `wrong_label_accuracy` and
        `true_label_accuracy`, shares of the n images that are put into that class; `wrong_label_interval` and
        `true_label_interval` (Wilson, 95%).

    Raises:
        ValueError: If no label is wrong, or `corruption` belongs to another split, or images and model do not fit.

    Example:

    >>> evaluate(student, data.train, data.corruption)["wrong_label_accuracy"]
    """
    images = split.images[_places(split, corruption)]
    logits = prediction.predict_logits(model, images, batch_size)
    results = {"n": corruption.n}
    for name, labels in (("wrong", corruption.given_labels), ("true", corruption.true_labels)):
        share = accuracy.top1(logits, labels)
        results[f"{name}_label_accuracy"] = share
        results[f"{name}_label_interval"] = list(intervals.wilson_interval(round(share * len(labels)), len(labels)))
    return results


def _places(split, corruption):
    """Where in the split the examples of a corruption are, in its order."""
    if not corruption.n:
        raise ValueError(
            "`corruption` must hold at least one wrong label. Received: none; there is nothing to memorize"
        )
    place = {index: i for i, index in enumerate(split.indices.tolist())}
    places = np.array([place.get(index, -1) for index in corruption.indices.tolist()])
    if places.min() < 0 or (split.labels[places] != corruption.given_labels).any():
        raise ValueError(
            "`corruption` must be that of `split`, whose labels it gave. Received: other positions or labels; "
            "pass `data.train` and `data.corruption` of one `load`"
        )
    return places
