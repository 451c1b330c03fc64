"""Prints what `tfnoisekd evaluate` found: a table for each question, and one that compares models."""

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


def print_comparison(assessed):
    """Prints one row for each model, with the figures that all questions gave."""
    table = Table(title="All models", title_justify="left")
    table.add_column("model", overflow="fold")
    columns = [name for name in FIGURES if any(FIGURES[name](results) is not None for results in assessed)]
    for name in columns:
        table.add_column(name, justify="right")
    for results in assessed:
        values = [FIGURES[name](results) for name in columns]
        label = results.get("run", {}).get("path", results["model"])
        table.add_row(label, *("-" if value is None else f"{value:.2%}" for value in values))
    Console(markup=False).print(table)


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
    table = _table(
        f"Randomized smoothing, {first['n_images']:,} images, {first['n']:,} draws: accuracy certified at l2 radius",
        ("sigma", *(f"{radius:g}" for radius in radii), "smoothed accuracy", "abstained"),
    )
    for row in rows:
        certified = [_share(each["accuracy"]) for each in row["certified_accuracy"]]
        smoothed = percent(row["smoothed_accuracy"], row["smoothed_accuracy_interval"])
        table.add_row(f"{row['sigma']:g}", *certified, smoothed, _share(row["abstention_rate"]))
    return table


TABLES = {
    "pgd": _pgd,
    "ensemble": _ensemble,
    "self_checks": _self_checks,
    "corruptions": _corruptions,
    "ood": _ood,
    "smoothing": _smoothing,
}


def _last(question, figure):
    def read(results):
        found = results.get(question)
        return found[-1][figure] if found else None

    return read


# What a comparison shows of each model; of several settings, the last.
FIGURES = {
    "accuracy": lambda results: results["accuracy"],
    "PGD": _last("pgd", "robust_accuracy"),
    "strong attacks": _last("ensemble", "robust_accuracy"),
    "mCA": lambda results: (results.get("corruptions") or {}).get("mean_accuracy"),
    "natural robustness": lambda results: (results.get("corruptions") or {}).get("natural_robustness"),
    "other data": _last("ood", "accuracy"),
    "smoothed": _last("smoothing", "smoothed_accuracy"),
}


def _table(title, headings):
    table = Table(title=title, title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number == 0 else "right", overflow="fold")
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


def _share(value):
    return "-" if value is None else f"{value:.1%}"
