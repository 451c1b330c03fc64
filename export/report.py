"""Report: `export.json`, what was exported, what it costs and what it withstands; and the same as rows of a table."""

import dataclasses
import json
import math
import os
from numbers import Integral, Real
from pathlib import Path

from tfnoisekd.export import files
from tfnoisekd.export.verdict import ExportReport
from tfnoisekd.provenance import provenance

NAME = "export.json"
ROLES = ("teacher", "student")
NONE = "-"


def build(entries, *, student, teacher=None, folder=None, command=None, **more):
    """Everything that is known of the exported files of one student, ready for JSON.

    Args:
        entries: For each file what `entry` returns, or a dict with at least `format`, `path` and `bytes`.
        student: Dict of what is known of the Keras student, any of: `name`, `bytes` (of its .keras file), `accuracy`,
            `agreement` with the teacher, `macs` (what `macs.count` returns), `cost` (what `cost.of_model` returns),
            `robustness`; others are kept too.
        teacher: The same of the teacher, if there is one.
        folder: The folder that `write` will write to; paths of files are noted relative to it, so that all can move
            together. None leaves them as they are.
        command: The command line that asked for it.
        more: Further blocks of the report, such as the settings of an evaluation.

    Returns:
        A dict of plain Python values: `provenance` (code, versions, device, time, command), `student`, `teacher`,
        `files` and the further blocks.

    Raises:
        ValueError: If a file has no format, path or size, or a value is none that JSON has, such as NaN.

    Example:

    >>> report = build([entry(exported, cost=cost.measure("tflite", exported.path, images))],
    ...                student={"macs": macs.count(student)}, folder="export", command="tfnoisekd export --tflite")
    >>> write("export", report)
    """
    taken = sorted({"provenance", "student", "teacher", "files"} & set(more))
    if taken:
        raise ValueError(f"`more` must have names of its own. Received: {', '.join(taken)}")
    report = {
        "provenance": {**provenance(), "command": command},
        "student": dict(student),
        "teacher": None if teacher is None else dict(teacher),
        "files": [_file(each, folder) for each in entries],
        **more,
    }
    return json.loads(_text(report))  # what will be read is what is in hand


def entry(exported, cost=None, robustness=None, **more):
    """One file of a report.

    Args:
        exported: Its `ExportReport`, or a dict of the same names.
        cost: What `cost.measure` returns, or None.
        robustness: Dict of what is known of it, such as {"transfer": robustness.of_file(...)}, or None.
        more: Further values of the file.

    Returns:
        A dict.
    """
    facts = dataclasses.asdict(exported) if isinstance(exported, ExportReport) else dict(exported)
    return {**facts, "cost": cost, "robustness": robustness, **more}


def write(folder, report):
    """Writes a report to <folder>/export.json, whole or not at all, and returns the path.

    Args:
        folder: Folder, which is made where there is none; an earlier report in it is replaced.
        report: What `build` returns.

    Raises:
        PermissionError: If the folder can't be made.
        ValueError: If a value is none that JSON has, such as NaN.
    """
    path, text = Path(folder) / NAME, _text(report)
    with files.partial_sibling(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
        files.replace(partial, path)
    return path


def read(folder):
    """The report of a folder, as it was written.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        raise FileNotFoundError(f"`folder` must hold {NAME}. Received: {str(folder)!r}; write it by `tfnoisekd export`")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"`folder` must hold a report that can be read. Received: {path}: {error}") from None


def table(report):
    """A report as a table: the teacher and the Keras student first, then each file.

    Args:
        report: What `build` returns.

    Returns:
        (columns, rows): a list of titles; and a list of lists of strings, one for each title, "-" where a value was
        not measured. Latency is that of one image, "median / p95", a column for each number of threads that was
        measured; images/s are those of the most threads; memory is what comes on top of the runtime alone. Agreement
        is that of a file with the Keras student, and of the student with its teacher.
    """
    rows = [(role, _parts(report[role])) for role in ROLES if report.get(role)]
    network = report["student"].get("macs")  # the same in every file, unless it says otherwise
    rows += [(_label(each), _parts({"macs": network, **each})) for each in report["files"]]
    threads = sorted({number for _, parts in rows for number in parts["latencies"]})
    columns = ["format", "bytes", "parameters", "MACs", "accuracy", "agreement"]
    columns += [f"latency ms, {number} thread{'s' if number > 1 else ''}" for number in threads]
    return [*columns, "images/s", "peak memory MiB"], [_row(label, parts, threads) for label, parts in rows]


def _file(each, folder):
    missing = [name for name in ("format", "path", "bytes") if each.get(name) is None]
    if missing:
        raise ValueError(f"`entries` must each have a format, a path and bytes. Received: one without {missing[0]}")
    path = each["path"] if folder is None else Path(os.path.relpath(each["path"], folder)).as_posix()
    return {**each, "path": str(path)}


def _parts(block):
    """The values of a row, None where unknown."""
    cost, counted = block.get("cost") or {}, block.get("macs") or {}
    timings = sorted(cost.get("timings", ()), key=lambda timing: timing["threads"])
    return {
        "bytes": block.get("bytes", cost.get("bytes")),
        "parameters": counted.get("parameters"),
        "macs": counted.get("macs"),
        "accuracy": block.get("accuracy"),
        "agreement": block.get("top1_agreement", block.get("agreement")),
        "latencies": {timing["threads"]: (timing["median_ms"], timing["p95_ms"]) for timing in timings},
        "images_per_second": timings[-1].get("images_per_second") if timings else None,
        "memory": cost.get("peak_memory_bytes"),
    }


def _label(each):
    quantize = each.get("quantize", "none")
    return each["format"] if quantize == "none" else f"{each['format']} {quantize}"


def _row(label, parts, threads):
    latencies = [parts["latencies"].get(number) for number in threads]
    memory = parts["memory"]
    return [
        label,
        *(_show(parts[name], "{:,}") for name in ("bytes", "parameters", "macs")),
        *(_show(parts[name], "{:.2%}") for name in ("accuracy", "agreement")),
        *(NONE if each is None else "{:.2f} / {:.2f}".format(*each) for each in latencies),
        _show(parts["images_per_second"], "{:,.0f}"),
        _show(None if memory is None else memory / 2**20, "{:.1f}"),
    ]


def _show(value, form):
    return NONE if value is None else form.format(value)


def _text(report):
    def plain(value):
        if isinstance(value, Integral):  # NumPy's numbers, which json does not know
            return int(value)
        if isinstance(value, Real) and math.isfinite(value):
            return float(value)
        raise ValueError(f"{type(value).__name__} {value!r}")

    try:
        return json.dumps(report, indent=2, allow_nan=False, default=plain)
    except ValueError as error:
        raise ValueError(
            f"`report` must hold only what JSON has, neither NaN nor infinity. Received: {error}"
        ) from error
