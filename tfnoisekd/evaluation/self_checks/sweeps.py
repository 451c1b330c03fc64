"""What evaluations at hand say by themselves: robust accuracy must not rise where the attack gets stronger."""

import itertools

from tfnoisekd.evaluation.self_checks import chance


def rises(results, along):
    """Where robust accuracy rises from one radius, or number of steps, to the next, all else being equal.

    Args:
        results: List of what `adversarial.evaluate` returned.
        along: "epsilon" or "steps".

    Returns:
        List of {`along`, `from`, `to`, `before`, `after`, `p_value`}: two values and the robust accuracy at each, with
        `chance.unpaired`.
    """
    found = []
    for group in _groups(results, along):
        found += [_change(along, *pair) for pair in itertools.pairwise(group)]
    return [change for change in found if change["after"] > change["before"]]


def falls(results, settings, steps):
    """From the number of steps of the evaluated attack to the largest one, at its radius.

    Args:
        results: List of what `adversarial.evaluate` returned.
        settings: `Settings` of the evaluated attack.
        steps: Its number of steps.

    Returns:
        As `rises`, for each group of results that has both and where robust accuracy falls.
    """
    found = []
    for group in _groups(results, "steps"):
        same = group[0]["norm"] == settings.norm and group[0]["epsilon"] == settings.epsilon
        known = [each for each in group if each["steps"] == steps]
        if same and known and group[-1]["steps"] > steps:
            found.append(_change("steps", known[0], group[-1]))
    return [change for change in found if change["after"] < change["before"]]


def in_words(verb, changes):
    """A sentence about the largest of some changes; empty where there is none."""
    if not changes:
        return ""
    most = max(changes, key=lambda change: abs(change["after"] - change["before"]))
    return (
        f" In the evaluation it {verb} from {most['before']:.3g} at {most['along']} {most['from']:.3g} "
        f"to {most['after']:.3g} at {most['to']:.3g} (p = {most['p_value']:.2g})."
    )


def _change(along, first, second):
    n = first["n"]
    low, high = sorted(round(each["robust_accuracy"] * n) for each in (first, second))
    return {
        "along": along,
        "from": first[along],
        "to": second[along],
        "before": first["robust_accuracy"],
        "after": second["robust_accuracy"],
        "p_value": chance.unpaired(low, high, n),
    }


def _groups(results, along):
    """Results that differ in one setting alone, in its order; the step is shortened with epsilon, so it may differ."""
    same = ["norm", "restarts", "iterate", "seed", "n", "indices_sha256", *{"epsilon", "steps"} - {along}]
    same += ["step_size"] if along == "steps" else []
    groups = {}
    for each in results:
        groups.setdefault(tuple(each.get(name) for name in same), {})[each[along]] = each
    return [[group[value] for value in sorted(group)] for group in groups.values() if len(group) > 1]
