"""The report as GitHub-flavoured Markdown: equal collections give equal text."""

import os
import re
from urllib.parse import quote

from tfnoisekd.report.contents import totals
from tfnoisekd.report.wording import (
    axis_label,
    axis_value,
    cell_text,
    compared,
    duration,
    magnitude,
    metric_label,
    number,
    paper_text,
    plural,
    shown_text,
)

SPECIAL = re.compile(r"[\\`*_{}\[\]<>|~]|&(?=#?\w+;)|^[#+-]")
LISTED = re.compile(r"^(\d+)([.)])(?=\s|$)")  # what would begin a numbered list
SOURCES = 'The numbers under a heading with "(paper)" were printed by the paper; all others were measured here.'


def markdown(contents, folder=None):
    """The whole report.

    Args:
        contents: `contents.Contents`.
        folder: Where the text will be, for links to figures; None where they lie beside it.

    Returns:
        A text, with a line feed at its end.
    """
    parts = ["# Report", SOURCES if contents.with_paper else "", _overview(contents)]
    for section in contents.sections:
        parts += section_parts(section, folder, contents.index)
    parts += _provenance(contents)
    return "\n\n".join(filter(None, parts)) + "\n"


def section_parts(section, folder=None, index=None, level=2):
    """A grid's part of the report, as a list of blocks: title, note, tables, figures, verdicts, what is missing.

    Args:
        section: `contents.Section`.
        folder: As `markdown` takes it.
        index: `cells.Index`, for the errors of failed runs; None for none.
        level: Of its heading.
    """
    parts = [
        f"{'#' * level} {escaped(section.grid['title'] or section.grid['name'])}",
        escaped(section.grid["note"] or ""),
    ]
    parts += [_figure(figure, folder) for figure in section.figures]
    for table in section.tables:
        if table.extra:
            parts.append(f"{'#' * (level + 1)} Further measurements")
        elif table.title != section.grid["title"]:
            parts.append(f"**{escaped(table.title)}**")
        parts += [table_text(table), remarks_text(table)]
    if section.comparisons:
        parts += [f"{'#' * (level + 1)} Differences", verdicts_text(section)]
    if section.missing:
        parts += [f"{'#' * (level + 1)} Missing", _missing(section)]
    if section.failed and index:
        parts += [f"{'#' * (level + 1)} Failed runs", _failed(section, index)]
    return list(filter(None, parts))


def table_text(table):
    """A `tables.Table` as a Markdown table; the paper's numbers have columns of their own, in italics."""
    heading, align = [escaped(key) for key in table.keys], [":---"] * len(table.keys)
    for column in table.columns:
        for suffix in ("", " (paper)") if column in table.with_paper else ("",):
            heading.append(escaped(column.heading + suffix))
            align.append("---:")
    lines = [heading, align]
    for row, cells in table.rows:
        line = [escaped(text) for text in row]
        for column, cell in zip(table.columns, cells, strict=True):
            line.append(escaped(cell_text(cell, column.unit)))
            if column in table.with_paper:
                text = paper_text(cell, column.unit)
                line.append(f"*{escaped(text)}*" if text else "")
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def remarks_text(table):
    """The sentences below a table."""
    return escaped(" ".join(table.remarks))


def verdicts_text(section):
    """The comparisons of a section in words, as a Markdown table."""
    lines = [["Metric", "Compared", "Ours", "paper"], [":---"] * 4]
    for each in section.comparisons:
        metric = escaped(metric_label(each.metric, each.settings))
        words = f"**{escaped(each.verdict)}**" if each.shown else escaped(each.verdict)
        printed = f"*{escaped(each.beside_paper)}*" if each.beside_paper else ""
        lines.append([metric, escaped(compared(each)), words, printed])
    return f"{shown_text(section.comparisons)}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _overview(contents):
    found = totals(contents.collection)
    counted = f"{found['finished']:,} of {plural(found['runs'], 'run')} finished, {found['failed']:,} failed"
    cost = f"{duration(found['seconds'])} of training and evaluation, about {magnitude(found['flops'], 'FLOPs')}"
    return f"{counted}; {cost} of training."


def _figure(figure, folder):
    path = os.path.relpath(figure.png, folder) if folder else figure.png.name
    return f"![{escaped(figure.description)}]({link(path)})\n\n*{escaped(figure.title)}. Our numbers alone.*"


def _missing(section):
    lines = []
    for reason, seeds, what in section.missing:
        where = f"seed{'s' if ',' in seeds else ''} {escaped(seeds)}"
        lines.append(f"- {escaped(reason)}, {where}: {escaped('; '.join(what))}")
    return "\n".join(lines)


def _failed(section, index):
    return "\n".join(f"- `{key}`: {escaped(index.runs[key].get('error') or 'unknown')}" for key in section.failed)


def _provenance(contents):
    parts, lines = ["## Settings, versions, devices"], []
    for place, each in enumerate(contents.environments):
        versions = ", ".join(f"{name} {version}" for name, version in (each["versions"] or {}).items())
        device = escaped(each["device"] or "unknown device")
        lines.append(f"{place + 1}. code {escaped(each['code'] or 'unknown')}; {device}; {escaped(versions)}")
    if contents.shared:
        shared = "; ".join(f"{name} {_value(value)}" for name, value in contents.shared.items() if value is not None)
        parts.append(f"Settings of all runs: {escaped(shared)}.")
    return [*parts, "Environments:", "\n".join(lines), "## Runs", runs_text(contents)]


def runs_text(contents):
    """All runs with their provenance, as a Markdown table."""
    varied = list(dict.fromkeys(axis for each in contents.sections for axis in each.grid["axes"] if axis != "seed"))
    heading = ["Run", *(axis_label(axis) for axis in varied), "Seed", "Status", "Time", "FLOPs", "Data", "Environment"]
    lines = [heading, [":---"] * len(heading)]
    for key, run in contents.collection["runs"].items():
        config = run.get("config") or {}
        name = f"[{escaped(key)}]({link(run['path'])})" if run.get("path") else f"`{key}`"
        line = [name, *(escaped(axis_value(axis, config[axis])) if axis in config else "" for axis in varied)]
        line += [str(config.get("seed", "")), run["status"], duration(run.get("seconds"))]
        line += [magnitude(run.get("training_flops"), "FLOPs"), ((run.get("data") or {}).get("fingerprint") or "")[:12]]
        lines.append([*line, ", ".join(map(str, contents.trained_in(run)))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _value(value):
    return ", ".join(map(number, value)) if isinstance(value, list) else number(value)


def escaped(text):
    """A text whose characters have no meaning in Markdown, on one line."""
    return LISTED.sub(r"\1\\\2", SPECIAL.sub(r"\\\g<0>", " ".join(str(text).split())))


def link(path):
    """A path as the target of a link."""
    return quote(str(path).replace(os.sep, "/"))
