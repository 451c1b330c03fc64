"""Writes a report: Markdown, LaTeX, CSV, HTML and JSON, with the figures beside them."""

import json
import os
from pathlib import Path

from tfnoisekd import disk
from tfnoisekd.report import csv_files, latex, markdown
from tfnoisekd.report.contents import contents

FORMATS = ("md", "latex", "csv", "html", "json")
FIGURES, TABLES = "figures", "tables"


def write(collection, folder, formats=FORMATS, title="Report"):
    """Writes a report of a collection into a folder.

        report.md, report.html          everything, to read
        report.tex, tables/*.tex        the same for pdflatex, and each table alone
        tables/*.csv                    each table
        measurements.csv, runs.csv      every measurement and every run, a line each
        collection.json                 what `tfnoisekd report` takes instead of the runs
        figures/*.png, figures/*.svg    the paper's figures, of our numbers

    Files of an earlier report are replaced, each at once.

    Args:
        collection: What `collect.collect` returned.
        folder: Where they go; it is made if there is none.
        formats: Which of `FORMATS`.
        title: Of the page.

    Returns:
        List of the paths that were written, figures last.

    Raises:
        ValueError: If a format is not known, or there is no grid to report.
        PermissionError: If the folder can't be made.

    Example:

    >>> write(collect(["runs/mini-table1"]), "runs/mini-table1/report", formats=["md", "html"])
    """
    check(collection, formats)
    return publish(contents(related(collection, folder)), folder, formats, title)


def check(collection, formats):
    """Raises the ValueError that `write` would, before anything is read or written."""
    unknown = [each for each in formats if each not in FORMATS]
    if unknown or not formats:
        raise ValueError(f"`format` must be among {', '.join(FORMATS)}. Received: {', '.join(unknown) or 'none'}")
    if not collection["grids"]:
        raise ValueError("`collection` must hold at least one grid: `tfnoisekd sweep` makes one. Received: none")


def publish(found, folder, formats=FORMATS, title="Report"):
    """Writes `contents.Contents`, whose paths of runs are relative to the folder; otherwise as `write` does."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermissionError(f"`output` {folder} can't be made ({error.strerror}): name another folder") from error
    if {"md", "latex", "html"} & set(formats):
        _draw(found, folder / FIGURES)
    figures = [path for section in found.sections for each in section.figures for path in (each.png, each.svg)]
    written = []
    for name in FORMATS:
        if name in formats:
            written += [_file(folder / path, text) for path, text in WRITERS[name](found, folder, title)]
    return written + figures


def related(collection, folder):
    """A copy of a collection whose runs have their paths relative to a folder, with slashes, so that both can move."""
    start = Path(folder).resolve()
    moved = {key: {**run, "path": _relative(run.get("path"), start)} for key, run in collection["runs"].items()}
    return {**collection, "runs": moved}


def _relative(path, start):
    if path is None:
        return None
    try:
        return Path(os.path.relpath(path, start)).as_posix()
    except ValueError:  # on another drive
        return Path(path).as_posix()


def as_json(collection):
    """A collection as text: one line for each run and each measurement, so that changes can be read."""
    runs_text = ",\n".join(f"  {json.dumps(key)}: {json.dumps(run)}" for key, run in collection["runs"].items())
    grids = ",\n".join(f"  {json.dumps(grid)}" for grid in collection["grids"])
    measurements = ",\n".join(f"  {json.dumps(each)}" for each in collection["measurements"])
    return (
        f'{{\n "format": {collection["format"]},\n "grids": [\n{grids}\n ],\n "runs": {{\n{runs_text}\n }},\n'
        f' "measurements": [\n{measurements}\n ]\n}}\n'
    )


def _draw(found, folder):
    from tfnoisekd.report.figures import draw

    for section in found.sections:
        section.figures = draw(found.index, section.grid, folder)


def _file(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path


def _markdown(found, folder, title):
    yield "report.md", markdown.markdown(found, folder)


def _latex(found, folder, title):
    inputs = {}
    for table in _tables(found):
        inputs[table.name] = f"{TABLES}/{table.name}.tex"
        yield inputs[table.name], latex.table_text(table)
    figures = {each.name: f"{FIGURES}/{each.png.name}" for section in found.sections for each in section.figures}
    yield "report.tex", latex.document(found, inputs, figures)


def _csv(found, folder, title):
    for table in _tables(found):
        yield f"{TABLES}/{table.name}.csv", csv_files.table_text(table)
    yield "measurements.csv", csv_files.measurements_text(found)
    yield "runs.csv", csv_files.runs_text(found)


def _html(found, folder, title):
    from tfnoisekd.report.html import page

    yield "report.html", page(found, title)


def _json(found, folder, title):
    yield "collection.json", as_json(found.collection)


def _tables(found):
    return [table for section in found.sections for table in section.tables]


WRITERS = {"md": _markdown, "latex": _latex, "csv": _csv, "html": _html, "json": _json}
