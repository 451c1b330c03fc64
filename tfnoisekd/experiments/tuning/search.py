"""What a search is: the settings that all trials share, the space, and how keras-tuner goes through it."""

import importlib.util
import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from tfnoisekd import architectures, config, methods
from tfnoisekd.config import Config
from tfnoisekd.experiments.tuning import space as spaces
from tfnoisekd.experiments.tuning.space import Range

TRIALS = 20
# Module -> package. keras-tuner and Keras's logs import tensorboard, and would say so in every single trial.
NEEDED = {"keras_tuner": "keras-tuner", "tensorboard": "tensorboard"}


class Search(BaseModel):
    """A search, ready for JSON.

    Attributes:
        config: `Config` that all trials share; its `seed` is that of every training, and of the search.
        space: Dict of setting -> `Range`.
        tuner: "bayesian", "random" or "hyperband".
        trials: Number of trials; None for Hyperband, which counts itself.
        max_epochs: Epochs of Hyperband's longest trials; None for the others, which train all epochs.
        factor: By how much Hyperband's trials grow from round to round, and get fewer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: Config
    space: dict[str, Range]
    tuner: Literal["bayesian", "random", "hyperband"] = "bayesian"
    trials: Annotated[int, Field(ge=1)] | None = None
    max_epochs: Annotated[int, Field(ge=1)] | None = None
    factor: Annotated[int, Field(ge=2)] = 3

    @field_serializer("config")
    def _config(self, value):
        return spaces.given(value)

    @property
    def halves(self):
        """Whether trials have different numbers of epochs."""
        return self.tuner == "hyperband"

    @property
    def wanted(self):
        """Number of trials in all."""
        if not self.halves:
            return self.trials
        return sum(trials for bracket in hyperband(self.max_epochs, self.factor) for trials, _ in bracket)

    @property
    def epochs(self):
        """Epochs of all trials together, as if none had a number of its own."""
        if not self.halves:
            return self.trials * methods.resolve(self.config).epochs
        brackets = hyperband(self.max_epochs, self.factor)
        return sum(trials * epochs for bracket in brackets for trials, epochs in bracket)

    def trial_config(self, values, epochs=None):
        """The `Config` of a trial.

        The teacher's epochs stay those of the search: a short trial has the same teacher as a long one.

        Args:
            values: Dict of setting -> value.
            epochs: Number of epochs; None leaves that to the configuration. The learning rate falls at the same shares
                of any number of epochs, so that a trial is a whole training, however short.
        """
        settings = {
            **spaces.given(self.config),
            **{name: self.space[name].rounded(values[name]) for name in self.space},
        }
        if methods.get(self.config.method).distils and architectures.is_name(self.config.teacher):
            settings["teacher_epochs"] = methods.resolve(self.config).teacher_epochs
        if epochs is not None:
            settings["epochs"] = epochs
        return config.build(settings)


def build(chosen, space, tuner="bayesian", trials=None, max_epochs=None, factor=None):
    """A `Search` that is known to be possible.

    Raises:
        ValueError: If there is nothing to search or to choose by, or settings do not fit together.
        FileNotFoundError: If the teacher is a file that is not there.
        ImportError: If a package is missing without which every trial would fail.
    """
    check_installed()
    resolved = methods.resolve(chosen)
    if not chosen.validation_size:
        raise ValueError("`validation_size` must be above 0: a search chooses by the validation images. Received: 0")
    if not space:
        raise ValueError(f"`search` must name settings: nothing is left to search for the method {chosen.method}")
    _check_teacher(chosen)
    spaces.check(space, chosen)
    if tuner == "hyperband":
        if trials is not None:
            raise ValueError(
                "`trials` is for the other tuners: Hyperband follows from `max_epochs` and `factor`. "
                f"Received: trials={trials}"
            )
        options = {"max_epochs": max_epochs or resolved.epochs, "factor": factor or 3}
    else:
        for name, value in (("max_epochs", max_epochs), ("factor", factor)):
            if value is not None:
                raise ValueError(f"`{name}` is for Hyperband. Received: {name}={value} and tuner={tuner}")
        options = {"trials": trials or TRIALS}
    search = Search(config=chosen, space=space, tuner=tuner, **options)
    _check_size(search)
    return search


def check_installed():
    """Raises an ImportError if a package is missing that every trial needs."""
    for module, package in NEEDED.items():
        if importlib.util.find_spec(module) is None:
            raise ImportError(f"Tuning needs {package}: pip install {package}")


def hyperband(max_epochs, factor):
    """The brackets of Hyperband (Li et al., 2018) as keras-tuner counts them, boldest first.

    Returns:
        A list of brackets, each a list of rounds, each (number of trials, epochs of each).
    """
    count, epochs = 0, max_epochs
    while epochs >= 1:
        epochs, count = epochs / factor, count + 1
    last = math.ceil(1 + math.log(max_epochs, factor))
    brackets = []
    for bracket in reversed(range(count)):
        left = [bracket - number for number in range(bracket + 1)]
        sizes = [math.ceil(last / (bracket + 1) * factor**each) for each in left]
        brackets.append([(size, math.ceil(max_epochs / factor**each)) for size, each in zip(sizes, left, strict=True)])
    return brackets


def _check_size(search):
    """Hyperband ends early, with nothing promoted, where there are too few combinations to begin with."""
    if search.halves:
        needed = sum(bracket[0][0] for bracket in hyperband(search.max_epochs, search.factor))
        if spaces.size(search.space) < needed:
            raise ValueError(
                f"`search` must have at least {needed} combinations for Hyperband over {search.max_epochs} epochs. "
                f"Received: {spaces.size(search.space)}; take smaller steps, or another tuner"
            )


def _check_teacher(chosen):
    teacher, needed = chosen.teacher, methods.get(chosen.method).distils
    if needed and not architectures.is_name(teacher) and not Path(teacher).exists():
        raise FileNotFoundError(
            f"`teacher` must be wrn-DEPTH-WIDTH, a .keras file or a run folder. Received: {teacher}"
        )
