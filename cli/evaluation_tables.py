"""Prints what `tfnoisekd evaluate` found: a table for each question, and one that compares models."""

from rich import box
from rich.console import Console
from rich.table import Table

from tfnoisekd.cli.results import percent, print_results

MEANS = {"mCA, all 19": "mean_corruption_accuracy", "mCA, RobustBench's 15": "mean_corruption_accuracy_15"}
STATUS = {"warn": "bold red", "not run": "dim"}


def print_assessment(results):
    """Prints the answers of one model, as `assessed.assess` returned them."""
    console = Console(markup=False, highlight=False)
    console.print(f"{results['model']} on {results['data']}")
    print_results(results, per_class=True)
    for name, table in TABLES.items():
        if results.get(name):
            console.print(table(results[name]))
    for name, reason in results.get("errors", {}).items():
        console.print(f"{name}: not answered. {reason}", soft_wrap=True)


def print_comparison(assessed):
    """Prints one row for each model, with the figures that all questions gave."""
    table = Table(title="All models, %", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("model", overflow="fold")
    columns = list(dict.fromkeys(name for results in assessed for name in _figures(results)))
    several = len({results["data"] for results in assessed}) > 1
    for name in [*(["data"] if several else []), *columns]:
        table.add_column(name, justify="right")
    for results in assessed:
        found = _figures(results)
        label = results.get("run", {}).get("path", results["model"])
        data = [results["data"]] if several else []
        table.add_row(label, *data, *(_points(found.get(name)) for name in columns))
    Console(markup=False).print(table)


def _figures(results):
    """What a comparison shows of a model: a heading, which tells the settings, -> a share."""
    found = {"accuracy": results["accuracy"]}
    for row in results.get("pgd", ())[-1:]:
        found[f"PGD-{row['steps']}, {_epsilon(row['epsilon'])}"] = row["robust_accuracy"]
    for row in results.get("ensemble", ())[-1:]:
        found[f"strong, {_epsilon(row['epsilon'])}"] = row["robust_accuracy"]
    if corrupted := results.get("corruptions"):
        mca, sets = (
            corrupted["mean_corruption_accuracy"],
            len(corrupted["corruptions"]) * len(corrupted["per_severity"]),
        )
        found["mCA" if mca is not None else f"{sets} corrupted sets"] = corrupted["mean_accuracy"]
        found["natural robustness"] = corrupted["natural_robustness"]
    for row in results.get("ood", ()):
        found[row["source"]] = row["accuracy"]
    for row in results.get("smoothing", ())[-1:]:
        found[f"smoothed, {row['sigma']:g}"] = row["smoothed_accuracy"]
    return found


def _pgd(rows):
    first = rows[0]
    table = _table(
        f"PGD, {first['norm']}: robust accuracy of {first['n']:,} images, {first['restarts']} restarts",
        ("epsilon", "steps", "step size", "robust accuracy"),
    )
    for row in rows:
        robust = percent(row["robust_accuracy"], row["robust_interval"])
        table.add_row(_epsilon(row["epsilon"]), str(row["steps"]), f"{row['step_size']:g}", robust)
    table.add_row("0", "-", "-", percent(first["clean_accuracy"], first["clean_interval"]))
    return _with_notes(table, rows)


def _ensemble(rows):
    first = rows[0]
    table = _table(
        f"Strong attacks, {first['norm']}: what is left of {first['n']:,} images after each",
        ("epsilon", *(each["attack"] for each in first["attacks"]), "robust accuracy"),
    )
    for row in rows:
        after = [f"{each['robust_accuracy_after']:.2%}" for each in row["attacks"]]
        table.add_row(_epsilon(row["epsilon"]), *after, percent(row["robust_accuracy"], row["robust_interval"]))
    return _with_notes(table, rows)


def _self_checks(checks):
    table = Table("check", "", "evidence", title="Can these attacks be believed?", title_justify="left")
    for check in checks:
        text = " ".join(filter(None, (check["evidence"], check.get("advice"))))
        table.add_row(check["check"], check["status"], text, style=STATUS.get(check["status"]))
    return table


def _corruptions(results):
    severities, source = list(results["per_severity"]), results["settings"]["source"]
    table = Table(
        title=f"Accuracy (%) on corrupted images by severity, n = {results['n']:,} (source: {source})",
        title_justify="left",
    )
    table.add_column("corruption", no_wrap=True)
    for heading in (*severities, "mean", "natural robustness"):
        table.add_column(heading, justify="right")
    for name, entry in results["corruptions"].items():
        each = [entry["severities"][severity]["accuracy"] for severity in severities]
        table.add_row(name, *map(_points, (*each, entry["accuracy"], entry["natural_robustness"])))
    table.add_section()
    each = [entry["accuracy"] for entry in results["per_severity"].values()]
    table.add_row("mean", *map(_points, (*each, results["mean_accuracy"], results["natural_robustness"])))
    for title, key in MEANS.items():
        if results[key] is not None:
            table.add_row(title, *[""] * len(severities), _points(results[key]), "")
    return table


def _ood(rows):
    table = _table("Images of another origin", ("data", "accuracy", "n", "classes matched by"))
    for row in rows:
        accuracy = percent(row["accuracy"], row["accuracy_interval"])
        table.add_row(f"{row['source']} ({row['part']})", accuracy, f"{row['n']:,}", row["classes_matched_by"])
    return table


def _smoothing(rows):
    first = rows[0]
    radii = [each["radius"] for each in first["certified_accuracy"]]
    table = Table(
        title=f"Certified accuracy (%) at l2 radius, {first['n_images']:,} images, {first['n']:,} noisy copies of each",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for heading in ("sigma", *(f"{radius:g}" for radius in radii), "abstained", "accuracy (95% interval)"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        certified = [_points(each["accuracy"]) for each in row["certified_accuracy"]]
        low, high = row["smoothed_accuracy_interval"]
        smoothed = f"{_points(row['smoothed_accuracy'])} ({_points(low)} to {_points(high)})"
        table.add_row(f"{row['sigma']:g}", *certified, _points(row["abstention_rate"]), smoothed)
    return table


TABLES = {
    "pgd": _pgd,
    "ensemble": _ensemble,
    "self_checks": _self_checks,
    "corruptions": _corruptions,
    "ood": _ood,
    "smoothing": _smoothing,
}


def _table(title, headings):
    table = Table(title=title, title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    return table


def _with_notes(table, rows):
    notes = dict.fromkeys(note for row in rows for note in row["notes"])
    table.caption, table.caption_justify = "\n".join(notes) or None, "left"
    return table


def _epsilon(epsilon):
    """As k/255 where it is one."""
    levels = epsilon * 255
    return f"{round(levels)}/255" if abs(levels - round(levels)) < 1e-9 else f"{epsilon:g}"


def _points(value):
    return "-" if value is None else f"{100 * value:.1f}"
