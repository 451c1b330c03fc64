"""Which checks there are, what they need, and one function that goes through them."""

import math

import numpy as np

from tfnoisekd.evaluation import examples
from tfnoisekd.evaluation.adversarial import EPSILON, STEP_SIZE, STEPS
from tfnoisekd.evaluation.attacks.settings import Settings, check_count, parse_length
from tfnoisekd.evaluation.self_checks import finding, measures, strength, verdicts

CHECKS = {  # name -> function of (`finding.Found`) that gives the status, the evidence and the numbers
    "outputs-vary": verdicts.outputs_vary,
    "softmax-as-logits": verdicts.softmax_as_logits,
    "zero-gradients": verdicts.zero_gradients,
    "black-box-beats-white-box": verdicts.black_box_beats_white_box,
    "epsilon-growth": strength.epsilon_growth,
    "steps-flatten": strength.steps_flatten,
    "single-step-stronger": strength.single_step_stronger,
}
NAMES = tuple(CHECKS)


def run(
    model,
    split,
    *,
    norm="linf",
    epsilon=EPSILON,
    step_size=STEP_SIZE,
    steps=STEPS,
    iterate="final",
    results=None,
    ensemble=None,
    limit=100,
    seed=0,
    batch_size=256,
    done=None,
    progress=None,
):
    """Whether what `adversarial.evaluate` measures on a model can be trusted: named checks with their evidence.

    - `outputs-vary`: two passes over the same images give other logits, so that gradients of single draws mislead.
    - `softmax-as-logits`: outputs are probabilities, whose gradients vanish where the model is sure.
    - `zero-gradients`: examples whose gradient is exactly 0, so that no attack by gradients can move them.
    - `black-box-beats-white-box`: an attack without gradients breaks what those with gradients left standing.
    - `epsilon-growth`: robust accuracy must fall to 0 as epsilon grows to one at which every image may turn grey, and
      must never rise (Table 5 of the paper).
    - `steps-flatten`: five times the steps must not break more (Table 4 of the paper).
    - `single-step-stronger`: one step of length epsilon must not break more than many short ones.

    The small attacks have one random start. They cost about 10 * `steps` gradients of each of the `limit` examples.
    Where a difference counts that luck can make too, it must be one that luck makes in less than 5% of cases.

    Args:
        model, split, norm, epsilon, step_size, steps, iterate, seed, batch_size: As in `adversarial.evaluate`: those of
            the evaluation in question.
        results: List of what `adversarial.sweep` or `evaluate` returned for this model, as further evidence.
        ensemble: What an ensemble of attacks returned: a dict whose `attacks` lists, in the order of their run, dicts
            of `attack` (name; "square" needs no gradients), `attacked` and `broken` (numbers of examples) and
            `robust_accuracy_after`.
        limit: Number of examples, at most; the same share of each class, of the subsets of `adversarial`.
        done: Mapping of parts that an interrupted run of the same arguments has finished, which are taken over; what
            is finished now is added, in values ready for JSON.
        progress: Function of (number of parts that are done, number of parts).

    Returns:
        A list of dicts, one a check, in the order above: `check`, its name; `status`, "pass", "warn" or "not run";
        `evidence`, a sentence with numbers; `advice`, a sentence, unless it is a pass; and the numbers themselves. A
        model that cannot be attacked gets a "warn" with the reason.

    Raises:
        ValueError: If a setting is impossible, images, labels and model do not fit, or logits are not finite.

    Example:

    >>> [check["check"] for check in run(student, dataset.test) if check["status"] == "warn"]
    """
    settings = Settings(norm, parse_length(epsilon), parse_length(step_size, "step_size"), 1, seed, iterate)
    for name, count in (("steps", steps), ("limit", limit), ("batch_size", batch_size)):
        check_count(name, count)
    verdicts.check_ensemble(ensemble)
    limit = min(limit, len(split.labels))
    chosen = examples.choose(split.images, split.labels, getattr(split, "indices", None), limit, seed)
    num_values = math.prod(np.shape(chosen.images)[1:])
    settings.check_fits(num_values)
    larger, growth_steps = measures.growth(settings, steps, num_values)
    parts = _parts(model, chosen, settings, steps, larger, growth_steps, batch_size)
    found = finding.Found(
        parts=_compute(parts, {} if done is None else done, progress),
        labels=np.asarray(chosen.labels),
        settings=settings,
        steps=steps,
        radii=[each.epsilon for each in larger],
        results=list(results or []),
        ensemble=ensemble,
    )
    return [{"check": name, **check(found)} for name, check in CHECKS.items()]


def _parts(model, chosen, settings, steps, larger, growth_steps, batch_size):
    """Name -> function that computes it."""
    given = (model, chosen)
    parts = {
        "outputs": lambda: measures.outputs(*given, batch_size),
        "single_step": _attempt(measures.single_step, *given, settings, batch_size),
        "attack": _attempt(measures.attack, *given, settings, [steps, measures.LONGER * steps], batch_size),
    }
    for each in larger:
        name = finding.growth_part(each.epsilon)
        parts[name] = _attempt(measures.attack, *given, each, [growth_steps], batch_size)
    return parts


def _attempt(measure, *arguments):
    """A function that measures, or says why that failed: a model that cannot be attacked is a finding."""

    def attempt():
        try:
            return measure(*arguments)
        except ValueError as error:
            return {"error": str(error)}

    return attempt


def _compute(parts, done, progress):
    for number, (name, part) in enumerate(parts.items(), 1):
        key = f"self_checks_{name}"
        if key not in done:
            done[key] = part()
        if progress is not None:
            progress(number, len(parts))
    return {name: done[f"self_checks_{name}"] for name in parts}
