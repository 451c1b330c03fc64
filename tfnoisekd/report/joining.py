"""Joins collections: the seeds of one grid may come from several machines, and its questions from several days."""

import json

from tfnoisekd.experiments.store import FINISHED


def join(collection, other, path):
    """Adds a collection to another, in place.

    Args:
        collection: What it is added to.
        other: What is added.
        path: Where it is from, for errors.

    Raises:
        ValueError: If both hold a run and it came out differently.
    """
    for key, run in other["runs"].items():
        known = collection["runs"].get(key)
        if known is None or known["status"] != FINISHED:
            collection["runs"][key] = run
        elif run["status"] == FINISHED and known["student_weights_sha256"] != run["student_weights_sha256"]:
            raise ValueError(f"{path} has another outcome of {key} than what was given before it: report them apart")
    known = {_place(each) for each in collection["measurements"]}
    collection["measurements"] += [each for each in other["measurements"] if _place(each) not in known]
    grids = {grid["name"]: grid for grid in collection["grids"]}
    for grid in other["grids"]:
        if grid["name"] in grids:
            _join_cells(grids[grid["name"]], grid)
        else:
            collection["grids"].append(grid)


def _place(measurement):
    return (measurement["run"], measurement["metric"], json.dumps(measurement["settings"], sort_keys=True))


def _join_cells(grid, other):
    known = {json.dumps(cell["axes"], sort_keys=True): cell for cell in grid["cells"]}
    for cell in other["cells"]:
        mine = known.get(json.dumps(cell["axes"], sort_keys=True))
        if mine is None:
            grid["cells"].append(cell)
            continue
        for seed, key in cell["runs"].items():
            mine["runs"][seed] = mine["runs"].get(seed) or key
    for name in ("axes", "seeds", "comparisons", "metrics"):
        grid[name] = grid[name] + [each for each in other[name] if each not in grid[name]]
