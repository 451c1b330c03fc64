"""Robustness of a file: does what the Keras student withstands survive the conversion and the quantisation?

An exported file has no gradients, so that PGD can't be aimed at it. Images that were made to fool the Keras student are
run through the file instead: a transfer attack, which finds less than one aimed at the file would, so that its accuracy
is an upper bound of the file's robust accuracy (Athalye et al., 2018, on why masked gradients are no defence).
Corruptions need no gradients: there student and files see the same images.
"""

import dataclasses

import numpy as np

from tfnoisekd.data.splits import check_seed
from tfnoisekd.evaluation import accuracy, adversarial, examples, intervals, prediction
from tfnoisekd.evaluation.calibration import check_labels
from tfnoisekd.evaluation.corruptions.catalog import check_names, check_severities
from tfnoisekd.evaluation.corruptions.generated import Generated
from tfnoisekd.export import checks, serving
from tfnoisekd.export.runtimes import open_file

# mCA is a mean over all corruptions, and quantisation may hurt under any one, so none is left out. Of the severities
# the first, the middle and the last: their mean is that of all five where accuracy falls on a line, and the last is
# where activations leave the ranges that an int8 file has learnt.
SEVERITIES = (1, 3, 5)
LIMIT = 200
# The defaults of `adversarial.attack`, so that the report has them.
PGD = {"norm": "linf", "epsilon": adversarial.EPSILON, "step_size": adversarial.STEP_SIZE}
PGD |= {"steps": adversarial.STEPS, "restarts": adversarial.RESTARTS, "iterate": "final"}
KERAS = "keras"
TRANSFER = "images that fool the Keras student, not this file: an upper bound of its robust accuracy"


@dataclasses.dataclass(frozen=True, eq=False)
class Attacked:
    """Adversarial images of a Keras student, for its files.

    Args:
        images: float32 (n, height, width, channels) in [0, 1].
        labels: Integers (n,).
        keras: What the attack says of the student itself, ready for JSON: `attack`, "adaptive PGD"; `n`;
            `robust_accuracy`, with `robust_interval` (Wilson, 95%); `indices_sha256`, a digest of the examples;
            `limit`, `seed` and the settings of the attack.
    """

    images: np.ndarray
    labels: np.ndarray
    keras: dict


def attack(model, split, *, limit=LIMIT, seed=0, **settings):
    """PGD on the Keras student, once for all its files.

    Args:
        model: A `keras.Model`: images in [0, 1] -> logits (batch, num_classes).
        split: An object with `.images` (n, height, width, channels), uint8 or float in [0, 1], and `.labels` (n,).
            `.indices`, if there, number the examples.
        limit: Number of examples, the same share of each class, those of `adversarial.evaluate`; None for all.
        seed: Integer in [0, 2**32): decides the subset and the random starts.
        settings: Those of `adversarial.attack`, such as epsilon="8/255".

    Returns:
        An `Attacked`.

    Raises:
        ValueError: As `adversarial.attack` does, and if there are fewer examples than `limit`.

    Example:

    >>> attacked = attack(student, dataset.test, limit=500, epsilon="8/255")
    >>> of_file("tflite", "student.tflite", attacked.images, attacked.labels)["transfer_accuracy"]
    """
    chosen = examples.choose(split.images, split.labels, getattr(split, "indices", None), limit, seed)
    settings = {**PGD, **settings}
    images, fooled = adversarial.attack(
        model, chosen.images, chosen.labels, indices=chosen.numbers, seed=seed, **settings
    )
    n, robust = len(fooled), int(np.count_nonzero(~fooled))
    keras = {
        "attack": "adaptive PGD",
        "n": n,
        "robust_accuracy": robust / n,
        "robust_interval": list(intervals.wilson_interval(robust, n)),
        "indices_sha256": chosen.digest,
        "limit": limit,
        "seed": seed,
        **{name: value for name, value in settings.items() if name not in ("progress", "batch_size")},
    }
    return Attacked(images, np.asarray(chosen.labels), keras)


def of_file(format, path, adversarial_images, labels, *, threads=1, batch_size=256):
    """How often a file is right on adversarial images that were made for the Keras student.

    Args:
        format: "tflite", "onnx" or "saved_model".
        path: The file, or the folder of a SavedModel.
        adversarial_images: Array (n, height, width, channels), uint8 or float in [0, 1]: `attack(...).images`.
        labels: Integers (n,), the true classes.
        threads: Number of threads of an inference.
        batch_size: Images per inference.

    Returns:
        A dict ready for JSON: `attack`, "transferred PGD"; `note`, what that means; `n`; `transfer_accuracy`, with
        `transfer_interval` (Wilson, 95%); `rounded`, whether the file's own input is an integer, to which the images
        are rounded, which takes a part of the attack away.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ValueError: If the format, the images or the labels do not fit.
    """
    file = open_file(format, path, threads)
    prediction.check_images(adversarial_images, file.image_shape)
    outputs = file.run(adversarial_images, batch_size)
    n, share = len(outputs), accuracy.top1(outputs, labels)
    return {
        "attack": "transferred PGD",
        "note": TRANSFER,
        "n": n,
        "transfer_accuracy": share,
        "transfer_interval": list(intervals.wilson_interval(round(share * n), n)),
        "rounded": file.input_dtype != "float32",
    }


def under_corruptions(
    model,
    paths,
    split,
    *,
    limit=LIMIT,
    seed=0,
    corruptions=None,
    severities=SEVERITIES,
    threads=1,
    batch_size=256,
    workers=None,
    progress=None,
):
    """A small mCA of the Keras student and of its files, all on the same corrupted images, which are made once.

    Its subset and images are those of `corruptions.evaluate` with the same limit and seed, but it has fewer of both:
    do not compare it with a published mCA; compare the files with their student.

    Args:
        model: The Keras student: images in [0, 1] -> logits (batch, num_classes).
        paths: Mapping of a name -> (format, path) of a file.
        split: An object with `.images` (n, height, width, channels), uint8 or float in [0, 1], and `.labels` (n,).
        limit: Number of clean examples, the same share of each class; None for all.
        seed: Integer in [0, 2**32): decides the subset and the draws of the corruptions.
        corruptions: Names among `corruptions.NAMES`; None for all 19.
        severities: Whole numbers from 1 to 5.
        threads: Number of threads of an inference of a file.
        batch_size: Images per inference.
        workers: Processes that make images, as in `corruptions.evaluate`.
        progress: Function of (number of sets that are done, number of sets), called after each set.

    Returns:
        A dict ready for JSON: `n`, `limit`, `seed`, `indices_sha256`, `corruptions`, `severities`, what the images
        are made by (`source`, `frost`, `versions`), and `models`: "keras" and each name -> what `compare` returns.

    Raises:
        FileNotFoundError: If there is no file at a path.
        ValueError: If an argument is not as described.

    Example:

    >>> found = under_corruptions(student, {"int8": ("tflite", "student.tflite")}, dataset.test)
    >>> found["models"]["keras"]["mini_mca"], found["models"]["int8"]["mini_mca"]
    """
    names, severities = check_names(corruptions), check_severities(severities)
    positions, images, labels = _subset(split, limit, seed)
    predictors = _predictors(model, paths, threads, batch_size)
    source, sets = Generated(images, positions, seed, None, workers), [(a, b) for a in names for b in severities]
    clean = {name: predict(images) for name, predict in predictors.items()}
    classes = {name: [] for name in predictors}
    for number, batch in enumerate(source.chunks(sets, len(images)), 1):
        for name, predict in predictors.items():
            classes[name].append(predict(batch))
        if progress is not None:
            progress(number, len(sets))
    shape = (len(names), len(severities), len(images))
    classes = {name: np.reshape(found, shape) for name, found in classes.items()}
    return {
        "n": len(images),
        "limit": limit,
        **source.settings,
        "indices_sha256": examples.Examples(images, labels, positions).digest,
        "corruptions": list(names),
        "severities": list(severities),
        "versions": source.versions,
        "models": {name: compare(classes[name], classes[KERAS], clean[name], labels, names) for name in predictors},
    }


def compare(classes, keras_classes, clean_classes, labels, names):
    """What the predictions of a file, or of the Keras student itself, say.

    Args:
        classes: Predicted classes of the corrupted images, (corruptions, severities, n).
        keras_classes: Those of the Keras student.
        clean_classes: Predicted classes of the clean images, (n,).
        labels: True classes, (n,).
        names: Names of the corruptions.

    Returns:
        A dict of plain Python numbers: `clean_accuracy`; `mini_mca`, the mean accuracy over all sets;
        `natural_robustness`, the share that is still right of what was right without a corruption (None where nothing
        was); `agreement` with the Keras student over all sets; `accuracy_difference`, `mini_mca` less that of the
        student; `corruptions`, the mean accuracy of each.
    """
    right, keras_right, clean = classes == labels, keras_classes == labels, clean_classes == labels
    return {
        "clean_accuracy": float(clean.mean()),
        "mini_mca": float(right.mean()),
        "natural_robustness": float(right[..., clean].mean()) if clean.any() else None,
        "agreement": float(np.mean(classes == keras_classes)),
        "accuracy_difference": float(right.mean() - keras_right.mean()),
        "corruptions": {name: float(share) for name, share in zip(names, right.mean(axis=(1, 2)), strict=True)},
    }


def _subset(split, limit, seed):
    check_seed(seed, "seed")
    labels = np.asarray(split.labels)
    if len(split.images) == 0 or len(split.images) != len(labels):
        raise ValueError(
            "`split` must hold at least one image and one label for each. "
            f"Received: {len(split.images)} images and {len(labels)} labels"
        )
    positions = examples.positions(check_labels(labels, len(labels), int(labels.max()) + 1), limit, seed)
    return positions, split.images[positions], labels[positions]


def _predictors(model, paths, threads, batch_size):
    """Name -> function of images that returns their classes (n,), the Keras student's first."""
    if KERAS in paths:
        raise ValueError(f"`paths` must not use the name {KERAS!r}, which is the student's. Received: {sorted(paths)}")

    def student(images):
        if checks.input_dtype(model) == "uint8":
            return serving.keras_outputs(model, images).argmax(axis=1)
        return prediction.predict_logits(model, images, batch_size).argmax(axis=1)

    opened = {name: open_file(format, path, threads) for name, (format, path) in paths.items()}
    files = {
        name: lambda images, file=file: file.run(images, batch_size).argmax(axis=1) for name, file in opened.items()
    }
    return {KERAS: student, **files}
