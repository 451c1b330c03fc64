"""What `tfnoisekd info` says of a grid's folder."""

import json
from collections import Counter

import click


def show(path, as_json):
    """Prints how far each grid of a folder is, and what failed; as JSON, all that the ledger says."""
    from tfnoisekd.experiments.store import FAILED, Store

    store = Store(path)
    grids = store.grids()
    keys = {name: [key for cell in grid["cells"] for key in cell["runs"].values()] for name, grid in grids.items()}
    entries = {key: store.entry(key) for each in keys.values() for key in each}
    entries |= {path.stem: store.entry(path.stem) for path in sorted((store.path / "jobs").glob("teacher-*.json"))}
    if as_json:
        click.echo(json.dumps({"grids": grids, "jobs": entries}, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=str(store.path), title_justify="left")
    for heading in ("grid", "runs", "finished", "being done", "cut off", "failed", "not begun"):
        table.add_column(heading, justify="left" if heading == "grid" else "right")
    for name, each in keys.items():
        table.add_row(name, str(len(each)), *_counts(store, each, entries))
    teachers = [key for key in entries if key.startswith("teacher-")]
    if teachers:
        table.add_row("teachers", str(len(teachers)), *_counts(store, teachers, entries))
    console = Console(markup=False, highlight=False)
    console.print(table)
    for name, grid in grids.items():
        console.print(f"{name}: {grid['title']}" if grid["title"] else name)
        if grid["command"]:
            console.print(f"  last asked for by: {grid['command']}")
    for key, entry in entries.items():
        if entry.get("status") == FAILED:
            console.print(f"failed: {key}: {entry['error']}")


def _counts(store, keys, entries):
    found = Counter(_state(store, key, entries[key]) for key in keys)
    return [str(found[state]) for state in ("finished", "running", "cut off", "failed", "not begun")]


def _state(store, key, entry):
    """A job that says it is running is cut off, unless a process holds it."""
    status = entry.get("status", "not begun")
    return "cut off" if status == "running" and not store.is_held(key) else status
