"""Out-of-distribution generalization: accuracy on the same classes in images of another origin.

A model trained on CIFAR-10 is judged on the ImageNet images of CINIC-10, say (Darlow et al., 2018). The label 3 of
another set need not be the model's class 3: classes are matched by name, and by number only where a set has no names.
"""

import difflib
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from tfnoisekd.data import Split, catalog
from tfnoisekd.evaluation import accuracy, prediction

SHOWN = 5  # how many of many classes a message names


@dataclass(frozen=True, eq=False)
class OtherImages:
    """Images to judge a model on, of a set it was not trained on. Made by `load`.

    Args:
        source: The name they were loaded by.
        part: Which of the source's images they are: `test`, `all` or the name of a `tfds:` split.
        split: Images and labels, a `data.Split`.
        class_names: The source's own name of each class, in the order of its labels.
    """

    source: str
    part: str
    split: Split
    class_names: tuple[str, ...]


def load(source, *, input_shape=None, trained_class_names=None, **options):
    """Loads all images of a data set that are meant for testing, and checks that they fit a model.

    Of a set with a test part these are its test images; of a set in one part they are all images, nothing held out.

    Args:
        source: Name of any data set that `data.load` takes, such as `tfds:cinic10/imagenet_sample`, `npz:PATH`.
        input_shape: (height, width, channels) that the model takes, None on a side it leaves open; None for no check.
        trained_class_names: Names of the model's classes, in the order of its logits; None for no check.
        options: `data_dir`, `image_size`, `skip_bad_images` and `unsafe`, as of `data.load`.

    Returns:
        An `OtherImages`.

    Raises:
        ValueError: If the source, an option, its images or its classes are not what they must be.
        OSError: If files are missing or can't be read or downloaded.

    Example:

    >>> images = load("npz:photos.npz", input_shape=(32, 32, 3), image_size=32)
    """
    split, class_names, part = catalog.load_for_testing(source, **options)
    _check_images(split.images, input_shape, f"`{source}`")
    if trained_class_names is not None:
        align(split.labels, class_names, trained_class_names)
    return OtherImages(source, part, split, class_names)


def evaluate(model, split, class_names, *, trained_class_names, source=None, part=None, teacher=None, batch_size=256):
    """How well a model does on images of another set with its classes, or some of them; ready for JSON.

    The model may answer with any of its classes, those without images too.

    Args:
        model: A `keras.Model`: images in [0, 1] -> logits (batch, num_classes).
        split: An object with `.images` (n, height, width, channels), uint8 or float in [0, 1], and `.labels` (n,),
            integers that number `class_names`.
        class_names: The other set's name of each class, in the order of its labels.
        trained_class_names: The names of the model's classes, in the order of its logits.
        source: What the other set is called, for the results.
        part: Which of its images these are, for the results.
        teacher: Optional `keras.Model` of the model's classes, to compare with.
        batch_size: Images per forward pass.

    Returns:
        What `accuracy.evaluate` returns, its classes being the model's, with `source`, `part`,
        `classes_matched_by` (`name` or `number`) and `classes_without_images`, a list of the model's classes.

    Raises:
        ValueError: If the classes do not match, or the images do not fit the model.

    Example:

    >>> other = load("tfds:cinic10/imagenet_sample")
    >>> evaluate(student, other.split, other.class_names, trained_class_names=data.class_names)["accuracy"]
    """
    labels, matched_by = align(split.labels, class_names, trained_class_names)
    _check_images(split.images, prediction.image_shape(model), "`split`")
    aligned = SimpleNamespace(images=split.images, labels=labels)
    results = accuracy.evaluate(model, aligned, trained_class_names, teacher=teacher, batch_size=batch_size)
    counts = np.bincount(labels, minlength=len(trained_class_names))
    return {
        "source": source,
        "part": part,
        **results,
        "classes_matched_by": matched_by,
        "classes_without_images": [str(trained_class_names[label]) for label in np.flatnonzero(counts == 0)],
    }


def align(labels, class_names, trained_class_names):
    """Labels of another set as the numbers that a model has for the same classes.

    Names match whatever their case. They may come in another order, and be some of the model's only. Names that are
    nothing but the numbers from 0 say nothing: where either set has such, label 3 is the model's class 3.

    Args:
        labels: Integer array (n,), 0..len(class_names)-1.
        class_names: The other set's name of each class, in the order of its labels.
        trained_class_names: The model's, in the order of its logits.

    Returns:
        (labels (n,) int64, `name` or `number`).

    Raises:
        ValueError: If labels lie outside `class_names`, or a class of the other set is not one of the model's.

    Example:

    >>> align([0, 0, 1], ["Dog", "Cat"], ["cat", "dog", "horse"])
    (array([1, 1, 0]), 'name')
    """
    labels, names, known = np.asarray(labels), list(map(str, class_names)), list(map(str, trained_class_names))
    if labels.dtype.kind not in "ui" or (labels.size and not 0 <= labels.min() <= labels.max() < len(names)):
        raise ValueError(
            f"`labels` must be integers in 0..{len(names) - 1}, which number the {len(names)} class names. Received: "
            f"dtype {labels.dtype}" + (f", values from {labels.min()} to {labels.max()}" if labels.size else "")
        )
    if _only_numbers(names) or _only_numbers(known):
        numbers, matched_by = _by_number(names, known), "number"
    else:
        numbers, matched_by = _by_name(names, known), "name"
    return np.array(numbers, np.int64)[labels.astype(np.int64)], matched_by


def _only_numbers(names):
    return sorted(names) == sorted(str(number) for number in range(len(names)))


def _by_number(names, known):
    """The model's number of each class; a folder sorts `10` before `2`, so that numbers are read, not counted."""
    if len(names) > len(known):
        raise ValueError(
            f"Classes without names are matched by number, so there must be at most the model's {len(known)}. "
            f"Received: {len(names)} classes; give both sets class names (`class_names` of an npz), or leave out the "
            f"images of labels {len(known)} and above"
        )
    numbers = [int(name) for name in names] if _only_numbers(names) else range(len(names))
    order = [int(name) for name in known] if _only_numbers(known) else list(range(len(known)))
    return [order.index(number) for number in numbers]


def _by_name(names, known):
    folded = [name.casefold() for name in known]
    plain = len(set(folded)) == len(folded) and len({name.casefold() for name in names}) == len(names)
    fold = str.casefold if plain else str  # where case alone tells two classes apart, it counts
    number = {fold(name): i for i, name in enumerate(known)}
    if missing := [name for name in names if fold(name) not in number]:
        nearest = {name: difflib.get_close_matches(name.casefold(), folded, n=1) for name in missing[:SHOWN]}
        listed = [f"{name!r}" + (f" (nearest: {near[0]!r})" if near else "") for name, near in nearest.items()]
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise ValueError(
            f"`class_names` must be among the {len(known)} that the model was trained on: {', '.join(known[:20])}"
            f"{', ...' if len(known) > 20 else ''}. Received: {len(missing)} others: {', '.join(listed)}{more}; "
            "rename those classes to the model's, or leave their images out"
        )
    return [number[fold(name)] for name in names]


def _check_images(images, input_shape, owner):
    """Raises a ValueError where size or channels differ from what the model takes."""
    shape = np.shape(images)[1:]
    if input_shape is None or len(input_shape) != 3 or len(shape) != 3:
        return  # other shapes are told apart by `accuracy.evaluate`
    kinds = {1: "greyscale", 3: "RGB"}
    *size, channels = input_shape
    if channels not in (None, shape[2]):
        raise ValueError(
            f"{owner} must have images with {channels} channels ({kinds.get(channels, 'other')}), as the model takes. "
            f"Received: {shape[2]} ({kinds.get(shape[2], 'other')}); convert the images, greyscale to RGB for example "
            "with np.repeat(images, 3, axis=-1), and pass them as npz:PATH"
        )
    if any(want not in (None, got) for want, got in zip(size, shape[:2], strict=True)):
        way_out = f"image_size={size[0]} (--image-size {size[0]})" if size[0] == size[1] else "another model"
        raise ValueError(
            f"{owner} must have images of {size[0]}x{size[1]} pixels (height x width), as the model takes. "
            f"Received: {shape[0]}x{shape[1]}; resize them when they are loaded, with {way_out}"
        )
