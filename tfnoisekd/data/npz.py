"""`npz:PATH`: a file of arrays, read without unpickling anything unless the user says that the file is trusted."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tfnoisekd.data.arrays import as_labels, listed, read_arrays
from tfnoisekd.data.image_data import MAX_POSITION, RawData, Split
from tfnoisekd.data.pixels import as_pixels

KEYS = ("images", "labels", "images_test", "labels_test", "class_names", "indices")


def read(path, unsafe=False):
    """Reads `images` and `labels`, and `images_test`, `labels_test`, `class_names` and `indices` where there are any.

    Args:
        path: File written by `np.savez` or `np.savez_compressed`. Images are (N, height, width[, channels]), integers
            in 0..255 or floats in [0, 1]; labels are (N,) or (N, 1), whole numbers from 0; class names are strings;
            indices are (N,), the position of each of `images` in a larger training set that they are a part of.
        unsafe: Also read object arrays, which need unpickling. Only for files you trust: that can run code.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If its content is anything else.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise ValueError(f"`npz:` needs a file. Received: the folder {path}; did you mean 'folder:{path}'?")
    way_out = "write its arrays again with np.savez(path, images=..., labels=...)"
    arrays = read_arrays(path, KEYS, owner="`npz:`", way_out=way_out, unsafe=unsafe)
    missing = [key for key in ("images", "labels") if key not in arrays]
    if ("images_test" in arrays) != ("labels_test" in arrays):
        missing += [key for key in ("images_test", "labels_test") if key not in arrays]
    if missing:
        raise ValueError(
            f"`npz:` needs the arrays `images` and `labels`, and both or neither of `images_test` and `labels_test`. "
            f"Received: {path} without {listed(missing)}; it has {listed(arrays) or 'no arrays'}"
        )
    class_names = _class_names(arrays["class_names"], path) if "class_names" in arrays else None
    train = _split(arrays, "", class_names, path)
    if "indices" in arrays:
        train = replace(train, indices=_indices(arrays["indices"], len(train), path))
    if class_names is None:
        class_names = tuple(str(label) for label in range(train.labels.max() + 1))
    test = _split(arrays, "_test", class_names, path) if "images_test" in arrays else None
    if test is not None:
        _check_alike(train.images, test.images, path)
    return RawData(train, test, class_names)


def _split(arrays, suffix, class_names, path):
    images = as_pixels(arrays[f"images{suffix}"], f"`images{suffix}` of {path}")
    labels = as_labels(arrays[f"labels{suffix}"], f"`labels{suffix}` of {path}")
    if len(images) != len(labels):
        raise ValueError(
            f"`images{suffix}` and `labels{suffix}` of {path} must have one label for each image. "
            f"Received: {len(images)} images and {len(labels)} labels"
        )
    wanted = "be 0 or more" if class_names is None else f"lie in 0..{len(class_names) - 1}"
    outside = labels < 0 if class_names is None else (labels < 0) | (labels >= len(class_names))
    if outside.any():
        raise ValueError(
            f"`labels{suffix}` of {path} must {wanted}. Received: {int(outside.sum())} outside, the first of "
            f"them {labels[outside][0]} at position {int(np.argmax(outside))}"
        )
    return Split(images, labels)


def _indices(indices, count, path):
    whole = indices.shape == (count,) and indices.dtype.kind in "ui"
    if not whole or indices.min() < 0 or indices.max() > MAX_POSITION or len(np.unique(indices)) < count:
        values = f", values from {indices.min()} to {indices.max()}" if whole else ""
        raise ValueError(
            f"`indices` of {path} must be the position of each image in the training set it is from: shape ({count},), "
            f"whole numbers in 0..{MAX_POSITION}, each once. Received: shape {indices.shape}, dtype {indices.dtype}"
            f"{values}; mend the array, or leave it out to number the images in their order"
        )
    return indices.astype(np.int64)


def _class_names(names, path):
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise ValueError(
            f"`class_names` of {path} must be a list of strings. Received: shape {names.shape} and dtype {names.dtype}"
        )
    return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names.tolist())


def _check_alike(train, test, path):
    if train.shape[1:] != test.shape[1:] or train.dtype != test.dtype:
        raise ValueError(
            f"`images` and `images_test` of {path} must have the same height, width, channels and kind of values. "
            f"Received: {train.shape[1:]} {train.dtype} and {test.shape[1:]} {test.dtype}"
        )
