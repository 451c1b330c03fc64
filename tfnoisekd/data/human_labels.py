"""Labels that people gave: CIFAR-10N (Wei et al., 2022), matched to images by their position, never by their order."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfnoisekd.data.arrays import as_labels, listed, read_arrays

CLEAN = "clean_label"
# kind -> array in the published file. `worse` is the worst of three people's labels (40% wrong), `aggre` their majority
# (9%), `random1` to `random3` are one person's each (17 to 18%), `clean` is CIFAR-10's own.
KEYS = {f"cifar10n:{kind}": f"{kind}_label" for kind in ("clean", "aggre", "worse")}
KEYS |= {f"cifar10n:random{number}": f"random_label{number}" for number in (1, 2, 3)}
RATE_TOLERANCE = 0.02  # people say 40% of a file with 40.21%
AGREEMENT = 0.999  # least share of examples whose clean label must be the data's own


@dataclass(frozen=True, eq=False)
class HumanLabels:
    """The labels of a whole training set, in its original order. Made by `read`.

    Args:
        path: The file they are from.
        clean: (M,) int64, the file's own clean labels, by which another order or data set is noticed.
        labels: (M,) int64, the labels to train on.
    """

    path: Path
    clean: np.ndarray
    labels: np.ndarray

    def check_fits(self, train, num_classes):
        """Checks that these are labels of a source's training set, before anything is held out of it.

        Args:
            train: `Split`; where its `indices` are None, its order is its numbering.
            num_classes: Number of classes.

        Raises:
            ValueError: If the number of labels, their range, or the order is another one.
        """
        self._check_length(train)
        for labels in (self.clean, self.labels):
            outside = (labels < 0) | (labels >= num_classes)
            if outside.any():
                raise ValueError(
                    f"Labels of {self.path} must lie in 0..{num_classes - 1}, the classes of the data. Received: "
                    f"{int(outside.sum())} outside, the first of them {labels[outside][0]} at position "
                    f"{int(np.argmax(outside))}; choose the data set that these labels were given for"
                )
        indices = np.arange(len(train)) if train.indices is None else train.indices
        agreement = np.mean(self.clean[indices] == train.labels)
        if agreement < AGREEMENT:
            raise ValueError(
                f"`{CLEAN}` of {self.path} must be the labels of the data, example by example. Received: agreement on "
                f"{agreement:.2%} of {len(train):,}, less than {AGREEMENT:.1%}: the file is in another order than the "
                "data, or belongs to another data set; give each image its position in the original training set (in "
                "npz:PATH by the array `indices`, in folder:PATH by order/train.txt)"
            )

    def _check_length(self, train):
        fits = len(self.clean) == len(train) if train.indices is None else len(self.clean) > train.indices.max()
        if fits:
            return
        if train.indices is None:
            wanted = f"one label for each of the {len(train):,} training images"
            way_out = "; choose the data set that the labels were given for, or, where the images are a part of it, "
            way_out += "number them (in npz:PATH by the array `indices`, in folder:PATH by order/train.txt)"
        else:
            wanted = f"labels for all positions of the training images, up to {train.indices.max():,}"
            way_out = ""
        raise ValueError(
            f"`corruption_file` must hold {wanted}. Received: {self.path} with {len(self.clean):,} labels{way_out}"
        )


def read(path, kind, rate=None, *, unsafe=False):
    """Reads a file of CIFAR-10N's layout, as published, saved by `np.savez`.

    Args:
        path: The file, with integer arrays (M,): `clean_label` and the one of `kind`.
        kind: One of `KEYS`.
        rate: Share of wrong labels that the user expects, in [0, 1]; None for whatever the file has.
        unsafe: Whether to unpickle arrays of objects, which can run code hidden in the file.

    Returns:
        `HumanLabels`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If its content is anything else, or `rate` is more than 0.02 off the file's.
    """
    path = Path(path).expanduser()
    wanted = dict.fromkeys((CLEAN, KEYS[kind]))
    arrays = read_arrays(path, wanted, owner="`corruption_file`", way_out=_conversion(path), unsafe=unsafe)
    if missing := [key for key in wanted if key not in arrays]:
        raise ValueError(
            f"`corruption_kind` {kind} needs the arrays {listed(wanted)}. Received: {path} without "
            f"{listed(missing)}; it has {listed(arrays) or 'no arrays'}"
        )
    clean, labels = (as_labels(arrays[key], f"`{key}` of {path}") for key in (CLEAN, KEYS[kind]))
    if len(clean) != len(labels):
        raise ValueError(
            f"`{CLEAN}` and `{KEYS[kind]}` of {path} must have one length. Received: {len(clean)} and {len(labels)}"
        )
    if not len(clean):
        raise ValueError(f"`{CLEAN}` of {path} must hold at least one label. Received: none")
    _check_rate(rate, float(np.mean(clean != labels)), kind, path)
    return HumanLabels(path, clean, labels)


def _conversion(path):
    """How the published files, which are pickles, become one that is read without running code."""
    loaded = f"numpy.load('{path}', allow_pickle=True).item()"
    if path.suffix != ".npy":
        loaded = f"torch.load('{path}', weights_only=False)"
    modules = "numpy" if path.suffix == ".npy" else "numpy, torch"
    return f"convert it, if you trust it: python -c \"import {modules}; numpy.savez('{path.stem}.npz', **{loaded})\""


def _check_rate(rate, share, kind, path):
    if rate is not None and abs(rate - share) > RATE_TOLERANCE:
        raise ValueError(
            f"`label_corruption` must be what the file says, {share:.4f} for {kind} in {path} (within "
            f"{RATE_TOLERANCE}). Received: label_corruption={rate}; leave it out, or choose another `corruption_kind`"
        )
