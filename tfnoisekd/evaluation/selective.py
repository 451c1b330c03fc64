"""Selective risk, how wrong a student is where it is sure; and fidelity, how closely it follows its teacher.

NumPy on logits, in log space and float64. Confidence is the largest softmax probability.
"""

import math
from numbers import Real

import numpy as np

from tfnoisekd.evaluation import accuracy, intervals
from tfnoisekd.evaluation.calibration import (
    average_over_ties,
    check_labels,
    check_logits,
    confidence_and_correct,
    log_softmax,
)

COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


def evaluate(logits, labels, coverages=COVERAGES):
    """The risk of answering only for the images that a model is surest of (Geifman & El-Yaniv, 2017), ready for JSON.

    Args:
        logits: Array (n, num_classes).
        labels: Integer array (n,), the true classes.
        coverages: Shares in (0, 1] of the images to answer for; of n images, the ceil(coverage * n) surest.

    Returns:
        A dict of plain Python numbers: `n`; `aurc`, the area under the risk-coverage curve, which is the mean of its n
        risks; `excess_aurc`, `aurc` less that of the best order of the same answers, all right ones first (both by
        Geifman et al., 2019), so that 0 means that confidence parts right from wrong; and `risk_at_coverage`, a list of
        {coverage, n, risk}. All risks are shares of wrong answers; see `risk_coverage_curve` for ties.

    Raises:
        ValueError: If `logits` and `labels` do not fit each other, or a coverage is out of its range.

    Example:

    >>> evaluate([[2.0, 0.0], [0.5, 0.0]], [0, 1], coverages=[0.5])["risk_at_coverage"]
    [{'coverage': 0.5, 'n': 1, 'risk': 0.0}]
    """
    risks = _risks(logits, labels)
    n = len(risks)
    counts = [_count(coverage, n) for coverage in coverages]
    answers = [
        {"coverage": float(c), "n": k, "risk": float(risks[k - 1])} for c, k in zip(coverages, counts, strict=True)
    ]
    errors = round(risks[-1] * n)
    best = np.maximum(np.arange(1, n + 1) - (n - errors), 0) / np.arange(1, n + 1)
    aurc = float(risks.mean())
    return {"n": n, "aurc": aurc, "excess_aurc": max(0.0, aurc - float(best.mean())), "risk_at_coverage": answers}


def risk_coverage_curve(logits, labels):
    """The risk at every coverage 1/n, 2/n, ..., 1, for a figure.

    Images of equal confidence are answered for in random order: each risk is its expectation over all their orders,
    computed exactly, so that the order of the images does not matter.

    Args:
        logits: Array (n, num_classes).
        labels: Integer array (n,), the true classes.

    Returns:
        A dict ready for JSON: `coverage`, ascending, and `risk`, the share of wrong answers among them; n floats each.

    Raises:
        ValueError: If `logits` and `labels` do not fit each other.

    Example:

    >>> risk_coverage_curve([[2.0, 0.0], [0.5, 0.0]], [0, 1])
    {'coverage': [0.5, 1.0], 'risk': [0.0, 0.5]}
    """
    risks = _risks(logits, labels)
    return {"coverage": (np.arange(1, len(risks) + 1) / len(risks)).tolist(), "risk": risks.tolist()}


def fidelity(student_logits, teacher_logits, labels):
    """How closely a student follows its teacher, and whether also where the teacher is wrong (Stanton et al., 2021).

    Args:
        student_logits: Array (n, num_classes).
        teacher_logits: Array (n, num_classes), for the same images.
        labels: Integer array (n,), the true classes.

    Returns:
        A dict of plain Python values: `n`; `agreement`, the share of images that both put into the same class;
        `kl_divergence`, the mean of KL(teacher || student) at temperature 1, in nats; `teacher_errors`, their number;
        `copied_errors`, the share of these that the student puts into the teacher's wrong class, with
        `copied_errors_interval` (Wilson, 95%), both None where the teacher makes no error.

    Raises:
        ValueError: If logits and labels do not fit each other.

    Example:

    >>> fidelity([[0.0, 1.0]], [[0.0, 1.0]], [0])["copied_errors"]
    1.0
    """
    student, teacher = check_logits(student_logits, "student_logits"), check_logits(teacher_logits, "teacher_logits")
    if student.shape != teacher.shape:
        raise ValueError(
            "`student_logits` and `teacher_logits` must have the same shape (n, num_classes). "
            f"Received: {student.shape} and {teacher.shape}; both need the same images, and models of the same classes."
        )
    labels = check_labels(labels, *student.shape)
    wrong = teacher.argmax(axis=1) != labels
    errors, copied = int(wrong.sum()), int((wrong & (teacher.argmax(axis=1) == student.argmax(axis=1))).sum())
    return {
        "n": len(labels),
        "agreement": accuracy.agreement(student, teacher),
        "kl_divergence": _mean_divergence(log_softmax(teacher), log_softmax(student)),
        "teacher_errors": errors,
        "copied_errors": copied / errors if errors else None,
        "copied_errors_interval": list(intervals.wilson_interval(copied, errors)) if errors else None,
    }


def _mean_divergence(log_p, log_q):
    """The mean over rows of KL(p || q), which rounding must not push below 0."""
    return max(0.0, float((np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()))


def _risks(logits, labels):
    """The share of errors among the 1, 2, ..., n images of highest confidence, float64 (n,)."""
    confidence, correct = confidence_and_correct(logits, labels)
    errors = average_over_ties(confidence, 1 - correct)[::-1]
    return np.cumsum(errors) / np.arange(1, len(errors) + 1)


def _count(coverage, n):
    if isinstance(coverage, bool) or not isinstance(coverage, Real) or not 0 < coverage <= 1:
        raise ValueError(f"`coverages` must be shares above 0 and at most 1. Received: {coverage!r} among them")
    return max(1, math.ceil(round(coverage * n, 9)))  # rounded, since 0.07 * 100 is 7.000000000000001
