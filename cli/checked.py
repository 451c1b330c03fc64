"""What can be known to be wrong before a model is evaluated for hours, is said before."""

import os
from pathlib import Path

import numpy as np

from tfnoisekd.evaluation import examples, smoothing
from tfnoisekd.evaluation.adversarial import EPSILON, STEP_SIZE
from tfnoisekd.evaluation.attacks.settings import Settings, parse_length
from tfnoisekd.evaluation.corruptions.catalog import check_names, check_severities
from tfnoisekd.evaluation.corruptions.sources import open_source

HINT_IMAGES, HINT_GAIN = 256, 0.3  # how much better a model must be on pixels in 0..255 to be told of it


def check(questions, assessment, data_dir):
    """Raises the error that a question would end in, as far as that can be told without a model being run.

    Raises:
        ValueError: If a setting, or another data set, is not what it must be.
        OSError: If a file is missing.
        ImportError: If a library is missing that a question needs.
    """
    test = assessment.data.test
    asked = [*filter(None, (questions.pgd, questions.corruptions)), *questions.ensembles, *questions.smoothing]
    for limit in {options.get("limit") for options in asked}:
        examples.positions(test.labels, limit, 0)
    for options in filter(None, (questions.pgd, *questions.ensembles)):
        _attack(options, np.prod(test.images.shape[1:]))
    if questions.ensembles:
        from tfnoisekd.evaluation import ensemble

        ensemble.check_available()
    if questions.corruptions is not None:
        _corruptions(questions.corruptions, test, data_dir)
    for source in questions.ood:
        assessment.other_images(source, data_dir)
    for options in questions.smoothing:
        smoothing.check_settings(**{name: options[name] for name in ("sigma", "n", "alpha", "seed") if name in options})


def check_writable(folder):
    """Raises a PermissionError if a folder can't be made or written to."""
    folder = Path(folder)
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} can't be written to: name another folder")


def make_folder(folder):
    """Makes a folder, if there is none; or raises a PermissionError that names it."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermissionError(f"{folder} can't be made ({error.strerror}): name another folder") from error


def pixels_hint(assessment, accuracy):
    """A sentence for a model that seems to expect pixels in 0..255, as many Keras models do; else None."""
    images, labels = assessment.data.test.images[:HINT_IMAGES], assessment.data.test.labels[:HINT_IMAGES]
    if images.dtype == np.uint8:
        images = images.astype("float32") / 255
    chance = 1 / assessment.data.num_classes
    if accuracy > 1 - HINT_GAIN or accuracy > max(0.5, 2 * chance):
        return None  # good enough on [0, 1]
    there = float(np.mean(np.argmax(assessment.model.predict_on_batch(images * 255), axis=1) == labels))
    here = float(np.mean(np.argmax(assessment.model.predict_on_batch(images), axis=1) == labels))
    if there - here < HINT_GAIN:
        return None
    return (
        f"this model is right on {there:.0%} of {len(labels)} images with pixels in 0..255, and on {here:.0%} "
        "in [0, 1], "
        "as it is given them here. Wrap it: "
        "keras.Sequential([keras.Input(shape), keras.layers.Rescaling(255), model])"
    )


def _attack(options, num_values):
    epsilons = options.get("epsilon", EPSILON)
    for epsilon in epsilons if isinstance(epsilons, list) else [epsilons]:
        step = parse_length(options.get("step_size", STEP_SIZE), "step_size")
        settings = (options.get("norm", "linf"), parse_length(epsilon), step, options.get("restarts", 1))
        Settings(*settings, options.get("seed", 0), options.get("iterate", "final")).check_fits(num_values)


def _corruptions(options, test, data_dir):
    names, severities = check_names(options.get("corruptions")), check_severities(options.get("severities", (1,)))
    source, frost = options.get("source"), options.get("frost")
    if source != "tfds":  # which may have to be downloaded, and is opened when its turn comes
        sets = [(name, severity) for name in names for severity in severities]
        given = {"seed": options.get("seed", 0), "frost": frost, "workers": None, "data_dir": None}
        open_source(source, test, np.arange(len(test.labels)), sets, **given)
