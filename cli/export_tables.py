"""Prints what `tfnoisekd export` wrote, what it costs and what it withstands, in 80 columns."""

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from tfnoisekd.export import report as reports

OF_MODELS = ("parameters", "MACs")
LEFT_OUT = (*OF_MODELS, "agreement", "bytes")  # of the table: they stand above or below it


def print_report(report, folder):
    """Prints a report of `export.delivery.deliver` on the files in a folder."""
    console = Console(markup=False, highlight=False)
    for each in report["files"]:
        console.print(
            f"{Path(folder) / each['path']}  {each['bytes']:,} bytes  agrees with the Keras student on "
            f"{each['top1_agreement']:.2%} of {each['n']:,} test images (largest difference "
            f"{each['max_difference']:.1e})",
            soft_wrap=True,
        )
    console.print(_costs(report))
    if report["student"].get("robustness") is not None:
        console.print(_robustness(report))


def _costs(report):
    """The table of `export.report`, but for what is the same for all files, which stands below it."""
    columns, rows = reports.table(report)
    places = [place for place, column in enumerate(columns) if column not in LEFT_OUT]
    table = _table("What they cost (latency of one image: median / p95)")
    for place in places:
        heading = columns[place].replace("format", "").replace("latency ", "").replace("peak memory ", "peak ")
        table.add_column(heading, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(row[place] for place in places))
    models = [dict(zip(columns, row, strict=True)) for row in rows if row[0] in reports.ROLES]
    table.caption = "\n".join(_sizes(each) for each in models)
    return table


def _sizes(model):
    """A line on a Keras model."""
    measured = (
        "" if model["bytes"] == reports.NONE else f" (measured as a float32 TFLite file of {model['bytes']} bytes)"
    )
    return f"{model['format']}: {model['parameters']} parameters, {model['MACs']} MACs{measured}"


def _robustness(report):
    """The Keras student under its attack, each file on the images which that gave, and all on corrupted ones."""
    student = report["student"]["robustness"]
    table = _table("What they withstand")
    for heading in ("", "accuracy under PGD (95% interval)", "mini-mCA", "natural robustness"):
        table.add_column(heading)
    pgd = student["pgd"]
    table.add_row("keras", _with_interval(pgd["robust_accuracy"], pgd["robust_interval"]), *_corrupted(student))
    for each in report["files"]:
        found = each["robustness"]
        label = each["format"] if each["quantize"] == "none" else f"{each['format']} {each['quantize']}"
        share = _with_interval(found["transfer"]["transfer_accuracy"], found["transfer"]["transfer_interval"])
        table.add_row(label, share, *_corrupted(found))
        note = found["transfer"]["note"]
    table.caption = f"n = {pgd['n']:,}, epsilon = {pgd['epsilon']}; each file is given {note}"
    return table


def _table(title):
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.title_justify = table.caption_justify = "left"
    return table


def _with_interval(share, interval):
    return f"{share:.1%} ({interval[0]:.1%} to {interval[1]:.1%})"


def _corrupted(robustness):
    found = robustness["corruptions"]
    natural = found["natural_robustness"]
    return f"{found['mini_mca']:.1%}", "-" if natural is None else f"{natural:.1%}"
