"""Sweeps: grids carried out in a folder, by processes of this machine or by a Ray cluster."""

import json

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

    def note(self, store, command=None, part=False):
        """Writes into a grid folder what was asked for; the report reads it there.

        Args:
            store: `store.Store`.
            command: Command line to record.
            part: Whether the grids are parts of larger ones: they are added to what was asked of these before.
        """
        known = store.grids() if part else {}
        for name, grid in self.grids.items():
            description = describe(grid, self.cells[name], command)
            store.note_grid(name, added(known[name], description) if name in known else description)

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


def added(earlier, part):
    """What was asked of a grid before, and a part of it: what `describe` gave of both, as one.

    With other settings that all runs share it is another experiment under the same name, and `part` stands alone.
    """
    if earlier["settings"].get("shared") != part["settings"].get("shared"):
        return part
    cells = {}
    for cell in (*earlier["cells"], *part["cells"]):
        place = json.dumps(cell["axes"], sort_keys=True)
        cells.setdefault(place, {**cell, "runs": {}})["runs"].update(cell["runs"])
    whole = {**part, "cells": list(cells.values())}
    for each in ("axes", "seeds", "comparisons", "questions"):
        whole[each] = earlier[each] + [one for one in part[each] if one not in earlier[each]]
    evaluations = [each["settings"].get("evaluations", []) for each in (earlier, part)]
    new = [each for each in evaluations[1] if each not in evaluations[0]]
    whole["settings"] = {**part["settings"], "evaluations": evaluations[0] + new}
    return whole
