"""Prints results for people; JSON is for programs."""

from rich.console import Console
from rich.table import Table


def print_results(results, per_class=False):
    """Prints what `evaluation.accuracy.evaluate` returned."""
    low, high = results["accuracy_interval"]
    rows = [("accuracy", f"{results['accuracy']:.2%}  (95% interval {low:.2%} to {high:.2%}, n = {results['n']:,})")]
    if "teacher_accuracy" in results:
        rows.append(("teacher's accuracy", f"{results['teacher_accuracy']:.2%}"))
        rows.append(("agreement with teacher", f"{results['agreement']:.2%}"))
    rows.append(("expected calibration error", f"{results['expected_calibration_error']:.4f}"))
    rows.append(("negative log-likelihood", f"{results['negative_log_likelihood']:.4f}"))
    table = Table(title="Test images", show_header=False, title_justify="left")
    for row in rows:
        table.add_row(*row)
    console = Console(markup=False)
    console.print(table)
    if per_class:
        table = Table(title="By class", title_justify="left")
        table.add_column("class")
        table.add_column("accuracy", justify="right")
        table.add_column("n", justify="right")
        for name, entry in results["per_class"].items():
            share = "-" if entry["accuracy"] is None else f"{entry['accuracy']:.2%}"
            table.add_row(name, share, f"{entry['n']:,}")
        console.print(table)
