"""`tfnoisekd info`."""

import json
from pathlib import Path

import click

from tfnoisekd.cli.train import RUNS


@click.command()
@click.argument("path", metavar="[RUN|GRID|pretrained:NAME]", required=False)
@click.option("--json", "as_json", is_flag=True, help="the whole record as JSON")
@RUNS
def command(path, as_json, root):
    """Show what a run did, with what, and how it came out (default: the newest finished run); or how far a grid is."""
    from tfnoisekd import pretrained
    from tfnoisekd.runs import Run, newest_finished

    if path and pretrained.is_name(path):
        _show_card(pretrained.card(path.removeprefix(pretrained.PREFIX)), path, as_json)
        return
    if path and (Path(path) / "grid.json").exists():
        from tfnoisekd.cli.info_grid import show

        show(path, as_json)
        return
    run = Run.open(path) if path else newest_finished(root)
    if as_json:
        click.echo(json.dumps(run.record, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    from tfnoisekd.cli.results import print_results

    table = Table(title=str(run.path), show_header=False, title_justify="left")
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("status", run.record["status"])
    if run.record.get("error"):
        table.add_row("error", run.record["error"])
    for part in ("data", "teacher", "teacher_cache", "provenance"):
        for key, value in (run.record.get(part) or {}).items():
            if value is not None:
                table.add_row(f"{part.replace('_', ' ')} {key}", _short(value))
    table.add_row("settings", _short(run.record["config"]))
    for key in ("finished_at", "seconds_since_last_start", "student_parameters", "student_weights_sha256"):
        if key in run.record:
            table.add_row(key.replace("_", " "), str(run.record[key]))
    Console(markup=False).print(table)
    _evaluations(run.path / "evaluation")
    if run.finished:
        corruption, split = run.record["data"].get("corruption"), run.record.get("split", "test")
        print_results(run.record["results"], per_class=True, corruption=corruption, split=split)


def _show_card(card, name, as_json):
    """What is known of a network that comes with the package."""
    if as_json:
        click.echo(json.dumps(card, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=name, show_header=False, title_justify="left")
    table.add_column()
    table.add_column(overflow="fold")
    for key, value in card.items():
        table.add_row(key.replace("_", " "), f"{value:.4f}" if isinstance(value, float) else _short(value))
    Console(markup=False).print(table)


def _evaluations(folder):
    """Prints where each kept answer of a run comes from."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Evaluations", title_justify="left")
    for heading in ("question", "settings", "code", "device", "at", "seconds", "command"):
        table.add_column(heading, overflow="fold")
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            answer = json.loads(path.read_text(encoding="utf-8"))
            origin = answer["provenance"]
        except (ValueError, KeyError):
            continue  # cut off or damaged: it does not count, and is answered anew
        cells = [origin.get(name) for name in ("code", "device", "started_at", "seconds", "command")]
        cells[3] = None if cells[3] is None else f"{cells[3]:.1f}"
        table.add_row(answer["question"], _short(answer["settings"]), *(cell or "-" for cell in cells))
    if table.row_count:
        Console(markup=False).print(table)


def _short(value):
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items() if item is not None)
    if isinstance(value, list):
        return ("; " if value and isinstance(value[0], dict) else ", ").join(_short(item) for item in value)
    return str(value)
