"""What a grid asks of its models beside their accuracy: the questions of `evaluate`, typed, for YAML."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

# What `evaluation.adversarial.sweep` and `evaluation.ensemble.evaluate` take where a grid says nothing.
PGD = {"epsilon": [0.031], "steps": [20], "step_size": 0.003, "restarts": 5, "norm": "linf"}
STRONG = {"epsilon": 0.031, "norm": "linf"}

Length = str | Annotated[float, Field(gt=0)]
Positive = Annotated[int, Field(ge=1)]


class Options(BaseModel):
    """Options of one question. Only those that are given are passed on, so that defaults stay in one place."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def given(self):
        """The options that were given, ready for JSON and for keyword arguments."""
        return self.model_dump(mode="json", exclude_unset=True)


class Pgd(Options):
    """Arguments of `evaluation.adversarial.sweep`."""

    epsilon: list[Length] = []
    steps: list[Positive] = []
    step_size: Length | None = None
    restarts: Positive | None = None
    norm: Literal["linf", "l2"] | None = None
    iterate: Literal["final", "any"] | None = None
    seed: int | None = Field(None, ge=0)
    limit: Positive | None = None


class Ensemble(Options):
    """Arguments of `evaluation.ensemble.evaluate`."""

    attacks: list[str] | None = None
    epsilon: Length | None = None
    norm: Literal["linf", "l2"] | None = None
    steps: Positive | None = None
    restarts: Positive | None = None
    queries: Positive | None = None
    seed: int | None = Field(None, ge=0)
    limit: Positive | None = None


class Corruptions(Options):
    """Arguments of `evaluation.corruptions.evaluate`."""

    corruptions: list[str] | None = None
    severities: list[Annotated[int, Field(ge=1, le=5)]] | None = None
    source: str | None = None
    frost: str | None = None
    seed: int | None = Field(None, ge=0)
    limit: Positive | None = None


class Smoothing(Options):
    """Arguments of `evaluation.smoothing.evaluate`."""

    sigma: float = Field(gt=0)
    radii: list[Annotated[float, Field(ge=0)]] | None = None
    n0: Positive | None = None
    n: Positive | None = None
    alpha: float | None = Field(None, gt=0, lt=1)
    seed: int | None = Field(None, ge=0)
    limit: Positive | None = None


class Question(BaseModel):
    """One entry of `evaluations`: one question, of which runs it is asked, and whether of their teachers too.

    Attributes:
        pgd, ensemble, corruptions, smoothing: Options of the question; an empty mapping takes its defaults.
        ood: Name of another data set.
        where: Dict of axis -> value or list of values: the runs that are asked; all where it is empty.
        teachers: Whether the teachers of these runs are asked too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pgd: Pgd | None = None
    ensemble: Ensemble | None = None
    corruptions: Corruptions | None = None
    smoothing: Smoothing | None = None
    ood: str | None = None
    where: dict[str, Any] = {}
    teachers: bool = False

    @model_validator(mode="after")
    def _one_question(self):
        asked = [name for name in NAMES if getattr(self, name) is not None]
        if len(asked) != 1:
            raise ValueError(f"must ask one of {', '.join(NAMES)} in each entry, and here are {len(asked)}")
        return self

    @property
    def name(self):
        """Which question it is."""
        return next(name for name in NAMES if getattr(self, name) is not None)

    def asked(self):
        """The question with its options, ready for JSON: ["pgd", {"steps": [20]}]."""
        options = getattr(self, self.name)
        return [self.name, {"source": options} if self.name == "ood" else options.given()]

    def concerns(self, axes):
        """Whether a run with these axes is asked."""
        return matches(self.where, axes)


NAMES = ("pgd", "ensemble", "corruptions", "smoothing", "ood")


def matches(where, axes):
    """Whether every axis that `where` names has its value, or one of its values."""
    return all(axes.get(name) in (value if isinstance(value, list) else [value]) for name, value in where.items())
