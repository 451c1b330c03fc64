"""The report as one HTML page that needs nothing beside it: no network, no files, no inline code that is not named.

Its policy names the style and the script by their hashes and forbids everything else, so figures carry their colours as
attributes, not as style. They follow the reader's light or dark scheme by the same variables as the text.
"""

import base64
import hashlib
from pathlib import Path
from urllib.parse import quote

from tfnoisekd.report.contents import own_settings, totals
from tfnoisekd.report.html import charts, rows, svg
from tfnoisekd.report.wording import (
    PERCENT,
    cell_label,
    compared,
    duration,
    magnitude,
    metric_label,
    plural,
    shown,
    shown_text,
)

FOLDER = Path(__file__).parent
# Of a run of which only its failure is known, the collection has less.
OF_RUNS = ("config", "seconds", "evaluation_seconds", "training_flops", "student_parameters", "finished_at")


def page(contents, title="Report"):
    """The whole page.

    Args:
        contents: `contents.Contents`, with its figures drawn.
        title: Of the page.

    Returns:
        The text of an HTML file.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"duration": duration, "magnitude": magnitude, "plural": plural}
    environment.filters |= {"quote": quote, "count": rows.count}
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return environment.get_template("page.html").render(
        title=title,
        policy=policy(script, style),
        style=style,
        script=script,
        totals=totals(contents.collection),
        with_paper=contents.with_paper,
        sections=[_section(contents, place, each) for place, each in enumerate(contents.sections)],
        shared=rows.settings(contents.shared),
        environments=contents.environments,
        runs=_runs(contents),
    )


def policy(script, style):
    """A Content-Security-Policy that lets this script and this style work, and nothing be loaded or sent."""
    return (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode()}'"


def _section(contents, place, section):
    """A section as the template takes it."""
    numbers = run_numbers(contents)
    return {
        "id": f"grid-{place + 1}",
        "title": section.grid["title"] or section.grid["name"],
        "name": section.grid["name"],
        "note": section.grid["note"] or "",
        "counts": section.counts,
        "tables": [rows.table(each, numbers) for each in section.tables],
        "figures": [
            {"svg": svg.inlined(each.svg, f"f{place}-{number}-", each.description), "title": each.title}
            for number, each in enumerate(section.figures)
        ],
        "verdict_heading": shown_text(section.comparisons) if section.comparisons else "",
        "shown": sum(each.shown for each in section.comparisons),
        "with_paper": any(each.beside_paper for each in section.comparisons),
        "comparisons": [
            {
                "metric": metric_label(each.metric, each.settings),
                "compared": compared(each),
                "verdict": each.verdict,
                "shown": each.shown,
                "p": "" if each.adjusted_p is None else f"{each.adjusted_p:.2g}",
                "paper": each.beside_paper,
            }
            for each in section.comparisons
        ],
        "missing": section.missing,
        "failed": [(numbers[key], key, contents.index.runs[key].get("error") or "unknown") for key in section.failed],
    }


def run_numbers(contents):
    """Dict of run -> its number on the page, from 1."""
    return {key: number + 1 for number, key in enumerate(contents.index.runs)}


def _runs(contents):
    """All runs as the template takes them."""
    numbers, places = run_numbers(contents), {}
    for section in contents.sections:
        for cell in section.grid["cells"]:
            for seed, key in cell["runs"].items():
                place = places.setdefault(key, (cell_label(cell["axes"], without=("seed",)), seed, []))
                place[2].append(section.grid["name"])
    teachers = {(run.get("teacher") or {}).get("run") for run in contents.index.runs.values()}
    found = []
    for key, run in contents.index.runs.items():
        rest = rows.kind(run, key in teachers), (run.get("config") or {}).get("seed", ""), []
        name, seed, grids = places.get(key, rest)
        found.append({**_run(contents, key, run, numbers), "name": name, "seed": seed, "grids": ", ".join(grids)})
    return found


def _run(contents, key, run, numbers):
    found = contents.index.measured(key, "test_accuracy", {})
    teacher = run.get("teacher") or {}
    return {
        "number": numbers[key],
        "key": key,
        "run": {**dict.fromkeys(OF_RUNS), **run},
        "accuracy": shown(found["value"], PERCENT) if found else "",
        "settings": rows.settings(own_settings(run, contents.shared)),
        "environments": contents.trained_in(run),
        "evaluations": [(each, contents.environment(each.get("provenance"))) for each in run["evaluations"]],
        "measurements": rows.plain_measurements(contents.index.of_runs.get(key, ())),
        "teacher": teacher,
        "teacher_number": numbers.get(teacher.get("run")),
        "chart": charts.curves(run.get("curves") or {}),
    }
