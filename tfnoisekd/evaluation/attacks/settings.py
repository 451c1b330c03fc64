"""What an attack by projected gradient descent is told, checked before anything is computed."""

import math
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral, Real

from tfnoisekd.data.splits import check_seed

NORMS = ("linf", "l2")
ITERATES = ("final", "any")


@dataclass(frozen=True)
class Settings:
    """One attack. Lengths are in units of images in [0, 1].

    Args:
        norm: "linf", the largest change of any pixel value, or "l2", the Euclidean length of the change of an image.
        epsilon: Largest length of a perturbation, above 0.
        step_size: Length of a step, above 0.
        restarts: Number of random starts, at least 1.
        seed: Integer in [0, 2**32), which decides the starts.
        iterate: Which images of a restart count: "final" or "any".

    Raises:
        ValueError: If a setting is none of these.
    """

    norm: str
    epsilon: float
    step_size: float
    restarts: int
    seed: int
    iterate: str

    def __post_init__(self):
        for name, value, known in (("norm", self.norm, NORMS), ("iterate", self.iterate, ITERATES)):
            if value not in known:
                raise ValueError(f"`{name}` must be one of {', '.join(map(repr, known))}. Received: {name}={value!r}")
        _check_length("epsilon", self.epsilon, "the accuracy without an attack is `clean_accuracy`")
        _check_length("step_size", self.step_size, "a step of the paper is 0.003")
        check_count("restarts", self.restarts)
        check_seed(self.seed, "seed")

    @property
    def step(self):
        """The step that is taken: a longer one than epsilon is shortened to it, since cleverhans refuses it."""
        return min(self.step_size, self.epsilon)

    def check_fits(self, num_values):
        """Raises a ValueError if epsilon is beyond what images of `num_values` pixel values in [0, 1] can differ by."""
        most = 1.0 if self.norm == "linf" else math.sqrt(num_values)
        if self.epsilon > most:
            raise ValueError(
                f"`epsilon` must be at most {most:g}, by which images in [0, 1] can differ in {self.norm}. "
                f'Received: epsilon={self.epsilon!r}; in steps of a byte write "8/255".'
            )


def parse_length(value, name="epsilon"):
    """A length as a float: a number, or a text such as "0.031" or "8/255".

    Raises:
        ValueError: If it is no number.

    Example:

    >>> parse_length("8/255")
    0.03137254901960784
    """
    try:
        if isinstance(value, str):
            numerator, _, denominator = value.partition("/")
            return float(Fraction(numerator.strip()) / Fraction(denominator.strip() or 1))
        if isinstance(value, Real) and not isinstance(value, bool):
            return float(value)
    except (ValueError, ArithmeticError):
        pass
    raise ValueError(f'`{name}` must be a number, or a text such as "8/255". Received: {name}={value!r}')


def check_count(name, value):
    """Raises a ValueError unless a value is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"`{name}` must be an integer of at least 1. Received: {name}={value!r}")


def _check_length(name, value, hint):
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"`{name}` must be above 0 and finite. Received: {name}={value!r}; {hint}.")
