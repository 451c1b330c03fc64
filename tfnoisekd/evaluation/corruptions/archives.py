"""What CIFAR-10-C is published as: `.npy` files, and data sets of TensorFlow Datasets.

An archive has `name`, `image_shape` (height, width, channels), `labels` (n,) of one severity, `images(name, severity)`
of that order, uint8 (n, height, width, channels), and `mildest()`, images that are hardly corrupted.
"""

from pathlib import Path

import numpy as np

from tfnoisekd.data import tfds
from tfnoisekd.data.arrays import as_labels
from tfnoisekd.evaluation.corruptions.catalog import NAMES, SEVERITIES

# By how little they change an image; the others come after these.
MILD = ("gaussian_blur", "defocus_blur", "pixelate", "speckle_noise", "shot_noise", "jpeg_compression", "brightness")
TFDS_NAMES = {"glass_blur": "frosted_glass_blur", "elastic_transform": "elastic"}  # where they differ from the files'


class Files:
    """The files of zenodo.org/records/2535967: `NAME.npy`, uint8 (5n, height, width, channels), `labels.npy`, (5n,).

    The n images at severity 1 come first, those at severity 5 last; n is 10,000 there, and any number here. The files
    are mapped into memory, so only what is used is read.

    Args:
        folder: The folder of the files.
        sets: The pairs (corruption, severity) that will be asked for.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is of another kind, shape or dtype.
    """

    def __init__(self, folder, sets):
        self.name, self._folder = f"folder:{folder}", Path(folder).expanduser()
        self.labels = self._labels()
        self._maps = {}
        for name, _ in sets:  # all of them now, rather than after hours
            self._map(name)
        self.image_shape = self._map(sets[0][0]).shape[1:]

    def images(self, name, severity):
        n = len(self.labels)
        return self._map(name)[(severity - 1) * n : severity * n]

    def mildest(self):
        there = [name for name in (*MILD, *NAMES) if (self._folder / f"{name}.npy").is_file()]
        return self.images(there[0], 1)

    def _map(self, name):
        if name not in self._maps:
            path = self._folder / f"{name}.npy"
            images = _open(path)
            rows, shape = len(SEVERITIES) * len(self.labels), getattr(self, "image_shape", images.shape[1:])
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape != (rows, *shape):
                raise ValueError(
                    f"{path} must hold uint8 images (N, height, width, channels), N = {rows} as in labels.npy, five "
                    f"times the same examples. Received: dtype {images.dtype} and shape {images.shape}"
                )
            self._maps[name] = images
        return self._maps[name]

    def _labels(self):
        path = self._folder / "labels.npy"
        labels = as_labels(np.asarray(_open(path)), str(path))
        n = len(labels) // len(SEVERITIES)
        if n == 0 or len(labels) % len(SEVERITIES) or (labels.reshape(-1, n) != labels[:n]).any():
            raise ValueError(
                f"{path} must hold the labels of the examples five times, once for each severity. Received: "
                f"{len(labels)} labels that are no five equal parts"
            )
        return labels[:n]


class Prepared:
    """`cifar10_corrupted/NAME_SEVERITY` of TensorFlow Datasets, each read when it is asked for.

    What is prepared under `data_dir` is read offline; what isn't is downloaded and prepared, as by `data.load`.

    Args:
        data_dir: Folder of prepared data sets; None for TFDS's own default.
        sets: The pairs (corruption, severity) that will be asked for.

    Raises:
        ConnectionError, OSError, ImportError: As `data.load("tfds:...")`.
        ValueError: If a data set has no test part, or its labels are not those of the others.
    """

    name = "tfds:cifar10_corrupted"

    def __init__(self, data_dir, sets):
        self._data_dir = data_dir
        self._mildest = min(sets, key=lambda pair: (pair[1], (*MILD, *NAMES).index(pair[0])))
        self._last = None, None
        self.labels = None
        first = self._read(*self._mildest)
        self.labels, self.image_shape = first.labels, first.images.shape[1:]

    def images(self, name, severity):
        return self._read(name, severity).images

    def mildest(self):
        return self.images(*self._mildest)

    def _read(self, name, severity):
        configuration = f"cifar10_corrupted/{TFDS_NAMES.get(name, name)}_{severity}"
        if self._last[0] != configuration:  # only the last is kept
            split, _, part = tfds.read_for_testing(configuration, data_dir=self._data_dir)
            if part != "test":
                raise ValueError(f"`tfds:{configuration}` must have a `test` split. Received: only `{part}`")
            if self.labels is not None and not np.array_equal(split.labels, self.labels):
                raise ValueError(f"`tfds:{configuration}` must have the labels of the other sets. Received: others")
            self._last = configuration, split
        return self._last[1]


def _open(path):
    if not path.is_file():
        raise FileNotFoundError(
            "The folder of `source` must hold the files of CIFAR-10-C, `labels.npy` and one `NAME.npy` for each "
            f"corruption. Received: no file {path}"
        )
    try:
        return np.load(path, mmap_mode="r")
    except (ValueError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} must be a complete .npy file. Received: one that can't be read ({reason})") from error
