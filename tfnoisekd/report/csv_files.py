"""The report as CSV: a file for each table, one of all measurements, and one of all runs."""

import csv
import io
import json
import re

from tfnoisekd.report import paper
from tfnoisekd.report.cells import canonical
from tfnoisekd.report.contents import own_settings
from tfnoisekd.report.wording import FACTORS, METRICS, PERCENT, SIGMA

PROVENANCE = ("code", "device", "versions", "started_at", "command")
COST = ("finished_at", "seconds", "evaluation_seconds", "attempts", "training_flops")
COST += ("student_parameters", "student_weights_sha256")
DATA = ("name", "fingerprint", "train", "validation", "test")
OF_RUNS = (*PROVENANCE, "resumed_on", *COST, *(f"data_{name}" for name in DATA), "teacher_weights_sha256")
NAME = re.compile(r"[^\w./]+|[./](?!\d)")  # what a name of a column has no use for


def table_text(table):
    """A `tables.Table` as CSV: ours in columns of the metric's name, the paper's in columns named paper_*."""
    heading = [_name(key) for key in table.keys]
    for column in table.columns:
        name = _name(column.heading) + ("_percent" if column.unit == PERCENT else "")
        heading += [name, f"{name}_std", f"{name}_n", f"{name}_missing"]
        if column in table.with_paper:
            heading += [f"paper_{name}", f"paper_{name}_std"]
    lines = [heading]
    for texts, cells in table.rows:
        line = list(texts)
        for column, cell in zip(table.columns, cells, strict=True):
            factor = FACTORS[column.unit]
            reason = "does not apply" if not cell.applies else cell.reason
            line += [_scaled(cell.mean, factor), _scaled(cell.std, factor), cell.n, reason or ""]
            if column in table.with_paper:
                printed = cell.paper
                line += [_scaled(printed and printed.mean, factor), _scaled(printed and printed.std, factor)]
        lines.append(line)
    return written(lines)


def measurements_text(contents):
    """Every measurement in a line: its run, axes, seed, settings, value, the paper's number, and provenance.

    Values are shares in [0, 1], nats or lengths, as they were measured. Settings that all runs share are in the file of
    runs only.
    """
    index, runs = contents.index, contents.index.runs
    axes, placed = _axes(contents)
    settings = sorted({name for each in contents.collection["measurements"] for name in each["settings"]})
    own = sorted({name for run in runs.values() for name in own_settings(run, contents.shared)} - {"seed"})
    heading = ["grids", "run", *axes, "seed", "metric", *(f"setting_{name}" for name in settings), "value", "n"]
    heading += ["paper_value", "paper_std", "paper_place", "status", *(f"config_{name}" for name in own), *OF_RUNS]
    heading.append("evaluation_files")
    lines, printed = [heading], {}
    for key, run in runs.items():
        before, after = _of_run(key, run, axes, placed, own, contents.shared)
        for each in index.of_runs.get(key, ()):
            place = (placed.get(key, {}).get("cells"), each["metric"], canonical(each["settings"]))
            if place not in printed:
                printed[place] = _printed(placed.get(key), each)
            lines.append(
                [
                    *before,
                    each["metric"],
                    *(_plain(each["settings"].get(name)) for name in settings),
                    each["value"],
                    each["n"],
                    *printed[place],
                    *after,
                    _files(run, each["metric"]),
                ]
            )
    return written(lines)


def runs_text(contents):
    """Every run in a line, finished or not, with all its settings and its provenance."""
    runs = contents.index.runs
    names = list(dict.fromkeys(name for run in runs.values() for name in run.get("config") or {}))
    heading = ["run", "path", "status", "error", "macs_student", "macs_teacher", "teacher_run"]
    lines = [[*heading, *(f"config_{name}" for name in names), *OF_RUNS]]
    for key, run in runs.items():
        config, macs = run.get("config") or {}, run.get("macs") or {}
        line = [key, run.get("path"), run["status"], run.get("error"), macs.get("student"), macs.get("teacher")]
        line += [(run.get("teacher") or {}).get("run"), *(config.get(name) for name in names), *_of_record(run)]
        lines.append([_plain(each) for each in line])
    return written(lines)


def _of_record(run):
    """Provenance, cost, data and teacher of a run, in the order of `OF_RUNS`."""
    provenance, data = run.get("provenance") or {}, run.get("data") or {}
    resumed = "; ".join(dict.fromkeys(each["device"] for each in run.get("resumed", []))) or None
    found = [*(provenance.get(name) for name in PROVENANCE), resumed, *(run.get(name) for name in COST)]
    return found + [data.get(name) for name in DATA] + [(run.get("teacher") or {}).get("weights_sha256")]


def _axes(contents):
    """(names of all axes, dict of run -> its grids, its axes, and where the paper's number is to be found)."""
    names, placed = [], {}
    for section in contents.sections:
        grid = section.grid
        names += [name for name in grid["axes"] if name not in names and name != "seed"]
        for number, cell in enumerate(grid["cells"]):
            for seed, key in cell["runs"].items():
                if key not in contents.index.runs:
                    continue
                known = placed.setdefault(key, {"grids": [], "axes": {}, "seed": seed, "cells": (), "views": []})
                known["grids"].append(grid["name"])
                known["axes"] |= cell["axes"]
                known["cells"] += ((grid["name"], number),)
                known["views"].append((grid, cell["axes"]))
    return names, placed


def _of_run(key, run, axes, placed, own, shared):
    """What all lines of a run begin and end with."""
    place = placed.get(key, {"grids": [], "axes": {}, "seed": (run.get("config") or {}).get("seed")})
    before = [" ".join(place["grids"]), key, *(_plain(place["axes"].get(name)) for name in axes), place["seed"]]
    config = own_settings(run, shared)
    after = [_plain(each) for each in [run["status"], *(config.get(name) for name in own), *_of_record(run)]]
    return before, after


def _printed(place, measurement):
    """The paper's number for a measurement: (mean, std, place), shares; empty texts where it prints none."""
    for grid, axes in (place or {}).get("views", ()):
        source = paper.dataset_of(grid, axes)
        found = source and paper.printed(grid["paper"], source, axes, measurement["metric"], measurement["settings"])
        if found:
            return tuple("" if each is None else each for each in found)
    return ("", "", "")


def _files(run, metric):
    """The files of evaluations that a measurement may be from; none where it is from the run's own record."""
    question = METRICS[metric].question if metric in METRICS else None
    return " ".join(each["file"] for each in run["evaluations"] if question and each["question"] == question)


def _name(text):
    """A heading as a name of a column."""
    text = str(text).lower().replace(SIGMA, "sigma").replace("ε", "epsilon").replace("·", "times")
    return "_".join(NAME.sub(" ", text).split())


def _scaled(value, factor):
    return "" if value is None else f"{factor * value:.6g}"


def _plain(value):
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else value


def written(lines):
    """Lines as a text of CSV, with a line feed after each."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()
