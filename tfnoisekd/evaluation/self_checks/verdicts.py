"""What follows from outputs, gradients and a black-box attack; `strength` has what attacks say about each other."""

from tfnoisekd.evaluation.averaged import ROUNDING
from tfnoisekd.evaluation.self_checks.finding import blocked, verdict

BLACK_BOX_DROP = 0.002  # of robust accuracy: what AutoAttack itself tolerates (`check_square_sr` of its `checks.py`)
BLACK_BOX = "square"


def check_ensemble(ensemble):
    """Raises a ValueError unless this is None or a dict with a list of attacks."""
    names = ("attack", "attacked", "broken", "robust_accuracy_after")
    attacks = ensemble.get("attacks") if isinstance(ensemble, dict) else None
    fits = isinstance(attacks, list) and all(isinstance(each, dict) and set(names) <= set(each) for each in attacks)
    if ensemble is not None and not fits:
        raise ValueError(
            f"`ensemble` must be a dict whose `attacks` is a list of dicts of {', '.join(names)}. "
            f"Received: {ensemble!r}; None leaves the check out that needs it."
        )


def outputs_vary(found):
    """Do two passes over the same images give the same logits?"""
    seen = found.parts["outputs"]
    share = seen["largest_difference"] / (seen["largest_logit"] or 1.0)
    evidence = (
        f"Two passes over the same {seen['n']} images gave logits that differ by up to {share:.2g} of the largest "
        f"logit, and another class for {seen['classes_changed']}."
    )
    advice = "Attack the mean of several draws, `--eot` or `averaged(model, samples)`; of more, if it is one already."
    numbers = {"relative_difference": share, "classes_changed": seen["classes_changed"], "n": seen["n"]}
    return verdict(share > ROUNDING, evidence, advice, numbers)


def softmax_as_logits(found):
    """Are the outputs probabilities?"""
    count, n = found.parts["outputs"]["like_probabilities"], found.parts["outputs"]["n"]
    evidence = f"The outputs for {count} of {n} images are never negative and add up to 1."
    advice = "Take the softmax off: `without_softmax(model)`, or a last layer without activation."
    return verdict(count == n, evidence, advice, {"like_probabilities": count, "n": n})


def zero_gradients(found):
    """Has any example no gradient? One is enough for a warning, as in AutoAttack: nothing was tried on it."""
    part = found.parts["single_step"]
    if why := blocked(part):
        return why
    count, n = sum(part["without_gradient"]), len(part["places"])
    known = [(each["without_gradient"], each["n"]) for each in found.results if "without_gradient" in each]
    worst = max(known, default=(0, 0), key=lambda pair: pair[0])
    evidence = f"At {count} of {n} images that are classified rightly, the gradient is exactly 0 or not finite."
    if known:
        evidence += f" In the evaluation, {worst[0]} of {worst[1]} counted as robust without ever having had one."
    advice = (
        "Find what stops gradients (rounding, argmax, stop_gradient, half precision, logits so large that the softmax "
        "saturates) and attack a version without it, or use an attack that needs none."
    )
    numbers = {"without_gradient": count, "n": n, "without_gradient_in_results": worst[0]}
    return verdict(count + worst[0] > 0, evidence, advice, numbers)


def black_box_beats_white_box(found):
    """Did Square break what attacks by gradients had left standing, beyond what AutoAttack tolerates?"""
    attacks = found.ensemble["attacks"] if found.ensemble else []
    place = next((number for number, each in enumerate(attacks) if each["attack"] == BLACK_BOX), 0)
    if not place:
        missing = f"did not run `{BLACK_BOX}` after an attack by gradients" if attacks else "was not run"
        return {
            "status": "not run",
            "evidence": f"The ensemble of attacks {missing}.",
            "advice": f"Run an ensemble that ends with `{BLACK_BOX}` (command line: `--attack pgd,ensemble`).",
        }
    last = attacks[place]
    before, after = (each["robust_accuracy_after"] for each in attacks[place - 1 : place + 1])
    evidence = (
        f"Square broke {last['broken']} of the {last['attacked']} examples that attacks by gradients had left "
        f"standing; robust accuracy fell from {before:.4g} to {after:.4g}."
    )
    advice = "The gradients mislead (masking): trust the lower figure at most, and adapt the attack to the model."
    numbers = {"attacked": last["attacked"], "broken": last["broken"], "before": before, "after": after}
    return verdict(before - after > BLACK_BOX_DROP, evidence, advice, numbers)
