"""What a run's records say, one number at a time: a metric, the settings it depends on, and its value."""

import json
from pathlib import Path

from tfnoisekd.evaluation.attacks.settings import parse_length
from tfnoisekd.evaluation.corruptions.catalog import BENCHMARK, NAMES, SEVERITIES
from tfnoisekd.experiments.questions import PGD, STRONG

OF_RESULTS = ("agreement", "expected_calibration_error", "negative_log_likelihood")
ATTACK = ("norm", "epsilon", "steps", "restarts")


def of_record(record):
    """Measurements that a finished run's `run.json` holds: a list of (metric, settings, value, n)."""
    results, n = record["results"], record["results"]["n"]
    found = [("test_accuracy", {}, results["accuracy"], n)]
    if "teacher_accuracy" in results:
        found.append(("teacher_accuracy", {}, results["teacher_accuracy"], n))
    found += [(name, {}, results[name], n) for name in OF_RESULTS if name in results]
    wrong = results.get("memorization", {}).get("student")
    if wrong:
        found.append(("wrong_label_accuracy", {}, wrong["wrong_label_accuracy"], wrong["n"]))
    return found


def of_evaluations(folder):
    """Measurements of a run's evaluations, and where each is from.

    Args:
        folder: The run's folder of evaluations; it need not exist.

    Returns:
        (measurements as `of_record` gives them, list of dicts: `question`, `file`, `provenance`).
    """
    found, origins = [], []
    for path in sorted(Path(folder).glob("[!.]*.json")):
        try:
            answer = json.loads(path.read_text(encoding="utf-8"))
            read = READERS[answer["question"]]
        except (ValueError, KeyError):
            continue  # damaged, or a question without a number for a table
        found += read(answer["results"], answer["settings"])
        origins.append({"question": answer["question"], "file": path.name, "provenance": answer["provenance"]})
    return found, origins


def _pgd(rows, settings):
    found = []
    for row in rows:
        # The step that was asked for: one above epsilon is cut to it.
        chosen = {"attack": "pgd", **{name: row[name] for name in ATTACK}, "step_size": settings["step_size"]}
        found.append(("robust_accuracy", chosen, row["robust_accuracy"], row["n"]))
    return found


def _ensemble(results, settings):
    chosen = {name: results[name] for name in ("norm", "epsilon")}
    return [("ensemble_robust_accuracy", chosen, results["robust_accuracy"], results["n"])]


def _corruptions(results, settings):
    found = []
    if results["mean_corruption_accuracy"] is not None:
        found.append(("mca", {}, results["mean_corruption_accuracy"], results["n"]))
    if results["mean_corruption_accuracy_15"] is not None:
        found.append(("mca_15", {}, results["mean_corruption_accuracy_15"], results["n"]))
    if results["natural_robustness"] is not None:
        found.append(("natural_robustness", {}, results["natural_robustness"], results["n"]))
    for name, each in results["corruptions"].items():
        found.append(("corruption_accuracy", {"corruption": name}, each["accuracy"], results["n"]))
    return found


def _ood(results, settings):
    return [("ood_accuracy", {"source": settings["source"]}, results["accuracy"], results["n"])]


def _smoothing(results, settings):
    chosen, n = {"sigma": results["sigma"]}, results["n_images"]
    names = ("smoothed_accuracy", "average_certified_radius")
    return [(name, chosen, results[name], n) for name in names]


READERS = {"pgd": _pgd, "ensemble": _ensemble, "corruptions": _corruptions, "ood": _ood, "smoothing": _smoothing}


def asked(questions, distils, corrupted):
    """The metrics that a grid asks for, in order.

    Args:
        questions: List of dicts `asked` and `where`, as the grid's folder keeps them.
        distils: Whether any of its runs has a teacher.
        corrupted: Whether any of its runs has wrong labels.

    Returns:
        A list of dicts: `metric`, `settings` and, where not all cells are asked, `where`.
    """
    found = [{"metric": "test_accuracy", "settings": {}}]
    found += [{"metric": "teacher_accuracy", "settings": {}}] * distils
    found += [{"metric": "wrong_label_accuracy", "settings": {}}] * corrupted
    for each in questions:
        question, options = each["asked"]
        for metric, settings in COLUMNS[question](options):
            found.append(
                {"metric": metric, "settings": settings, **({"where": each["where"]} if each["where"] else {})}
            )
    return _once(found)


def _once(columns):
    """Each metric once: one that is asked of several groups of cells is asked of all."""
    kept = {}
    for each in columns:
        place = json.dumps([each["metric"], each["settings"]], sort_keys=True)
        if place in kept and kept[place] != each:
            kept[place].pop("where", None)
        kept.setdefault(place, dict(each))
    return list(kept.values())


def _pgd_columns(options):
    chosen, found = {**PGD, **options}, []
    common = {"norm": chosen["norm"], "restarts": chosen["restarts"]}
    common["step_size"] = parse_length(chosen["step_size"], "step_size")
    for epsilon in map(parse_length, chosen["epsilon"]):
        for steps in chosen["steps"]:
            settings = {"attack": "pgd", "epsilon": epsilon, "steps": steps, **common}
            found.append(("robust_accuracy", settings))
    return found


def _ensemble_columns(options):
    chosen = {**STRONG, **options}
    return [("ensemble_robust_accuracy", {"norm": chosen["norm"], "epsilon": parse_length(chosen["epsilon"])})]


def _corruption_columns(options):
    names, severities = options.get("corruptions") or NAMES, options.get("severities") or SEVERITIES
    if set(severities) < set(SEVERITIES) or not set(BENCHMARK) <= set(names):
        return [("natural_robustness", {}), *(("corruption_accuracy", {"corruption": name}) for name in names)]
    return [*[("mca", {})] * (set(names) == set(NAMES)), ("mca_15", {}), ("natural_robustness", {})]


def _ood_columns(options):
    return [("ood_accuracy", {"source": options["source"]})]


def _smoothing_columns(options):
    return [(name, {"sigma": options["sigma"]}) for name in ("smoothed_accuracy", "average_certified_radius")]


COLUMNS = {
    "pgd": _pgd_columns,
    "ensemble": _ensemble_columns,
    "corruptions": _corruption_columns,
    "ood": _ood_columns,
    "smoothing": _smoothing_columns,
}
