"""Reads `.npz` files, without unpickling anything unless the user says that the file is trusted."""

import zipfile
import zlib

import numpy as np

# First two bytes of files that np.load would open, or offer to, as something else than named arrays.
_KINDS = {b"\x93N": "a single array (.npy)"} | {
    bytes([0x80, protocol]): "a pickle, which can run code when it is read and is refused" for protocol in range(2, 6)
}
_TORCH = "a PyTorch file, which needs unpickling, which can run code, and is refused"
# What NumPy and the zip layer raise for damaged content.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError)


def read_arrays(path, keys, *, owner, way_out, unsafe=False):
    """The arrays of a file that have certain names.

    Args:
        path: `pathlib.Path` of a file written by `np.savez` or `np.savez_compressed`.
        keys: Names of the arrays that are read.
        owner: What asks for the file, for messages: "`npz:`".
        way_out: What to do with a file of another kind, for messages.
        unsafe: Also read object arrays, which need unpickling. Only for files you trust: that can run code.

    Returns:
        Dict of name -> array; None for arrays of other names, which are named but not read.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is of another kind, damaged, or holds object arrays.
    """
    if path.is_dir():
        raise ValueError(f"{owner} needs a file. Received: the folder {path}")
    if not path.exists():
        raise FileNotFoundError(f"{owner} needs an existing file written by np.savez. Received: {path}")
    with path.open("rb") as file:
        kind = _KINDS.get(file.read(2))
    arrays = {} if kind else _load(path, keys, owner, unsafe)
    if any(name.endswith("/data.pkl") for name in arrays):
        kind = _TORCH
    if kind:
        raise ValueError(f"{owner} needs a file written by np.savez. Received: {path}, {kind}; {way_out}")
    return arrays


def as_labels(labels, name):
    """Labels (N,) or (N, 1) of whole numbers as int64 (N,).

    Raises:
        ValueError: If they are anything else; the message names them by `name`.
    """
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


def listed(keys):
    """Names of arrays for a message."""
    return ", ".join(f"`{key}`" for key in keys)


def _load(path, keys, owner, unsafe):
    try:
        # Unpickling runs whatever code a file holds, so an array that needs it is refused.
        with np.load(path, allow_pickle=unsafe) as file:
            # Others are named where one is missing, but not read: they may be large, or need unpickling.
            return {key: _plain(file[key]) if key in keys else None for key in file.files}
    except _DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "Object arrays" in reason:
            raise ValueError(
                f"{owner} reads no object arrays: they need unpickling, which can run code hidden in a file. "
                f"Received: {path}, which has some; save them again with a numeric or string dtype, or, if you trust "
                "the file, pass `--unsafe` (unsafe=True in Python)"
            ) from error
        if "pickle" in reason:  # NumPy's guess about every file whose beginning it does not know
            reason = "not a zip file"
        raise ValueError(
            f"{owner} needs a complete file written by np.savez. Received: {path}, which can't be read ({reason}); "
            "if it was copied or downloaded, do that again"
        ) from error


def _plain(array):
    """An array of objects, which only a trusted file brings this far, as the array of numbers or strings it holds."""
    return np.array(array.tolist()) if array.dtype == object else array
