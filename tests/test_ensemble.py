"""The worst case of several attacks against closed forms, NumPy references, and models that hide their gradients."""

import json
import math
import random
import sys
import types

import keras
import numpy as np
import pytest
from keras import layers

from tfnoisekd.evaluation import adversarial, ensemble, intervals, prediction
from tfnoisekd.evaluation.attacks import art_attacks, losses, worst_case
from tfnoisekd.evaluation.attacks.oracle import AllBroken, Oracle
from tfnoisekd.evaluation.attacks.worst_case import settings_of

SHAPE = (4, 4, 2)
VALUES = math.prod(SHAPE)
ALL = ("apgd-ce", "apgd-dlr", "apgd-t", "square")


def split_of(images, labels, indices=None):
    return types.SimpleNamespace(images=images, labels=np.asarray(labels), indices=indices)


def linear(classes, scale=1.0, inner=()):
    """A linear classifier on images, and its weights (VALUES, classes) and bias in float64."""
    draw = np.random.default_rng(0)
    weights, bias = draw.normal(0, 1, (VALUES, classes)), draw.normal(0, 0.1, classes)
    weights = (weights - weights.mean(axis=0)) * scale  # no class wins by brightness alone
    model = keras.Sequential([keras.Input(SHAPE), *inner, layers.Flatten(), layers.Dense(classes)])
    model.set_weights([weights.astype("float32"), (bias * scale).astype("float32")])
    return model, *(each.astype(np.float64) for each in model.get_weights())


def grey(n, shape=SHAPE):
    """Images so far from 0 and 1 that an epsilon up to 0.3 is never clipped."""
    return np.random.default_rng(1).uniform(0.3, 0.7, (n, *shape)).astype("float32")


def predicted(model, images):
    return prediction.predict_logits(model, images).argmax(axis=1)


def distances(weights, bias, images, labels, dual=1):
    """How far each image is from the nearest other class, in the norm whose dual is given."""
    logits = images.reshape(len(images), -1).astype(np.float64) @ weights + bias
    result = np.full(len(images), np.inf)
    for other in range(weights.shape[1]):
        length = np.linalg.norm(weights[:, labels] - weights[:, [other]], dual, axis=0)
        margin = logits[np.arange(len(labels)), labels] - logits[:, other]
        result = np.where(labels == other, result, np.minimum(result, margin / np.where(length, length, 1)))
    return result


@pytest.fixture
def cases(monkeypatch):
    """The `WorstCase` of every evaluation, whose `standing` says which images are robust."""
    made = []

    class Kept(worst_case.WorstCase):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(ensemble, "WorstCase", Kept)
    return made


@pytest.fixture(scope="module")
def network():
    """A small network with everything that behaves otherwise in training."""
    draw = np.random.default_rng(3)
    dense = layers.Dense(4)
    inner = [layers.Conv2D(6, 3, padding="same"), layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.5)]
    model = keras.Sequential([keras.Input(SHAPE), *inner, layers.Flatten(), dense])
    for layer, scale in ((model.layers[0], 0.3), (dense, 0.5)):
        layer.set_weights([draw.normal(0, scale, weights.shape) for weights in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def case(network):
    """40 images over all of [0, 1] with labels of which the network gets most right."""
    images = np.random.default_rng(5).uniform(0, 1, (40, *SHAPE)).astype("float32")
    labels = predicted(network, images)
    labels[::7] = (labels[::7] + 1) % 4
    return split_of(images, labels)


OPTIONS = {"epsilon": 0.06, "steps": 10, "queries": 40, "targets": 3, "attacks": ALL}  # of the network


@pytest.mark.parametrize("norm, dual, epsilon", [("linf", 1, 0.02), ("l2", 2, 0.09)])
@pytest.mark.parametrize("attack, classes", [("apgd-ce", 2), ("apgd-dlr", 2), ("apgd-t", 3)])
def test_what_can_be_broken_is_and_nothing_else(cases, norm, dual, epsilon, attack, classes):
    model, weights, bias = linear(classes)
    images = grey(200)
    labels = predicted(model, images)
    labels[::10] = (labels[::10] + 1) % classes
    distance = distances(weights, bias, images, labels, dual)
    assert 0.2 < np.mean(distance > epsilon) < 0.8 and np.abs(distance - epsilon).min() > 1e-5
    results = ensemble.evaluate(
        model, split_of(images, labels), attacks=attack, norm=norm, epsilon=epsilon, steps=40, batch_size=64
    )
    np.testing.assert_array_equal(cases[0].standing, distance > epsilon)
    assert results["clean_accuracy"] == 0.9
    assert results["robust_accuracy"] == np.mean(distance > epsilon)
    assert results["robust_interval"] == list(intervals.wilson_interval(np.count_nonzero(distance > epsilon), 200))
    (row,) = results["attacks"]
    assert (row["attacked"], row["broken"]) == (180, 180 - np.count_nonzero(distance > epsilon))


@pytest.mark.parametrize("attack, share", [("apgd-ce", 0.9), ("apgd-dlr", 0.9), ("apgd-t", 0.98), ("square", 0.5)])
def test_no_attack_breaks_what_is_proven_to_be_robust(cases, attack, share):
    model, weights, bias = linear(5)
    images = grey(150)
    labels = predicted(model, images)
    distance = distances(weights, bias, images, labels)
    assert 0.2 < np.mean(distance > 0.01) < 0.8
    ensemble.evaluate(
        model, split_of(images, labels), attacks=[attack], epsilon=0.01, steps=40, queries=400, batch_size=150
    )
    broken = ~cases[0].standing
    assert not broken[distance > 0.01].any()
    assert broken[distance < 0.01].mean() >= share


def test_square_in_l2_stays_in_the_ball(cases):
    half = np.linspace(1, -1, 10).repeat(10)  # bright above, dark below, as its windows are
    weights, bias = np.stack([half, -half], axis=1), np.zeros(2)
    model = keras.Sequential([keras.Input((10, 10, 1)), layers.Flatten(), layers.Dense(2)])
    model.set_weights([weights, bias])
    images = grey(60, (10, 10, 1))
    labels = predicted(model, images)
    distance = distances(weights, bias, images, labels, 2)
    options = {"attacks": "square", "norm": "l2", "epsilon": 0.15, "queries": 150}
    results = ensemble.evaluate(model, split_of(images, labels), **options)
    broken = ~cases[-1].standing
    assert 0 < broken.sum() < 60 and not broken[distance > 0.15].any()
    assert any("in l2, ART scales the windows" in note for note in results["notes"])
    ensemble.evaluate(model, split_of(images, labels), **options, batch_size=7)
    np.testing.assert_array_equal(~cases[-1].standing, broken)


def reference(name, logits, label, target):
    """One loss of one row of logits, written out in float64."""
    z, order = logits.astype(np.float64), np.sort(logits.astype(np.float64))[::-1]
    others = max(value for place, value in enumerate(z) if place != label)
    return {
        "cross_entropy": np.log(np.expm1(np.log(np.sum(np.exp(z))) - z[label])),  # the inverse of softplus
        "margin": others - z[label],
        "ratio": (others - z[label]) / (order[0] - order[2]),
        "targeted_ratio": (z[target] - z[label]) / (order[0] - (order[2] + order[3]) / 2),
    }[name]


def loss_of(name, logits, labels, targets):
    tensors = (keras.ops.convert_to_tensor(each) for each in (logits, labels, targets))
    return keras.ops.convert_to_numpy(getattr(losses, name)(*tensors))


@pytest.fixture
def rows(rng):
    """Logits (50, 6), labels and other classes."""
    labels = rng.integers(0, 6, 50).astype("int32")
    return rng.normal(0, 3, (50, 6)).astype("float32"), labels, (labels + rng.integers(1, 6, 50).astype("int32")) % 6


@pytest.mark.parametrize("name", ["cross_entropy", "margin", "ratio", "targeted_ratio"])
def test_losses_equal_their_reference(rows, name):
    expected = [reference(name, *row) for row in zip(*rows, strict=True)]
    np.testing.assert_allclose(loss_of(name, *rows), expected, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["ratio", "targeted_ratio"])
def test_ratios_do_not_change_with_shift_and_scale(rows, name):
    logits, labels, targets = rows
    expected = loss_of(name, *rows)
    np.testing.assert_allclose(loss_of(name, 1e4 * logits, labels, targets), expected, rtol=1e-5)
    np.testing.assert_allclose(loss_of(name, logits + 100, labels, targets), expected, atol=1e-3)
    assert np.isfinite(loss_of(name, np.ones_like(logits), labels, targets)).all()


def test_signs_of_ratios_say_who_is_ahead(rows):
    logits, labels, targets = rows
    np.testing.assert_array_equal(loss_of("ratio", *rows) > 0, logits.argmax(axis=1) != labels)
    ahead = np.take_along_axis(logits, targets[:, None], 1) > np.take_along_axis(logits, labels[:, None], 1)
    np.testing.assert_array_equal(loss_of("targeted_ratio", *rows) > 0, ahead[:, 0])


def test_with_few_classes_ratios_are_margins(rows):
    logits, labels = rows[0][:, :2], rows[1] % 2
    difference = logits[np.arange(50), 1 - labels] - logits[np.arange(50), labels]
    for name in ("ratio", "targeted_ratio"):
        np.testing.assert_allclose(loss_of(name, logits, labels, 1 - labels), difference, rtol=1e-6)


class Rounded(layers.Layer):
    def call(self, x):
        return keras.ops.round(x * 50) / 50


def test_large_logits_hide_nothing(cases):
    model, weights, bias = linear(3, scale=1e4)
    images = grey(100)
    split = split_of(images, predicted(model, images))
    distance = distances(weights, bias, images, split.labels)
    assert 0.2 < np.mean(distance > 0.02) < 0.8
    by_pgd = adversarial.evaluate(model, split, epsilon=0.02, restarts=1)
    assert by_pgd["robust_accuracy"] > 0.8 and by_pgd["without_gradient"] > 80  # float32 rounds its gradients to 0
    for attack in ("apgd-ce", "apgd-dlr", "apgd-t"):
        results = ensemble.evaluate(model, split, attacks=attack, epsilon=0.02, steps=40)
        assert results["attacks"][0]["without_gradient"] == 0
        broken = ~cases[-1].standing
        assert not broken[distance > 0.02].any()
        assert broken[distance < 0.02].mean() > 0.9
    np.testing.assert_array_equal(broken, distance < 0.02)  # of apgd-t


def test_square_breaks_what_has_no_gradients(cases):
    model, weights, bias = linear(3, inner=[Rounded()])
    images = grey(60)
    split = split_of(images, predicted(model, images))
    with pytest.raises(ValueError, match="must have gradients"):
        adversarial.evaluate(model, split, epsilon=0.06)
    options = {"epsilon": 0.06, "steps": 5, "targets": 2, "queries": 200}
    results = ensemble.evaluate(model, split, **options)
    by_loss, by_target, by_square = results["attacks"]
    # The others break what their random starts break.
    assert by_square["broken"] >= 20 and by_square["robust_accuracy_after"] < 0.4
    assert by_loss["broken"] + by_target["broken"] < 25
    assert by_target["without_gradient"] == by_target["robust_accuracy_after"] * 60
    assert by_square["without_gradient"] is None
    # Rounding moves a value by half a step at most.
    distance = distances(weights, bias, images, split.labels)
    assert cases[0].standing[distance > 0.06 + 0.02].all()


def test_the_worst_case_is_the_union_of_all_attacks(network, case, cases):
    alone = []
    for name in ALL:
        ensemble.evaluate(network, case, **{**OPTIONS, "attacks": name})
        alone.append(~cases[-1].standing)
    results = ensemble.evaluate(network, case, **OPTIONS)
    np.testing.assert_array_equal(~cases[-1].standing, np.any(alone, axis=0))
    assert len({each.sum() for each in alone}) > 1  # the attacks differ
    n, standing = 40, round(results["clean_accuracy"] * 40)
    assert [row["attack"] for row in results["attacks"]] == list(ALL)
    for row in results["attacks"]:
        assert row["attacked"] == standing
        standing -= row["broken"]
        assert row["robust_accuracy_after"] == standing / n
    assert results["robust_accuracy"] == standing / n
    ensemble.evaluate(network, case, **{**OPTIONS, "attacks": ALL[::-1]})
    np.testing.assert_array_equal(cases[-1].standing, cases[-2].standing)


def test_neither_batch_size_nor_order_nor_subset_matters(network, case, cases):
    options = {**OPTIONS, "seed": 4}
    expected = ensemble.evaluate(network, case, **options)
    standing = cases[-1].standing
    assert 4 < standing.sum() < 30
    for batch_size in (7, 16):
        results = ensemble.evaluate(network, case, **options, batch_size=batch_size)
        np.testing.assert_array_equal(cases[-1].standing, standing)
        assert {**results, "batch_size": 256} == expected
    order = np.random.default_rng(0).permutation(40)[:25]
    ensemble.evaluate(network, split_of(case.images[order], case.labels[order], order), **options)
    np.testing.assert_array_equal(cases[-1].standing, standing[order])


def test_a_seed_decides_everything_and_global_generators_are_left_alone(network, case, cases):
    np.random.seed(1)
    random.seed(1)
    before = np.random.get_state()[1].tolist(), np.random.get_state()[2], random.getstate()
    first = ensemble.evaluate(network, case, **OPTIONS)
    assert (np.random.get_state()[1].tolist(), np.random.get_state()[2], random.getstate()) == before
    np.random.seed(2)
    random.seed(2)
    assert ensemble.evaluate(network, case, **OPTIONS) == first
    # Weak attacks, so that their luck shows.
    weak = {"attacks": "square", "epsilon": 0.06, "queries": 5}
    standing = []
    for seed in (0, 1, 2):
        ensemble.evaluate(network, case, **weak, seed=seed)
        standing.append(cases[-1].standing.tolist())
    assert len({tuple(each) for each in standing}) > 1


def test_modules_of_art_are_as_before(network, case):
    square = art_attacks._module("square_attack")
    apgd = art_attacks._module("auto_projected_gradient_descent")
    draw = apgd.random_sphere
    ensemble.evaluate(network, case, **OPTIONS)
    assert square.np is np and square.random is random and apgd.random_sphere is draw


class Store(dict):
    """Keeps JSON only, as a file would, and breaks off after some parts."""

    def __init__(self, parts=math.inf):
        self.parts, self.written = parts, []

    def __setitem__(self, key, value):
        if len(self.written) >= self.parts:
            raise KeyboardInterrupt
        assert key not in self
        self.written.append(key)
        super().__setitem__(key, json.dumps(value))

    def __getitem__(self, key):
        return json.loads(super().__getitem__(key))


def test_an_interrupted_evaluation_goes_on(network, case):
    options = {**OPTIONS, "batch_size": 12, "restarts": 2}
    expected = ensemble.evaluate(network, case, **options)
    whole = Store()
    assert ensemble.evaluate(network, case, **options, done=whole) == expected
    assert len(whole.written) > 15
    store = Store(parts=7)
    with pytest.raises(KeyboardInterrupt):
        ensemble.evaluate(network, case, **options, done=store)
    store.parts = math.inf
    assert ensemble.evaluate(network, case, **options, done=store) == expected
    assert store.written == whole.written  # the same parts, each computed once


def test_what_is_done_costs_no_attack(network, case, monkeypatch):
    store = Store()
    expected = ensemble.evaluate(network, case, **OPTIONS, done=store)
    monkeypatch.setattr(art_attacks, "apgd", None)
    monkeypatch.setattr(art_attacks, "square", None)
    assert ensemble.evaluate(network, case, **OPTIONS, done=store) == expected
    for changed in ({"epsilon": 0.05}, {"steps": 9}, {"seed": 1}, {"norm": "l2"}, {"batch_size": 39}):
        with pytest.raises(TypeError):  # None is called
            ensemble.evaluate(network, case, **{**OPTIONS, "attacks": ALL[:3], **changed}, done=store)
    other = split_of(1 - case.images, case.labels)  # other images of the same numbers
    with pytest.raises(TypeError):
        ensemble.evaluate(network, other, **OPTIONS, done=store)
    # More of one attack takes over what is done of the others.
    with pytest.raises(TypeError):
        ensemble.evaluate(network, case, **{**OPTIONS, "queries": 61}, done=store)
    fewer = ensemble.evaluate(network, case, **{**OPTIONS, "attacks": ALL[:2], "queries": 61}, done=store)
    assert fewer["attacks"] == expected["attacks"][:2]


def test_progress_counts_to_the_end(network, case):
    calls = []
    ensemble.evaluate(network, case, **OPTIONS, batch_size=9, progress=lambda *each: calls.append(each))
    decided = [each[0] for each in calls]
    assert decided == sorted(decided) and {each[1] for each in calls} == {40}
    assert decided[0] < 40 and decided[-1] == 40


def oracle_of(model, images, labels, epsilon=0.1, norm="linf", loss=losses.ratio):
    labels = np.asarray(labels, "int32")
    settings = settings_of(norm, epsilon, 1, 0)
    return Oracle(model, loss, images, labels, labels, settings, True, len(images))


def test_every_point_in_the_ball_counts_and_no_other():
    model, weights, _ = linear(3)
    images = grey(3)
    labels = predicted(model, images)
    away = np.sign(weights[:, (labels + 1) % 3] - weights[:, labels]).T.reshape(images.shape).astype("float32")
    oracle = oracle_of(model, images, labels, epsilon=0.2)
    oracle.values(images + 0.21 * away, np.arange(3))
    assert not oracle.found.any()
    inside = images + np.float32(0.2) * away
    assert (predicted(model, inside) != labels).all()
    oracle.values(inside[:2], np.array([0, 1]))
    oracle.values(images, np.arange(3))  # back at the start, where the model is right
    assert oracle.found.tolist() == [True, True, False]
    np.testing.assert_array_equal(oracle.adversarial[:2], inside[:2])
    with pytest.raises(AllBroken):
        oracle.values(inside[2:], np.array([2]))


def test_the_last_and_the_best_point_are_not_looked_at_again():
    model, *_ = linear(3)
    images = grey(4)
    oracle, places, looks = oracle_of(model, images, predicted(model, images)), np.arange(4), []
    function = oracle._function
    oracle._function = lambda points, *rest: looks.append(len(points)) or function(points, *rest)
    points = [np.clip(images + step, 0, 1).astype("float32") for step in (0, 1e-3, -1e-3, 2e-3)]
    values = np.array([oracle.values(each, places) for each in points])
    assert looks == [4] * 4
    best = values.argmax(axis=0)
    np.testing.assert_array_equal(oracle.values(np.stack(points)[best, places], places), values.max(axis=0))
    np.testing.assert_array_equal(oracle.values(points[-1], places), values[-1])
    gradients = oracle.gradients(points[-1], places)
    assert looks == [4] * 4
    np.testing.assert_allclose(np.abs(gradients).max(axis=(1, 2, 3)), 1)
    assert (oracle.values(np.full_like(images, np.nan), places) == -np.inf).all()  # no point at all


def test_a_claim_is_looked_at_once_more():
    model, weights, _ = linear(3)
    images = grey(4)
    labels = predicted(model, images)
    oracle = oracle_of(model, images, labels)
    away = np.sign(weights[:, (labels + 1) % 3] - weights[:, labels]).T.reshape(images.shape)
    oracle.found[:] = True
    oracle.adversarial[1:3] += (np.array([0.1, 0.11])[:, None, None, None] * away[1:3]).astype("float32")
    oracle.adversarial[3] += 2
    # The first is right still, the third outside the ball, the fourth outside [0, 1].
    assert worst_case._proven(model, oracle, 6).tolist() == [1]


def test_images_of_bytes_are_scaled(network, case):
    images = (case.images * 255).round().astype("uint8")
    expected = ensemble.evaluate(network, split_of((images / 255).astype("float32"), case.labels), **OPTIONS)
    assert ensemble.evaluate(network, split_of(images, case.labels), **OPTIONS) == expected


def test_results_are_ready_for_json_and_name_their_settings(network, case):
    options = {**OPTIONS, "epsilon": "8/255", "targets": 9, "queries": np.int64(40)}
    results = ensemble.evaluate(network, case, **options, limit=20)
    assert json.loads(json.dumps(results)) == results
    settings = {"norm": "linf", "epsilon": 8 / 255, "steps": 10, "restarts": 1, "queries": 40, "seed": 0, "limit": 20}
    assert settings.items() <= results.items()
    assert (results["n"], results["targets"], results["backend"]) == (20, 3, "tensorflow")
    assert results["art_version"] == art_attacks.version()
    assert results["notes"][0].startswith("not comparable with RobustBench") and "FAB" in results["notes"][0]
    assert "with 4 classes, apgd-t has 3 targets, not 9" in results["notes"]
    same = adversarial.evaluate(network, case, epsilon=0.06, steps=1, restarts=1, limit=20)
    assert results["indices_sha256"] == same["indices_sha256"]


def test_notes_of_few_classes():
    model, *_ = linear(2)
    images = grey(5)
    results = ensemble.evaluate(model, split_of(images, predicted(model, images)), **OPTIONS)
    assert {
        "with 2 classes, apgd-t has 1 targets, not 3",
        "with 2 classes, the DLR of apgd-dlr is the margin",
        "with 2 classes, the targeted DLR of apgd-t is the margin",
    } <= set(results["notes"])


def test_a_model_that_is_never_right_needs_no_attack(network, case):
    wrong = split_of(case.images, (predicted(network, case.images) + 1) % 4)
    results = ensemble.evaluate(network, wrong, **OPTIONS)
    assert (results["clean_accuracy"], results["robust_accuracy"]) == (0, 0)
    assert all(row["attacked"] == row["broken"] == 0 for row in results["attacks"])


class Logarithm(layers.Layer):
    def call(self, x):
        return keras.ops.log(0.71 - x)


def test_models_that_cannot_be_attacked(network, case):
    softmax = keras.Sequential([network, layers.Softmax()])
    with pytest.raises(ValueError, match=r"`model` must give logits. Received: .*probabilities.*Take the softmax off"):
        ensemble.evaluate(softmax, case, **OPTIONS)
    model, *_ = linear(3, inner=[Logarithm()])
    images = grey(10)
    split = split_of(images, predicted(model, images))
    with pytest.raises(ValueError, match=r"under attack` must be finite. Received: NaN"):
        ensemble.evaluate(model, split, **OPTIONS)
    root, *_ = linear(3, inner=[layers.Lambda(lambda x: x + keras.ops.sqrt(x * 0.0))])  # its slope at 0, times 0
    with pytest.raises(ValueError, match=r"`model` must have finite gradients.*for 10 of 10 images"):
        ensemble.evaluate(root, split_of(images, predicted(root, images)), **OPTIONS)


def test_without_art_the_error_says_what_to_install(network, case, monkeypatch):
    for name in [name for name in sys.modules if name == "art" or name.startswith("art.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "art", None)
    with pytest.raises(ImportError, match=r'pip install "tfnoisekd\[robust\]"'):
        ensemble.evaluate(network, case, **OPTIONS)


@pytest.mark.slow
def test_importing_art_leaves_the_logging_of_the_process_alone(run_python):
    printed = run_python(
        "import logging, sys, io\n"
        "stream = io.StringIO()\n"
        "handler = logging.StreamHandler(stream)\n"
        "logging.getLogger().addHandler(handler)\n"
        "closed = []\n"
        "handler.close = lambda: closed.append(True)\n"
        "from tfnoisekd.evaluation.attacks import art_attacks\n"
        "art_attacks.version()\n"
        "print(closed, 'art' in sys.modules, logging.config.dictConfig.__module__)\n"
    )
    assert printed.splitlines()[-1] == "[] True logging.config"


def test_other_backends_are_refused(network, case, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match=r"needs the backend tensorflow. Received: KERAS_BACKEND=jax; .*adversarial"):
        ensemble.evaluate(network, case, **OPTIONS)


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"attacks": ()},
            r"`attacks` must be one or several of 'apgd-ce', .*'square', each once. Received: attacks=\(\)",
        ),
        ({"attacks": "fab"}, r"`attacks` must be one or several of .* Received: attacks='fab'"),
        ({"attacks": ["square", "square"]}, r"each once. Received: attacks=\['square', 'square'\]"),
        ({"attacks": ["square"], "norm": "l2"}, r"without 'square' in l2 .* Received: images of 4 x 4; .*linf"),
        ({"norm": "l1"}, r"`norm` must be one of 'linf', 'l2'. Received: norm='l1'"),
        ({"epsilon": 0}, r"`epsilon` must be above 0.*Received: epsilon=0.0"),
        ({"epsilon": 8}, r"`epsilon` must be at most 1, .*in linf. Received: epsilon=8.0; .*\"8/255\""),
        ({"epsilon": "8:255"}, r"`epsilon` must be a number, or a text such as \"8/255\". Received: epsilon='8:255'"),
        ({"steps": 0}, r"`steps` must be an integer of at least 1. Received: steps=0"),
        ({"restarts": 2.5}, r"`restarts` must be an integer of at least 1. Received: restarts=2.5"),
        ({"targets": 0}, r"`targets` must be an integer of at least 1. Received: targets=0"),
        ({"queries": -1}, r"`queries` must be an integer of at least 1. Received: queries=-1"),
        ({"batch_size": True}, r"`batch_size` must be an integer of at least 1. Received: batch_size=True"),
        ({"limit": 41}, r"`limit` must be at most 40, the number of examples. Received: limit=41"),
        ({"seed": -1}, r"`seed` must be an integer from 0 to 2\*\*32 - 1. Received: seed=-1"),
        ({"done": []}, r"`done` must be a mutable mapping, such as a dict, or None. Received: done=\[\]"),
    ],
)
def test_impossible_settings(network, case, options, message):
    with pytest.raises(ValueError, match=message):
        ensemble.evaluate(network, case, **options)
