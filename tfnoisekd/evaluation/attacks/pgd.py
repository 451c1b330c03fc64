"""Projected gradient descent from several random starts, without work whose outcome is known."""

import time
import weakref
from dataclasses import dataclass

import keras
import numpy as np

from tfnoisekd.evaluation import calibration, prediction
from tfnoisekd.evaluation.attacks import starts
from tfnoisekd.evaluation.attacks.schedule import Schedule

SAVE_EVERY = 20  # seconds
SUM_TOLERANCE = 1e-3  # how far the sum of a row of probabilities may be from 1
_loops = weakref.WeakKeyDictionary()  # model -> {(backend, norm, image shape): compiled function}


@dataclass(frozen=True, eq=False)
class Target:
    """What is attacked.

    Args:
        model: A `keras.Model`: images in [0, 1] -> logits (batch, num_classes).
        images: (n, height, width, channels), uint8 or float in [0, 1].
        labels: int32 (n,), the true classes.
        numbers: Integers (n,) of at least 0, which decide the random starts of each example.
        right: Booleans (n,), whether the model is right on the clean image.
    """

    model: keras.Model
    images: np.ndarray
    labels: np.ndarray
    numbers: np.ndarray
    right: np.ndarray


def aim(model, chosen, batch_size):
    """The `Target` that a model and some `Examples` are, after one pass over the clean images.

    Raises:
        ValueError: If images, labels and model do not fit, or the model gives something else than finite logits.
    """
    logits = prediction.predict_logits(model, chosen.images, batch_size)
    labels = calibration.check_labels(chosen.labels, *logits.shape)
    if logits.shape[1] < 2:
        raise ValueError(
            "`model` must give one logit for each of at least 2 classes. Received: 1 output; for two classes, give the "
            "logits (0, z) instead of z."
        )
    if (logits >= 0).all() and (np.abs(logits.sum(axis=1) - 1) < SUM_TOLERANCE).all():
        raise ValueError(
            "`model` must give logits. Received: outputs that are never negative and add up to 1, so probabilities; "
            "their gradients vanish where the model is confident, which hides weaknesses. Take the softmax off: "
            "`keras.Model(model.input, ...)` up to the layer before it, or a last layer without activation."
        )
    return Target(model, chosen.images, labels.astype(np.int32), chosen.numbers, logits.argmax(axis=1) == labels)


def run(target, settings, steps, batch_size, progress=None, keep=None, done=None):
    """Attacks the images that are classified rightly, until each is broken or has survived all restarts.

    Args:
        target: `Target`.
        settings: `Settings`.
        steps: Numbers of steps, ascending: each is an attack of its own, and a longer one continues a shorter one.
        batch_size: Images per step, at most.
        progress: Function of (number of examples that are decided, n), called after every batch.
        keep: float32 array like the images, which gets the adversarial ones; where one number of steps is given.
        done: Mapping with the state of an interrupted attack of the same arguments, which goes on from there; it gets
            the state of this one, at least every `SAVE_EVERY` seconds and at the end, in values ready for JSON.

    Returns:
        (broken_by, strength): `Schedule.broken_by`, int (len(steps), n); and the sum of the absolute gradients that
        each example got on the way, float (len(steps), n).

    Raises:
        ValueError: If no image gets a gradient, or gradients or logits are not finite.
    """
    schedule = Schedule(target.right, settings.restarts, len(steps), batch_size)
    strength, key, saved = np.zeros(schedule.broken_by.shape), _key(settings, steps), time.monotonic()
    if done and key in done:
        schedule.state, strength = done[key], np.array(done[key]["strength"])
    while (batch := schedule.take()) is not None:
        examples, restarts, _ = batch
        for level, passed in enumerate(_passes(target, settings, steps, *batch)):
            images, logits, gradients = passed
            np.add.at(strength[level], examples, gradients)
            wrong = logits.argmax(axis=1) != target.labels[examples]
            if not schedule.record(level, examples, restarts, wrong):
                break
        if keep is not None:
            chosen = schedule.deciding(examples, restarts, wrong)
            keep[examples[chosen]] = keras.ops.convert_to_numpy(images)[: len(examples)][chosen]
        if schedule.all_started():
            _check_gradients(target.model, strength[0, target.right])
        decided = schedule.decided()
        if done is not None and (decided == len(target.labels) or time.monotonic() - saved > SAVE_EVERY):
            done[key], saved = {**schedule.state, "strength": strength.tolist()}, time.monotonic()
        if progress is not None:
            progress(decided, len(target.labels))
    return schedule.broken_by, strength


def backend_loop():
    """The module with the compiled loop for the backend in use.

    Raises:
        ValueError: If the backend is neither TensorFlow nor JAX.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from tfnoisekd.evaluation.attacks import loop_tensorflow as module
    elif backend == "jax":
        from tfnoisekd.evaluation.attacks import loop_jax as module
    else:
        raise ValueError(f"The attack needs the backend tensorflow or jax. Received: KERAS_BACKEND={backend}")
    return module


def _key(settings, steps):
    return f"pgd_{settings.norm}_{settings.epsilon!r}_{'_'.join(map(str, steps))}"


def _passes(target, settings, steps, examples, restarts, rows):
    """For each number of steps: images (rows, ...), logits (pairs, num_classes), sums of gradients so far (pairs,)."""
    loop, pairs = _compiled(target.model, settings.norm, target.images.shape[1:]), len(examples)
    clean = next(prediction.unit_batches(target.images[rows], len(rows)))
    current = starts.draw(clean[:pairs], target.numbers[examples], restarts, settings)
    current = np.pad(current, ((0, len(rows) - pairs), (0, 0), (0, 0), (0, 0)), mode="edge")
    lengths, stop = (np.float32(settings.epsilon), np.float32(settings.step)), np.bool_(settings.iterate == "any")
    strength = np.zeros(pairs)
    for more in np.diff(steps, prepend=0):
        current, *results = loop(clean, current, target.labels[rows], *lengths, np.int32(more), stop)
        logits, gradients = (keras.ops.convert_to_numpy(each)[:pairs] for each in results)
        _check_finite(target.model, logits, gradients)
        strength = strength + gradients
        yield current, logits, strength


def _compiled(model, norm, shape):
    """The compiled function for a model; kept as long as the model lives, so that nothing is compiled twice."""
    known, key = _loops.setdefault(model, {}), (keras.backend.backend(), norm, tuple(shape))
    if key not in known:
        known[key] = backend_loop().compiled(model, norm, shape)
    return known[key]


def _check_finite(model, logits, gradients):
    bad = ~np.isfinite(gradients)
    if bad.any():
        raise ValueError(
            f"`model` must have finite gradients. Received: NaN or infinity from {model.name} for {bad.sum()} of "
            f"{len(bad)} images of a batch; look for a root or a division at 0, or compute in float32."
        )
    calibration.check_logits(logits, f"logits of {model.name} under attack")


def _check_gradients(model, strength):
    if len(strength) and not strength.any():
        raise ValueError(
            "`model` must have gradients with respect to its images. Without them the attack stands still, and its "
            f"robust accuracy would mean nothing (gradient masking). Received: {model.name}, whose gradients are 0 or "
            f"None for all {len(strength)} images that were attacked. Attack a version without what stops them "
            "(rounding, argmax, stop_gradient, half precision, logits so large that the softmax saturates), or use an "
            "attack that needs none: `square` of `evaluation.ensemble` (command line: --attack square)."
        )
