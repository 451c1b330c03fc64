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
    confidence, correct, bins = _binned(logits, labels, num_bins)
    # |sum of (accuracy - confidence)| per bin is the gap times the bin's size, so empty bins need no special case.
    gaps = np.bincount(bins, weights=correct - confidence, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(confidence))


def adaptive_expected_calibration_error(logits, labels, num_bins=15):
    """As `expected_calibration_error`, but over bins of equally many images (Nguyen & O'Connor, 2015).

    Where most confidences are near 1, bins of equal width measure little but the last of them; these do not. The images
    are sorted by confidence and divided into bins whose sizes differ by 1 at most, those of low confidence being the
    larger ones. Images of equal confidence count with the average correctness of all of them, so that their order does
    not matter. Not to be mixed up with the class-wise "ACE" of Nixon et al. (2019).

    Args:
        logits: Array (n, num_classes).
        labels: Integer array (n,), the true classes.
        num_bins: Number of bins; with more than n of them, each image is a bin.

    Returns:
        A float in [0, 1]; 0 is perfectly calibrated.

    Raises:
        ValueError: As `expected_calibration_error` does.

    Example:

    >>> adaptive_expected_calibration_error([[0.0, 0.0], [0.0, 0.0]], [0, 1], num_bins=2)
    0.0
    """
    _check_num_bins(num_bins)
    confidence, correct = confidence_and_correct(logits, labels)
    gaps = np.sort(confidence) - average_over_ties(confidence, correct)
    return float(sum(abs(part.sum()) for part in np.array_split(gaps, num_bins)) / len(gaps))


def maximum_calibration_error(logits, labels, num_bins=15):
    """The largest gap of all bins of `expected_calibration_error` (Guo et al., 2017, equation 5), whatever their size.

    Args:
        logits: Array (n, num_classes).
        labels: Integer array (n,), the true classes.
        num_bins: Number of bins over [0, 1]. A bin of few images has a large gap by chance: see `reliability`.

    Returns:
        A float in [0, 1], at least the expected calibration error.

    Raises:
        ValueError: As `expected_calibration_error` does.

    Example:

    >>> maximum_calibration_error([[0.0, 0.0], [0.0, 0.0]], [0, 0])  # says 50%, is always right
    0.5
    """
    rows = reliability(logits, labels, num_bins)["bins"]
    return max(abs(row["accuracy"] - row["confidence"]) for row in rows if row["n"])


def reliability(logits, labels, num_bins=15):
    """The table of a reliability diagram: what the images of each bin of confidence say, and how often they are right.

    Args:
        logits: Array (n, num_classes).
        labels: Integer array (n,), the true classes.
        num_bins: Number of bins over [0, 1], those of `expected_calibration_error`.

    Returns:
        A dict ready for JSON: `n`; `edges`, num_bins + 1 floats from 0 to 1; and `bins`, for each the number `n` of its
        images, their mean `confidence`, and their `accuracy`, both None where there are no images.

    Raises:
        ValueError: As `expected_calibration_error` does.

    Example:

    >>> reliability([[0.0, 0.0], [0.0, 0.0]], [0, 0], num_bins=2)["bins"][0]
    {'n': 2, 'confidence': 0.5, 'accuracy': 1.0}
    """
    confidence, correct, bins = _binned(logits, labels, num_bins)
    sizes = np.bincount(bins, minlength=num_bins)
    sums = [np.bincount(bins, weights=values, minlength=num_bins) for values in (confidence, correct)]
    means = [[float(of / n) if n else None for of, n in zip(each, sizes, strict=True)] for each in sums]
    rows = zip(sizes.tolist(), *means, strict=True)
    return {
        "n": len(bins),
        "edges": np.linspace(0, 1, num_bins + 1).tolist(),
        "bins": [dict(zip(("n", "confidence", "accuracy"), row, strict=True)) for row in rows],
    }


def brier_score(logits, labels):
    """The squared distance of the probabilities from the truth, summed over the classes (Brier, 1950).

    The mean over the images of the sum over k of (p_k - [k is the true class])^2, not divided by the number of classes.
    With two classes it is twice the binary score that is also called by this name.

    Args:
        logits: Array (n, num_classes).
        labels: Integer array (n,), the true classes.

    Returns:
        A float in [0, 2]; guessing uniformly gets 1 - 1 / num_classes.

    Raises:
        ValueError: If `logits` and `labels` do not fit each other.

    Example:

    >>> brier_score([[0.0, 0.0]], [1])
    0.5
    """
    logits, labels = check_logits_and_labels(logits, labels)
    errors = np.exp(log_softmax(logits))
    errors[np.arange(len(labels)), labels] -= 1
    return float(np.square(errors).sum(axis=1).mean())


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


def confidence_and_correct(logits, labels):
    """For each image its largest softmax probability, and 1.0 where its largest logit is at the true class, else 0.0.

    Returns:
        (confidence, correct), float64 (n,).

    Raises:
        ValueError: If `logits` and `labels` do not fit each other.
    """
    logits, labels = check_logits_and_labels(logits, labels)
    return np.exp(log_softmax(logits).max(axis=1)), (logits.argmax(axis=1) == labels).astype(np.float64)


def average_over_ties(confidence, values):
    """The values (n,) in ascending order of confidence (n,), each the mean over all images of the same confidence.

    A sum over part of them is then what is to be expected if images of equal confidence are put in random order.
    """
    _, groups, sizes = np.unique(confidence, return_inverse=True, return_counts=True)
    return np.repeat(np.bincount(groups, weights=values) / sizes, sizes)


def _binned(logits, labels, num_bins):
    """`confidence_and_correct`, and for each image the number of its bin of equal width, closed on the right."""
    _check_num_bins(num_bins)
    confidence, correct = confidence_and_correct(logits, labels)
    inner_edges = np.linspace(0, 1, num_bins + 1)[1:-1]
    bins = np.searchsorted(inner_edges, confidence, side="left")  # left: a value on an edge belongs to the lower bin
    return confidence, correct, bins


def _check_num_bins(num_bins):
    if isinstance(num_bins, bool) or not isinstance(num_bins, int) or num_bins < 1:
        raise ValueError(f"`num_bins` must be an integer of at least 1. Received: num_bins={num_bins!r}")


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
