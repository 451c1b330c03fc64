"""`npz:PATH`: a file of arrays, read without unpickling anything unless the user says that the file is trusted."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from tfnoisekd.data.image_data import RawData, Split
from tfnoisekd.data.pixels import as_pixels

KEYS = ("images", "labels", "images_test", "labels_test", "class_names")
# First two bytes of files that np.load would open, or offer to, as something else than named arrays.
_KINDS = {b"\x93N": "a single array (.npy)"} | {
    bytes([0x80, protocol]): "a pickle, which can run code when it is read and is refused" for protocol in range(2, 6)
}
# What NumPy and the zip layer raise for damaged content.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError)


def read(path, unsafe=False):
    """Reads `images` and `labels`, and `images_test`, `labels_test` and `class_names` where the file has them.

    Args:
        path: File written by `np.savez` or `np.savez_compressed`. Images are (N, height, width[, channels]), integers
            in 0..255 or floats in [0, 1]; labels are (N,) or (N, 1), whole numbers from 0; class names are strings.
        unsafe: Also read object arrays, which need unpickling. Only for files you trust: that can run code.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If its content is anything else.
    """
    arrays = _arrays(Path(path).expanduser(), unsafe)
    missing = [key for key in ("images", "labels") if key not in arrays]
    if ("images_test" in arrays) != ("labels_test" in arrays):
        missing += [key for key in ("images_test", "labels_test") if key not in arrays]
    if missing:
        raise ValueError(
            f"`npz:` needs the arrays `images` and `labels`, and both or neither of `images_test` and `labels_test`. "
            f"Received: {path} without {_listed(missing)}; it has {_listed(arrays) or 'no arrays'}"
        )
    class_names = _class_names(arrays["class_names"], path) if "class_names" in arrays else None
    train = _split(arrays, "", class_names, path)
    if class_names is None:
        class_names = tuple(str(label) for label in range(train.labels.max() + 1))
    test = _split(arrays, "_test", class_names, path) if "images_test" in arrays else None
    if test is not None:
        _check_alike(train.images, test.images, path)
    return RawData(train, test, class_names)


def _arrays(path, unsafe):
    if path.is_dir():
        raise ValueError(f"`npz:` needs a file. Received: the folder {path}; did you mean 'folder:{path}'?")
    if not path.exists():
        raise FileNotFoundError(f"`npz:` needs an existing file written by np.savez. Received: {path}")
    with path.open("rb") as file:
        kind = _KINDS.get(file.read(2))
    if kind:
        raise ValueError(
            f"`npz:` needs a file written by np.savez. Received: {path}, {kind}; write its arrays again with "
            "np.savez(path, images=..., labels=...)"
        )
    try:
        # Unpickling runs whatever code a file holds, so an array that needs it is refused.
        with np.load(path, allow_pickle=unsafe) as file:
            # Others are named where one is missing, but not read: they may be large, or need unpickling.
            return {key: _plain(file[key]) if key in KEYS else None for key in file.files}
    except _DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "Object arrays" in reason:
            raise ValueError(
                f"`npz:` reads no object arrays: they need unpickling, which can run code hidden in a file. "
                f"Received: {path}, which has some; save them again with a numeric or string dtype, or, if you trust "
                "the file, pass `--unsafe` (unsafe=True in Python)"
            ) from error
        if "pickle" in reason:  # NumPy's guess about every file whose beginning it does not know
            reason = "not a zip file"
        raise ValueError(
            f"`npz:` needs a complete file written by np.savez. Received: {path}, which can't be read ({reason}); "
            "if it was copied or downloaded, do that again"
        ) from error


def _plain(array):
    """An array of objects, which only a trusted file brings this far, as the array of numbers or strings it holds."""
    return np.array(array.tolist()) if array.dtype == object else array


def _split(arrays, suffix, class_names, path):
    images = as_pixels(arrays[f"images{suffix}"], f"`images{suffix}` of {path}")
    labels = _labels(arrays[f"labels{suffix}"], f"`labels{suffix}` of {path}")
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


def _labels(labels, name):
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        hint = "; labels=labels.argmax(axis=1) turns one-hot rows into classes" if labels.ndim == 2 else ""
        raise ValueError(f"{name} must have shape (N,) or (N, 1). Received: shape {labels.shape}{hint}")
    if labels.dtype.kind == "f":
        if not (np.isfinite(labels) & (labels == np.round(labels))).all():
            raise ValueError(f"{name} must be whole numbers. Received: dtype {labels.dtype} with fractions or NaN")
    elif labels.dtype.kind not in "ui":
        raise ValueError(
            f"{name} must be whole numbers from 0. Received: dtype {labels.dtype}; number the classes "
            "(np.unique(labels, return_inverse=True)) and save their names as `class_names`"
        )
    return labels.astype(np.int64)


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


def _listed(keys):
    return ", ".join(f"`{key}`" for key in keys)
