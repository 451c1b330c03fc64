"""Makes the tables of evaluations from their JSON files: python results/evaluations.py results/first-robustness

The files are what `tfnoisekd evaluate RUN... --output FILE` wrote for several models: pgd.json, ensemble.json,
corruptions.json and smoothing.json.
"""

import json
import sys
from pathlib import Path

QUESTIONS = ("pgd", "ensemble", "corruptions", "smoothing")
START, END = "<!-- table {}: python results/evaluations.py {} -->", "<!-- end of table -->"


def load(folder):
    """Model -> its answers to all questions, in the order of the first file."""
    files = {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in QUESTIONS}
    models = {}
    for name, content in files.items():
        for results in content["models"]:
            key = Path(results["run"]["path"])
            label = "teacher" if key.parent.name == "teachers" else key.name.removeprefix("first-")
            models.setdefault(label, {"clean": results, "provenance": {}})[name] = results[name]
            models[label]["provenance"] |= results["provenance"]
            if "ood" in results:
                models[label]["ood"] = results["ood"]
    return models


def robustness(models):
    """A row for each model: clean, other data, corruptions, attacks."""
    epsilons = [row["epsilon"] for row in next(iter(models.values()))["pgd"] if row["steps"] == 20]
    first = next(iter(models.values()))
    heading = ["model", "clean", "CINIC-10 (ImageNet)", "mCA", "natural robustness"]
    heading += [f"PGD-20, {round(255 * epsilon)}/255" for epsilon in epsilons]
    heading += [f"strong attacks, {round(255 * first['ensemble'][0]['epsilon'])}/255"]
    rows = []
    for label, found in models.items():
        clean, corrupted, strong = found["clean"], found["corruptions"], found["ensemble"][0]
        row = [label, _share(clean["accuracy"], clean["accuracy_interval"])]
        row += [_share(found["ood"][0]["accuracy"], found["ood"][0]["accuracy_interval"])]
        row += [f"{100 * corrupted[name]:.1f}" for name in ("mean_corruption_accuracy", "natural_robustness")]
        row += [
            _share(each["robust_accuracy"], each["robust_interval"]) for each in found["pgd"] if each["steps"] == 20
        ]
        rows.append([*row, _share(strong["robust_accuracy"], strong["robust_interval"])])
    return _markdown(heading, rows)


def steps(models):
    """A row for each model: robust accuracy by the number of steps, at the largest epsilon."""
    first = next(iter(models.values()))["pgd"]
    counts = sorted({row["steps"] for row in first})
    rows = []
    for label, found in models.items():
        largest = max(row["epsilon"] for row in found["pgd"])
        by_steps = {row["steps"]: row for row in found["pgd"] if row["epsilon"] == largest}
        shares = [_share(by_steps[n]["robust_accuracy"], by_steps[n]["robust_interval"]) for n in counts]
        rows.append([label, *shares])
    return _markdown(["model", *(f"PGD-{n}, 8/255" for n in counts)], rows)


def smoothing(models):
    """A row for each model that was asked: the smoothed classifier at each sigma."""
    asked = {label: found["smoothing"] for label, found in models.items() if "smoothing" in found}
    heading = ["model"]
    for each in next(iter(asked.values())):
        heading += [f"smoothed accuracy, sigma {each['sigma']:g}", f"mean certified radius, sigma {each['sigma']:g}"]
    rows = []
    for label, found in asked.items():
        row = [label]
        for each in found:
            row += [_share(each["smoothed_accuracy"], each["smoothed_accuracy_interval"])]
            row += [f"{each['average_certified_radius']:.3f}"]
        rows.append(row)
    return _markdown(heading, rows)


TABLES = {"robustness": robustness, "steps": steps, "smoothing": smoothing}


def rebuild(folder, page):
    """The text of a page with its tables made anew from the JSON files."""
    models = load(folder)
    for name, table in TABLES.items():
        start = START.format(name, f"results/{folder.name}")
        before, _, rest = page.partition(start)
        _, _, after = rest.partition(END)
        page = f"{before}{start}\n{table(models)}\n{END}{after}"
    return page


def _share(share, interval):
    return f"{100 * share:.1f} ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


def _markdown(heading, rows):
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    readme = target / "README.md"
    readme.write_text(rebuild(target, readme.read_text(encoding="utf-8")), encoding="utf-8")
