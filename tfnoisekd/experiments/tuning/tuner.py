"""The loop: ask keras-tuner for a trial, train it, say how it went; alone, or as chief or worker of several processes.

keras-tuner's own environment variables tell which: KERASTUNER_TUNER_ID (a chief's holds "chief", each worker's another
text), KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT (of the chief).
"""

import time

import keras_tuner

from tfnoisekd.experiments.tuning import oracles
from tfnoisekd.experiments.tuning.folder import FAILED, ORACLE
from tfnoisekd.experiments.tuning.roles import WORKER, place, role
from tfnoisekd.experiments.tuning.trial import CannotGoOn, Trainer, TrialFailed

ASK_AGAIN = 1.0  # seconds until a worker asks again for a trial, where there is none yet


def search(folder, *, root="runs", command=None, progress=None, watch=None, again=False):
    """Takes part in the search of a folder, in the role that the environment gives, until it is over.

    Args:
        folder: `folder.Folder`.
        root: Folder of the teachers.
        command: Command line to record with each run.
        progress: As `training.run` takes it.
        watch: Function of what is known of each trial that ends, a dict; a worker never calls it.
        again: Whether trials that have failed are begun again.

    Raises:
        ConnectionError: If a worker's chief is gone.
        trial.CannotGoOn: From what is no trial's fault, such as data that can't be loaded.
    """
    tuner = Tuner(folder, root=root, command=command, progress=progress, watch=watch, again=again)
    try:
        tuner.search()
    except _Unfit as error:
        raise CannotGoOn(str(error)) from error.__cause__
    except Exception as error:
        if tuner.role == WORKER and type(error).__module__.startswith("grpc"):
            raise ConnectionError(f"The chief at {place()} is gone: start it again, and then this worker") from error
        raise


class _Unfit(keras_tuner.errors.FatalRuntimeError):
    """`trial.CannotGoOn` as keras-tuner lets it through."""


class Tuner(keras_tuner.engine.base_tuner.BaseTuner):
    """keras-tuner's loop around `trial.Trainer`.

    A trial that Hyperband promotes is trained anew, with its longer schedule: the rate of learning falls with the
    share of epochs done, so that weights of a short training are no beginning of a long one.

    Args:
        The arguments are those of `search`.
    """

    def __init__(self, folder, *, root="runs", command=None, progress=None, watch=None, again=False):
        self.role, self.folder = role(), folder
        self._idle = False
        oracle = oracles.make(folder.search)
        super().__init__(oracle, directory=str(folder.path), project_name=ORACLE)
        if self.role != WORKER:  # a worker's oracle is the chief's
            oracles.restore(oracle, folder)
            oracle.watch = watch and (lambda trial: watch(folder.entry(trial)))
            if again:
                self._forget_failures(oracle)
        options = {"root": root, "command": command, "progress": progress, "worker": self.tuner_id}
        self.trainer = Trainer(folder, **options)

    def run_trial(self, trial):
        """Trains a trial, and returns its accuracy on the validation images.

        Raises:
            keras_tuner.errors.FailedTrialError: If it has none.
        """
        values = trial.hyperparameters.values
        try:
            self._check_parent(trial.trial_id, values)
            accuracy = self.trainer.train(trial.trial_id, values, values.get("tuner/epochs"))
        except TrialFailed as error:
            raise keras_tuner.errors.FailedTrialError(str(error)) from error
        except CannotGoOn as error:
            raise _Unfit(str(error)) from error.__cause__
        return {oracles.OBJECTIVE: accuracy}

    def pre_create_trial(self):
        """keras-tuner asks again at once where there is no trial yet, at the cost of those that are training."""
        if self._idle:
            time.sleep(ASK_AGAIN)
        self._idle = True

    def on_trial_begin(self, trial):
        """Notes that there was one."""
        self._idle = False

    def save(self):
        """Saves the oracle, which is all that there is."""
        if self.role != WORKER:
            self.oracle.save()

    def _check_parent(self, trial, values):
        parent = values.get("tuner/trial_id")
        if parent and self.oracle.get_trial(parent).status == oracles.Status.FAILED:
            self.trainer.refuse(trial, f"Trial {parent}, which it would go on from, has failed")

    def _forget_failures(self, oracle):
        for entry in self.folder.entries():
            if entry["status"] == FAILED and entry.get("given_up"):
                self.folder.note(entry["trial"], given_up=None)
        oracle.retry_failed()
        oracle.save()
