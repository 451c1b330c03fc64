"""Wrong labels: which training labels are replaced, and by which; decided once, before any training.

The rule of the paper's experiments on label corruption is `symmetric`. Noise that is drawn anew in each batch is
another thing: `noise.LabelNoise`.
"""

import dataclasses
from numbers import Real

import numpy as np

from tfnoisekd.data import human_labels, splits
from tfnoisekd.names import nearest


@dataclasses.dataclass(frozen=True, eq=False)
class Corruption:
    """Which labels of a training split are wrong. Made by `corrupt`.

    Args:
        kind: One of `KINDS`.
        rate: The share of labels asked for; None where a file of human labels decided it.
        seed: Seed of the draw; None for human labels, which are not drawn.
        indices: (n,) int64, positions in the source's training set of the examples whose label was replaced by another.
        true_labels: (n,) int64, what those labels were.
        given_labels: (n,) int64, what they are now; nowhere equal to `true_labels`.
        true_rate: n as a share of the training examples.
    """

    kind: str
    rate: float | None
    seed: int | None
    indices: np.ndarray
    true_labels: np.ndarray
    given_labels: np.ndarray
    true_rate: float

    @property
    def n(self):
        """Number of labels that are wrong."""
        return len(self.indices)

    def summary(self):
        """What a run records of it, ready for JSON."""
        return {name: getattr(self, name) for name in ("kind", "rate", "seed", "true_rate", "n")}

    def arrays(self):
        """What a run keeps of it in a file: `indices`, `true_labels` and `given_labels`."""
        return {name: getattr(self, name) for name in ("indices", "true_labels", "given_labels")}


def corrupt(split, num_classes, *, rate=None, kind="symmetric", seed=0, human=None):
    """Replaces labels of a training split; its images, their order and every other split stay as they are.

    A draw depends on (`seed`, position in the source) alone: an image gets the same wrong label whatever is held out.
    With the same seed, the examples chosen at a rate are also chosen at every higher one.

    Args:
        split: The `Split` to train on, with `indices`.
        num_classes: Number of classes C.
        rate: Share of labels to draw anew, in [0, 1]; None for none, or where `human` decides.
        kind: `symmetric`: a class drawn uniformly from all, the true one included, so that the share that really
            differs is rate * (C - 1) / C. `pair`: the next class, (c + 1) mod C. `cifar10n:KIND`: `human`'s.
        seed: Integer in [0, 2**32).
        human: `HumanLabels` for the kinds `cifar10n:KIND`.

    Returns:
        (split, corruption): a new `Split` and its `Corruption`; the same split and None where nothing is asked for.

    Example:

    >>> wrong, corruption = corrupt(data.train, data.num_classes, rate=0.4, seed=0)
    >>> np.mean(wrong.labels != data.train.labels) == corruption.true_rate
    True
    """
    if human is not None:
        return _replaced(split, human.labels[split.indices], kind, rate, None)
    if rate is None:
        return split, None
    chosen, uniform = _draws(seed, split.indices)
    others = DRAWN[kind](split.labels, uniform, num_classes)
    return _replaced(split, np.where(chosen < rate, others, split.labels), kind, float(rate), int(seed))


def check(rate, kind, seed, file):
    """Checks settings against each other, without reading anything.

    Args:
        rate: `label_corruption`, a share or None.
        kind: `corruption_kind`.
        seed: `corruption_seed`.
        file: `corruption_file`, a path or None.

    Raises:
        ValueError: If one of them is out of range, unknown, or there without what it needs.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(
            f"`corruption_kind` must be one of {', '.join(KINDS)}. Received: {kind}.{nearest(str(kind), KINDS)}"
        )
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, Real) or not 0 <= rate <= 1):
        raise ValueError(
            f"`label_corruption` must be a share from 0 to 1, or None. Received: label_corruption={rate!r}"
        )
    splits.check_seed(seed, "corruption_seed")
    if kind in DRAWN and file is not None:
        raise ValueError(
            "`corruption_file` is read only for human labels: choose them with `corruption_kind` (--corruption-kind "
            f"cifar10n:worse), or leave the file out. Received: corruption_file={str(file)!r} for the kind {kind!r}"
        )
    if kind not in DRAWN and file is None:
        raise ValueError(
            f"`corruption_kind` {kind} needs `corruption_file` (--corruption-file PATH), an .npz file with the arrays "
            f"`clean_label` and `{human_labels.KEYS[kind]}`. Received: corruption_file=None"
        )
    if rate is None and kind in DRAWN and (kind != DEFAULT_KIND or seed):
        given = f"corruption_kind={kind!r}" if kind != DEFAULT_KIND else f"corruption_seed={seed}"
        raise ValueError(
            "`label_corruption` (--label-corruption 0.4, the share of training labels to replace) must be given where "
            f"labels are drawn. Received: {given} without it"
        )


def _symmetric(labels, uniform, num_classes):
    return np.floor(uniform * num_classes).astype(np.int64)


def _pair(labels, uniform, num_classes):
    return (labels + 1) % num_classes


DEFAULT_KIND = "symmetric"
# kind -> function (labels, uniform draws in [0, 1), number of classes) of the labels that replace others.
DRAWN = {DEFAULT_KIND: _symmetric, "pair": _pair}
KINDS = (*DRAWN, *human_labels.KEYS)


def _draws(seed, indices):
    """Two independent arrays of uniform draws in [0, 1), a function of the seed and each position alone."""
    # Row i of one stream belongs to position i, however many rows are drawn. RandomState, because NumPy promises never
    # to change its stream: wrong labels stay the same for good.
    random = np.random.RandomState([seed, splits.LABELS])
    return random.random_sample((int(indices.max()) + 1, 2))[indices].T


def _replaced(split, labels, kind, rate, seed):
    """(the split with other labels, the `Corruption` that tells them apart)."""
    wrong = labels != split.labels
    corruption = Corruption(
        kind=kind,
        rate=rate,
        seed=seed,
        indices=split.indices[wrong],
        true_labels=split.labels[wrong],
        given_labels=labels[wrong],
        true_rate=float(wrong.mean()),
    )
    return dataclasses.replace(split, labels=labels), corruption
