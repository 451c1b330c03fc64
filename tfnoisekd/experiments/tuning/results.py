"""What a search found: its trials in order, how sure their accuracy is, and the best one as a configuration."""

import math
from typing import NamedTuple

import yaml

from tfnoisekd import disk
from tfnoisekd.experiments.tuning import space as spaces
from tfnoisekd.experiments.tuning.folder import BEST, FAILED, FAILURES, FINISHED


class Outcome(NamedTuple):
    """What became of the trials; each is a dict of the folder.

    Attributes:
        ranked: Those that finished, the best first. Hyperband's longer trials come before its shorter ones, whose
            accuracy is another matter.
        failed: Those that have no accuracy.
        unfinished: Those that were cut off.
        missing: Number of those that were not begun.
        gave_up: Whether no more were begun because so many had failed in a row.
    """

    ranked: list
    failed: list
    unfinished: list
    missing: int
    gave_up: bool


def outcome(folder):
    """The `Outcome` of the trials in a `folder.Folder` so far."""
    entries = folder.entries()
    finished = [each for each in entries if each["status"] == FINISHED and math.isfinite(each["accuracy"])]
    failed = [each for each in entries if each["status"] in (FAILED, FINISHED) and each not in finished]
    unfinished = [each for each in entries if each not in finished and each not in failed]
    ranked = sorted(finished, key=lambda each: (each["epochs"] or 0, each["accuracy"]), reverse=True)
    latest = sorted(finished + failed, key=lambda each: each["finished_at"])[-FAILURES:]
    missing = max(0, folder.search.wanted - len(entries))
    gave_up = missing > 0 and len(latest) == FAILURES and all(each in failed for each in latest)
    return Outcome(ranked, failed, unfinished, missing, gave_up)


def standard_error(accuracy, n):
    """The standard error of a share of n images, the square root of p (1 - p) / n."""
    return math.sqrt(accuracy * (1 - accuracy) / n)


def close_to_best(ranked):
    """Number of trials, the best aside, that are less than one standard error of the best below it."""
    best, *others = ranked
    margin = standard_error(best["accuracy"], best["n"])
    same = [each for each in others if each["epochs"] == best["epochs"]]
    return sum(best["accuracy"] - each["accuracy"] < margin for each in same)


def write_best(folder, ranked):
    """Writes the best trial as a configuration for `tfnoisekd train --config`; returns its path."""
    best = ranked[0]
    settings = spaces.given(folder.search.trial_config(best["values"], best["epochs"]))
    path = folder.path / BEST
    head = (
        f"# The best of {len(ranked)} trials: {best['accuracy']:.2%} of {best['n']} validation images.\n"
        "# It was chosen for that, and so looks better than it is: judge it by the test images, with several seeds.\n"
    )
    with disk.replacing(path) as temporary:
        temporary.write_text(head + yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return path
