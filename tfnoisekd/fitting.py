"""Fits a distiller by the recipe: schedule, determinism, checkpoints, logs. What `Distiller.fit` adds to a run."""

import csv
import math

import keras
import numpy as np

from tfnoisekd.data import Batches
from tfnoisekd.disk import replacing
from tfnoisekd.optimizers import CoupledSGD
from tfnoisekd.teacher_cache import CachedBatches

HISTORY = "history.csv"


class NonFiniteLossError(ArithmeticError):
    """The loss became infinite or not a number."""


def fit(distiller, config, data, folder, checkpoint, progress=None, teacher_cache=None):
    """Trains a distiller on the training split, going on from the last checkpoint if there is one.

    Args:
        distiller: `Distiller`, not compiled.
        config: Resolved `Config`.
        data: `data.ImageData`.
        folder: Run directory, for logs.
        checkpoint: `checkpoints.Checkpoint`.
        progress: Keras callback that shows the training.
        teacher_cache: `teacher_cache.TeacherCache` of the training images, so that the teacher is asked once.

    Raises:
        NonFiniteLossError: If the loss stops being a number.
        OSError: If a checkpoint can't be written; the last good one stays.
    """
    batches, callbacks, start = prepare(distiller, config, data, folder, checkpoint, teacher_cache)
    if start >= config.epochs:
        return
    if keras.backend.backend() == "tensorflow":
        callbacks.append(keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False))
    if progress is not None:
        callbacks.append(progress)
    validation = Batches(data.validation, 256) if data.validation else None
    distiller.fit(
        batches,
        epochs=config.epochs,
        initial_epoch=start,
        validation_data=validation,
        callbacks=callbacks,
        shuffle=False,  # the batches shuffle themselves, by seed and epoch
        verbose=0,
    )


def prepare(distiller, config, data, folder, checkpoint, teacher_cache=None):
    """All of `fit` but the steps: compiles the distiller and loads the last checkpoint into it, if there is one.

    Args:
        The arguments are those of `fit`.

    Returns:
        (batches, callbacks, start): the batches of the training split; the callbacks that set them and the random
        streams to each epoch, watch the loss, and write `history.csv` and checkpoints; the number of epochs done.
    """
    augmentation = data.augmentation(config.crop_padding, config.flip)
    batches = Batches(data.train, config.batch_size, shuffle=True, seed=config.seed, **augmentation)
    if teacher_cache is not None:
        batches = CachedBatches(batches, teacher_cache)
    optimizer = CoupledSGD(_schedule(config, len(batches)), config.momentum, config.weight_decay)
    distiller.compile(
        optimizer,
        # XLA is slower than TensorFlow's own kernels on CPUs; JAX has nothing else.
        jit_compile=config.xla or keras.backend.backend() == "jax",
        steps_per_execution=config.steps_per_execution,
    )
    distiller.optimizer.build(distiller.trainable_variables)
    start = _restore(distiller, checkpoint)
    _trim(folder / HISTORY, start)
    callbacks = [
        _Epochs(batches),
        _StopOnNonFiniteLoss(),
        keras.callbacks.CSVLogger(folder / HISTORY, append=start > 0),
        _SaveCheckpoint(checkpoint),
    ]
    return batches, callbacks, start


def seed_everything(seed, deterministic=True):
    """Seeds Python, NumPy and the backend, and asks TensorFlow for deterministic kernels.

    TensorFlow has no public way back: for the rest of the process its kernels stay deterministic, and Keras compiles
    nothing with XLA, which has no deterministic form.
    """
    keras.utils.set_random_seed(seed)
    if deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _schedule(config, steps_per_epoch):
    """Learning rate by step: times `decay` from the first step of each milestone's epoch on.

    A milestone falls on the nearest epoch, but never on the first: a run of a few epochs starts at the full rate, and
    drops that have no epoch of their own happen together.
    """
    epochs = [max(1, math.floor(share * config.epochs + 0.5)) for share in config.milestones]
    starts = sorted({epoch for epoch in epochs if epoch < config.epochs})
    # Keras keeps the old value at the boundary itself.
    boundaries = [start * steps_per_epoch - 1 for start in starts]
    drops = [0, *(sum(epoch <= start for epoch in epochs) for start in starts)]
    values = [config.learning_rate * config.decay**count for count in drops]
    if not boundaries:
        return config.learning_rate
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)


def _state(distiller):
    """What training changes. Seeds are not among it: they follow from the epoch."""
    return {"student": distiller.student.weights, "optimizer": distiller.optimizer.variables}


def _restore(distiller, checkpoint):
    """Loads the last checkpoint into the distiller; returns the number of epochs done."""
    found = checkpoint.load()
    if found is None:
        return 0
    epoch, groups = found
    for name, variables in _state(distiller).items():
        for variable, value in zip(variables, groups[name], strict=True):
            variable.assign(value)
    return epoch


def _trim(path, epochs):
    """Drops the rows of a history from `epochs` on: they are trained again."""
    if not path.exists():
        return
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *(row for row in rows if row and int(row[0]) < epochs)])


class _Epochs(keras.callbacks.Callback):
    """Sets batches and random streams to the epoch, so that an epoch never depends on how it was reached."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.set_epoch(epoch)
        self.model.reseed(epoch)


class _StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Keras's TerminateOnNaN stops without a word; this says where, and what to try."""

    def on_train_batch_end(self, batch, logs=None):
        # The logged loss is the epoch's mean so far: once not finite, it stays so. Reading it waits for the device.
        if self.calls % 20 == 0:
            self._check(logs["loss"], f"step {batch + 1}")
        self.calls += 1

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.calls = epoch, 0

    def on_epoch_end(self, epoch, logs=None):
        self._check(logs["loss"], "its end")
        # The last update of an epoch shows only in what is computed after it.
        self._check(logs.get("val_loss", 0.0), "its validation")
        if not all(np.isfinite(keras.ops.convert_to_numpy(v)).all() for v in self.model.student.trainable_variables):
            self._check(math.nan, "its last update")

    def _check(self, loss, where):
        if not math.isfinite(float(loss)):
            raise NonFiniteLossError(
                f"The loss became {float(loss)} in epoch {self.epoch + 1}, by {where}. "
                "Train anew with a smaller `--learning-rate`, or look at the data: resuming would repeat it."
            )


class _SaveCheckpoint(keras.callbacks.Callback):
    def __init__(self, checkpoint):
        super().__init__()
        self.checkpoint = checkpoint

    def on_epoch_end(self, epoch, logs=None):
        groups = {
            name: [keras.ops.convert_to_numpy(variable) for variable in variables]
            for name, variables in _state(self.model).items()
        }
        try:
            self.checkpoint.save(epoch + 1, groups)
        except OSError as error:
            raise OSError(
                f"The checkpoint of epoch {epoch + 1} could not be written ({error}). "
                f"{'The one before is intact' if self.checkpoint.latest.exists() else 'No epoch is saved yet'}: "
                f"make room and `tfnoisekd train --resume {self.checkpoint.latest.parent}`"
            ) from error
