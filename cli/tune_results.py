"""What a search found, for people: its best trials, how sure that is, and what to train."""

import shlex
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tfnoisekd.cli.clock import clock
from tfnoisekd.cli.results import percent
from tfnoisekd.experiments.tuning import results

SHOWN = 10  # trials
SEEDS = "0,10,20,30,40"  # the paper's


def tell(folder, output, root):
    """Prints the trials of a search, and writes its best configuration.

    Args:
        folder: `folder.Folder`.
        output: The folder as the user named it.
        root: Folder of runs, as the user named it.

    Raises:
        RuntimeError: If no trial has finished, or so many failed in a row that the search was given up.
    """
    outcome = results.outcome(folder)
    if outcome.ranked:
        Console(markup=False).print(_table(folder.search, outcome.ranked))
    _tell_rest(outcome)
    if outcome.ranked:
        _tell_best(folder, output, root, outcome.ranked)
    if outcome.gave_up:
        raise RuntimeError(
            f"The search was given up after {results.FAILURES} failed trials in a row; the same command goes on with "
            "others, --retry-failed with those too"
        )
    if not outcome.ranked:
        raise RuntimeError("No trial has finished, so there is nothing to choose from")


def _table(search, ranked):
    table = Table(title=f"The best of {len(ranked)} trials, on the validation images", title_justify="left")
    table.add_column("trial")
    for heading in ("accuracy", "standard error", *(["epochs"] if search.halves else []), *search.space, "time"):
        table.add_column(heading.replace("_", " "), justify="right")
    for entry in ranked[:SHOWN]:
        error = results.standard_error(entry["accuracy"], entry["n"])
        epochs = [str(entry["epochs"])] if search.halves else []
        values = [f"{entry['values'][name]:g}" for name in search.space]
        cells = (f"{entry['accuracy']:.2%}", f"{error:.2%}", *epochs, *values, clock(entry["seconds"]))
        table.add_row(entry["trial"], *cells)
    return table


def _tell_rest(outcome):
    for entry in outcome.failed:
        click.echo(f"Failed:  trial {entry['trial']}: {entry.get('error') or 'it has no accuracy'}")
    if outcome.unfinished:
        click.echo(f"Cut off: {', '.join(entry['trial'] for entry in outcome.unfinished)}")
    if outcome.missing and not outcome.gave_up:
        click.echo(f"{outcome.missing} trials were not begun: keras-tuner had no more combinations to try.")


def _tell_best(folder, output, root, ranked):
    best = ranked[0]
    path = results.write_best(folder, ranked)
    near = results.close_to_best(ranked)
    click.echo(f"\nBest:    trial {best['trial']}, {percent(best['accuracy'], best['interval'], best['n'])}")
    if len(ranked) > 1:
        click.echo(
            f"         Chosen among {len(ranked)} for its accuracy on these {best['n']} images, it looks better than "
            f"it is. Others within one standard error of it: {near}."
        )
    click.echo(f"         Settings: {Path(output) / path.name}")
    words = ["tfnoisekd", "train", "--config", str(Path(output) / path.name), "--seeds", SEEDS]
    click.echo(f"Next:    {shlex.join([*words, *(['--runs', root] if root != 'runs' else [])])}")
