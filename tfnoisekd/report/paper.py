"""What the paper printed for a cell of its tables: facts to stand beside what was measured, never in its place."""

import functools
import math
from fractions import Fraction
from importlib import resources
from typing import NamedTuple

import yaml

# What of paper.yaml answers for what a grid rebuilds, the first that knows the cell.
VIEWS = {
    "table1": ("table1",),
    "table2": ("table2", "table1"),
    "table3": ("table3", "table1"),
    "table4": ("table4", "table3", "table1"),
    "table5": ("table5", "table3", "table1"),
    "figure2": ("text", "table4", "table3", "table1"),
    "figure3": ("table1", "table3"),
    "figure4": ("table1",),
    "figure5": ("table1",),
}
DATA_SETS = {"cifar10": "cifar10", "tfds:cifar10": "cifar10", "svhn": "svhn", "tfds:svhn_cropped": "svhn"}
# The axis that tells the cells of a method apart; "+ft" methods have one cell, see `FICKLE`.
LEVELS = {"ga": "sigma", "sr": "sigma", "ft": "dropout"}
FICKLE = 0.4  # "We use FT-0.4 for all the +FT experiments" (Table 2)
# What the printed cells have of settings that change a method. An axis that says otherwise is a cell of its own.
PLAIN = {
    "dropout": 0.0,
    "sigma": 0.0,
    "rate": 0.0,
    "label_corruption": 0.0,
    "alpha": 0.9,
    "temperature": 4.0,
    "at_weight": 1000.0,
    "sp_weight": 3000.0,
    "rkd_distance_weight": 25.0,
    "rkd_angle_weight": 50.0,
}
# Section 2.3 writes 8/255 as 0.031, and its step size of 0.03 fits its tables as 0.003: either names what it printed.
ROUNDED_EPSILON = 0.031
STEP_SIZES = (0.003, 0.03)


class Printed(NamedTuple):
    """A number of the paper.

    Attributes:
        mean: Share in [0, 1], the mean over five seeds.
        std: Standard deviation of the same, or None where none was printed.
        place: Where it stands, such as "Table 1".
    """

    mean: float
    std: float | None
    place: str


def printed(view, dataset, axes, metric, settings=None):
    """What the paper printed for a cell.

    Axes of scale (`epochs`, `teacher`, `student` and the like) make no difference, nor do random restarts. What
    changes a method does: sigma, dropout, other noise, wrong labels, temperature, weights.

    Args:
        view: What of the paper a grid rebuilds, "table1" to "figure5", or None.
        dataset: "cifar10" or "svhn", as `dataset_of` says, or None.
        axes: Dict of axis -> value of the cell, `method` among them.
        metric: Name of the metric.
        settings: Its settings. Epsilon counts as k/255 when it is that to 0.005/255; 0.031 is 8/255. Out of
            distribution the paper has CINIC-10, so `source` must have "cinic" in its name.

    Returns:
        `Printed`, or None where the paper printed no number for that cell.

    Example:

    >>> printed("table1", "cifar10", {"method": "ft", "dropout": 0.4}, "test_accuracy")
    Printed(mean=0.9467, std=0.0009, place='Table 1')
    """
    key = _asked(dataset, axes, metric, settings or {})
    found = (_facts()[section] for section in VIEWS.get(view, ()))
    return next((section[key] for section in found if key in section), None)


def printed_difference(view, dataset, of, against, metric, settings=None):
    """Difference of the printed means of two cells (a share), or None if one of them is not printed.

    Args:
        view, dataset, metric, settings: As `printed` takes them.
        of: Axes of the cell that is compared.
        against: Axes of the cell that is subtracted.

    Example:

    >>> printed_difference("table3", "svhn", {"method": "sr", "sigma": 0.1}, {"method": "ga", "sigma": 0.1},
    ...                    "test_accuracy")
    0.0046
    """
    pair = [printed(view, dataset, axes, metric, settings) for axes in (of, against)]
    if None in pair:
        return None
    return round(pair[0].mean - pair[1].mean, 6)  # the tables have four decimals; the rest is floating point


def dataset_of(grid, axes):
    """Whose printed numbers stand beside a cell: "cifar10", "svhn" or None.

    Args:
        grid: A grid of a collection.
        axes: Axes of the cell. A `data` axis with one of the two is what it says; else the grid's `stands_for` counts.
    """
    return DATA_SETS.get(axes.get("data"), grid.get("stands_for"))


def close(first, second):
    """Whether two values of an axis are the same: numbers to a relative 1e-6, others when equal."""
    numbers = [each for each in (first, second) if isinstance(each, (int, float)) and not isinstance(each, bool)]
    return math.isclose(*numbers, rel_tol=1e-6, abs_tol=1e-9) if len(numbers) == 2 else first == second


def _asked(dataset, axes, metric, settings):
    """The key of a cell's metric in `_facts`, or None where the paper has no such cell."""
    method = str(axes.get("method"))
    fickle = method.endswith("+ft")
    axis = "dropout" if fickle else LEVELS.get(method)
    level = axes.get(axis)
    if fickle and level is None:
        level = FICKLE
    if not all(name == axis or value is None or close(value, PLAIN.get(name, value)) for name, value in axes.items()):
        return None
    conditions = CONDITIONS.get(metric, lambda settings: ())(settings)
    return None if conditions is None else (dataset, method, _rounded(level), metric, *conditions)


def _attack(settings):
    """(steps, 255 times epsilon) of an attack as the paper has it; None for another."""
    step_size, epsilon = settings.get("step_size"), _number(settings.get("epsilon"))
    if settings.get("attack", "pgd") != "pgd" or settings.get("norm", "linf") != "linf" or epsilon is None:
        return None
    if step_size is not None and not any(close(_number(step_size), each) for each in STEP_SIZES):
        return None
    epsilon = 8 if close(epsilon, ROUNDED_EPSILON) else round(255 * epsilon, 2)
    return settings.get("steps"), epsilon


def _source(settings):
    return () if "cinic" in str(settings.get("source", "cinic")).lower() else None


CONDITIONS = {"robust_accuracy": _attack, "ood_accuracy": _source}


def _number(value):
    """A number, or a text such as "8/255" as one; None for anything else."""
    try:
        return float(Fraction(value) if isinstance(value, str) else value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def _rounded(level):
    number = _number(level)
    return None if number is None else round(number, 6)


@functools.cache
def _facts():
    """paper.yaml as a dict: section -> key, as `_asked` makes it -> `Printed`."""
    text = (resources.files("tfnoisekd.report") / "paper.yaml").read_text(encoding="utf-8")
    # libyaml, where it was built in, reads eight times as fast.
    sections = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {name: dict(_of_section(section)) for name, section in sections.items()}


def _of_section(section):
    for row in section["rows"]:
        level = row.get("sigma", row.get("dropout"))
        cell = (row["data"], row["method"], _rounded(level))
        for metric in row.keys() - {"data", "method", "sigma", "dropout"}:
            for conditions, value in _by_conditions(row[metric], section):
                mean, std = value if isinstance(value, list) else (value, None)
                share = Printed(_share(mean), None if std is None else _share(std), section["place"])
                yield (*cell, metric, *conditions), share


def _by_conditions(values, section):
    """(conditions, value) of a metric in a row; what the columns of an attack are is what the section does not fix."""
    if not isinstance(values, dict):
        yield (), values
        return
    for column, value in values.items():
        yield (section.get("steps", column), section.get("epsilon", column)), value


def _share(percent):
    return round(percent / 100, 6)
