"""`tfnoisekd report`."""

import os
from pathlib import Path

import click

from tfnoisekd.cli.groups import GroupedCommand, group

WHAT = group("What is written")
MOST = 5  # differences of a grid that are told on the screen


@click.command(cls=GroupedCommand)
@click.argument("paths", metavar="DIR|FILE.json...", nargs=-1, required=True)
@WHAT("--output", metavar="DIR", help="where it goes  [report/ in the first DIR, or beside FILE.json]")
@WHAT("--format", "formats", metavar="NAME,...", default="all", help="md, latex, csv, html, json, or all  [all]")
@WHAT("--json", "as_json", is_flag=True, help="print the collection as JSON, and write nothing")
def command(paths, output, formats, as_json):
    """Make tables, figures and a page of what `tfnoisekd sweep` did, beside the paper's numbers.

    DIR is the folder of a sweep, finished or not: what is missing is shown as missing. FILE.json is the collection.json
    of an earlier report. Several are joined, as where the seeds of a grid come from several machines.

    \b
    tfnoisekd report runs/mini-table1
    tfnoisekd report machine1/runs/table1 machine2/runs/table1 --output report --format html
    tfnoisekd report results/collection.json --format md,csv
    """
    from tfnoisekd.report import write
    from tfnoisekd.report.collect import collect

    names = write.FORMATS if formats == "all" else [name.strip() for name in formats.split(",")]
    folder = Path(output) if output else _beside(paths[0])
    collection = collect(paths)
    write.check(collection, names)
    collection = write.related(collection, folder)
    if as_json:
        click.echo(write.as_json(collection), nl=False)
        return
    from tfnoisekd.report.contents import contents

    found = contents(collection)
    written = write.publish(found, folder, names)
    _show(found)
    for line in _listed(written, folder):
        click.echo(line)


def _beside(path):
    path = Path(path)
    return (path.parent if path.is_file() else path) / "report"


def _show(found):
    """What a person wants to know first: how far the grids are, and what they show."""
    from rich.console import Console
    from rich.table import Table

    from tfnoisekd.report.contents import NOT_TRAINED

    table = Table(title="Grids", title_justify="left")
    for name in ("grid", "runs", "finished", "failed", "other", "not trained yet", "differences shown"):
        table.add_column(name, justify="left" if name == "grid" else "right")
    for section in found.sections:
        counts = dict(section.counts)
        total = sum(counts.values())
        known = [counts.pop(name, 0) for name in ("finished", "failed", NOT_TRAINED)]
        shown = sum(each.shown for each in section.comparisons)
        row = [section.grid["name"], total, known[0], known[1], sum(counts.values()), known[2]]
        table.add_row(*map(str, row), f"{shown} of {len(section.comparisons)}")
    Console(markup=False).print(table)
    for section in found.sections:
        for line in _verdicts(section):
            click.echo(line)


def _verdicts(section):
    from tfnoisekd.report.wording import metric_label

    shown = [each for each in section.comparisons if each.shown]
    for each in shown[:MOST]:
        where = f" ({each.where})" if each.where else ""
        yield f"{section.grid['name']}, {metric_label(each.metric, each.settings)}{where}: {each.verdict}"
    if len(shown) > MOST:
        yield f"{section.grid['name']}: {len(shown) - MOST} more in the report"


def _listed(written, folder):
    """Lines for what was written: files, and folders with how much is in them."""
    counts = {}
    for path in written:
        relative = Path(os.path.relpath(path, folder))
        shown = path if len(relative.parts) == 1 else folder / relative.parts[0]
        counts[shown] = counts.get(shown, 0) + 1
    for path, count in counts.items():
        yield f"Wrote {path}{os.sep} ({count} files)" if path.is_dir() else f"Wrote {path}"
