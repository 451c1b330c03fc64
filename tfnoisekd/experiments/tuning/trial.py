"""Trains one trial, as a run like any other, and says how accurate it is on the validation images."""

import functools
import math
import os
import platform
import time
import traceback

from tfnoisekd import disk, runs
from tfnoisekd.experiments.tuning.folder import FAILED, FINISHED, RUNNING
from tfnoisekd.experiments.work import OF_THE_MACHINE
from tfnoisekd.provenance import now


class TrialFailed(Exception):
    """A trial came to no accuracy. It has been noted."""


class CannotGoOn(Exception):
    """What went wrong, its cause, is no trial's fault: every other one would meet it too."""


class Trainer:
    """Trains one trial after another; TensorFlow is imported, and data are loaded, once for all of them.

    Args:
        folder: `folder.Folder`.
        root: Folder of the teachers, which trials share with all other runs.
        command: Command line to record with each run.
        progress: As `training.run` takes it.
        worker: Name of the process that trains.
    """

    def __init__(self, folder, *, root="runs", command=None, progress=None, worker=None):
        self.folder, self.root, self.command, self.progress, self.worker = folder, root, command, progress, worker

    def train(self, trial, values, epochs=None):
        """Trains a trial, from its last checkpoint where there is one.

        Args:
            trial: Its name, digits.
            values: Dict of setting -> value.
            epochs: Number of epochs; None for the configuration's.

        Returns:
            Its accuracy on the validation images after the last epoch, from 0 to 1.

        Raises:
            TrialFailed: If it has none.
            CannotGoOn: If the disk is full, the data can't be read, or the like.
        """
        known = self.folder.entry(trial)
        if known.get("given_up"):
            return self._fail(trial, TrialFailed(known["given_up"]))
        config = self.folder.search.trial_config(values, epochs)
        values = {name: getattr(config, name) for name in self.folder.search.space}
        origin = {"worker": self.worker, "process": os.getpid(), "host": platform.node()}
        begun = {"started_at": now(), "values": values, "epochs": epochs, "origin": origin}
        start = time.monotonic()
        try:
            self.folder.note(trial, status=RUNNING, error=None, **begun)
            data = self._data
            run = self._run(trial, config, data)
            accuracy, results = _accuracy(run), run.record["results"]
        except CannotGoOn:
            raise
        except Exception as error:
            if _is_of_the_machine(error):
                raise CannotGoOn(_line(error)) from error
            return self._fail(trial, error)
        finished = {"accuracy": accuracy, "interval": results["accuracy_interval"], "n": results["n"]}
        seconds = round(time.monotonic() - start, 3)
        self.folder.note(trial, status=FINISHED, finished_at=now(), seconds=seconds, **finished)
        for checkpoint in run.path.glob("checkpoint*.npz"):  # twice the size of a student, and of no more use
            checkpoint.unlink()
        return accuracy

    def refuse(self, trial, reason):
        """Notes that a trial is not worth a training; raises `TrialFailed`."""
        self._fail(trial, TrialFailed(reason))

    @functools.cached_property
    def _data(self):
        from tfnoisekd import training

        try:
            data = training.load_data(self.folder.search.config)
            self.folder.check_data(data.name, data.fingerprint)
        except Exception as error:
            raise CannotGoOn(_line(error)) from error
        return data

    def _run(self, trial, config, data):
        import keras

        from tfnoisekd import training

        keras.utils.clear_session()  # so that no trial depends on, or pays for, those before it in this process
        path = self.folder.run_path(trial)
        # A process that has lost its chief may still be at it.
        with disk.exclusive(path.with_suffix(".lock"), wait=True):
            disk.remove_leftovers(path)
            options = {"root": self.root, "command": self.command, "progress": self.progress, "data": data}
            resume = (path / runs.RECORD).exists()
            return training.run(config, path, resume=resume, split="validation", **options)

    def _fail(self, trial, error):
        line = str(error) if isinstance(error, TrialFailed) else _line(error)
        text = "".join(traceback.format_exception(error))
        self.folder.note(trial, status=FAILED, error=line, traceback=text, finished_at=now())
        raise TrialFailed(line) from error


def _accuracy(run):
    """The accuracy of a finished run, if it is one."""
    accuracy = run.record["results"].get("accuracy")
    if accuracy is None or not math.isfinite(accuracy):
        raise TrialFailed(f"The trial has no accuracy on the validation images. Received: {accuracy}")
    return accuracy


def _is_of_the_machine(error):
    """Whether an error, or the one that it was raised from, is no trial's fault."""
    return any(isinstance(each, OSError) and each.errno in OF_THE_MACHINE for each in (error, error.__cause__))


def _line(error):
    return " ".join(f"{type(error).__name__}: {error}".split())
