"""Counts of right answers, and the means that are made of them."""

import numpy as np

from tfnoisekd.evaluation.corruptions.catalog import BENCHMARK, NAMES, SEVERITIES
from tfnoisekd.evaluation.intervals import wilson_interval


def key_of(name, severity):
    """What a set is called: "fog_3", as in TensorFlow Datasets."""
    return f"{name}_{severity}"


def set_result(right, clean_right, settings):
    """What is said of one set of corrupted images.

    Args:
        right: (n,) bool, which corrupted images were put into the true class.
        clean_right: (n,) bool, which clean ones were.
        settings: Dict of what the images depend on beside corruption and severity.

    Returns:
        A dict of plain Python numbers: `n`, `correct`, `accuracy`, `accuracy_interval` (Wilson, 95%), `clean_correct`,
        `still_correct` (of those), `natural_robustness` and its interval (None where no clean image was right), and
        the settings.
    """
    n, correct = len(right), int(right.sum())
    clean, still = int(clean_right.sum()), int((right & clean_right).sum())
    return {
        "n": n,
        "correct": correct,
        "accuracy": correct / n,
        "accuracy_interval": list(wilson_interval(correct, n)),
        "clean_correct": clean,
        "still_correct": still,
        "natural_robustness": still / clean if clean else None,
        "natural_robustness_interval": list(wilson_interval(still, clean)) if clean else None,
        **settings,
    }


def summarize(results, names, severities):
    """Means over sets, ready for JSON.

    Args:
        results: Dict of `key_of` -> `set_result`, at least of all sets of these names and severities.
        names: Corruptions, in the order in which they are shown.
        severities: Severities, likewise.

    Returns:
        A dict with `mean_corruption_accuracy` over all 19 corruptions and 5 severities and
        `mean_corruption_accuracy_15` over the benchmark's 15, each None unless all its sets are there;
        `mean_accuracy` and `natural_robustness` over the sets that are there; `per_severity` and `corruptions`, the
        same means for each, and under each corruption `severities`, the results of its sets.
    """
    chosen = {(name, severity): results[key_of(name, severity)] for name in names for severity in severities}
    return {
        "mean_corruption_accuracy": _complete(chosen, NAMES),
        "mean_corruption_accuracy_15": _complete(chosen, BENCHMARK),
        "mean_accuracy": _mean(chosen.values())["accuracy"],
        "natural_robustness": _mean(chosen.values())["natural_robustness"],
        "per_severity": {str(severity): _mean(chosen[name, severity] for name in names) for severity in severities},
        "corruptions": {
            name: {
                **_mean(chosen[name, severity] for severity in severities),
                "severities": {str(severity): chosen[name, severity] for severity in severities},
            }
            for name in names
        },
    }


def _complete(chosen, names):
    wanted = [chosen.get((name, severity)) for name in names for severity in SEVERITIES]
    return None if None in wanted else _mean(wanted)["accuracy"]


def _mean(sets):
    """Mean accuracy; and natural robustness over all pairs of a set and a clean image that was right."""
    sets = list(sets)
    clean = sum(each["clean_correct"] for each in sets)
    return {
        "accuracy": float(np.mean([each["accuracy"] for each in sets])),
        "natural_robustness": sum(each["still_correct"] for each in sets) / clean if clean else None,
    }
