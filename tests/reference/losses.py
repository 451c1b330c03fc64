"""The losses and their gradients, in NumPy float64 with loops, written from the formulas and not from the library."""

import math

import numpy as np


def softmax(logits):
    """Softmax of one row."""
    logits = np.asarray(logits, "float64")
    exponentials = [math.exp(z - logits.max()) for z in logits]
    return np.array(exponentials) / sum(exponentials)


def log_softmax(logits):
    """Log-softmax of one row."""
    logits = np.asarray(logits, "float64")
    largest = logits.max()
    return logits - largest - math.log(sum(math.exp(z - largest) for z in logits))


def hinton(teacher_logits, student_logits, temperature=4.0, sample_weight=None):
    """T^2 / B * sum over the batch of weight * KL(softmax(t / T) || softmax(s / T))."""
    teacher_logits, student_logits = np.asarray(teacher_logits, "float64"), np.asarray(student_logits, "float64")
    total = 0.0
    for b in range(len(teacher_logits)):
        p, log_p = softmax(teacher_logits[b] / temperature), log_softmax(teacher_logits[b] / temperature)
        log_q = log_softmax(student_logits[b] / temperature)
        weight = 1.0 if sample_weight is None else sample_weight[b]
        for c in range(len(p)):
            total += weight * p[c] * (log_p[c] - log_q[c])
    return temperature**2 * total / len(teacher_logits)


def hinton_gradient(teacher_logits, student_logits, temperature=4.0, sample_weight=None):
    """Gradient of `hinton` with respect to the student's logits: T / B * (softmax(s / T) - softmax(t / T))."""
    rows = []
    for b in range(len(teacher_logits)):
        weight = 1.0 if sample_weight is None else sample_weight[b]
        difference = softmax(np.divide(student_logits[b], temperature)) - softmax(
            np.divide(teacher_logits[b], temperature)
        )
        rows.append(weight * temperature * difference / len(teacher_logits))
    return np.array(rows)


def cross_entropy(labels, logits, sample_weight=None):
    """1 / B * sum over the batch of weight * -log softmax(logits)[label]; labels are integers."""
    total = 0.0
    for b in range(len(labels)):
        total -= (1.0 if sample_weight is None else sample_weight[b]) * log_softmax(logits[b])[labels[b]]
    return total / len(labels)


def cross_entropy_gradient(labels, logits, sample_weight=None):
    """Gradient of `cross_entropy` with respect to the logits."""
    rows = []
    for b in range(len(labels)):
        row = softmax(logits[b])
        row[labels[b]] -= 1
        rows.append((1.0 if sample_weight is None else sample_weight[b]) * row / len(labels))
    return np.array(rows)
