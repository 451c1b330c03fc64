"""What `tfnoisekd evaluate` is asked, read from its options before anything is loaded."""

import os
from typing import NamedTuple

import click

STRONG = ("apgd-ce", "apgd-dlr", "apgd-t", "square")
ENSEMBLE = "ensemble"
# Options that have a use only beside another one.
BELONGS = {
    "attack": ("epsilon", "step_size", "steps", "restarts", "norm", "iterate", "apgd_steps", "queries", "eot"),
    "corruptions": ("severities", "corruption_source", "frost"),
    "smoothing": ("draws", "alpha", "radii"),
}
# Options that only some attacks take.
OF_ATTACKS = {
    "steps": ("pgd",),
    "step_size": ("pgd",),
    "iterate": ("pgd",),
    "apgd_steps": (ENSEMBLE, "apgd-ce", "apgd-dlr", "apgd-t"),
    "queries": (ENSEMBLE, "square"),
}


class Questions(NamedTuple):
    """Options for each question, None where it is not asked.

    Attributes:
        pgd: Keyword arguments of `Assessment.pgd`.
        ensembles: For each epsilon the keyword arguments of `Assessment.ensemble`.
        self_checks: Whether the attacks are checked.
        samples: Draws that outputs are averaged over, or None.
        corruptions: Keyword arguments of `Assessment.corruptions`.
        ood: Names of data sets.
        smoothing: For each sigma the keyword arguments of `Assessment.smoothing`.
    """

    pgd: dict | None
    ensembles: list
    self_checks: bool
    samples: int | None
    corruptions: dict | None
    ood: tuple
    smoothing: list


def read(values):
    """`Questions` of the options, all texts or None.

    Raises:
        click.UsageError: If an option has no use beside the others.
        ValueError: If one has a value that it can't have.
    """
    for name, value in values.items():
        if value == "":
            raise click.UsageError(f"`--{_flag(name)}` is empty")
    for owner, names in BELONGS.items():
        for name in names:
            if values[name] is not None and values[owner] is None:
                raise click.UsageError(f"`--{_flag(name)}` has a use only with `--{owner}`")
    shared = _given(limit=_whole("limit", values["limit"]), seed=_whole("seed", values["seed"], least=0))
    pgd, ensembles = _attacks(values, shared)
    return Questions(
        pgd,
        ensembles,
        values["self_checks"] and bool(pgd or ensembles),
        _whole("eot", values["eot"]),
        _corruptions(values, shared),
        values["ood"],
        _smoothing(values, shared),
    )


def _attacks(values, shared):
    if values["attack"] is None:
        return None, []
    names = _parts(values["attack"])
    for name in names:
        if name not in ("pgd", ENSEMBLE, *STRONG):
            from tfnoisekd.names import nearest

            known = ("pgd", *STRONG, ENSEMBLE)
            raise ValueError(f"`attack` must be among {', '.join(known)}. Received: {name!r}.{nearest(name, known)}")
    for option, owners in OF_ATTACKS.items():
        if values[option] is not None and not set(owners) & set(names):
            raise click.UsageError(f"`--{_flag(option)}` has a use only with the attacks {', '.join(owners)}")
    if values["norm"] == "l2" and not (values["epsilon"] and (values["step_size"] or "pgd" not in names)):
        raise click.UsageError(
            "`--norm l2` needs `--epsilon` in that norm, and PGD also `--step-size`, such as 0.5 and 0.1 for CIFAR-10: "
            "the defaults are those of linf"
        )
    epsilons, restarts = _parts(values["epsilon"]), _whole("restarts", values["restarts"])
    common = {**shared, **_given(norm=values["norm"], restarts=restarts)}
    pgd = None
    if "pgd" in names:
        steps = [_whole("steps", part) for part in _parts(values["steps"])] or None
        pgd = {**common, **_given(epsilon=epsilons or None, steps=steps)}
        pgd |= _given(step_size=values["step_size"], iterate=values["iterate"])
    strong = [name for name in names if name in STRONG]
    if ENSEMBLE not in names and not strong:
        return pgd, []
    chosen = {**common, **_given(attacks=None if ENSEMBLE in names else strong)}
    chosen |= _given(steps=_whole("apgd-steps", values["apgd_steps"]), queries=_whole("queries", values["queries"]))
    return pgd, [{**chosen, **_given(epsilon=epsilon)} for epsilon in epsilons or [None]]


def _corruptions(values, shared):
    text = values["corruptions"]
    if text is None:
        return None
    if os.path.exists(text):
        raise click.UsageError(f"`--corruptions {text}` names a run or file: name it first, or say `--corruptions all`")
    severities = [_whole("severities", part) for part in _parts(values["severities"])] or None
    names = None if text == "all" else _parts(text)
    chosen = _given(corruptions=names, severities=severities, source=values["corruption_source"], frost=values["frost"])
    return {**shared, **chosen}


def _smoothing(values, shared):
    chosen = _given(n=_whole("draws", values["draws"]), alpha=_number("alpha", values["alpha"]))
    radii = [_number("radii", part) for part in _parts(values["radii"])] or None
    sigmas = [_number("smoothing", part) for part in _parts(values["smoothing"])]
    return [{**shared, **chosen, **_given(radii=radii), "sigma": sigma} for sigma in sigmas]


def _given(**options):
    return {name: value for name, value in options.items() if value is not None}


def _parts(text):
    return [part.strip() for part in text.split(",")] if text else []


def _flag(name):
    return name.replace("_", "-")


def _whole(name, text, least=1):
    if text is None:
        return None
    if not text.isdecimal() or int(text) < least:
        raise ValueError(f"`{name}` must be a whole number of at least {least}. Received: {text!r}")
    return int(text)


def _number(name, text):
    try:
        return None if text is None else float(text)
    except ValueError:
        raise ValueError(f"`{name}` must be a number. Received: {text!r}") from None
