"""Prints results for people; JSON is for programs."""

from rich.console import Console
from rich.table import Table

CALIBRATION = {
    "expected_calibration_error": "expected calibration error",
    "adaptive_expected_calibration_error": "the same, equally full bins",
    "brier_score": "Brier score",
    "negative_log_likelihood": "negative log-likelihood",
}


def percent(share, interval, n=None):
    """A share with its 95% interval, both of 0 to 1."""
    count = "" if n is None else f", n = {n:,}"
    return f"{share:.2%}  (95% interval {interval[0]:.2%} to {interval[1]:.2%}{count})"


def print_results(results, per_class=False, corruption=None, split="test"):
    """Prints what `evaluation.accuracy.evaluate` returned, and what a run found on its wrong training labels.

    Args:
        results: The dict of results.
        per_class: Whether to add a table by class.
        split: Which images the results are of, "test" or, for a trial of a search, "validation".
        corruption: `record["data"]["corruption"]` of the run, where there is one.
    """
    rows = [("accuracy", percent(results["accuracy"], results["accuracy_interval"], results["n"]))]
    if "teacher_accuracy" in results:
        rows.append(("teacher's accuracy", f"{results['teacher_accuracy']:.2%}"))
        rows.append(("agreement with teacher", f"{results['agreement']:.2%}"))
    if "fidelity" in results:
        rows.append(("teacher's errors copied", _copied(results["fidelity"])))
    for name, title in CALIBRATION.items():
        if name in results:
            rows.append((title, f"{results[name]:.4f}"))
    if "selective" in results:
        rows.append(("area under risk-coverage curve", f"{results['selective']['aurc']:.4f}"))
    table = Table(title=f"{split.capitalize()} images", show_header=False, title_justify="left")
    for row in rows:
        table.add_row(*row)
    console = Console(markup=False)
    console.print(table)
    if "memorization" in results:
        console.print(_memorization(results["memorization"], corruption))
    if per_class:
        table = Table(title="By class", title_justify="left")
        table.add_column("class")
        table.add_column("accuracy", justify="right")
        table.add_column("n", justify="right")
        for name, entry in results["per_class"].items():
            share = "-" if entry["accuracy"] is None else f"{entry['accuracy']:.2%}"
            table.add_row(name, share, f"{entry['n']:,}")
        console.print(table)


def print_summary(summary):
    """Prints what `series.summarise` returned."""
    seeds = summary["seeds"]
    title = f"Test images, {len(seeds)} seeds ({', '.join(map(str, seeds))})"
    table = Table(title=title, title_justify="left")
    for heading in ("", "mean", "standard deviation", "each seed"):
        table.add_column(heading)
    for name, figure in summary.items():
        if name != "seeds":
            spread = "-" if figure["std"] is None else f"{figure['std']:.4f}"
            each = " ".join(f"{value:.4f}" for value in figure["values"])
            table.add_row(name.replace("_", " ").replace(".", ", "), f"{figure['mean']:.4f}", spread, each)
    Console(markup=False).print(table)


def corruption_line(corruption, total):
    """One line on what was done to training labels.

    Args:
        corruption: `record["data"]["corruption"]` of a run, or the same of `data.corruption.Corruption.summary`.
        total: Number of training labels.
    """
    return (
        f"{corruption['true_rate']:.1%} of {total:,} training labels replaced ({_how(corruption)}); "
        "validation and test labels are as they were"
    )


def _copied(fidelity):
    if fidelity["copied_errors"] is None:
        return "it makes none"
    return percent(fidelity["copied_errors"], fidelity["copied_errors_interval"], fidelity["teacher_errors"])


def _memorization(results, corruption):
    """A table of what `evaluation.memorization.evaluate` said of each model."""
    n = next(iter(results.values()))["n"]
    share = f", {corruption['true_rate']:.1%} of all ({_how(corruption)})" if corruption else ""
    table = Table(title=f"Memorization of {n:,} wrong training labels{share}", title_justify="left")
    for heading in ("", "gives the wrong label", "gives the true label"):
        table.add_column(heading)
    for role, entry in results.items():
        shares = []
        for label in ("wrong", "true"):
            shares.append(percent(entry[f"{label}_label_accuracy"], entry[f"{label}_label_interval"]))
        table.add_row(role, *shares)
    return table


def _how(corruption):
    return corruption["kind"] + ("" if corruption["seed"] is None else f", seed {corruption['seed']}")
