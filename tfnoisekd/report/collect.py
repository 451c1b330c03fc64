"""Collects what grid folders hold into one value: grids, runs with their provenance, and measurements."""

import csv
import json
import os
from pathlib import Path

from tfnoisekd import architectures
from tfnoisekd.experiments.store import FINISHED, JOBS, Store
from tfnoisekd.report import measurements
from tfnoisekd.report.joining import join

FORMAT = 1
HISTORY = "history.csv"
CURVES = ("loss", "accuracy", "val_accuracy")


def collect(paths):
    """All that some grid folders, or JSON files of earlier collections, say; ready for JSON.

    Grids of one name are joined, so that the seeds of a grid may come from several machines.

    Args:
        paths: List of folders that `tfnoisekd sweep` made, and of JSON files that `tfnoisekd report` made.

    Returns:
        A dict: `format`, `grids`, `runs` (dict of key -> run) and `measurements`. A run's `path` is absolute, or None
        where it came from JSON.

    Raises:
        FileNotFoundError: If there is no such folder or file.
        ValueError: If a file is no collection, or of another format, or two of them contradict each other.
    """
    collection = {"format": FORMAT, "grids": [], "runs": {}, "measurements": []}
    for path in paths:
        join(collection, _of_file(Path(path)) if Path(path).is_file() else _of_folder(Path(path)), path)
    return collection


def _of_file(path):
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = found["format"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is no collection that `tfnoisekd report --format json` made") from None
    if known != FORMAT:
        raise ValueError(f"{path} must be of format {FORMAT}. Received: format {known}; make it anew")
    for run in found["runs"].values():
        run["path"] = None
    return found


def _of_folder(path):
    store = Store(path)
    entries = {entry.stem: json.loads(entry.read_text(encoding="utf-8")) for entry in _files(path / JOBS)}
    found = {"format": FORMAT, "grids": [], "runs": {}, "measurements": []}
    of_paths = {entry["run"]: key for key, entry in entries.items() if entry.get("run")}
    own = {}
    for key, entry in entries.items():
        record = _record(path, entry, key)
        if record is None:
            found["runs"][key] = _unrecorded(entry)
            continue
        folder, record = record
        own[key] = folder
        found["runs"][key] = _run(folder, record, entry, path, of_paths)
        if entry["status"] == FINISHED:
            numbers, origins = measurements.of_evaluations(folder / "evaluation")
            found["runs"][key]["evaluations"] = origins
            found["measurements"] += _measured(key, [*measurements.of_record(record), *numbers])
    _add_teachers(found)
    mistaught = {each["run"] for each in found["measurements"] if each["metric"] == "wrong_label_accuracy"}
    found["grids"] = [_grid(each, found["runs"], mistaught) for each in store.grids().values()]
    return found


def _files(folder):
    return sorted(folder.glob("[!.]*.json"))


def _record(path, entry, key):
    """(folder, record) of a job's run, or None if there is none yet."""
    folder = path / (entry.get("run") or f"students/{key}")
    try:
        return folder, json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _unrecorded(entry):
    """A run of which there is only what the ledger says."""
    return {"path": None, "status": entry["status"], "error": entry.get("error"), "evaluations": []}


def _run(folder, record, entry, root, of_paths):
    config, data, teacher = record["config"], record.get("data") or {}, record.get("teacher")
    seconds = entry.get("seconds") or {}
    run = {
        "path": str(folder.resolve()),
        "status": entry["status"],
        "error": entry.get("error"),
        "config": config,
        "provenance": record["provenance"],
        "finished_at": record.get("finished_at"),
        "attempts": entry.get("attempts"),
        "seconds": seconds.get("training"),
        "evaluation_seconds": seconds.get("evaluation"),
        "data": {name: data.get(name) for name in ("name", "fingerprint", "train", "validation", "test")},
        "teacher": None,
        "student_parameters": record.get("student_parameters"),
        "student_weights_sha256": record.get("student_weights_sha256"),
        "curves": _curves(folder / HISTORY),
        "evaluations": [],
    }
    if record.get("resumed"):
        run["resumed"] = record["resumed"]
    if teacher:
        place = os.path.relpath((folder / teacher["path"]).parent, root)
        run["teacher"] = {name: teacher.get(name) for name in ("weights_sha256", "parameters", "seed", "candidates")}
        run["teacher"]["run"] = of_paths.get(os.path.normpath(place))
    return {**run, **_work(config, data, bool(teacher))}


def _work(config, data, distils):
    """Multiply-accumulates of one image, and an estimate of the floating-point operations of the training.

    A training step takes about three passes through the student, forward and two backward, and one through the teacher;
    a multiply-accumulate is two operations. What a teacher cache saves is not taken off.
    """
    if "input_shape" not in data:
        return {"macs": {"student": None, "teacher": None}, "training_flops": None}
    shape, classes = data["input_shape"], len(data["class_names"])
    student = architectures.macs(config["student"], classes, shape)
    named = distils and architectures.is_name(config["teacher"])
    teacher = architectures.macs(config["teacher"], classes, shape) if named else None
    images = data["train"] * config["epochs"]
    return {
        "macs": {"student": student, "teacher": teacher},
        "training_flops": 2 * images * (3 * student + (teacher or 0)),
    }


def _curves(path):
    """The history of a training: dict of `epoch` and the curves that there are."""
    if not path.exists():
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in CURVES if rows and rows[-1].get(name) not in (None, "", "NA")]
    curves = {name: [round(float(row[name]), 5) for row in rows] for name in names}
    return {"epoch": [int(float(row["epoch"])) + 1 for row in rows], **curves}


def _measured(key, numbers):
    """Measurements with their run; of two answers to one question, that on more images."""
    best = {}
    for metric, settings, value, n in numbers:
        place = (metric, json.dumps(settings, sort_keys=True))
        if place not in best or n > best[place]["n"]:
            best[place] = {"run": key, "metric": metric, "settings": settings, "value": value, "n": n}
    return list(best.values())


def _add_teachers(found):
    """What was asked of a teacher is a measurement of each of its students too."""
    of_teachers = {}
    for each in found["measurements"]:
        if each["metric"] == "ood_accuracy":
            of_teachers.setdefault(each["run"], []).append(each)
    for key, run in found["runs"].items():
        teacher = (run.get("teacher") or {}).get("run") if run["status"] == FINISHED else None
        for each in of_teachers.get(teacher, ()):
            found["measurements"].append({**each, "run": key, "metric": "teacher_ood_accuracy"})


def _grid(grid, runs, mistaught):
    """A grid for the collection: runs that nobody has begun are None; `mistaught` are those with wrong labels."""
    named = ("name", "title", "paper", "stands_for", "note", "axes", "seeds", "comparisons")
    cells = [
        {"axes": cell["axes"], "runs": {seed: key if key in runs else None for seed, key in cell["runs"].items()}}
        for cell in grid["cells"]
    ]
    keys = [key for cell in cells for key in cell["runs"].values() if key]
    distils = any(runs[key].get("teacher") for key in keys)
    # Labels of people are wrong without a rate that was asked for.
    corrupted = any(key in mistaught or (runs[key].get("config") or {}).get("label_corruption") for key in keys)
    metrics = measurements.asked(grid["questions"], distils, corrupted)
    of_teachers = {each["ood"] for each in grid["settings"].get("evaluations", []) if each.get("teachers")}
    for source in sorted(filter(None, of_teachers)):
        metrics.append({"metric": "teacher_ood_accuracy", "settings": {"source": source}})
    return {**{name: grid[name] for name in named}, "cells": cells, "metrics": metrics}
