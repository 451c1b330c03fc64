"""Adversarial robustness: how often is a model still right where the image may change a little to fool it?

Projected gradient descent (PGD; Madry et al., 2018) as the paper uses it (section 2.4, Tables 4 and 5): from a random
point of the epsilon ball, steps along the sign of the gradient of the cross-entropy of the true class, each followed by
a projection onto the ball and onto [0, 1]; 5 random starts, and an image counts as robust only if it survives them all.

The paper prints a step of 0.03, which its own Table 4 (81% right after one step, then less with each up to step 20) and
Table 5 (epsilon = 1/255 = 0.0039) speak against; both fit 0.003, the default here.
"""

import importlib.metadata
import math
from numbers import Real

import keras
import numpy as np

from tfnoisekd.evaluation import examples, intervals, prediction
from tfnoisekd.evaluation.attacks import pgd
from tfnoisekd.evaluation.attacks.schedule import CLEAN_ERROR
from tfnoisekd.evaluation.attacks.settings import Settings, check_count, parse_length

EPSILON, STEP_SIZE, STEPS, RESTARTS = 0.031, 0.003, 20, 5  # those of the paper, the step as above


def evaluate(
    model,
    split,
    *,
    norm="linf",
    epsilon=EPSILON,
    step_size=STEP_SIZE,
    steps=STEPS,
    restarts=RESTARTS,
    iterate="final",
    seed=0,
    batch_size=256,
    limit=None,
    progress=None,
    done=None,
):
    """The accuracy of a model under PGD, ready for JSON.

    Images that are broken, or wrong without an attack, are left out of what remains to be done, which changes no
    result. Nor do batch size and order, but for rounding: another batch may round a gradient near 0 to another sign.

    Args:
        model: A `keras.Model`: images in [0, 1] -> logits (batch, num_classes). It is run in inference mode.
        split: An object with `.images` (n, height, width, channels), uint8 or float in [0, 1], and `.labels` (n,),
            integers. If it has `.indices` (n,), these number the examples, else their places do; an example's random
            starts depend on its number and `seed` alone.
        norm: "linf", the largest change of any pixel value, or "l2", the Euclidean length of the change of an image;
            in l2, cleverhans takes shorter steps where the gradient of an image is shorter than 1e-6.
        epsilon: Largest perturbation, in units of images in [0, 1]: a number above 0, or a text such as "8/255".
        step_size: Length of a step, in the same units. One above epsilon is shortened to epsilon, and a note says so.
        steps: Number of steps of each restart, at least 1.
        restarts: Number of random starts, at least 1.
        iterate: Which images of a restart can break an example: "final", the one after the last step, as in cleverhans
            and the paper; or "any", the start and every step's, which is a stronger attack and takes less time. What is
            robust to "any" is robust to "final".
        seed: Integer in [0, 2**32): decides the random starts, and the subset.
        batch_size: Images per step, at most.
        limit: Number of examples to attack, the same share of each class; None for all.
        progress: Function of (number of examples that are decided, number of examples), called after every batch.
        done: Mapping with what an interrupted evaluation of the same arguments has found, which goes on from there, to
            the same result; what is found now is added, in values ready for JSON.

    Returns:
        A dict of plain Python values: `n`; `clean_accuracy` and `robust_accuracy`, shares of the n, with
        `clean_interval` and `robust_interval` (Wilson, 95%); `broken_by_restart`, for each restart the number of
        examples that it was the first to break; `without_gradient`, the number of robust examples whose gradient was 0
        in every step, so that their robustness is unproven; all settings; `indices_sha256`, a digest of the numbers
        of the examples; `backend`, `cleverhans_version` and `primitives`, whose code takes the steps; and `notes`.

    Raises:
        ValueError: If a setting is impossible; if images, labels and model do not fit; if the model gives
            probabilities instead of logits, or values that are not finite; or if it has no gradients.

    Example:

    >>> results = evaluate(student, dataset.test, epsilon="8/255", limit=1000)
    >>> results["robust_accuracy"], results["robust_interval"]
    """
    return sweep(
        model,
        split,
        norm=norm,
        epsilon=[epsilon],
        step_size=step_size,
        steps=[steps],
        restarts=restarts,
        iterate=iterate,
        seed=seed,
        batch_size=batch_size,
        limit=limit,
        progress=progress,
        done=done,
    )[0]


def sweep(
    model,
    split,
    *,
    norm="linf",
    epsilon=(EPSILON,),
    step_size=STEP_SIZE,
    steps=(STEPS,),
    restarts=RESTARTS,
    iterate="final",
    seed=0,
    batch_size=256,
    limit=None,
    progress=None,
    done=None,
):
    """`evaluate` for every epsilon and number of steps, such as the columns of Tables 4 and 5, in less time.

    All share the clean predictions and the compiled loop; and of one epsilon, a longer attack continues a shorter one,
    so that 1, 5, 10 and 20 steps cost about what 20 cost.

    Args:
        epsilon: One or several.
        steps: One or several.
        progress: As in `evaluate`; counts to n times the number of epsilons.

        The others are those of `evaluate`.

    Returns:
        A list of what `evaluate` returns: for the first epsilon all numbers of steps in their order, then for the next.

    Raises:
        ValueError: As `evaluate` does.

    Example:

    >>> table_5 = sweep(student, dataset.test, epsilon=[f"{k}/255" for k in (1, 2, 10, 20, 25, 50, 100, 200)])
    """
    choices = [_settings(norm, each, step_size, restarts, iterate, seed) for each in _several("epsilon", epsilon)]
    steps = _several("steps", steps)
    chosen = examples.choose(split.images, split.labels, getattr(split, "indices", None), limit, seed)
    _check_numbers(chosen, choices, steps, batch_size)
    target = pgd.aim(model, chosen, batch_size)
    shared = {"batch_size": batch_size, "limit": None if limit is None else int(limit), "indices_sha256": chosen.digest}
    results, levels = [], sorted(set(steps))
    for number, settings in enumerate(choices):
        watch = progress and _counted(progress, number, len(choices))
        broken_by, strength = pgd.run(target, settings, levels, batch_size, watch, done=done)
        for each in steps:
            level = levels.index(each)
            results.append(_report(broken_by[level], strength[level], settings, each) | shared)
    return results


def attack(
    model,
    images,
    labels,
    *,
    norm="linf",
    epsilon=EPSILON,
    step_size=STEP_SIZE,
    steps=STEPS,
    restarts=RESTARTS,
    iterate="final",
    seed=0,
    batch_size=256,
    indices=None,
    progress=None,
):
    """The adversarial images that `evaluate` counts.

    Args:
        images: (n, height, width, channels), uint8 or float in [0, 1].
        labels: (n,), integers.
        indices: (n,), integers of at least 0 that number the examples; their places where None.

        The others are those of `evaluate`.

    Returns:
        (adversarial, success): float32 (n, height, width, channels) in [0, 1], within epsilon of the images; and
        booleans (n,), whether the model is wrong about the adversarial image. A broken example gets the image of the
        first restart that broke it, a robust one that of its last restart; one that is wrong without an attack stays as
        it is and counts as a success.

    Raises:
        ValueError: As `evaluate` does.

    Example:

    >>> adversarial, success = attack(student, dataset.test.images[:8], dataset.test.labels[:8], epsilon="8/255")
    """
    settings = _settings(norm, epsilon, step_size, restarts, iterate, seed)
    chosen = examples.choose(images, labels, indices)
    _check_numbers(chosen, [settings], [steps], batch_size)
    target = pgd.aim(model, chosen, batch_size)
    adversarial = np.concatenate(list(prediction.unit_batches(images, batch_size)))
    broken_by, _ = pgd.run(target, settings, [steps], batch_size, progress, adversarial)
    return adversarial, broken_by[0] < restarts


def _counted(progress, number, of):
    """The progress of the attack of some number, as a part of all."""
    return lambda decided, n: progress(number * n + decided, of * n)


def _settings(norm, epsilon, step_size, restarts, iterate, seed):
    return Settings(norm, parse_length(epsilon), parse_length(step_size, "step_size"), restarts, seed, iterate)


def _several(name, values):
    """One value or several as a list."""
    values = [values] if isinstance(values, (str, Real)) else list(values)
    if not values:
        raise ValueError(f"`{name}` must be one value or several. Received: {name}={values}")
    return values


def _check_numbers(chosen, choices, steps, batch_size):
    for name, counts in (("steps", steps), ("batch_size", [batch_size])):
        for count in counts:
            check_count(name, count)
    for settings in choices:
        settings.check_fits(math.prod(np.shape(chosen.images)[1:]))


def _report(broken_by, strength, settings, steps):
    """What `evaluate` returns about one attack."""
    n, restarts = len(broken_by), settings.restarts
    survived = broken_by == restarts
    right, robust = int(np.count_nonzero(broken_by != CLEAN_ERROR)), int(np.count_nonzero(survived))
    notes = []
    if settings.step < settings.step_size:
        notes.append(f"step_size {settings.step_size:g} is above epsilon; steps of {settings.step:g} were taken")
    return {
        "n": n,
        "clean_accuracy": right / n,
        "clean_interval": list(intervals.wilson_interval(right, n)),
        "robust_accuracy": robust / n,
        "robust_interval": list(intervals.wilson_interval(robust, n)),
        "broken_by_restart": np.bincount(broken_by[broken_by >= 0], minlength=restarts)[:restarts].tolist(),
        "without_gradient": int(np.count_nonzero(survived & (strength == 0))),
        "attack": "pgd",
        "norm": settings.norm,
        "epsilon": settings.epsilon,
        "step_size": settings.step,
        "steps": int(steps),
        "restarts": int(restarts),
        "iterate": settings.iterate,
        "seed": int(settings.seed),
        "backend": keras.backend.backend(),
        "cleverhans_version": importlib.metadata.version("cleverhans"),
        "primitives": pgd.backend_loop().PRIMITIVES,
        "notes": notes,
    }
