"""Sweeps: grids carried out in a folder, by processes of this machine or by a Ray cluster."""

from tfnoisekd.experiments import grid as grids_module
from tfnoisekd.experiments.plan import plan
from tfnoisekd.experiments.schedule import Schedule, carry_out


class Sweep:
    """Some grids and all the work that they take. Nothing is trained or written until `run`.

    Args:
        grids: List of `grid.Grid`, of different names.

    Attributes:
        grids: Dict of name -> `grid.Grid`.
        jobs: Dict of key -> `plan.Job`.
        cells: Dict of name -> list of (`grid.Cell`, dict of seed -> key).

    Raises:
        ValueError: If the grids are not possible.

    Example:

    >>> sweep = Sweep([grid.load("mini/table1")])
    >>> store = Store("runs/mini-table1", create=True)
    >>> sweep.note(store)
    >>> sweep.run(store, LocalPool(store.path, {"folder": "runs/mini-table1"}, workers=2, threads=1), watch)
    """

    def __init__(self, grids):
        self.grids = {each.name: each for each in grids}
        if len(self.grids) < len(grids):
            raise ValueError(f"`config` must be grids of different names. Received: {[each.name for each in grids]}")
        self.jobs, self.cells = plan({name: grids_module.cells(each) for name, each in self.grids.items()})

    def note(self, store, command=None):
        """Writes into a grid folder what was asked for; the report reads it there."""
        for name, grid in self.grids.items():
            store.note_grid(name, describe(grid, self.cells[name], command))

    def run(self, store, pool, watch, again=False):
        """Does what is missing.

        Args:
            store: `store.Store`.
            pool: A pool of workers, such as `local.LocalPool`; it is closed at the end.
            watch: See `schedule.carry_out`.
            again: Whether jobs that have failed are tried again.

        Returns:
            A `schedule.Outcome`.
        """
        return carry_out(Schedule(self.jobs, store, again), pool, watch)


def describe(grid, cells, command=None):
    """A grid as the folder keeps it, ready for JSON.

    Args:
        grid: `grid.Grid`.
        cells: List of (`grid.Cell`, dict of seed -> key of the job).
        command: Command line to record.

    Returns:
        A dict: `name`, `title`, `note`, `paper`, `stands_for`, `axes`, `seeds`, `cells` (each with `axes` and `runs`,
        seed -> key), `comparisons`, `questions` (`asked` and `where`), `settings` (the grid as it was written) and
        `command`.
    """
    questions = [{"asked": each.asked(), "where": each.where} for each in grid.evaluations]
    return {
        **{name: getattr(grid, name) for name in ("name", "title", "note", "paper", "stands_for")},
        "axes": list(dict.fromkeys(name for cell, _ in cells for name in cell.axes)),
        "seeds": list(dict.fromkeys(seed for _, runs in cells for seed in runs)),
        "cells": [{"axes": cell.axes, "runs": {str(seed): key for seed, key in runs.items()}} for cell, runs in cells],
        "comparisons": [each.model_dump(mode="json") for each in grid.comparisons],
        "questions": questions,
        "settings": grid.model_dump(mode="json", exclude_unset=True),
        "command": command,
    }
