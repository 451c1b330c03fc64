"""Cells: from the runs behind one number to its mean, its standard deviation, and why it is missing."""

import math
from dataclasses import dataclass, field
from typing import Any

from tfnoisekd.report import differences, paper
from tfnoisekd.report.wording import known_metric

FINISHED, FAILED = "finished", "failed"
ABSENT = "not in this grid"
NOT_TRAINED, NOT_EVALUATED, NOT_FINITE = "not trained yet", "not evaluated", "not finite"
WITHOUT_TEACHER = ("baseline", "ga")


@dataclass(frozen=True)
class Cell:
    """One number of a table: ours, and the paper's where it prints one.

    Attributes:
        metric: Name of the metric.
        mean, std: Of ours; None where there is none. `std` is the sample's, and None for a single value.
        n: How many values ours is of: seeds, or teachers.
        expected: How many it would be of if nothing were missing.
        paper: `paper.Printed`, or None.
        applies: False where there can be no number, such as the teacher of a model that has none.
        reason: Why there is no number, or None.
        gaps: List of (seed, reason, key of the run or None) of those that lack one.
        values: Dict of seed -> (value, key of its run).
        images: Numbers of images that the values are of.
    """

    metric: str | None = None
    mean: float | None = None
    std: float | None = None
    n: int = 0
    expected: int = 0
    paper: Any = None
    applies: bool = True
    reason: str | None = None
    gaps: list = field(default_factory=list)
    values: dict = field(default_factory=dict)
    images: tuple = ()


def canonical(settings):
    """Settings of a metric as a key: equal where they mean the same."""
    values = ((name, f"{value:.9g}" if isinstance(value, float) else str(value)) for name, value in settings.items())
    return tuple(sorted(values))


class Index:
    """The measurements of a collection, found by run, metric and settings.

    Args:
        collection: What `collect.collect` returned.

    Attributes:
        runs: Dict of key -> run.
        of_runs: Dict of key -> list of the run's measurements.
    """

    def __init__(self, collection):
        self.runs = collection["runs"]
        self.of_runs, self.found = {}, {}
        for each in collection["measurements"]:
            self.of_runs.setdefault(each["run"], []).append(each)
            self.found[each["run"], each["metric"], canonical(each["settings"])] = each

    def measured(self, key, metric, settings):
        """A measurement of a run, or None."""
        return self.found.get((key, metric, canonical(settings)))

    def has(self, keys, metric):
        """Whether any of some runs was measured so, whatever the settings."""
        return any(each["metric"] == metric for key in keys for each in self.of_runs.get(key, ()))

    def gap(self, key):
        """Why a run has no value: a short text."""
        run = self.runs.get(key) if key else None
        if run is None:
            return NOT_TRAINED
        return NOT_EVALUATED if run["status"] == FINISHED else run["status"]

    def teacher(self, key):
        """What tells a run's teacher from others; the run itself where that is not known."""
        return (self.runs[key].get("teacher") or {}).get("weights_sha256") or key

    def data(self, grid, axes):
        """Name of the data of a cell: its axis, or the setting of its runs, or of any run of the grid."""
        if "data" in axes:
            return axes["data"]
        for cell in grid["cells"]:
            for key in filter(None, cell["runs"].values()):
                name = (self.runs.get(key, {}).get("config") or {}).get("data")
                if name:
                    return name
        return None


def fill(index, grid, cell, metric, settings, where=None):
    """The `Cell` of a grid's cell and a metric.

    Args:
        index: `Index`.
        grid: A grid of the collection.
        cell: One of its cells, or None: the paper's table has a place that the grid does not fill.
        metric: Name of the metric.
        settings: Its settings.
        where: Dict of axis -> value or list of values that limits which cells are asked, or None.
    """
    if cell is None:
        return Cell(metric, reason=ABSENT, expected=len(grid["seeds"]))
    printed = _printed(grid, cell["axes"], metric, settings)
    if not _applies(index, cell, metric) or not _asked(where, cell["axes"]):
        return Cell(metric, applies=False, paper=printed)
    values, gaps, images = {}, [], set()
    for seed, key in cell["runs"].items():
        found = key and index.measured(key, metric, settings)
        if found and found["value"] is not None:
            values[seed] = (found["value"], key)
            images.add(found["n"])
        else:
            gaps.append((seed, index.gap(key), key if key in index.runs else None))
    common = {
        "metric": metric,
        "paper": printed,
        "gaps": gaps,
        "values": values,
        "images": tuple(sorted(filter(None, images))),
    }
    return _summarised(index, grid, known_metric(metric), common)


def _summarised(index, grid, metric, common):
    values, gaps = common["values"], common["gaps"]
    numbers = [value for value, _ in values.values()]
    expected = len(values) + len(gaps)
    if metric.of_teacher:
        # Students of one teacher repeat its number: it counts once.
        teachers = {index.teacher(key): value for value, key in values.values()}
        numbers, expected = list(teachers.values()), max(1, len(teachers))
    if not numbers:
        reasons = list(dict.fromkeys(reason for _, reason, _ in gaps)) or [NOT_TRAINED]
        return Cell(reason=", ".join(reasons), expected=expected, **common)
    broken = [seed for seed, (value, _) in values.items() if not math.isfinite(value)]
    if broken:  # a training that diverged is an outcome: a mean without it would be too good
        return Cell(reason=f"{NOT_FINITE} with seed {', '.join(broken)}", expected=expected, **common)
    summary = differences.summarise(numbers)
    return Cell(mean=summary.mean, std=summary.std, n=summary.n, expected=expected, **common)


def _printed(grid, axes, metric, settings):
    source = paper.dataset_of(grid, axes)
    return paper.printed(grid["paper"], source, axes, metric, settings) if source else None


def _applies(index, cell, metric):
    """Whether there can be such a number: none of a teacher without one, none of wrong labels where all are right."""
    if metric == "wrong_label_accuracy":
        return cell["axes"].get("label_corruption") != 0
    if not known_metric(metric).of_teacher and metric != "agreement":
        return True
    if cell["axes"].get("method") in WITHOUT_TEACHER:
        return False
    finished = [index.runs[key] for key in cell["runs"].values() if key in index.runs]
    finished = [run for run in finished if run["status"] == FINISHED]
    return not finished or any(run.get("teacher") for run in finished)


def _asked(where, axes):
    """Whether a metric is asked of a cell with these axes."""
    for name, value in (where or {}).items():
        if axes.get(name) not in (value if isinstance(value, list) else [value]):
            return False
    return True
