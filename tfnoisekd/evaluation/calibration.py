"""Calibration: does a student's confidence mean what it says? NumPy on logits, in log space and float64."""

import numpy as np


def expected_calibration_error(logits, labels, num_bins=15):
    """How far confidence lies from accuracy, averaged over bins of confidence (Guo et al., 2017, equation 3).

    The confidence of an image is its largest softmax probability. Bins are of equal width and closed on the right,
    ((m - 1) / num_bins, m / num_bins]; each counts by its share of the images, so that an empty bin counts nothing.

    Args:
        logits: Array (n, num_classes).
        labels: Integer array (n,), the true classes.
        num_bins: Number of bins over [0, 1]; the paper uses 15. The value depends on it: report both.

    Returns:
        A float in [0, 1]; 0 is perfectly calibrated.

    Raises:
        ValueError: If `logits` and `labels` do not fit each other, or `num_bins` is not a positive integer.

    Example:

    >>> expected_calibration_error([[0.0, 0.0], [0.0, 0.0]], [0, 1])  # says 50%, is right half of the time
    0.0
    """
    if not isinstance(num_bins, int) or num_bins < 1:
        raise ValueError(f"`num_bins` must be an integer of at least 1. Received: num_bins={num_bins!r}")
    logits, labels = check_logits_and_labels(logits, labels)
    confidence = np.exp(log_softmax(logits).max(axis=1))
    correct = (logits.argmax(axis=1) == labels).astype(np.float64)
    inner_edges = np.linspace(0, 1, num_bins + 1)[1:-1]
    bins = np.searchsorted(inner_edges, confidence, side="left")  # left: a value on an edge belongs to the lower bin
    # |sum of (accuracy - confidence)| per bin is the gap times the bin's size, so empty bins need no special case.
    gaps = np.bincount(bins, weights=correct - confidence, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(labels))


def negative_log_likelihood(logits, labels):
    """The mean surprise at the true class, -log softmax(logits)[label], in nats.

    Args:
        logits: Array (n, num_classes).
        labels: Integer array (n,), the true classes.

    Returns:
        A float of at least 0; log(num_classes) is what guessing uniformly gets.

    Raises:
        ValueError: If `logits` and `labels` do not fit each other.

    Example:

    >>> round(negative_log_likelihood([[0.0, 0.0]], [1]), 4)
    0.6931
    """
    logits, labels = check_logits_and_labels(logits, labels)
    return float(-log_softmax(logits)[np.arange(len(labels)), labels].mean())


def log_softmax(logits):
    """log(softmax(logits)) over the last axis in float64; no exponential of a large logit is ever taken."""
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def check_logits_and_labels(logits, labels):
    """Both as arrays, or a ValueError that says which of them does not fit and how."""
    logits = check_logits(logits)
    return logits, check_labels(labels, *logits.shape)


def check_labels(labels, n, num_classes):
    """The labels as an array, or a ValueError: n integers in 0..num_classes - 1."""
    labels = np.asarray(labels)
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (n,):
        raise ValueError(
            f"`labels` must be integers of shape ({n},), one class index for each image. "
            f"Received: labels of dtype {labels.dtype} and shape {labels.shape}"
        )
    outside = labels[(labels < 0) | (labels >= num_classes)]
    if len(outside):
        raise ValueError(
            f"`labels` must lie in 0..{num_classes - 1}, the {num_classes} classes of the model. Received: "
            f"{len(outside)} of {n} outside, the first is {outside[0]}; build the model with the classes of the data."
        )
    return labels


def check_logits(logits, name="logits"):
    """The logits as a float array, or a ValueError: (n, num_classes) with n >= 1, and all of them finite."""
    logits = np.asarray(logits)
    if logits.ndim != 2 or 0 in logits.shape:
        raise ValueError(f"`{name}` must have shape (n, num_classes) and not be empty. Received: shape {logits.shape}")
    bad = ~np.isfinite(logits).all(axis=1)
    if bad.any():
        raise ValueError(
            f"`{name}` must be finite. Received: NaN or infinity in {bad.sum()} of {len(bad)} rows, the first is row "
            f"{bad.argmax()}; the training has diverged or the weights file is damaged."
        )
    return logits
