"""Each check on a model that must pass and on one that must not, with numbers that a closed form gives."""

import json
import math
import types

import keras
import numpy as np
import pytest
from keras import layers, ops

from tfnoisekd.evaluation import adversarial, intervals, prediction, self_checks
from tfnoisekd.evaluation.self_checks import chance, checklist, measures

SHAPE = (4, 4, 2)
N = 60
EPSILON = 0.02
STRONG = {"epsilon": EPSILON, "step_size": EPSILON / 5, "steps": 10}


def split_of(images, labels):
    return types.SimpleNamespace(images=images, labels=np.asarray(labels))


def linear(*before, scale=1.0, classes=2, after=()):
    """A linear classifier on images, for which no class wins by brightness alone."""
    weights = np.random.default_rng(0).normal(0, scale, (32, classes))
    model = keras.Sequential([keras.Input(SHAPE), *before, layers.Flatten(), layers.Dense(classes), *after])
    dense = next(layer for layer in model.layers if isinstance(layer, layers.Dense))
    dense.set_weights([weights - weights.mean(axis=0), np.zeros(classes)])
    return model


def grey(n=N):
    """Images so far from 0 and 1 that small changes are never clipped."""
    return np.random.default_rng(1).uniform(0.3, 0.7, (n, *SHAPE)).astype("float32")


def case_of(model, n=N):
    images = grey(n)
    return split_of(images, prediction.predict_logits(model, images).argmax(axis=1))


def run(model, split=None, **options):
    checks = self_checks.run(model, case_of(model) if split is None else split, **{**STRONG, **options})
    assert tuple(check["check"] for check in checks) == self_checks.NAMES
    for check in checks:
        assert ("advice" in check) == (check["status"] != "pass")
        assert check["evidence"].endswith((".", ")"))
    json.dumps(checks, allow_nan=False)
    return {check["check"]: check for check in checks}


def distances():
    """How far, in linf, each image is from the other class of the linear model."""
    model = linear()
    weights = model.layers[-1].get_weights()[0].astype(np.float64)
    difference = weights[:, 1] - weights[:, 0]
    return np.abs(grey().reshape(N, -1) @ difference) / np.abs(difference).sum()


def statuses(checks):
    return {name: check["status"] for name, check in checks.items()}


@pytest.fixture(scope="module")
def sound():
    return run(linear())


def test_a_linear_model_passes_all_that_can_be_run(sound):
    assert statuses(sound) == {name: "pass" for name in self_checks.NAMES} | {"black-box-beats-white-box": "not run"}


def test_the_numbers_of_a_linear_model_are_those_of_the_closed_form(sound):
    robust = np.mean(distances() > EPSILON)
    assert 0.2 < robust < 0.8
    growth = sound["epsilon-growth"]
    assert growth["epsilons"] == pytest.approx(np.geomspace(EPSILON, 0.5, 4).tolist())
    assert growth["robust_accuracy"] == [np.mean(distances() > epsilon) for epsilon in growth["epsilons"]]
    assert (growth["left"], growth["robust_accuracy"][-1], growth["n"]) == (0, 0, N)
    assert f"{robust:.3g} at 0.02" in growth["evidence"] and "0 at 0.5." in growth["evidence"]
    for name in ("steps-flatten", "single-step-stronger"):
        assert sound[name]["robust_accuracy"] == [robust, robust] and sound[name]["p_value"] == 1.0
    assert (sound["steps-flatten"]["more"], sound["steps-flatten"]["fewer"]) == (0, 0)
    assert "With 50 steps in place of 10" in sound["steps-flatten"]["evidence"]
    assert (sound["zero-gradients"]["without_gradient"], sound["zero-gradients"]["n"]) == (0, N)
    assert sound["outputs-vary"]["relative_difference"] == 0
    assert sound["softmax-as-logits"]["like_probabilities"] == 0


def test_the_l2_norm():
    checks = run(linear(), norm="l2", epsilon=0.1, step_size=0.02)
    assert checks["epsilon-growth"]["epsilons"][-1] == pytest.approx(0.5 * math.sqrt(32))
    assert "warn" not in statuses(checks).values()


class AlwaysNoise(layers.Layer):
    """Noise on the images in inference mode too."""

    def __init__(self):
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, x):
        return x + keras.random.normal(ops.shape(x), stddev=0.1, seed=self.seed_generator)


def test_outputs_that_vary():
    clean = case_of(linear())
    check = run(linear(AlwaysNoise()), clean, steps=2)["outputs-vary"]
    assert check["status"] == "warn" and "--eot" in check["advice"]
    assert check["relative_difference"] > 0.05 and 0 < check["classes_changed"] < N
    assert f"another class for {check['classes_changed']}." in check["evidence"]


def test_probabilities():
    checks = run(linear(after=[layers.Softmax()]))
    assert checks["softmax-as-logits"]["status"] == "warn"
    assert checks["softmax-as-logits"]["like_probabilities"] == N
    assert "without_softmax" in checks["softmax-as-logits"]["advice"]
    for name in ("zero-gradients", "epsilon-growth", "steps-flatten", "single-step-stronger"):
        assert checks[name]["status"] == "warn" and "probabilities" in checks[name]["evidence"]


class Rounded(layers.Layer):
    def call(self, x):
        return ops.round(x * 8) / 8


class Stopped(layers.Layer):
    def call(self, x):
        return ops.stop_gradient(x)


@pytest.mark.parametrize("layer", [Rounded, Stopped])
def test_a_model_without_gradients(layer):
    checks = run(linear(layer()))
    assert checks["zero-gradients"]["status"] == "warn"
    assert checks["zero-gradients"]["without_gradient"] == checks["zero-gradients"]["n"] == N
    assert f"At {N} of {N} images" in checks["zero-gradients"]["evidence"]
    for name in ("epsilon-growth", "steps-flatten", "single-step-stronger"):
        assert checks[name]["status"] == "warn" and "could not be run: `model` must have" in checks[name]["evidence"]


@pytest.fixture(scope="module")
def masked():
    """Logits so large that the softmax is exactly 0 or 1 in float32, and gradients vanish for most images."""
    return run(linear(scale=3000.0))


def test_logits_so_large_that_gradients_vanish(masked):
    model = linear(scale=3000.0)
    logits = prediction.predict_logits(model, grey())
    margin = np.abs(logits[:, 0] - logits[:, 1])
    count = masked["zero-gradients"]["without_gradient"]
    # exp(-104) is 0 in float32, exp(-85) is a normal number.
    assert np.count_nonzero(margin > 115) <= count <= np.count_nonzero(margin > 80)
    assert N / 2 < count < N
    assert masked["zero-gradients"]["status"] == "warn"


def test_robust_accuracy_that_stays_up_by_masking(masked):
    growth = masked["epsilon-growth"]
    assert growth["status"] == "warn"
    # Within 0.5, every image of this linear model can be turned into the other class; the attack does not see how.
    assert growth["left"] > N / 3 and growth["robust_accuracy"][-1] == growth["left"] / N
    assert 0 < growth["broken_by_grey"] <= growth["left"]
    assert growth["left_interval"] == list(intervals.wilson_interval(growth["left"], N))
    assert f"would break {growth['broken_by_grey']} of the {growth['left']} left" in growth["evidence"]


class Constant(layers.Layer):
    """Class 0 whatever the image is, but with a gradient."""

    def call(self, x):
        return ops.concatenate([5.0 + 0.1 * ops.tanh(x[:, :1]), 0.1 * ops.tanh(x[:, 1:])], axis=1)


def test_a_model_that_does_not_look_at_its_images_is_robust_and_suspicious():
    growth = run(linear(after=[Constant()]))["epsilon-growth"]
    assert (growth["status"], growth["left"], growth["broken_by_grey"]) == ("warn", N, 0)
    assert growth["robust_accuracy"] == [1.0] * 4


def test_too_few_and_too_short_steps():
    checks = run(linear(), step_size=0.0005, steps=3)
    flat, single = checks["steps-flatten"], checks["single-step-stronger"]
    assert flat["status"] == single["status"] == "warn"
    before, after = flat["robust_accuracy"]
    # From a random start, k steps of s go at least from the image to its start and k * s, which is shorter.
    assert before > after > np.mean(distances() > EPSILON) == single["robust_accuracy"][0]
    assert (flat["more"] - flat["fewer"]) / N == pytest.approx(before - after)
    assert flat["p_value"] == chance.paired(flat["more"], flat["fewer"]) < 0.05
    assert single["robust_accuracy"][1] == before and single["only_several"] == 0
    assert single["only_single"] / N == pytest.approx(before - single["robust_accuracy"][0])
    assert f"{single['only_single']} are broken by the one step alone" in single["evidence"]


def result(robust, *, epsilon=EPSILON, steps=10, n=1000, **more):
    settings = {"norm": "linf", "restarts": 5, "iterate": "final", "seed": 0, "step_size": 0.003}
    return (
        {"robust_accuracy": robust, "epsilon": epsilon, "steps": steps, "n": n, "indices_sha256": "a"} | settings | more
    )


@pytest.fixture(scope="module")
def judged():
    """A function of (results, ensemble) that gives the checks of a sound model, computed once."""
    model, done = linear(), {}
    split = case_of(model)
    return lambda results=None, ensemble=None: run(model, split, results=results, ensemble=ensemble, done=done)


@pytest.mark.parametrize(
    "results, name, status, changes",
    [
        ([result(0.9, epsilon=0.01), result(0.5), result(0.0, epsilon=0.1)], "epsilon-growth", "pass", 0),
        ([result(0.5), result(0.51, epsilon=0.1)], "epsilon-growth", "pass", 1),  # luck
        ([result(0.5), result(0.6, epsilon=0.1)], "epsilon-growth", "warn", 1),
        ([result(0.6, epsilon=0.1), result(0.5)], "epsilon-growth", "warn", 1),  # in any order
        ([result(0.5), result(0.6, epsilon=0.1, n=40)], "epsilon-growth", "pass", 0),  # other examples
        ([result(0.5), result(0.6, epsilon=0.1, restarts=1)], "epsilon-growth", "pass", 0),  # another attack
        ([result(0.5), result(0.6, epsilon=0.1, step_size=0.002)], "epsilon-growth", "warn", 1),
        ([result(0.8, steps=1), result(0.5), result(0.49, steps=100)], "steps-flatten", "pass", 0),
        ([result(0.8, steps=1), result(0.5), result(0.4, steps=100)], "steps-flatten", "warn", 0),
        ([result(0.8, steps=1), result(0.5)], "steps-flatten", "pass", 0),  # that it falls to there is as it must be
        ([result(0.5, steps=1), result(0.6)], "steps-flatten", "warn", 1),
        ([result(0.5, epsilon=0.1), result(0.4, epsilon=0.1, steps=100)], "steps-flatten", "pass", 0),
    ],
)
def test_evaluations_at_hand(judged, results, name, status, changes):
    check = judged(results)[name]
    assert check["status"] == status
    assert len(check["rises_in_results"]) == changes
    assert ("In the evaluation it" in check["evidence"]) == bool(changes or check.get("falls_in_results"))


def test_evaluations_at_hand_are_told_in_words(judged):
    check = judged([result(0.5), result(0.6, epsilon=0.1)])["epsilon-growth"]
    assert check["rises_in_results"] == [
        {"along": "epsilon", "from": 0.02, "to": 0.1, "before": 0.5, "after": 0.6}
        | {"p_value": pytest.approx(3.5e-6, rel=0.02)}
    ]
    assert "it rises from 0.5 at epsilon 0.02 to 0.6 at 0.1 (p = 3.5e-06)." in check["evidence"]
    check = judged([result(0.5), result(0.4, steps=100)])["steps-flatten"]
    assert "it falls from 0.5 at steps 10 to 0.4 at 100" in check["evidence"]
    check = judged([result(0.5, without_gradient=3), result(0.5, steps=20, without_gradient=2)])["zero-gradients"]
    assert check["status"] == "warn" and check["without_gradient_in_results"] == 3
    assert "3 of 1000 counted as robust without" in check["evidence"]


def test_what_a_sweep_returns_is_understood(judged):
    model = linear()
    swept = adversarial.sweep(model, case_of(model), epsilon=[0.01, 0.02], steps=[10, 20], step_size=0.004, restarts=1)
    assert "warn" not in statuses(judged(swept)).values()
    assert judged(swept)["zero-gradients"]["evidence"].endswith(
        f"0 of {N} counted as robust without ever having had one."
    )


def ensemble(before, attacked, broken, n=1000, name="apgd-ce"):
    first = {"attack": name, "attacked": 900, "broken": 900 - attacked, "robust_accuracy_after": before}
    square = {"attack": "square", "attacked": attacked, "broken": broken}
    return {"attacks": [first, square | {"robust_accuracy_after": before - broken / n}]}


def test_black_box_and_white_box(judged):
    name = "black-box-beats-white-box"
    assert judged()[name]["status"] == "not run" and "was not run" in judged()[name]["evidence"]
    weak = judged(ensemble=ensemble(0.5, 500, 80))[name]
    assert weak["status"] == "warn"
    assert "broke 80 of the 500 examples" in weak["evidence"] and "from 0.5 to 0.42" in weak["evidence"]
    assert (weak["attacked"], weak["broken"], weak["before"]) == (500, 80, 0.5)
    for few in (0, 1):
        assert judged(ensemble=ensemble(0.5, 500, few))[name]["status"] == "pass"
    assert judged(ensemble=ensemble(0.5, 500, 3))[name]["status"] == "warn"
    square_first = {"attacks": ensemble(0.5, 500, 80)["attacks"][::-1]}
    square_only = {"attacks": ensemble(0.5, 500, 80)["attacks"][1:]}
    for none in (square_first, square_only, {"attacks": ensemble(0.5, 500, 80)["attacks"][:1]}):
        check = judged(ensemble=none)[name]
        assert check["status"] == "not run" and "did not run `square` after" in check["evidence"]
        assert "command line: `--attack pgd,ensemble`" in check["advice"]


def test_finished_parts_are_taken_over(monkeypatch):
    model, done, seen = linear(), {}, []
    split = case_of(model)
    expected = run(model, split, done=done, progress=lambda *numbers: seen.append(numbers))
    assert seen == [(number, 6) for number in range(1, 7)]
    done = json.loads(json.dumps(done))
    for name in ("outputs", "single_step", "attack"):
        monkeypatch.setattr(measures, name, None)
    assert run(model, split, done=done) == expected
    del done["self_checks_outputs"]
    with pytest.raises(TypeError):
        run(model, split, done=done)


def test_the_result_depends_on_seed_and_examples_not_on_batches(sound):
    assert run(linear(), batch_size=7) == sound
    few = run(linear(), limit=20)
    assert few["outputs-vary"]["n"] == 20 and few["epsilon-growth"]["n"] == 20


def test_a_model_that_is_never_right():
    model = linear()
    split = case_of(model)
    checks = run(model, split_of(split.images, 1 - split.labels))
    for name in ("zero-gradients", "epsilon-growth", "steps-flatten", "single-step-stronger"):
        assert checks[name]["status"] == "not run" and "right about none" in checks[name]["evidence"]


def test_a_radius_that_reaches_grey_already_is_not_enlarged():
    assert measures.growth(checklist.Settings("linf", 0.6, 0.1, 1, 0, "final"), 5, 32) == ([], 20)
    larger, steps = measures.growth(checklist.Settings("linf", 0.1, 0.01, 1, 0, "final"), 40, 32)
    assert [each.epsilon for each in larger][-1] == 0.5 and steps == 40
    assert all(each.step_size * steps == pytest.approx(max(0.4, 2.5 * each.epsilon)) for each in larger)


def test_what_luck_may_do():
    assert chance.paired(0, 7) == 1 and chance.paired(5, 0) == pytest.approx(1 / 32)
    assert chance.paired(4, 0) > chance.SIGNIFICANT > chance.paired(5, 0)
    expected = sum(math.comb(12, k) for k in range(9, 13)) / 2**12
    assert chance.paired(9, 3) == pytest.approx(expected)
    assert chance.unpaired(5, 5, 10) == chance.unpaired(6, 5, 10) == 1
    # z = 10 / sqrt(200 * 0.55 * 0.45) = 1.4213
    assert chance.unpaired(50, 60, 100) == pytest.approx(0.0776, abs=1e-4)
    assert chance.unpaired(0, 10, 10) < 1e-4


@pytest.mark.parametrize(
    "options, message",
    [
        ({"epsilon": 0}, r"`epsilon` must be above 0"),
        ({"epsilon": 2.0}, r"`epsilon` must be at most 1"),
        ({"norm": "l1"}, r"`norm` must be one of"),
        ({"steps": 0}, r"`steps` must be an integer of at least 1"),
        ({"limit": 0}, r"`limit` must be an integer of at least 1. Received: limit=0"),
        ({"ensemble": {"attacks": [{"attack": "square"}]}}, r"`ensemble` must be a dict whose `attacks`.*Received: \{"),
        ({"ensemble": [1]}, r"`ensemble` must be a dict"),
        ({"ensemble": {"attacks": [1]}}, r"`ensemble` must be a dict"),
    ],
)
def test_impossible_settings(options, message):
    with pytest.raises(ValueError, match=message):
        self_checks.run(linear(), split_of(grey(), [0] * N), **{**STRONG, **options})


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="`labels` must lie in 0..1"):
        self_checks.run(linear(), split_of(grey(), [2] * N))
