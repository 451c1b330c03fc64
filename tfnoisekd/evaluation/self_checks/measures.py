"""What the checks compute on a model: a few passes and small attacks, each a part of values ready for JSON."""

import math

import numpy as np
from keras import ops

from tfnoisekd.evaluation import calibration, prediction
from tfnoisekd.evaluation.attacks import pgd
from tfnoisekd.evaluation.attacks.settings import Settings

LONGER = 5  # times the steps: 100 for the default of 20, at which the paper's Table 4 ends while it still falls
GROWTH_POINTS = 3  # radii above the evaluated one, evenly spaced on a logarithmic scale
GROWTH_STEPS = 20  # at least, those of the paper's Table 5
REACH = 2.5  # the length of all steps, in radii: enough to get from any start to any end (Madry et al., 2018)


def largest_epsilon(norm, num_values):
    """The radius within which every image of `num_values` values in [0, 1] can be turned into grey, 0.5 everywhere."""
    return 0.5 if norm == "linf" else 0.5 * math.sqrt(num_values)


def growth(settings, steps, num_values):
    """The larger radii up to `largest_epsilon`, as `Settings` with steps long enough for them, and their steps.

    Returns:
        (list of `Settings`, number of steps); the list is empty where the evaluated radius is as large already.
    """
    largest, steps = largest_epsilon(settings.norm, num_values), max(steps, GROWTH_STEPS)
    if settings.epsilon >= largest:
        return [], steps
    radii = np.geomspace(settings.epsilon, largest, 1 + GROWTH_POINTS)[1:].tolist()
    radii[-1] = largest
    step_sizes = [max(settings.step_size, REACH * radius / steps) for radius in radii]
    rest = (1, settings.seed, settings.iterate)
    return [Settings(settings.norm, *lengths, *rest) for lengths in zip(radii, step_sizes, strict=True)], steps


def outputs(model, chosen, batch_size):
    """Two passes over the same images, and one over an image that is grey.

    Returns:
        A dict: `n`; `largest_logit`, the largest absolute one; `largest_difference` of a logit between the passes;
        `classes_changed`, the number of images with another class; `like_probabilities`, the number of rows that are
        never negative and add up to 1; `grey_class`, the class of an image of 0.5 everywhere.

    Raises:
        ValueError: If images, labels and model do not fit, or logits are not finite.
    """
    first, second = (prediction.predict_logits(model, chosen.images, batch_size) for _ in range(2))
    calibration.check_labels(chosen.labels, *first.shape)
    grey = np.full((min(batch_size, len(first)), *np.shape(chosen.images)[1:]), 0.5, "float32")
    rows = (first >= 0).all(axis=1) & (np.abs(first.sum(axis=1) - 1) < pgd.SUM_TOLERANCE)
    return {
        "n": len(first),
        "largest_logit": float(np.abs(first).max()),
        "largest_difference": float(np.abs(first - second).max()),
        "classes_changed": int(np.count_nonzero(first.argmax(axis=1) != second.argmax(axis=1))),
        "like_probabilities": int(np.count_nonzero(rows)),
        "grey_class": int(prediction.predict_logits(model, grey, batch_size)[0].argmax()),
    }


def single_step(model, chosen, settings, batch_size):
    """One step of length epsilon from the clean image, the fast gradient sign method (Goodfellow et al., 2015).

    Returns:
        A dict: `places`, those of the examples that are right without an attack; `robust`, whether each still is, and
        `without_gradient`, whether its gradient at the clean image is exactly 0, None or not finite.

    Raises:
        ValueError: If the model cannot be attacked.
    """
    target = pgd.aim(model, chosen, batch_size)
    loop = pgd.backend_loop().compiled(model, settings.norm, np.shape(chosen.images)[1:])
    places = np.flatnonzero(target.right)
    size, length = min(batch_size, max(1, len(places))), np.float32(settings.epsilon)
    robust, without = [], []
    for start in range(0, len(places), size):
        rows = places[start : start + size]
        filled = np.pad(rows, (0, size - len(rows)), mode="edge")  # another size would be compiled anew
        images, labels = next(prediction.unit_batches(chosen.images[filled], size)), target.labels[filled]
        _, logits, gradients = loop(images, images, labels, length, length, np.int32(1), np.bool_(False))
        robust += (ops.convert_to_numpy(logits).argmax(axis=1) == labels)[: len(rows)].tolist()
        gradients = ops.convert_to_numpy(gradients)[: len(rows)]
        without += (~(np.isfinite(gradients) & (gradients > 0))).tolist()
    return {"places": places.tolist(), "robust": robust, "without_gradient": without}


def attack(model, chosen, settings, steps, batch_size):
    """Projected gradient descent with one start.

    Args:
        steps: Numbers of steps, ascending.

    Returns:
        A dict: `places`, those of the examples that are right without an attack; and `robust`, for each number of steps
        whether each still is.

    Raises:
        ValueError: If the model cannot be attacked, or has no gradients.
    """
    target = pgd.aim(model, chosen, batch_size)
    broken_by, _ = pgd.run(target, settings, steps, batch_size)
    places = np.flatnonzero(target.right)
    return {"places": places.tolist(), "robust": (broken_by[:, places] == settings.restarts).tolist()}
