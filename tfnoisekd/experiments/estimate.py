"""How long a grid will take: from steps that are measured here and now, or from its own finished runs."""

import math
import time
from typing import NamedTuple

from tfnoisekd import architectures, methods
from tfnoisekd.evaluation.corruptions.catalog import NAMES, SEVERITIES
from tfnoisekd.experiments.questions import PGD

# Training and test images, shape and classes of sets that may have to be downloaded first.
PUBLISHED = {"cifar10": (50_000, 10_000, (32, 32, 3), 10), "svhn": (73_257, 26_032, (32, 32, 3), 10)}
STEPS, WARM_UP = 3, 1  # of a measurement
OTHER_IMAGES = 21_000  # of CINIC-10's sample, where another set's size is not known


class Speed(NamedTuple):
    """Seconds of one network on this machine: of a training step, and of a forward pass over a batch."""

    step: float
    forward: float


class Sizes(NamedTuple):
    """What of a data set decides the time: numbers of images, their shape, and the number of classes."""

    train: int
    test: int
    shape: tuple
    classes: int


def sizes(config, load):
    """`Sizes` of a configuration's data; those of the published sets are known without a download.

    Args:
        config: Resolved `Config`.
        load: Function of a `Config` that returns a `data.ImageData`.
    """
    if config.data in PUBLISHED:
        train, test, shape, classes = PUBLISHED[config.data]
        held_out = config.validation_size * train if config.validation_size < 1 else config.validation_size
        return Sizes(round(train - held_out), test, shape, classes)
    data = load(config)
    return Sizes(len(data.train), len(data.test), data.input_shape, data.num_classes)


def measure(name, batch_size, found):
    """Trains a network for a few steps on random images.

    Args:
        name: Such as "wrn-16-2".
        batch_size: Images of a step.
        found: `Sizes`.

    Returns:
        A `Speed`.
    """
    import keras
    import numpy as np

    from tfnoisekd import models
    from tfnoisekd.distiller import Distiller

    rng = np.random.default_rng(0)
    images = rng.random((batch_size, *found.shape), dtype="float32")
    labels = rng.integers(0, found.classes, batch_size).astype("int32")
    distiller = Distiller(None, models.from_name(name, found.classes, found.shape))
    distiller.compile(optimizer=keras.optimizers.SGD(0.01), jit_compile=keras.backend.backend() == "jax")
    step = _seconds(lambda: distiller.train_on_batch(images, labels))
    forward = _seconds(lambda: distiller.student.predict_on_batch(images))
    return Speed(step, forward)


def _seconds(call):
    for _ in range(WARM_UP):
        call()
    start = time.perf_counter()
    for _ in range(STEPS):
        call()
    return (time.perf_counter() - start) / STEPS


def training_seconds(config, found, speeds):
    """Seconds of a training: its steps, those of the teacher's forward passes, and none of the evaluations.

    Args:
        config: Resolved `Config`.
        found: `Sizes` of its data.
        speeds: Dict of network -> `Speed`.
    """
    steps = config.epochs * math.ceil(found.train / config.batch_size)
    teacher = speeds[config.teacher].forward if _asks_teacher(config) else 0.0
    return steps * (speeds[config.student].step + teacher)


def question_seconds(question, options, found, batch_size, speed):
    """Seconds of one evaluation, at most: attacks leave out images that are broken already.

    Args:
        question: Name.
        options: Its options.
        found: `Sizes`.
        batch_size: Images of a measured step.
        speed: `Speed` of the network.
    """
    images = min(options.get("limit") or found.test, found.test)
    per_image, gradient = speed.forward / batch_size, speed.step / batch_size
    if question == "pgd":
        chosen = {**PGD, **options}
        return images * gradient * max(chosen["steps"]) * chosen["restarts"] * len(chosen["epsilon"])
    if question == "corruptions":
        sets = len(options.get("corruptions") or NAMES) * len(options.get("severities") or SEVERITIES)
        return images * per_image * sets
    if question == "ensemble":
        return images * (gradient * 10 * options.get("steps", 100) + per_image * options.get("queries", 5000))
    if question == "smoothing":
        return images * per_image * (options.get("n", 10_000) + 100)
    return OTHER_IMAGES * per_image


def networks(jobs):
    """Which networks have to be measured: a dict of (name, batch size, data) -> a configuration that needs it."""
    found = {}
    for job in jobs:
        config = job.own_config
        for name in (config.student, *([config.teacher] if _asks_teacher(config) else [])):
            found.setdefault((name, config.batch_size, config.data), config)
    return found


def _asks_teacher(config):
    return methods.get(config.method).distils and architectures.is_name(config.teacher)
