"""What a report says, before it has a format: sections, environments, settings, and what is missing."""

import json
from collections import Counter
from dataclasses import dataclass, field

from tfnoisekd.report.cells import FAILED, FINISHED, NOT_EVALUATED, NOT_TRAINED, Index
from tfnoisekd.report.comparisons import compare_grid
from tfnoisekd.report.tables import tables_of
from tfnoisekd.report.wording import cell_label, known_metric, row_label


@dataclass
class Section:
    """What is said of one grid.

    Attributes:
        grid: The grid.
        tables: List of `tables.Table`.
        comparisons: List of `comparisons.Comparison`.
        counts: Dict of status -> number of runs; "not trained yet" for those that nobody has begun.
        missing: List of (reason, seeds as a text, list of the cells or numbers).
        failed: Keys of its failed runs.
        figures: List of `figures.Drawn`.
    """

    grid: dict
    tables: list
    comparisons: list
    counts: dict
    missing: list
    failed: list
    figures: list = field(default_factory=list)


@dataclass
class Contents:
    """A whole report.

    Attributes:
        collection: What `collect.collect` returned.
        index: `cells.Index` of it.
        sections: List of `Section`, one for each grid.
        environments: List of dicts: `code`, `device`, `versions`; runs and evaluations refer to them.
        places: Dict of what `environment_key` returns -> position in `environments`.
        shared: Settings that all runs have in common.
    """

    collection: dict
    index: Index
    sections: list
    environments: list
    places: dict
    shared: dict

    @property
    def with_paper(self):
        """Whether any number of the paper stands in it."""
        return any(table.with_paper for section in self.sections for table in section.tables)

    def environment(self, provenance):
        """Number of the environment of an evaluation, from 1; None where it is not known."""
        return self.places.get(environment_key(provenance)) if provenance else None

    def trained_in(self, run):
        """Numbers of the environments that a run was begun and gone on with in, each once, in this order."""
        return list(dict.fromkeys(self.environment(each) for each in _starts(run)))


def contents(collection):
    """Reads a collection once, for all formats.

    Args:
        collection: What `collect.collect` returned.

    Returns:
        `Contents`, without figures.
    """
    index = Index(collection)
    sections = [_section(index, grid, collection) for grid in collection["grids"]]
    environments, places = _environments(collection["runs"])
    return Contents(collection, index, sections, environments, places, shared_settings(collection["runs"].values()))


def _section(index, grid, collection):
    tables = tables_of(index, grid)
    keys = [key for cell in grid["cells"] for key in cell["runs"].values()]
    counts = Counter(index.runs[key]["status"] if key in index.runs else NOT_TRAINED for key in keys)
    failed = [key for key in dict.fromkeys(keys) if key in index.runs and index.runs[key]["status"] == FAILED]
    own = [each for each in grid["metrics"] if not known_metric(each["metric"]).of_teacher]
    comparisons = compare_grid({**grid, "metrics": own}, collection)  # students are compared, not their teachers
    return Section(grid, tables, comparisons, dict(counts), _missing(index, grid, tables), failed)


def _missing(index, grid, tables):
    """Runs that are not finished, and what finished ones have not been asked, by reason and seeds."""
    found = {}
    for cell in grid["cells"]:
        reasons = {}
        for seed, key in cell["runs"].items():
            if key not in index.runs or index.runs[key]["status"] != FINISHED:
                reasons.setdefault(index.gap(key), []).append(seed)
        for reason, seeds in reasons.items():
            found.setdefault((reason, ", ".join(seeds)), []).append(cell_label(cell["axes"], without=("seed",)))
    for table in tables:
        for texts, cells in table.rows:
            for column, cell in zip(table.columns, cells, strict=True):
                seeds = ", ".join(seed for seed, reason, _ in cell.gaps if reason == NOT_EVALUATED)
                if seeds:
                    found.setdefault((NOT_EVALUATED, seeds), []).append(f"{row_label(texts)}: {column.heading}")
    return [(reason, seeds, what) for (reason, seeds), what in found.items()]


def shared_settings(runs):
    """Settings that are the same in all runs that have any."""
    configs = [run["config"] for run in runs if run.get("config")]
    if not configs:
        return {}
    return {
        name: value
        for name, value in configs[0].items()
        if all(name in config and config[name] == value for config in configs)
    }


def own_settings(run, shared):
    """Settings of a run that are not shared by all."""
    return {name: value for name, value in (run.get("config") or {}).items() if name not in shared}


def environment_key(provenance):
    """Code, device and versions as one value; what differs in nothing else was made alike."""
    return json.dumps([provenance.get(name) for name in ("code", "device", "versions")], sort_keys=True)


def _starts(run):
    """Provenance of a run and of each time it was gone on with; none of one that was never begun."""
    return [run["provenance"], *run.get("resumed", [])] if run.get("provenance") else []


def _environments(runs):
    found = {}
    for run in runs.values():
        for provenance in [*_starts(run), *(each.get("provenance") for each in run["evaluations"])]:
            if provenance:
                found.setdefault(environment_key(provenance), provenance)
    environments = [{name: each.get(name) for name in ("code", "device", "versions")} for each in found.values()]
    return environments, {key: number + 1 for number, key in enumerate(found)}


def totals(collection):
    """What a collection took and holds: dict of `runs`, `finished`, `failed`, `seconds`, `flops`."""
    runs = list(collection["runs"].values())
    return {
        "runs": len(runs),
        "finished": sum(run["status"] == FINISHED for run in runs),
        "failed": sum(run["status"] == FAILED for run in runs),
        "seconds": sum((run.get("seconds") or 0) + (run.get("evaluation_seconds") or 0) for run in runs),
        "flops": sum(run.get("training_flops") or 0 for run in runs),
    }
