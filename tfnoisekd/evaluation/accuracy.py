"""Accuracy: how often is the student right, how sure is that number, and how often does it agree with its teacher?"""

import math

import numpy as np

from tfnoisekd.evaluation.calibration import (
    check_labels,
    check_logits,
    check_logits_and_labels,
    expected_calibration_error,
    negative_log_likelihood,
)

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
    images, labels = split.images, np.asarray(split.labels)
    _check_split(images, labels, class_names)
    logits = _class_logits("student", student, images, class_names, batch_size)
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
    if teacher is not None:
        teacher_logits = _class_logits("teacher", teacher, images, class_names, batch_size)
        results["teacher_accuracy"] = top1(teacher_logits, labels)
        results["agreement"] = agreement(logits, teacher_logits)
    return results


def predict_logits(model, images, batch_size=256):
    """A model's logits for images, in inference mode: no dropout, BatchNorm with its moving statistics.

    Args:
        model: A `keras.Model` with one image input and one output.
        images: Array (n, height, width, channels), uint8 or float in [0, 1]; uint8 is scaled to [0, 1] batch by batch,
            so that a large set never lies in memory as floats.
        batch_size: Images per forward pass.

    Returns:
        float32 array (n, num_classes).

    Raises:
        ValueError: If the images are empty, out of range or of a shape the model does not take, or the logits are not
            finite.

    Example:

    >>> predict_logits(wide_resnet(10, 1), np.zeros((3, 32, 32, 3), "uint8")).shape
    (3, 10)
    """
    check_images(images, image_shape(model))
    logits = []
    for batch in unit_batches(images, batch_size):
        # The last batch is filled up to the size of the others: another shape would be compiled for anew.
        missing = min(batch_size, len(images)) - len(batch)
        padded = np.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0)), mode="edge") if missing else batch
        logits.append(_single_output(model.predict_on_batch(padded))[: len(batch)])
    return check_logits(np.concatenate(logits), f"logits of {model.name}")


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


def image_shape(model):
    """(height, width, channels) that a model takes, None where it leaves a side open; None if it does not know yet.

    Raises:
        ValueError: If the model takes several inputs.
    """
    try:
        shape = model.input_shape
    except AttributeError:  # Keras knows the input of a subclassed model only from its first call or build
        config = model.get_build_config() or {}
        shape = config.get("input_shape", config.get("shapes_dict"))
    if shape is None:
        return None
    if isinstance(shape, dict) or any(isinstance(side, (tuple, list, dict)) for side in shape):
        raise ValueError(f"`model` must take one input, a batch of images. Received: inputs of shapes {shape}")
    return tuple(shape[1:])


def check_images(images, expected=None):
    """Raises a ValueError unless these are images (n, height, width, channels) of the expected shape and a known type.

    Values are checked by `unit_batches`, which has them in hand anyway.
    """
    shape, dtype = np.shape(images), np.asarray(images[:1]).dtype if len(images) else np.dtype("uint8")
    if len(shape) != 4 or not shape[0]:
        raise ValueError(
            "`images` must have shape (n, height, width, channels) with at least one image. "
            f"Received: shape {shape}; a single image needs a batch axis, image[None]."
        )
    if dtype != np.uint8 and not np.issubdtype(dtype, np.floating):
        raise ValueError(f"`images` must be uint8 in 0..255 or float in [0, 1]. Received: dtype {dtype}")
    if expected is not None and (
        len(expected) != 3 or any(want not in (None, got) for want, got in zip(expected, shape[1:], strict=True))
    ):
        raise ValueError(
            f"`images` must have the shape that the model takes, (n, {', '.join(map(str, expected))}). "
            f"Received: shape {shape}; resize the images or choose a model built for them."
        )


def unit_batches(images, batch_size=256):
    """Yields float32 batches in [0, 1] of images that are uint8, or float and in [0, 1] already."""
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"`batch_size` must be an integer of at least 1. Received: batch_size={batch_size!r}")
    for start in range(0, len(images), batch_size):
        batch = np.asarray(images[start : start + batch_size])
        if batch.dtype == np.uint8:
            batch = batch.astype(np.float32) / np.float32(255)
        low, high = batch.min(), batch.max()
        if not (low >= 0 and high <= 1):  # written so that NaN fails too
            raise ValueError(
                "`images` of a float type must lie in [0, 1]. "
                f"Received: values from {low} to {high}; divide by 255, or pass uint8."
            )
        yield batch.astype(np.float32, copy=False)


def _single_output(outputs):
    if isinstance(outputs, (tuple, list, dict)) or np.ndim(outputs) != 2:
        shapes = np.shape(outputs) if isinstance(outputs, np.ndarray) else f"{len(outputs)} outputs"
        raise ValueError(f"`model` must give one output, logits (batch, num_classes). Received: {shapes}")
    return np.asarray(outputs).astype(np.float32)


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
