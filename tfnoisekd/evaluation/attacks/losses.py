"""What an attack maximises: losses of logits that grow as a model gets an image wrong.

For logits z, the true class y and the order z_(1) >= z_(2) >= ..., after Croce & Hein (2020), equations 6 and 7:

- cross-entropy, as the odds against the true class (below);
- difference of logits ratio (DLR): (max_{i != y} z_i - z_y) / (z_(1) - z_(3));
- targeted DLR, for a target class t: (z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2).

Neither ratio changes when logits are shifted or scaled, so that large logits hide nothing from it. DLR needs 3 classes
and targeted DLR 4; with fewer, they are their numerators here, the margins, whose direction does not change either.
"""

from keras import ops

TINY = 1e-12  # keeps a ratio finite where the largest logits are all equal
DLR_CLASSES, TARGETED_CLASSES = 3, 4  # the numbers of classes from which on the ratios are defined


def cross_entropy(logits, labels, targets):
    """log((1 - p) / p) for the probability p of the true class: log sum_{i != y} exp(z_i) - z_y.

    It grows with the cross-entropy -log p, which is the softplus of it, so that an attack that compares losses and
    follows the direction of gradients goes the same way. But in float32 the cross-entropy and its gradient are exactly
    0 where p rounds to 1, so that such an attack stands still; here nothing is rounded to 1. The arguments are those
    of `targeted_ratio`.
    """
    return ops.logsumexp(_others(logits, labels), axis=1) - _pick(logits, labels)


def margin(logits, labels, targets):
    """max_{i != y} z_i - z_y: above 0 where the model is wrong. The arguments are those of `targeted_ratio`."""
    return ops.max(_others(logits, labels), axis=1) - _pick(logits, labels)


def ratio(logits, labels, targets):
    """DLR, at least -1; above 0 where the model is wrong. The arguments are those of `targeted_ratio`."""
    if logits.shape[1] < DLR_CLASSES:
        return margin(logits, labels, targets)
    largest, _ = ops.top_k(logits, 3)
    return margin(logits, labels, targets) / (largest[:, 0] - largest[:, 2] + TINY)


def targeted_ratio(logits, labels, targets):
    """Targeted DLR: above 0 where the target class is ahead of the true one.

    Args:
        logits: Float tensor (batch, num_classes).
        labels: int32 tensor (batch,), the true classes.
        targets: int32 tensor (batch,), the classes to lead to; only this loss looks at them.

    Returns:
        A tensor (batch,).
    """
    difference = _pick(logits, targets) - _pick(logits, labels)
    if logits.shape[1] < TARGETED_CLASSES:
        return difference
    largest, _ = ops.top_k(logits, 4)
    return difference / (largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2 + TINY)


def _one_hot(logits, classes):
    return ops.expand_dims(classes, 1) == ops.arange(logits.shape[1], dtype="int32")


def _others(logits, classes):
    return ops.where(_one_hot(logits, classes), -float("inf"), logits)


def _pick(logits, classes):
    return ops.sum(ops.where(_one_hot(logits, classes), logits, 0.0), axis=1)
