"""Trains students that differ in their seed alone in one JAX program, for `gpu_queue.py`.

A small network leaves most of a large chip idle. `jax.vmap` over the seeds makes one program of several trainings,
each with its own weights, batches, noise and optimizer; what is mapped is the distiller's own `train_step`. What is
written are ordinary run directories with ordinary checkpoints, after every epoch: `tfnoisekd sweep` goes on from
them, and this from its. The numbers differ from those of a training alone in the last bits, since the chip adds up in
another order.
"""

import functools
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import keras
import numpy as np

from tfnoisekd import checkpoints, fitting, runs, teachers, training
from tfnoisekd.experiments.plan import STUDENTS
from tfnoisekd.noise import TeacherVariance


def train(jobs, store, data, command=None, progress=print, is_over=lambda: False):
    """Trains some students together, as far as time allows; what is begun goes on from its last epoch.

    Args:
        jobs: List of `experiments.plan.Job` of students, whose configurations differ in `seed` alone; their teachers
            are trained.
        store: `experiments.store.Store`.
        data: Their `data.ImageData`.
        command: Command line to record with each run.
        progress: Function of one line of text.
        is_over: Function that says, after each epoch, whether time is up.

    Returns:
        Whether all epochs of all of them are done. A training whose loss is no number any more counts as done: the
        sweep meets the same, and records it.
    """
    _check(jobs)
    with ThreadPoolExecutor(len(jobs)) as pool:
        members = [Member(job, store, data, command) for job in jobs]
        epochs = jobs[0].config.epochs
        step = jax.jit(jax.vmap(members[0].distiller.train_step), donate_argnums=0)
        while going := [each for each in members if each.epoch < epochs and not each.failed]:
            if is_over():
                return False
            least = min(each.epoch for each in going)  # who is behind catches up first
            group = [each for each in going if each.epoch == least]
            _epoch(group, step, pool)
            losses = ", ".join(f"{each.loss:.4f}" for each in group)
            progress(f"{jobs[0].config.method}, {len(group)} seeds, epoch {least + 1}/{epochs}, loss {losses}")
    return True


def _check(jobs):
    first = jobs[0].config
    for job in jobs:
        if job.config.model_copy(update={"seed": first.seed}) != first:
            raise ValueError(f"`jobs` must differ in their seed alone. Received: {jobs[0].key} and {job.key}")


class Member:
    """One of the trainings: its run directory, its distiller with its own weights, and its batches.

    Attributes:
        distiller: `Distiller`, compiled, as its last checkpoint left it.
        epoch: Epochs done.
        loss: Mean loss of the last epoch.
        failed: Whether the loss is no number any more.
    """

    def __init__(self, job, store, data, command=None):
        config, path = job.config, store.path / STUDENTS / job.key
        self.loss, self.failed, teacher, cache = None, False, None, None
        if not (path / runs.RECORD).exists():
            runs.Run.create(path, config.model_dump(mode="json"), command)
        if job.needs:
            train_teacher = functools.partial(training.run, root=store.path, command=command, data=data)
            teacher, _ = teachers.trained(config, data, store.path, train_teacher)
        fitting.seed_everything(config.seed)
        self.distiller = training.make_distiller(config, data, teacher)
        if config.teacher_cache:
            cache = teachers.cache(config, data, self.distiller, store.path)
        checkpoint = checkpoints.Checkpoint(path, teachers.digest(config, data))
        self.batches, callbacks, self.epoch = fitting.prepare(self.distiller, config, data, path, checkpoint, cache)
        if self.distiller.fickle_teacher:
            callbacks.insert(0, TeacherVariance())
        self._callbacks = keras.callbacks.CallbackList(callbacks, model=self.distiller)
        self._callbacks.on_train_begin()
        self.distiller.evaluate(*plain(self.batches[0]), verbose=0)  # so that all its metrics have their variables

    def begin(self):
        """Everything as the next epoch starts with: the state of the train step."""
        self._callbacks.on_epoch_begin(self.epoch)
        self.distiller.reset_metrics()
        return state_of(self.distiller)

    def end(self, state, logs):
        """Takes the state after an epoch, and keeps it on disk."""
        for variables, values in zip(_variables(self.distiller), state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        logs = {name: float(value) for name, value in logs.items()}
        self.loss = logs["loss"]
        try:
            self._callbacks.on_epoch_end(self.epoch, logs)
        except fitting.NonFiniteLossError:
            self.failed = True
        self.epoch += 1


def _epoch(group, step, pool):
    """One epoch of some members; the next batches are made while the step runs."""
    state = stack([each.begin() for each in group])
    count = len(group[0].batches)
    waiting = [pool.submit(each.batches.__getitem__, 0) for each in group]
    for index in range(count):
        data = stack([each.result() for each in waiting])
        if index + 1 < count:
            waiting = [pool.submit(each.batches.__getitem__, index + 1) for each in group]
        logs, state = step(state, data)
    for number, each in enumerate(group):
        each.end(*jax.tree.map(lambda leaf, number=number: leaf[number], (state, logs)))


def state_of(model):
    """The state that a compiled model's `train_step` takes on JAX, as it is now."""
    return tuple([variable.value for variable in group] for group in _variables(model))


def _variables(model):
    return model.trainable_variables, model.non_trainable_variables, model.optimizer.variables, model.metrics_variables


def stack(trees):
    """One tree of arrays with a leading axis, from several of the same form."""
    return jax.tree.map(lambda *leaves: (np if isinstance(leaves[0], np.ndarray) else jnp).stack(leaves), *trees)


def plain(batch):
    """(images, labels) of a batch, without what a teacher says of it."""
    images, labels = batch
    return images, getattr(labels, "labels", labels)
