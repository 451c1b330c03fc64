"""Data sets by name: which there are, and how each becomes training, validation and test data."""

import difflib
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tfnoisekd.data import corruption, digits, folder, human_labels, npz, splits, tfds
from tfnoisekd.data.image_data import ImageData
from tfnoisekd.data.pixels import check_image_size, resize


@dataclass(frozen=True)
class Source:
    """A row of the table of data sets.

    Args:
        pattern: How it is named, with upper-case placeholders.
        description: What it is.
        download: Whether its first use needs the network.
        example: A name that can be passed to `load`.
    """

    pattern: str
    description: str
    download: bool
    example: str


SOURCES = (
    Source("digits", "scans of handwritten digits, 16x16x1, 10 classes; part of scikit-learn", False, "digits"),
    Source("cifar10", "CIFAR-10 photos, 32x32x3, 10 classes; short for tfds:cifar10", True, "cifar10"),
    Source("svhn", "Street View house numbers, 32x32x3, 10 classes; short for tfds:svhn_cropped", True, "svhn"),
    Source("tfds:NAME", "any image classification set of TensorFlow Datasets; cinic10 too", True, "tfds:cifar100"),
    Source("folder:PATH", "JPEG or PNG files in [train/ and test/] class sub-folders", False, "folder:photos"),
    Source("npz:PATH", "arrays `images` and `labels` [`images_test`, `labels_test`]", False, "npz:photos.npz"),
)
SHORT_NAMES = {"cifar10": "tfds:cifar10", "svhn": "tfds:svhn_cropped"}
# How each kind is read, and which of the options of `load` it takes.
READERS = {
    "digits": (digits.read, ()),
    "tfds": (tfds.read, ("data_dir", "image_size")),
    "folder": (folder.read, ("image_size", "skip_bad_images")),
    "npz": (npz.read, ("unsafe",)),
}
# Crop padding as a divisor of the image size (None: no crop), and whether to flip. Digits mean something else when
# mirrored; a sixteenth of a doubled scan is half of one scanned pixel; house numbers have their neighbours beside them.
AUGMENTATION = {"digits": (16, False), "tfds:cifar10": (8, True), "tfds:svhn_cropped": (None, False)}
DEFAULT_AUGMENTATION = (8, True)


def sources():
    """The data sets that `load` knows, as a list of `Source` rows."""
    return list(SOURCES)


def load(
    name,
    *,
    data_dir=None,
    image_size=None,
    validation_size=0.1,
    test_size=0.2,
    split_seed=0,
    skip_bad_images=False,
    unsafe=False,
    label_corruption=None,
    corruption_kind="symmetric",
    corruption_seed=0,
    corruption_file=None,
):
    """Loads a data set into memory, in training, validation and test parts.

    Args:
        name: `digits`, `cifar10`, `svhn`, `tfds:NAME`, `folder:PATH` or `npz:PATH`; see `sources()`.
        data_dir: Where TensorFlow Datasets finds and puts prepared data sets; None for its default. Only for `tfds:`.
        image_size: Height and width in pixels that images are resized to; None keeps their size.
        validation_size: What is cut from the training data, never from the test data: a fraction in (0, 1) of them, or
            a number of examples; 0 for no validation part.
        test_size: The same for the test part, at least 1 example, cut first; used only where the source has no test
            part of its own.
        split_seed: Integer that alone decides both cuts. They keep the share of each class.
        skip_bad_images: Whether to leave out image files that can't be decoded. Only for `folder:`.
        unsafe: Whether to unpickle arrays of objects, which can run code hidden in the file. Only for `npz:` and
            `corruption_file`.
        label_corruption: Share of the training labels to replace by wrong ones, in [0, 1]; None for none. Labels of the
            validation and test parts always stay as they are.
        corruption_kind: How: `symmetric` (a class drawn uniformly from all), `pair` (the next class) or
            `cifar10n:KIND`, labels that people gave, with KIND one of clean, aggre, worse, random1, random2, random3.
        corruption_seed: Integer that alone decides, with an example's position in the source, which label it gets.
        corruption_file: Human labels, an `.npz` file of CIFAR-10N's layout. It decides the rate: `label_corruption` may
            be left out, and must otherwise be within 0.02 of the file's.

    Returns:
        An `ImageData`; its `corruption` says which labels were replaced.

    Raises:
        ValueError: If an argument or the data is not what it must be; the message says what, and what to do.
        OSError: If files are missing or can't be read or downloaded (`FileNotFoundError`, `ConnectionError`).

    Example:

    >>> data = load("digits")
    >>> len(data.train), len(data.validation), len(data.test), data.input_shape
    (1293, 144, 360, (16, 16, 1))
    """
    full_name, kind, place = _parse(name)
    check_image_size(image_size)
    splits.check_size(validation_size, "validation_size")
    splits.check_size(test_size, "test_size", at_least=1)
    splits.check_seed(split_seed)
    wrong = {"rate": label_corruption, "kind": corruption_kind, "seed": corruption_seed}
    corruption.check(**wrong, file=corruption_file)
    human = None
    if corruption_file is not None:  # before the images: what is wrong with it shows at once
        human = human_labels.read(corruption_file, corruption_kind, label_corruption, unsafe=unsafe)
    options = {"data_dir": data_dir, "image_size": image_size, "skip_bad_images": skip_bad_images, "unsafe": unsafe}
    raw = _read(READERS[kind], place, options)
    _check_classes(name, raw)
    if human is not None:
        human.check_fits(raw.train, len(raw.class_names))
    train, validation, test = _parts(_numbered(raw.train), raw.test, validation_size, test_size, split_seed)
    train, corrupted = corruption.corrupt(train, len(raw.class_names), **wrong, human=human)
    train, validation, test = (_resized(split, image_size) for split in (train, validation, test))
    divisor, flip = AUGMENTATION.get(full_name, DEFAULT_AUGMENTATION)
    padding = min(train.images.shape[1:3]) // divisor if divisor else 0
    return ImageData(name, train, validation, test, raw.class_names, padding, flip, corrupted)


def load_for_testing(name, *, data_dir=None, image_size=None, skip_bad_images=False, unsafe=False):
    """Loads all images of a data set that are meant for testing: those to judge a model on that another set trained.

    Where the source has a test part, these are its images. Where it has none (an `npz:` file with `images` and `labels`
    only, a `folder:` of class folders), nothing is held out: they are all its images. Of a `tfds:` set only the one
    split is read: `test`, else `validation`, else `train`; a configuration without a `train` split will do.

    Args: As those of `load`.

    Returns:
        (`Split`, class names, part): part says which images these are, `test`, `all` or the name of the `tfds:` split.

    Raises:
        ValueError, OSError: As `load` does.

    Example:

    >>> split, class_names, part = load_for_testing("digits")
    >>> len(split), len(class_names), part
    (360, 10, 'test')
    """
    _, kind, place = _parse(name)
    check_image_size(image_size)
    options = {"data_dir": data_dir, "image_size": image_size, "skip_bad_images": skip_bad_images, "unsafe": unsafe}
    if kind == "tfds":
        split, class_names, part = _read((tfds.read_for_testing, READERS[kind][1]), place, options)
    else:
        raw = _read(READERS[kind], place, options)
        split, part = (raw.train, "all") if raw.test is None else (raw.test, "test")
        class_names = raw.class_names
    _check_names(name, class_names)
    _check_test_labels(name, split, class_names)
    return _resized(split, image_size), class_names, part


def _read(reader, place, options):
    read, takes = reader
    return read(*([place] if place else []), **{option: options[option] for option in takes})


def _parse(name):
    """(full name without version or configuration, kind of source, the place that follows the colon)."""
    full_name = SHORT_NAMES.get(name, name) if isinstance(name, str) else ""
    kind, colon, place = full_name.partition(":")
    if kind not in READERS or bool(place) != (kind != "digits") or bool(colon) != bool(place):
        patterns = ", ".join(source.pattern for source in SOURCES)
        raise ValueError(f"`name` of a data set must be one of {patterns}. Received: {name!r}{_hint(name)}")
    base = re.split("[:/]", place)[0] if kind == "tfds" else place
    return f"{kind}:{base}" if base else kind, kind, place


def _hint(name):
    if not isinstance(name, str) or not name:
        return ""
    path = Path(name).expanduser()
    if path.is_dir():
        return f"; did you mean 'folder:{name}'?"
    if path.suffix == ".npz":
        return f"; did you mean 'npz:{name}'?"
    kind, _, place = name.partition(":")
    patterns = dict(source.pattern.partition(":")[::2] for source in SOURCES)
    meant = []
    for near in difflib.get_close_matches(kind.lower(), patterns, n=1):
        meant.append(f"{near}:{place or patterns[near]}" if patterns[near] else near)
    if name.isidentifier() and name.lower() not in patterns:
        meant.append(f"tfds:{name}")
    return f"; did you mean {' or '.join(map(repr, meant))}?" if meant else ""


def _check_classes(name, raw):
    names = raw.class_names
    if len(names) < 2:
        raise ValueError(f"A data set must have at least two classes. Received: {name!r} with {len(names)}")
    _check_names(name, names)
    counts = np.bincount(raw.train.labels, minlength=len(names))
    if empty := [f"{label} ({names[label]})" for label in np.flatnonzero(counts == 0)]:
        raise ValueError(
            f"Every class must have a training example. Received: {name!r} with none in {len(empty)} of {len(names)} "
            f"classes: {', '.join(empty[:5])}{', ...' if len(empty) > 5 else ''}; number the classes without gaps"
        )
    if raw.test is not None:
        _check_test_labels(name, raw.test, names)


def _check_names(name, names):
    if len(set(names)) < len(names):
        twice = sorted({other for other in names if names.count(other) > 1})
        raise ValueError(f"Class names must differ. Received: {name!r} with {', '.join(twice)} more than once")


def _check_test_labels(name, test, names):
    if test.labels.max() >= len(names):
        raise ValueError(
            f"Test labels must be among the {len(names)} training classes. "
            f"Received: {name!r} with the test label {test.labels.max()}"
        )


def _parts(train, test, validation_size, test_size, seed):
    """(training, validation, test part), of which a source has the last, or not."""
    if test is None:
        train, test = splits.hold_out(train, test_size, seed=seed, draw=splits.TEST, argument="test_size")
    train, validation = splits.hold_out(
        train, validation_size, seed=seed, draw=splits.VALIDATION, argument="validation_size"
    )
    return train, validation, test


def _resized(split, image_size):
    return None if split is None else replace(split, images=resize(split.images, image_size))


def _numbered(train):
    """A training split with positions: the source's own, or its order."""
    return train if train.indices is not None else replace(train, indices=np.arange(len(train), dtype=np.int64))
