"""What a search may vary: settings that do something for a method, each in a range."""

import math
import string
from typing import Any

from pydantic import BaseModel, ConfigDict

from tfnoisekd import architectures, config, methods
from tfnoisekd.names import nearest

DIGITS = 4  # significant ones of every value, so that a person can write down what was trained


class Range(BaseModel):
    """Where the values of a setting lie.

    Attributes:
        low, high: The ends, both included.
        log: Whether equal factors are equally likely, instead of equal steps.
        step: Distance of neighbouring values; None where all between the ends are possible.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __str__(self):
        ends = f"{self.low:g}:{self.high:g}"
        return f"{ends}:log" if self.log else f"{ends}:{self.step:g}" if self.step else ends

    def values(self):
        """All values of a range with steps, as a list; None for one without."""
        if self.step is None:
            return None
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1  # 0.3 / 0.1 is a little below 3
        return [self.rounded(self.low + index * self.step) for index in range(count)]

    def rounded(self, value):
        """A value with four significant digits, inside the range."""
        return min(self.high, max(self.low, float(f"{value:.{DIGITS}g}")))


# All that can be searched, with the ranges for those who name none. Losses' weights: a factor of 10 to either side.
RANGES = {
    "rate": Range(low=0, high=0.3),
    "sigma": Range(low=0, high=0.1),
    # Steps, because every value takes a teacher of its own.
    "dropout": Range(low=0.1, high=0.5, step=0.1),
    "alpha": Range(low=0.5, high=0.95),
    "temperature": Range(low=1, high=8, log=True),
    "at_weight": Range(low=100, high=10000, log=True),
    "sp_weight": Range(low=300, high=30000, log=True),
    "rkd_distance_weight": Range(low=2.5, high=250, log=True),
    "rkd_angle_weight": Range(low=5, high=500, log=True),
    "learning_rate": Range(low=0.01, high=0.3, log=True),
    "weight_decay": Range(low=5e-5, high=5e-3, log=True),
    "momentum": Range(low=0.8, high=0.95),
}
OF_HINTON = ("alpha", "temperature")
WEIGHTS = ("at_weight", "sp_weight", "rkd_distance_weight", "rkd_angle_weight")
# Each value of these takes a teacher of its own, where the teacher is trained here.
OF_TEACHERS = ("dropout", "learning_rate", "weight_decay", "momentum")


def default(chosen, fixed=()):
    """The space that suits a method: noises that act in it, and the weights and temperature of its losses.

    Args:
        chosen: `Config`.
        fixed: Names of settings that are to stay as they are.

    Returns:
        Dict of setting -> `Range`.
    """
    method = methods.get(chosen.method)
    names = ["rate", "sigma", *(["dropout"] if method.fickle_teacher else []), *OF_HINTON, *WEIGHTS]
    return {name: RANGES[name] for name in names if name not in fixed and idle(name, chosen) is None}


def idle(name, chosen):
    """Why a setting does nothing in a configuration, as a text; None where it does something."""
    method = methods.get(chosen.method)
    terms = [field for _, field, _, _ in string.Formatter().parse(method.terms) if field]
    if name in OF_HINTON and "alpha" not in terms:
        return f"the method {method.name} has no Hinton loss ({method.formula})"
    if name in WEIGHTS and name not in terms:
        return f"the method {method.name} has no such term ({method.formula})"
    if name == "dropout" and method.distils and not architectures.is_name(chosen.teacher):
        return f"the teacher {chosen.teacher} is trained already"
    return None


def parse(text, chosen):
    """The space that a text names.

    Args:
        text: Such as "rate=0:0.3,temperature=1:8:log,dropout=0.1:0.5:0.1,alpha": ends, and "log" or a step; a name
            alone stands for that setting's usual range.
        chosen: `Config` that the values will be set in.

    Returns:
        Dict of setting -> `Range`.

    Raises:
        ValueError: If the text is no such list, a setting can't be searched or does nothing here, or an end of its
            range is no possible value.
    """
    space = {}
    for part in text.split(","):
        name, equals, ends = part.strip().partition("=")
        name = name.strip().replace("-", "_")
        if name not in RANGES:
            raise ValueError(
                f"`search` must name settings among {', '.join(RANGES)}. Received: {name or text!r}."
                f"{nearest(name, RANGES)}"
            )
        if name in space:
            raise ValueError(f"`search` must name each setting once. Received: {name} twice")
        if (reason := idle(name, chosen)) is not None:
            raise ValueError(f"`search` must name settings that do something. Received: {name}, but {reason}")
        space[name] = _range(name, ends) if equals else RANGES[name]
    check(space, chosen)
    return space


def check(space, chosen):
    """Raises a ValueError unless every end of every range is a possible value."""
    for name, each in space.items():
        for value in (each.low, each.high):
            methods.resolve(config.build(given(chosen), {name: value}))


def given(chosen) -> dict[str, Any]:
    """The settings of a `Config` that were given to it, ready for `config.build`."""
    return chosen.model_dump(mode="json", exclude_unset=True)


def size(space):
    """Number of combinations; infinite where a range has no steps."""
    return math.prod(math.inf if each.step is None else len(each.values()) for each in space.values())


def _range(name, text):
    example = f"{name}={RANGES[name]}"
    parts = [part.strip() for part in text.split(":")]
    numbers = [_number(part) for part in parts[:2]]
    if len(parts) not in (2, 3) or None in numbers:
        raise ValueError(f"`search` must give each range as LOW:HIGH, such as {example}. Received: {name}={text}")
    low, high = numbers
    log = parts[2:] == ["log"]
    step = None if log or len(parts) == 2 else _number(parts[2])
    if len(parts) == 3 and not log and step is None:
        raise ValueError(f"`search` must end a range in log or a step, if at all. Received: {name}={text}")
    if not low < high:
        fixed = f"--{name.replace('_', '-')} {low:g}"
        raise ValueError(f"`search` must have LOW below HIGH. Received: {name}={text}; {fixed} sets one value")
    if log and low <= 0:
        raise ValueError(f"`search` must have LOW above 0 where a range is logarithmic. Received: {name}={text}")
    if step is not None and not 0 < step <= high - low:
        raise ValueError(f"`search` must have a step above 0 and inside the range. Received: {name}={text}")
    return Range(low=low, high=high, log=log, step=step)


def _number(text):
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
