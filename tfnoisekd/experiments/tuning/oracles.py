"""keras-tuner's oracles, which choose the next trial, kept safe against kills and against scores that are none."""

import contextlib
import json
import math
from pathlib import Path

import keras_tuner
import numpy as np

from tfnoisekd import disk
from tfnoisekd.experiments.tuning.folder import FAILURES, ORACLE

OBJECTIVE = "val_accuracy"
Status = keras_tuner.engine.trial.TrialStatus


class Kept:
    """What is added to each of keras-tuner's oracles.

    Attributes:
        ranges: Dict of setting -> `space.Range`.
        watch: Function of the name of each trial that has ended.
    """

    ranges, watch = {}, None
    _failures = 0

    def populate_space(self, trial_id):
        """The next values, as a person would write them down, and none twice: training repeats itself exactly."""
        if self._failures >= FAILURES:
            return {"status": Status.STOPPED}
        response = super().populate_space(trial_id)
        values = response.get("values") or {}
        values.update(self._rounded(values))
        if values and self._duplicate(values):  # such as the corner that a Gaussian process likes best
            others = self._random_values()
            if others is None:
                return {"status": Status.STOPPED}
            values.update(self._rounded(others))
        return response

    def _rounded(self, values):
        return {name: each.rounded(values[name]) for name, each in self.ranges.items() if name in values}

    def create_trial(self, tuner_id):
        """A trial for a process; one that was begun before is begun again, with nothing reported yet."""
        trial = super().create_trial(tuner_id)
        trial.metrics = type(trial.metrics)()
        return trial

    def end_trial(self, trial):
        """Takes a trial back."""
        own = self.trials[trial.trial_id]
        # A process that outlives its chief ends a trial that the next chief may have given to another one already.
        if own.trial_id in self.end_order:
            self.ongoing_trials = {name: each for name, each in self.ongoing_trials.items() if each is not own}
            return
        if own.trial_id in self._retry_queue:
            self._retry_queue.remove(own.trial_id)
        super().end_trial(trial)
        self._failures = self._failures + 1 if own.status == Status.FAILED else 0
        if self.watch is not None:
            self.watch(own.trial_id)

    def score_trial(self, trial):
        """A trial without a number for a score has failed; keras-tuner would break off, or call it a success."""
        reported = trial.metrics.exists(OBJECTIVE)
        score = trial.metrics.get_last_value(OBJECTIVE) if reported else None
        trial.score = float(score) if score is not None and math.isfinite(score) else math.nan
        trial.best_step = 0

    def save(self):
        """Writes what the search will go on from."""
        _write(Path(self._project_dir) / "oracle.json", self.get_state())

    def _save_trial(self, trial):
        # keras-tuner writes in place: a kill would leave half a file, with which no search goes on.
        _write(Path(self._get_trial_dir(trial.trial_id)) / "trial.json", trial.get_state())

    def reload(self):
        """Goes on from what was saved, whenever that was."""
        super().reload()
        # Killed between its two files, a trial had not been given out yet: it is thought of again.
        self.trials = {name: self.trials[name] for name in self.start_order}
        # A trial counts as ongoing in the file until the one after it begins.
        self._retry_queue = [name for name in self._retry_queue if name not in self.end_order]

    def retry_failed(self):
        """Has the trials that have failed begun again."""
        failed = [name for name, trial in self.trials.items() if trial.status == Status.FAILED]
        self.end_order = [name for name in self.end_order if name not in failed]
        self._retry_queue += [name for name in failed if name not in self._retry_queue]


class Random(Kept, keras_tuner.oracles.RandomSearchOracle):
    """Values at random."""


class Bayesian(Kept, keras_tuner.oracles.BayesianOptimizationOracle):
    """Values that a Gaussian process expects to be good, or knows little about."""

    def populate_space(self, trial_id):
        """The next values, from a random state that an interruption does not change."""
        self._random_state = np.random.RandomState(self.seed + len(self.trials))
        return super().populate_space(trial_id)


class _Halving(keras_tuner.oracles.HyperbandOracle):
    def populate_space(self, trial_id):
        # To keras-tuner a failed trial is one that has not ended: its round would never be over.
        failed = [trial for trial in self.trials.values() if trial.status == Status.FAILED]
        with contextlib.ExitStack() as stack:
            for trial in failed:
                stack.callback(vars(trial).update, status=trial.status, score=trial.score)
                trial.status, trial.score = Status.COMPLETED, -math.inf
            return super().populate_space(trial_id)


class Hyperband(Kept, _Halving):
    """Many short trials, of which the better ones are trained again for longer; a failed one is the worst."""


TABLE = {"random": Random, "bayesian": Bayesian, "hyperband": Hyperband}


def make(search):
    """The oracle of a `search.Search`."""
    space = keras_tuner.HyperParameters()
    for name, each in search.space.items():
        if each.step is not None:
            space.Choice(name, each.values(), ordered=True)  # its steps would leave the upper end of 0:0.3:0.1 out
        else:
            space.Float(name, each.low, each.high, sampling="log" if each.log else "linear")
    limits = {"max_epochs": search.max_epochs, "factor": search.factor} if search.halves else {}
    oracle = TABLE[search.tuner](
        objective=keras_tuner.Objective(OBJECTIVE, "max"),
        hyperparameters=space,
        seed=search.config.seed + 1,  # 0 would mean any seed
        # Its own rule raises in the middle of the book-keeping, which a chief never gets over; ours is FAILURES.
        max_consecutive_failed_trials=10**9,
        **(limits or {"max_trials": search.trials}),
    )
    oracle.ranges, oracle.verbose = search.space, 0
    oracle._max_collisions = 1000  # equal values in a row until a space of few counts as searched
    return oracle


def restore(oracle, folder):
    """Goes on with the search that is kept in a `folder.Folder`, if one was begun there.

    Raises:
        ValueError: If its files can't be read.
    """
    file = folder.path / ORACLE / "oracle.json"
    if not file.exists():
        return
    try:
        oracle.reload()
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"{file.parent} holds damaged files ({type(error).__name__}): put them back, or search in another folder"
        ) from error


def _write(path, content):
    with disk.replacing(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
