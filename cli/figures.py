"""The figures that the results of `tfnoisekd evaluate` have something to show in."""

from pathlib import Path

from tfnoisekd.evaluation import figures

SIGMA_METHODS = ("sr", "ga")  # the methods whose noise is on the input (Figure 2 of the paper)


def draw(assessed, folder):
    """Draws every figure that there are results for.

    Args:
        assessed: List of what `assessed.assess` returned, one for each model.
        folder: Where the files go, which is there.

    Returns:
        The paths of all PNG files; each has an SVG beside it.
    """
    folder = Path(folder)
    series = dict(zip(_labels(assessed), assessed, strict=True))
    drawn = [figures.reliability_diagram(series, folder / "reliability")]
    drawn.append(figures.risk_coverage(series, folder / "risk-coverage"))
    drawn += _attacks(_having(series, "pgd"), folder, len(assessed[0]["per_class"]))
    if corrupted := _having(series, "corruptions"):
        drawn.append(figures.corruption_bars(corrupted, folder / "corruptions"))
    if certified := _having(series, "smoothing"):
        lines = {f"{label}, smoothing {row['sigma']:g}": row for label, rows in certified.items() for row in rows}
        drawn.append(figures.certified_accuracy(lines, folder / "certified"))
    drawn += _sigma(assessed, folder)
    return [png for png, _ in drawn]


def _attacks(series, folder, num_classes):
    """Over steps for each epsilon with several, and over epsilon at the most steps."""
    if not series:
        return []
    rows = next(iter(series.values()))
    epsilons, steps = sorted({row["epsilon"] for row in rows}), sorted({row["steps"] for row in rows})
    drawn = []
    for number, epsilon in enumerate(epsilons if len(steps) > 1 else []):
        name = "steps" if len(epsilons) == 1 else f"steps-{number + 1}"
        drawn.append(figures.robustness_against_steps(series, folder / name, epsilon=epsilon))
    if len(epsilons) > 1:
        options = {"steps": steps[-1], "num_classes": num_classes}
        drawn.append(figures.robustness_against_epsilon(series, folder / "epsilon", **options))
    return drawn


def _sigma(assessed, folder):
    """Over the noise in training, where there are runs with several; at the first epsilon and number of steps."""
    points = {}
    for results in assessed:
        run, rows = results.get("run"), results.get("pgd")
        if run and rows and run["method"] in SIGMA_METHODS:
            first = rows[0]
            attack = f"PGD-{first['steps']}, ε = {first['epsilon']:.3g}"
            point = {**first, "sigma": run["sigma"], "attack": attack}
            points.setdefault(run["method"].upper(), {}).setdefault(run["sigma"], []).append(point)
    groups = [group for family in points.values() for group in family.values()]
    if len({group[0]["sigma"] for group in groups}) < 2:
        return []
    interval = "95% Wilson interval"
    if any(len(group) > 1 for group in groups):
        interval = "range over runs"
        points = {name: {sigma: [_over_runs(group)] for sigma, group in each.items()} for name, each in points.items()}
    series = {name: [group[0] for group in family.values()] for name, family in points.items()}
    return [figures.robustness_against_sigma(series, folder / "sigma", interval=interval)]


def _over_runs(group):
    """The point of several runs of one sigma: means, and in place of intervals the range."""
    point = dict(group[0])
    for name in ("clean", "robust"):
        values = [each[f"{name}_accuracy"] for each in group]
        point |= {f"{name}_accuracy": sum(values) / len(values), f"{name}_interval": [min(values), max(values)]}
    return point


def _having(series, question):
    return {label: results[question] for label, results in series.items() if results.get(question)}


def _labels(assessed):
    """A short label for each model: method and noise, or the name of its file; numbered where they are the same."""
    labels = []
    for results in assessed:
        run = results.get("run")
        label = _method(run) if run else Path(results["model"]).stem
        labels.append(label)
    return [
        label if labels.count(label) == 1 else f"{label} ({labels[: i + 1].count(label)})"
        for i, label in enumerate(labels)
    ]


def _method(run):
    noise = [f"{sign} {run[name]:g}" for name, sign in (("sigma", "sigma"), ("rate", "rate")) if run[name]]
    return " ".join([run["method"], *noise])
