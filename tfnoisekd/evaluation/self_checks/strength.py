"""Whether a stronger attack is the stronger one: at a larger radius, with more steps, with several steps than with one.

An attack that is given more and breaks less has missed what is there. Attacks are compared on the same examples, so
that the choice of examples plays no part, only the luck of an attack (`chance.paired`).
"""

import itertools

from tfnoisekd.evaluation import intervals
from tfnoisekd.evaluation.self_checks import chance, measures, sweeps
from tfnoisekd.evaluation.self_checks.finding import blocked, growth_part, verdict

NEAR_ZERO = 0.01  # robust accuracy that single unlucky starts may leave where every image may turn grey


def epsilon_growth(found):
    """Does robust accuracy fall to about 0 where every image may turn grey, and never rise on the way?"""
    parts = [found.parts[name] for name in ("attack", *map(growth_part, found.radii))]
    if why := blocked(*parts):
        return why
    attacks = [_outcome(part) for part in parts]
    n, left = len(found.labels), attacks[-1][1]
    numbers = {
        "epsilons": [found.settings.epsilon, *found.radii],
        "robust_accuracy": [len(robust) / n for _, robust in attacks],
        "left": len(left),
        "left_interval": list(intervals.wilson_interval(len(left), n)),
        "broken_by_grey": sum(int(found.labels[place]) != found.parts["outputs"]["grey_class"] for place in left),
        "rises": [_compare(*pair) for pair in itertools.pairwise(attacks)],
        "rises_in_results": sweeps.rises(found.results, "epsilon"),
        "n": n,
    }
    risen = any(rise["p_value"] < chance.SIGNIFICANT for rise in numbers["rises"] + numbers["rises_in_results"])
    advice = "The attack misses what is there, so its figure is no bound: take more steps or another kind of attack."
    return verdict(risen or numbers["left_interval"][0] > NEAR_ZERO, _growth_in_words(numbers), advice, numbers)


def steps_flatten(found):
    """Do more steps than the evaluated attack took break no more?"""
    part = found.parts["attack"]
    if why := blocked(part):
        return why
    usual, longer = _outcome(part, 0), _outcome(part, 1)
    n, compared = len(found.labels), _compare(longer, usual)
    falls, rises = sweeps.falls(found.results, found.settings, found.steps), sweeps.rises(found.results, "steps")
    evidence = (
        f"With {measures.LONGER * found.steps} steps in place of {found.steps}, robust accuracy on {n} examples went "
        f"from {len(usual[1]) / n:.3g} to {len(longer[1]) / n:.3g}: {compared['only_first']} more were broken and "
        f"{compared['only_second']} no longer (p = {compared['p_value']:.2g})."
    )
    evidence += sweeps.in_words("falls", falls) + sweeps.in_words("rises", rises)
    warn = any(each["p_value"] < chance.SIGNIFICANT for each in [compared, *falls, *rises])
    advice = "The attack has not converged: take more steps, or longer ones, until robust accuracy stays the same."
    shares = {"robust_accuracy": [len(robust) / n for _, robust in (usual, longer)], "n": n}
    numbers = {"more": compared["only_first"], "fewer": compared["only_second"], "p_value": compared["p_value"]}
    return verdict(warn, evidence, advice, shares | numbers | {"falls_in_results": falls, "rises_in_results": rises})


def single_step_stronger(found):
    """Does one step of length epsilon break what many short ones do not?"""
    parts = found.parts["single_step"], found.parts["attack"]
    if why := blocked(*parts):
        return why
    single, several = {**parts[0], "robust": [parts[0]["robust"]]}, parts[1]
    single, several = _outcome(single), _outcome(several)
    n, compared = len(found.labels), _compare(single, several)
    evidence = (
        f"One step of length epsilon leaves {len(single[1]) / n:.3g} of {n} examples robust, {found.steps} steps leave "
        f"{len(several[1]) / n:.3g}; {compared['only_first']} are broken by the one step alone, "
        f"{compared['only_second']} by the several alone (p = {compared['p_value']:.2g})."
    )
    advice = "Several steps lose their way (masked gradients) or are too short: lengthen them, then look for masking."
    numbers = {"robust_accuracy": [len(robust) / n for _, robust in (single, several)], "n": n}
    numbers |= {"only_single": compared["only_first"], "only_several": compared["only_second"]}
    return verdict(
        compared["p_value"] < chance.SIGNIFICANT, evidence, advice, numbers | {"p_value": compared["p_value"]}
    )


def _outcome(part, level=0):
    """(the places of the examples that were attacked, those that are robust), two sets."""
    places = part["places"]
    return set(places), {place for place, robust in zip(places, part["robust"][level], strict=True) if robust}


def _compare(first, second):
    """How many examples only one of two attacks breaks, among those that both were run on, and `chance.paired`."""
    both = first[0] & second[0]  # a model that varies is not right about the same ones each time
    only_first, only_second = len(both & second[1] - first[1]), len(both & first[1] - second[1])
    p_value = chance.paired(only_first, only_second)
    return {"only_first": only_first, "only_second": only_second, "p_value": p_value}


def _growth_in_words(numbers):
    pairs = zip(numbers["robust_accuracy"], numbers["epsilons"], strict=True)
    path = ", ".join(f"{share:.3g} at {radius:.3g}" for share, radius in pairs)
    lost = max(numbers["rises"], key=lambda rise: rise["only_first"], default={"only_first": 0})["only_first"]
    words = f"Robust accuracy by epsilon, on {numbers['n']} examples: {path}."
    if lost:
        words += f" Up to {lost} of them are broken at one epsilon, but not at the next."
    if numbers["left"]:
        words += f" A plain grey image would break {numbers['broken_by_grey']} of the {numbers['left']} left at last."
    return words + sweeps.in_words("rises", numbers["rises_in_results"])
