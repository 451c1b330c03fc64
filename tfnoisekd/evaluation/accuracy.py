"""Accuracy: how often is the student right, how sure is that number, and how often does it agree with its teacher?"""

import numpy as np

from tfnoisekd.evaluation.calibration import (
    check_labels,
    check_logits,
    check_logits_and_labels,
    expected_calibration_error,
    negative_log_likelihood,
)
from tfnoisekd.evaluation.intervals import wilson_interval
from tfnoisekd.evaluation.prediction import predict_logits

CALIBRATION_BINS = 15  # the number of bins of Guo et al. (2017)


def evaluate(student, split, class_names, teacher=None, batch_size=256):
    """Everything that one pass over clean images says about a student, ready for JSON.

    Args:
        student: A `keras.Model`: images in [0, 1] -> logits (batch, num_classes).
        split: An object with `.images` (n, height, width, channels), uint8 or float in [0, 1], and `.labels` (n,),
            integers.
        class_names: One name for each class, in the order of the logits.
        teacher: Optional `keras.Model` of the same classes, to compare with.
        batch_size: Images per forward pass.

    Returns:
        A dict of plain Python numbers: `n`, `accuracy`, `accuracy_interval` (Wilson, 95%),
        `expected_calibration_error` with its `num_bins`, `negative_log_likelihood` (nats), `per_class`; with a teacher
        also `teacher_accuracy` and `agreement`, the share of images that both put into the same class.

    Raises:
        ValueError: If the split is empty, or images, labels, classes and model do not fit each other, or a model gives
            logits that are not finite.

    Example:

    >>> results = evaluate(student, dataset.test, dataset.class_names)
    >>> results["accuracy"], results["accuracy_interval"], results["per_class"]["cat"]
    """
    logits, teacher_logits = predict_split(student, split, class_names, teacher, batch_size)
    return of_logits(logits, split.labels, class_names, teacher_logits)


def predict_split(student, split, class_names, teacher=None, batch_size=256):
    """The logits of a student and, if there is one, of its teacher for all images of a split.

    Args:
        The arguments are those of `evaluate`.

    Returns:
        Two float32 arrays (n, num_classes), the second of them None without a teacher.

    Raises:
        ValueError: As `evaluate` does.
    """
    _check_split(split.images, np.asarray(split.labels), class_names)
    logits = _class_logits("student", student, split.images, class_names, batch_size)
    return logits, teacher and _class_logits("teacher", teacher, split.images, class_names, batch_size)


def of_logits(logits, labels, class_names, teacher_logits=None):
    """What `evaluate` returns, from logits that are there already.

    Args:
        logits: Array (n, num_classes).
        labels: Integer array (n,), the true classes.
        class_names: One name for each class, in the order of the logits.
        teacher_logits: Array (n, num_classes) of the teacher, or None.

    Returns:
        The dict of `evaluate`.

    Raises:
        ValueError: If logits, labels and class names do not fit each other.
    """
    accuracy = top1(logits, labels)
    results = {
        "n": len(labels),
        "accuracy": accuracy,
        "accuracy_interval": list(wilson_interval(round(accuracy * len(labels)), len(labels))),
        "expected_calibration_error": expected_calibration_error(logits, labels, CALIBRATION_BINS),
        "num_bins": CALIBRATION_BINS,
        "negative_log_likelihood": negative_log_likelihood(logits, labels),
        "per_class": per_class(logits, labels, class_names),
    }
    if teacher_logits is not None:
        results["teacher_accuracy"] = top1(teacher_logits, labels)
        results["agreement"] = agreement(logits, teacher_logits)
    return results


def top1(logits, labels):
    """The share of images whose largest logit is at the true class, from logits (n, num_classes) and labels (n,)."""
    logits, labels = check_logits_and_labels(logits, labels)
    return float(np.mean(logits.argmax(axis=1) == labels))


def per_class(logits, labels, class_names):
    """Accuracy and number of images for each true class; the accuracy of a class without images is None.

    Args:
        logits: Array (n, num_classes).
        labels: Integer array (n,), the true classes.
        class_names: One name for each class, in the order of the logits.

    Returns:
        Dict of class name -> {"accuracy": float or None, "n": int}, in the order of `class_names`.

    Raises:
        ValueError: If logits, labels and class names do not fit each other.

    Example:

    >>> per_class([[2.0, 1.0], [3.0, 0.0]], [0, 1], ["cat", "dog"])
    {'cat': {'accuracy': 1.0, 'n': 1}, 'dog': {'accuracy': 0.0, 'n': 1}}
    """
    logits, labels = check_logits_and_labels(logits, labels)
    _check_class_names(logits, class_names, "logits")
    images = np.bincount(labels, minlength=len(class_names))
    correct = np.bincount(labels[logits.argmax(axis=1) == labels], minlength=len(class_names))
    return {
        str(name): {"accuracy": int(right) / int(n) if n else None, "n": int(n)}
        for name, right, n in zip(class_names, correct, images, strict=True)
    }


def agreement(logits, other_logits):
    """The share of images that two models put into the same class, right or wrong; both logits (n, num_classes)."""
    logits, other_logits = check_logits(logits), check_logits(other_logits, "other_logits")
    if logits.shape != other_logits.shape:
        raise ValueError(
            "`logits` and `other_logits` must have the same shape (n, num_classes). "
            f"Received: {logits.shape} and {other_logits.shape}"
        )
    return float(np.mean(logits.argmax(axis=1) == other_logits.argmax(axis=1)))


def _class_logits(role, model, images, class_names, batch_size):
    logits = predict_logits(model, images, batch_size)
    _check_class_names(logits, class_names, role)
    return logits


def _check_class_names(logits, class_names, role):
    if logits.shape[1] != len(class_names):
        raise ValueError(
            f"`{role}` must have one logit for each of the {len(class_names)} class names. "
            f"Received: {logits.shape[1]} logits; build it with num_classes={len(class_names)}."
        )


def _check_split(images, labels, class_names):
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(
            "`split` must hold at least one image and one label for each. "
            f"Received: {len(images)} images and {len(labels)} labels"
        )
    check_labels(labels, len(images), len(class_names))  # before the forward passes, which can take minutes
