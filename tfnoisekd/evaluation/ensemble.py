"""Robustness against several attacks: an image counts as robust only if it survives them all.

One attack can fail for its own reasons: PGD for a step size that does not fit or where logits are so large that its
gradient is 0, every attack with gradients where the model hides them. Croce & Hein (2020)
run several unlike ones without anything to tune and keep the worst case of each image, AutoAttack. Of its attacks these
are here: APGD on the cross-entropy, on the difference of logits ratio and on the targeted one, and Square
(Andriushchenko et al., 2020), which sees logits only. The code that takes their steps is that of the Adversarial
Robustness Toolbox (ART): `pip install "tfnoisekd[robust]"`.
"""

from collections.abc import MutableMapping

import keras
import numpy as np

from tfnoisekd.evaluation import examples, intervals, prediction
from tfnoisekd.evaluation.attacks import art_attacks, losses, pgd
from tfnoisekd.evaluation.attacks.settings import check_count, parse_length
from tfnoisekd.evaluation.attacks.worst_case import ATTACKS, Effort, WorstCase, settings_of

DEFAULT_ATTACKS = ("apgd-ce", "apgd-t", "square")  # those of AutoAttack's standard version, without FAB


def evaluate(
    model,
    split,
    *,
    attacks=DEFAULT_ATTACKS,
    norm="linf",
    epsilon=0.031,
    steps=100,
    restarts=1,
    targets=9,
    queries=5000,
    seed=0,
    batch_size=256,
    limit=None,
    done=None,
    progress=None,
):
    """The accuracy of a model in the worst case of several attacks, ready for JSON.

    Every point that an attack looks at can break an image, not only its last; each is looked at once more, outside the
    attack, before it counts. Neither batch size nor order changes the result, but for rounding: another batch may
    round a logit otherwise. It needs the TensorFlow backend.

    Args:
        model: A `keras.Model`: images in [0, 1] -> logits (batch, num_classes). It is run in inference mode.
        split: An object with `.images` (n, height, width, channels), uint8 or float in [0, 1], and `.labels` (n,),
            integers. If it has `.indices` (n,), these number the examples, else their places do; the random starts of
            an example depend on its number and `seed` alone, Square's proposals on `seed` alone.
        attacks: One or several of "apgd-ce", "apgd-dlr", "apgd-t" and "square", in the order in which they are run, the
            cheap ones first: each is run only on what those before it left standing.
        norm: "linf", the largest change of any pixel value, or "l2", the Euclidean length of the change of an image.
        epsilon: Largest perturbation, in units of images in [0, 1]: a number above 0, or a text such as "8/255".
        steps: Steps of each run of APGD, at least 1.
        restarts: Runs of each attack, and of "apgd-t" for each target, at least 1.
        targets: Classes that "apgd-t" leads to, the most likely ones but the true; all others if there are fewer.
        queries: Proposals of "square" for each image, at least 1.
        seed: Integer in [0, 2**32): decides all random numbers, and the subset.
        batch_size: Images per step, at most.
        limit: Number of examples to attack, the same share of each class; None for all.
        done: A mutable mapping of text to what JSON can hold, of this model and these images: finished parts, each one
            run of an attack on one batch, are put there, and those that are there are taken over. An evaluation that
            is interrupted goes on with it.
        progress: Function of (number of examples that are decided, number of examples), called after every part.

    Returns:
        A dict of plain Python values: `n`; `clean_accuracy` and `robust_accuracy`, shares of the n, with
        `clean_interval` and `robust_interval` (Wilson, 95%); `attacks`, for each its name as `attack`, `attacked`, how
        many examples stood when it began, `broken`, how many of them it broke, `robust_accuracy_after`, and
        `without_gradient`, how many of those that survived it got no gradient but 0, so that their robustness to it is
        unproven (None for Square); all settings, `targets` as many as there were; `indices_sha256`, a digest of the
        numbers of the examples; `backend`, `art_version`; and `notes`.

    Raises:
        ValueError: If a setting is impossible; if images, labels and model do not fit; if the model gives
            probabilities instead of logits, or values that are not finite; or if the backend is not TensorFlow.
        ImportError: If ART is not installed.

    Example:

    >>> results = evaluate(student, dataset.test, epsilon="8/255", limit=1000)
    >>> results["robust_accuracy"], [each["broken"] for each in results["attacks"]]
    """
    art = check_available()
    names, settings = _check_attacks(attacks), settings_of(norm, parse_length(epsilon), restarts, seed)
    for name, count in (("steps", steps), ("targets", targets), ("queries", queries), ("batch_size", batch_size)):
        check_count(name, count)
    _check_done(done)
    chosen = examples.choose(split.images, split.labels, getattr(split, "indices", None), limit, seed)
    settings.check_fits(int(np.prod(np.shape(chosen.images)[1:])))
    if "square" in names:
        art_attacks.check_fits_square(norm, *np.shape(chosen.images)[1:3])
    target = pgd.aim(model, chosen, batch_size)
    logits = prediction.predict_logits(model, chosen.images, batch_size)
    effort = Effort(int(steps), min(int(targets), logits.shape[1] - 1), int(queries))
    case = WorstCase(target, logits, settings, effort, int(batch_size), {} if done is None else done)
    rows = _run(case, names, progress)
    return {
        **_shares(target.right, case.standing),
        "attacks": rows,
        **_numbers(settings, effort, batch_size, limit),
        "indices_sha256": chosen.digest,
        "backend": keras.backend.backend(),
        "art_version": art,
        "notes": _notes(names, norm, logits.shape[1], targets),
    }


def _run(case, names, progress):
    """A row of the results for each attack."""
    n, rows = len(case.standing), []
    for name in names:
        attacked, survived = int(np.count_nonzero(case.standing)), np.zeros(n, bool)
        for places, last in case.attack(name):
            survived[places] = last and name == names[-1]
            if progress is not None:
                progress(int(np.count_nonzero(survived | ~case.standing)), n)
        left = int(np.count_nonzero(case.standing))
        rows.append(
            {
                "attack": name,
                "attacked": attacked,
                "broken": attacked - left,
                "robust_accuracy_after": left / n,
                "without_gradient": None if name == "square" else int(np.count_nonzero(case.blind)),
            }
        )
    return rows


def _numbers(settings, effort, batch_size, limit):
    """The settings, as the results name them."""
    return {
        "norm": settings.norm,
        "epsilon": settings.epsilon,
        "steps": effort.steps,
        "restarts": int(settings.restarts),
        "targets": effort.targets,
        "queries": effort.queries,
        "seed": int(settings.seed),
        "batch_size": int(batch_size),
        "limit": None if limit is None else int(limit),
    }


def _shares(right, standing):
    """The accuracy without an attack and under all of them, each with its interval."""
    n, results = len(right), {"n": len(right)}
    for name, each in (("clean", right), ("robust", standing)):
        count = int(np.count_nonzero(each))
        results |= {f"{name}_accuracy": count / n, f"{name}_interval": list(intervals.wilson_interval(count, n))}
    return results


def _notes(names, norm, num_classes, targets):
    """What a reader of the results should know beside the numbers."""
    few, dlr, targeted = f"with {num_classes} classes", losses.DLR_CLASSES, losses.TARGETED_CLASSES
    notes = [
        (True, "not comparable with RobustBench: its AutoAttack also runs FAB, and takes the attacks' original code"),
        ("apgd-t" in names and targets >= num_classes, f"{few}, apgd-t has {num_classes - 1} targets, not {targets}"),
        ("apgd-dlr" in names and num_classes < dlr, f"{few}, the DLR of apgd-dlr is the margin"),
        ("apgd-t" in names and num_classes < targeted, f"{few}, the targeted DLR of apgd-t is the margin"),
        ("square" in names, "square tries the same squares on all images, so that its luck is shared"),
        ("square" in names and norm == "l2", "in l2, ART scales the windows of square unlike its paper: it is weaker"),
    ]
    return [note for holds, note in notes if holds]


def check_available():
    """The version of ART; or why these attacks can't be run here.

    Raises:
        ImportError: If ART is not installed.
        ValueError: If the backend is not TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "The ensemble of attacks needs the backend tensorflow. "
            f"Received: KERAS_BACKEND={keras.backend.backend()}; `tfnoisekd.evaluation.adversarial` runs on jax too."
        )
    return art_attacks.version()


def _check_attacks(attacks):
    """The names of the attacks, as a list."""
    names = [attacks] if isinstance(attacks, str) else list(attacks)
    if not names or len(set(names)) < len(names) or not set(names) <= set(ATTACKS):
        raise ValueError(
            f"`attacks` must be one or several of {', '.join(map(repr, ATTACKS))}, each once. "
            f"Received: attacks={attacks!r}"
        )
    return names


def _check_done(done):
    if done is not None and not isinstance(done, MutableMapping):
        raise ValueError(f"`done` must be a mutable mapping, such as a dict, or None. Received: done={done!r}")
