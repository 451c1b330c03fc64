"""All comparisons that a grid asks for: which cells, how they differ, and how sure that is among so many."""

import itertools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from tfnoisekd.report.differences import Difference, holm, in_order, paired, shown
from tfnoisekd.report.paper import close, dataset_of, printed_difference
from tfnoisekd.report.verdicts import beside_paper, verdict

UNITS = {"negative_log_likelihood": "nats", "average_certified_radius": "l2"}  # of metrics; all others are shares
QUIET = ("epochs", "teacher_epochs")  # axes that follow from others: named only where nothing else tells cells apart
WORDS = {"method": "{value}", "data": "on {value}"}  # how an axis is written; others as "sigma 0.05"


@dataclass(frozen=True)
class Comparison:
    """Two cells of a grid under one metric.

    Attributes:
        metric, settings: As the grid's `metrics` have them.
        unit: "points", "nats" or "l2", for `verdicts`.
        of, against: Names of the cells, such as "sr sigma 0.05".
        where: What both have in common and other cells have not, such as "sigma 0.05"; may be empty.
        of_axes, against_axes: Axes of the cells.
        difference: `Difference`, or None where no seed has finite values on both sides.
        adjusted_p: Holm's p value among all comparisons of the grid, all metrics together, or None.
        shown: Whether the difference counts as shown.
        unpaired: Seeds that only one of the cells has, which do not enter.
        verdict: The difference in words.
        paper: Difference of the paper's means, or None.
        beside_paper: How the paper's difference lies to ours, in words; "" without one.
    """

    metric: str
    settings: dict[str, Any]
    unit: str
    of: str
    against: str
    where: str
    of_axes: dict[str, Any]
    against_axes: dict[str, Any]
    difference: Difference | None
    adjusted_p: float | None
    shown: bool
    unpaired: tuple
    verdict: str
    paper: float | None
    beside_paper: str


class _Pair(NamedTuple):
    """Two cells, their names, the same without what both share, and what they share."""

    cells: tuple
    names: list
    short: list
    where: str


def compare_grid(grid, collection, confidence=0.95, interval="t", seed=0):
    """All comparisons of a grid, for each of its metrics.

    A pair is left out under a metric that is not asked of both cells, and where neither has a value.

    Args:
        grid: A grid of the collection.
        collection: What `collect.collect` returns.
        confidence, interval, seed: As `differences.paired` takes them.

    Returns:
        List of `Comparison`, by metric in the grid's order, then by pair.
    """
    values, pairs, found = _values(grid, collection), _pairs(grid), []
    options = {"confidence": confidence, "interval": interval, "seed": seed}
    for asked in grid["metrics"]:
        for pair in pairs:
            sides = [_of_cell(values, cell, asked) for cell in pair.cells]
            if any(sides) and all(_matches(asked.get("where") or {}, cell) for cell in pair.cells):
                found.append((asked, pair, sides, *_difference(*sides, options)))
    adjusted = holm([difference and difference.p_value for *_, difference, _ in found])
    return [_comparison(grid, *each, adjusted_p) for each, adjusted_p in zip(found, adjusted, strict=True)]


def compare(grid, collection, metric, settings=None, **options):
    """The comparisons of one metric; p values are adjusted among all metrics of the grid, as in `compare_grid`.

    Args:
        grid, collection: As `compare_grid` takes them.
        metric, settings: One of the grid's metrics.
        **options: Passed on to `compare_grid`.
    """
    asked = (metric, _frozen(settings or {}))
    found = compare_grid(grid, collection, **options)
    return [each for each in found if (each.metric, _frozen(each.settings)) == asked]


def labels(cells):
    """Names of cells by the axes that they differ in, such as "sr sigma 0.05" or "ft dropout 0.4 on svhn".

    Args:
        cells: All cells of a grid.

    Returns:
        A list of texts, in the order of the cells.
    """
    telling = _telling(cells)
    return [_name(cell, telling) for cell in cells]


def _telling(cells):
    """`method`, the axes that differ between cells, and `data` last; quiet ones only if the others do not suffice."""
    names = list(dict.fromkeys(name for cell in cells for name in cell["axes"]))
    names = [name for name in names if name == "method" or any(not _agree(name, cell, cells[0]) for cell in cells)]
    names.sort(key=lambda name: (name == "data", name != "method"))
    loud = [name for name in names if name not in QUIET]
    enough = len({_label(cell["axes"], loud) for cell in cells}) == len(cells)
    return loud if enough else names


def _agree(name, first, second):
    return close(first["axes"].get(name), second["axes"].get(name))


def _name(cell, telling):
    return _label(cell["axes"], telling) or "default"  # it has none of the axes that others have


def _label(axes, names):
    """The values of some axes in words; "" where it has none of them."""
    return " ".join(_word(name, axes[name]) for name in names if axes.get(name) is not None)


def _word(name, value):
    value = f"{value:g}" if isinstance(value, float) else value
    return WORDS.get(name, f"{name.replace('_', ' ')} {{value}}").format(value=value)


def _pairs(grid):
    """All pairs of the grid's comparisons, each once."""
    found, cells = {}, grid["cells"]
    telling = _telling(cells)
    varying = [name for name in telling if any(not _agree(name, cell, cells[0]) for cell in cells)]
    for asked in grid["comparisons"]:
        sides = [[cell for cell in cells if _matches(asked[side], cell)] for side in ("of", "against")]
        named = asked["of"].keys() | asked["against"].keys() | {"seed"}
        for of, against in itertools.product(*sides):
            shared = (of["axes"].keys() & against["axes"].keys()) - named
            if of is not against and all(_agree(name, of, against) for name in shared):
                found[id(of), id(against)] = _pair(of, against, telling, varying)
    return list(found.values())


def _pair(of, against, telling, varying):
    differing = [name for name in varying if not _agree(name, of, against)]
    names = [_name(cell, telling) for cell in (of, against)]
    short = [_label(cell["axes"], differing) or name for cell, name in zip((of, against), names, strict=True)]
    where = _label(of["axes"], [name for name in varying if name not in differing])
    return _Pair((of, against), names, short, where)


def _matches(where, cell):
    """Whether a cell has, of every axis that is named, the value or one of the values."""
    choices = {name: wanted if isinstance(wanted, list) else [wanted] for name, wanted in where.items()}
    return all(any(close(cell["axes"].get(name), each) for each in values) for name, values in choices.items())


def _values(grid, collection):
    """What is measured of the grid's runs: dict of (run, metric, settings) -> value."""
    runs = {key for cell in grid["cells"] for key in cell["runs"].values()}
    return {
        (each["run"], each["metric"], _frozen(each["settings"])): each["value"]
        for each in collection["measurements"]
        if each["run"] in runs and each["value"] is not None
    }


def _frozen(settings):
    return tuple(sorted((name, str(value) if isinstance(value, list) else value) for name, value in settings.items()))


def _of_cell(values, cell, asked):
    """Dict of seed -> value of a cell under one metric."""
    rest = (asked["metric"], _frozen(asked["settings"]))
    return {seed: values[(run, *rest)] for seed, run in cell["runs"].items() if (run, *rest) in values}


def _difference(of, against, options):
    """(`Difference` or None, why there is none)."""
    common = in_order(of.keys() & against.keys())
    broken = [str(seed) for seed in common if not math.isfinite(of[seed]) or not math.isfinite(against[seed])]
    if not common:
        return None, "no seed that both have"
    if broken:  # a training that diverged is an outcome: without it, the others would look better than the setting is
        return None, f"no finite value with seed {', '.join(broken)}"
    return paired(of, against, **options), None


def _comparison(grid, asked, pair, sides, difference, problem, adjusted_p):
    metric, settings = asked["metric"], asked["settings"]
    unit, axes = UNITS.get(metric, "points"), [cell["axes"] for cell in pair.cells]
    datasets = {dataset_of(grid, each) for each in axes}
    dataset = datasets.pop() if len(datasets) == 1 else None
    paper = printed_difference(grid.get("paper"), dataset, *axes, metric, settings)
    return Comparison(
        metric=metric,
        settings=settings,
        unit=unit,
        of=pair.names[0],
        against=pair.names[1],
        where=pair.where,
        of_axes=axes[0],
        against_axes=axes[1],
        difference=difference,
        adjusted_p=adjusted_p,
        shown=difference is not None and shown(difference, adjusted_p),
        unpaired=in_order(sides[0].keys() ^ sides[1].keys()),
        verdict=problem or verdict(difference, *pair.short, adjusted_p, unit),
        paper=paper,
        beside_paper=beside_paper(difference, paper, unit),
    )
