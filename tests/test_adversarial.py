"""PGD against closed forms, a NumPy reference, cleverhans' own attack, and the long way round."""

import functools
import gc
import json
import math
import sys
import types
import weakref

import keras
import numpy as np
import pytest
from keras import layers

from tfnoisekd.evaluation import adversarial, examples, intervals, prediction
from tfnoisekd.evaluation.attacks import pgd, starts
from tfnoisekd.evaluation.attacks.schedule import CLEAN_ERROR, Schedule
from tfnoisekd.evaluation.attacks.settings import Settings, parse_length

SHAPE = (4, 4, 2)
VALUES = math.prod(SHAPE)
JAX = keras.backend.backend() == "jax"
if JAX:
    import jax


def split_of(images, labels, indices=None):
    return types.SimpleNamespace(images=images, labels=np.asarray(labels), indices=indices)


def settings_of(norm="linf", epsilon=0.1, step_size=0.02, restarts=1, seed=0, iterate="final"):
    return Settings(norm, epsilon, step_size, restarts, seed, iterate)


def linear(classes, seed=0, scale=1.0):
    """A linear classifier on images, and its weights (VALUES, classes) and bias in float64."""
    random = np.random.default_rng(seed)
    weights, bias = random.normal(0, scale, (VALUES, classes)), random.normal(0, 0.1 * scale, classes)
    weights -= weights.mean(axis=0)  # no class wins by brightness alone
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(classes)])
    model.set_weights([weights.astype("float32"), bias.astype("float32")])
    return model, *(each.astype(np.float64) for each in model.get_weights())


def grey(n, seed=1):
    """Images so far from 0 and 1 that an epsilon up to 0.3 is never clipped."""
    return np.random.default_rng(seed).uniform(0.3, 0.7, (n, *SHAPE)).astype("float32")


def predicted(model, images):
    return prediction.predict_logits(model, images).argmax(axis=1)


def distances(weights, bias, images, labels, dual):
    """How far each image is from the nearest other class, in the norm whose dual is given."""
    logits = images.reshape(len(images), -1).astype(np.float64) @ weights + bias
    result = np.full(len(images), np.inf)
    for other in range(weights.shape[1]):
        apart = weights[:, labels] - weights[:, [other]]
        margin = logits[np.arange(len(labels)), labels] - logits[:, other]
        length = np.linalg.norm(apart, dual, axis=0)
        result = np.where(labels == other, result, np.minimum(result, margin / np.where(length, length, 1)))
    return result


def slow_pgd(weights, bias, images, labels, start, epsilon, step_size, steps, norm):
    """Projected gradient descent on a linear classifier, one image after the other, in float64."""
    found = []
    for image, label, current in zip(images.astype(np.float64), labels, start.astype(np.float64), strict=True):
        for _ in range(steps):
            logits = current.ravel() @ weights + bias
            probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
            gradient = (weights @ (probabilities - np.eye(len(logits))[label])).reshape(SHAPE)
            if norm == "linf":
                current = np.clip(current + step_size * np.sign(gradient), 0, 1)
                current = image + np.clip(current - image, -epsilon, epsilon)
            else:
                current = np.clip(current + step_size * gradient / np.linalg.norm(gradient), 0, 1)
                change = current - image
                current = image + change * min(1, epsilon / np.linalg.norm(change))
            current = np.clip(current, 0, 1)
        found.append(current)
    return np.array(found)


@pytest.fixture(scope="module")
def network():
    """A small network with everything that behaves otherwise in training, with the same weights on every backend."""
    random = np.random.default_rng(3)
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(6, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(4),
        ]
    )
    for layer, scale in ((model.layers[0], 0.3), (model.layers[-1], 0.5)):
        layer.set_weights([random.normal(0, scale, weights.shape) for weights in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def case(network):
    """40 images over all of [0, 1] with labels of which the network gets most right."""
    images = np.random.default_rng(5).uniform(0, 1, (40, *SHAPE)).astype("float32")
    labels = predicted(network, images)
    labels[::7] = (labels[::7] + 1) % 4
    return split_of(images, labels)


@pytest.mark.parametrize("norm, dual, epsilon", [("linf", 1, 0.02), ("l2", 2, 0.1)])
def test_robust_accuracy_of_two_classes_is_that_of_the_closed_form(norm, dual, epsilon):
    model, weights, bias = linear(2)
    images = grey(200)
    labels = predicted(model, images)
    labels[::10] = 1 - labels[::10]
    distance = distances(weights, bias, images, labels, dual)
    expected = np.mean(distance > epsilon)
    assert 0.2 < expected < 0.8 and np.abs(distance - epsilon).min() > 1e-5  # the case is one that tells
    results = adversarial.evaluate(
        model, split_of(images, labels), norm=norm, epsilon=epsilon, step_size=epsilon / 5, steps=40, restarts=1
    )
    assert results["clean_accuracy"] == 0.9
    assert results["robust_accuracy"] == expected


@pytest.mark.parametrize("norm, dual, epsilon", [("linf", 1, 0.01), ("l2", 2, 0.05)])
def test_robust_accuracy_of_five_classes_is_that_of_the_nearest_other_class(norm, dual, epsilon):
    model, weights, bias = linear(5)
    images = grey(200)
    labels = predicted(model, images)
    distance = distances(weights, bias, images, labels, dual)
    _, success = adversarial.attack(
        model, images, labels, norm=norm, epsilon=epsilon, step_size=epsilon / 5, steps=40, restarts=3
    )
    assert 0.2 < np.mean(distance > epsilon) < 0.8
    assert not success[distance > epsilon].any()  # what is proven to be robust is never broken
    assert success[distance < epsilon].mean() > 0.9  # the loss may lead to a class that is not the nearest


@pytest.mark.parametrize("norm, epsilon, step_size", [("linf", 0.1, 0.03), ("l2", 2.5, 0.5)])
@pytest.mark.parametrize("low", [0.0, 0.3])
def test_adversarial_images_equal_the_slow_reference(norm, epsilon, step_size, low):
    model, weights, bias = linear(3, scale=0.3)
    images = np.random.default_rng(2).uniform(low, 1 - low, (8, *SHAPE)).astype("float32")
    labels = predicted(model, images)
    found, _ = adversarial.attack(
        model, images, labels, norm=norm, epsilon=epsilon, step_size=step_size, steps=6, restarts=1, seed=4
    )
    start = starts.draw(images, np.arange(8), np.zeros(8, int), settings_of(norm, epsilon, seed=4))
    expected = slow_pgd(weights, bias, images, labels, start, epsilon, step_size, 6, norm)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    if low == 0:
        assert (found == 0).any() and (found == 1).any()  # clipping was active


def cleverhans_pgd(monkeypatch, start, images):
    """cleverhans' own attack as a function, from a given start: its random draw is replaced by the start's."""
    if not JAX:
        from cleverhans.tf2.attacks import projected_gradient_descent as module

        draw = keras.ops.convert_to_tensor(start - images)
        monkeypatch.setattr(module, "random_lp_vector", lambda *_, **__: draw)
        return module.projected_gradient_descent
    # What cleverhans.jax calls and JAX no longer has, so that its own code can run in this test.
    from jax import numpy as jnp

    stax = types.SimpleNamespace(logsoftmax=jax.nn.log_softmax)
    monkeypatch.setitem(sys.modules, "jax.experimental.stax", stax)
    import cleverhans.jax.attacks.projected_gradient_descent  # noqa: F401

    class Numpy:
        random = types.SimpleNamespace(uniform=lambda *_: start - images)

        def __getattr__(self, name):
            return getattr(jnp, name)

        def clip(self, x, a_min, a_max):
            return jnp.clip(x, a_min, a_max)

    for name in ("attacks.projected_gradient_descent", "attacks.fast_gradient_method", "utils"):
        monkeypatch.setattr(sys.modules[f"cleverhans.jax.{name}"], "np", Numpy())
    return sys.modules["cleverhans.jax.attacks.projected_gradient_descent"].projected_gradient_descent


@pytest.mark.parametrize("norm, epsilon, step_size", [("linf", 0.1, 0.02), ("l2", 0.6, 0.1)])
def test_the_attack_equals_that_of_cleverhans(network, case, monkeypatch, norm, epsilon, step_size):
    if JAX and norm == "l2":
        pytest.skip("the l2 step of cleverhans.jax has length 1 whatever eps_iter is")
    images, labels = case.images, predicted(network, case.images)
    found, _ = adversarial.attack(
        network, images, labels, norm=norm, epsilon=epsilon, step_size=step_size, steps=9, restarts=1, batch_size=40
    )
    start = starts.draw(images, np.arange(40), np.zeros(40, int), settings_of(norm, epsilon))
    call = functools.partial(network, training=False)
    theirs = cleverhans_pgd(monkeypatch, start, images)(
        jax.jit(call) if JAX else call,
        keras.ops.convert_to_tensor(images),
        epsilon,
        step_size,
        9,
        np.inf if norm == "linf" else 2,
        clip_min=0.0,
        clip_max=1.0,
        y=np.eye(4, dtype="float32")[labels] if JAX else keras.ops.convert_to_tensor(labels),
        rand_init=1.0,
    )
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(theirs), atol=1e-6)


def run_everything(model, split, settings, steps, batch=20):
    """The first restart that breaks each example, with every image attacked in every restart."""
    clean_errors = predicted(model, split.images) != split.labels
    loop = pgd._compiled(model, settings.norm, SHAPE)
    wrong = []
    for restart in range(settings.restarts):
        start = starts.draw(split.images, np.arange(len(split.labels)), np.full(len(split.labels), restart), settings)
        for at in range(0, len(start), batch):
            rows = slice(at, at + batch)
            numbers = (np.float32(settings.epsilon), np.float32(settings.step), np.int32(steps), np.bool_(False))
            labels = split.labels[rows].astype("int32")
            _, logits, _ = loop(split.images[rows], start[rows], labels, *numbers)
            wrong.append(keras.ops.convert_to_numpy(logits).argmax(axis=1) != labels)
    wrong = np.concatenate(wrong).reshape(settings.restarts, -1)
    first = np.where(wrong.any(axis=0), wrong.argmax(axis=0), settings.restarts)
    return np.where(clean_errors, CLEAN_ERROR, first)


@pytest.mark.parametrize("norm, epsilon, step_size", [("linf", 0.12, 0.01), ("l2", 0.6, 0.05)])
def test_dropping_what_is_decided_changes_nothing(network, case, norm, epsilon, step_size):
    settings = settings_of(norm, epsilon, step_size, restarts=5)
    expected = run_everything(network, case, settings, steps=3)
    counts = np.bincount(expected[expected >= 0], minlength=6)
    assert counts[5] > 4 and counts[0] > 4 and counts[1:5].any()  # robust, broken at once, and broken later
    results = adversarial.evaluate(
        network, case, norm=norm, epsilon=epsilon, step_size=step_size, steps=3, restarts=5, batch_size=10
    )
    assert results["broken_by_restart"] == counts[:5].tolist()
    assert results["robust_accuracy"] == counts[5] / 40
    assert results["clean_accuracy"] == np.mean(expected != CLEAN_ERROR)


def test_neither_batch_size_nor_order_nor_subset_matters(network, case):
    options = {"epsilon": 0.12, "step_size": 0.01, "steps": 3, "restarts": 3}
    _, expected = adversarial.attack(network, case.images, case.labels, **options)
    assert 4 < expected.sum() < 36
    for batch_size in (5, 10):
        _, success = adversarial.attack(network, case.images, case.labels, batch_size=batch_size, **options)
        np.testing.assert_array_equal(success, expected)
    order = np.random.default_rng(0).permutation(40)[:25]
    images, labels = case.images[order], case.labels[order]
    _, success = adversarial.attack(network, images, labels, indices=order, **options)
    np.testing.assert_array_equal(success, expected[order])
    results = adversarial.evaluate(network, split_of(images, labels, order), **options)
    assert results["robust_accuracy"] == np.mean(~expected[order])


@pytest.mark.parametrize("norm, epsilon", [("linf", 0.2), ("l2", 1.0)])
def test_perturbations_stay_in_the_ball_and_in_the_range(network, case, norm, epsilon):
    images = (case.images * 255).round().astype("uint8")
    found, success = adversarial.attack(
        network, images, case.labels, norm=norm, epsilon=epsilon, step_size=0.1, steps=5
    )
    clean = (images / 255).astype("float32")
    change = (found - clean).reshape(40, -1).astype(np.float64)
    length = np.abs(change).max(axis=1) if norm == "linf" else np.linalg.norm(change, axis=1)
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
    assert length.max() <= epsilon + 1e-6 and length.max() > 0.9 * epsilon
    wrong_before = predicted(network, clean) != case.labels
    np.testing.assert_array_equal(length == 0, wrong_before)  # clean errors are left as they are
    np.testing.assert_array_equal(success, predicted(network, found) != case.labels)


def test_robust_accuracy_falls_with_epsilon_and_with_restarts(network, case):
    model, *_ = linear(3)
    images = grey(60)
    rows = adversarial.sweep(
        model, split_of(images, predicted(model, images)), epsilon=[0.005, 0.01, 0.02, 0.04], step_size=0.005
    )
    robust = [row["robust_accuracy"] for row in rows]
    assert robust == sorted(robust, reverse=True) and robust[0] > robust[-1]
    options = {"epsilon": 0.12, "step_size": 0.01, "steps": 3}
    five = adversarial.evaluate(network, case, restarts=5, **options)
    for restarts in (1, 3):
        fewer = adversarial.evaluate(network, case, restarts=restarts, **options)
        assert fewer["broken_by_restart"] == five["broken_by_restart"][:restarts]
        assert fewer["robust_accuracy"] >= five["robust_accuracy"]


def test_any_iterate_is_a_stronger_attack(network, case):
    options = {"epsilon": 0.05, "step_size": 0.05, "steps": 4, "restarts": 1}  # steps that overshoot
    _, final = adversarial.attack(network, case.images, case.labels, **options)
    found, some = adversarial.attack(network, case.images, case.labels, iterate="any", **options)
    assert (some >= final).all()
    np.testing.assert_array_equal(some, predicted(network, found) != case.labels)
    # One step of the same length after another, looked at each time.
    states = [
        adversarial.attack(network, case.images, case.labels, **{**options, "steps": steps})[1]
        for steps in (1, 2, 3, 4)
    ]
    start = starts.draw(case.images, np.arange(40), np.zeros(40, int), settings_of(epsilon=0.05))
    by_start = predicted(network, start) != case.labels
    np.testing.assert_array_equal(some, np.any([by_start, *states], axis=0))


def test_a_sweep_gives_what_single_evaluations_give(network, case):
    options = {"step_size": 0.01, "restarts": 3, "batch_size": 10}
    rows = adversarial.sweep(network, case, epsilon=["8/255", 0.12], steps=[4, 1, 2], **options)
    assert [(row["epsilon"], row["steps"]) for row in rows] == [(e, s) for e in (8 / 255, 0.12) for s in (4, 1, 2)]
    assert len({row["robust_accuracy"] for row in rows}) > 2
    for row in rows:
        assert row == adversarial.evaluate(network, case, epsilon=row["epsilon"], steps=row["steps"], **options)
    (one,) = adversarial.sweep(network, case, epsilon=0.12, steps=4, **options)
    assert one == rows[3]


def test_an_interrupted_sweep_goes_on_where_it_was(network, case, monkeypatch):
    monkeypatch.setattr(pgd, "SAVE_EVERY", 0)
    options = {"epsilon": ["8/255", 0.12], "steps": [2, 4], "step_size": 0.01, "restarts": 3, "batch_size": 10}
    batches, saved, seen = [], {}, []
    whole = adversarial.sweep(network, case, progress=lambda *now: batches.append(now), **options)

    def stop(decided, total):
        seen.append(decided)
        if len(seen) == len(batches) // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adversarial.sweep(network, case, progress=stop, done=saved, **options)
    saved, after = json.loads(json.dumps(saved)), []
    assert adversarial.sweep(network, case, progress=lambda *now: after.append(now), done=saved, **options) == whole
    assert after == batches[len(batches) // 2 :]
    again = []
    assert adversarial.sweep(network, case, progress=lambda *now: again.append(now), done=saved, **options) == whole
    assert again == []  # all was there


def test_results_are_json_and_say_how_they_were_made(network, case):
    seen = []
    options = {"epsilon": "3/255", "restarts": 2, "steps": 2, "seed": 9, "batch_size": 10, "limit": 20}
    results = adversarial.evaluate(network, case, progress=lambda *now: seen.append(now), **options)
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    asked = {"n": 20, "norm": "linf", "epsilon": 3 / 255, "step_size": 0.003, "steps": 2, "restarts": 2, "seed": 9}
    asked |= {"batch_size": 10, "limit": 20, "iterate": "final", "cleverhans_version": "4.0.0", "notes": []}
    assert results.items() >= asked.items()
    assert results["backend"] == keras.backend.backend()
    robust = round(20 * results["robust_accuracy"])
    assert results["robust_interval"] == list(intervals.wilson_interval(robust, 20))
    assert robust + sum(results["broken_by_restart"]) == round(20 * results["clean_accuracy"])
    assert seen[-1] == (20, 20) and [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert adversarial.evaluate(network, case, **options) == results


def test_a_step_above_epsilon_is_shortened_and_noted(network, case):
    (small,) = adversarial.sweep(network, case, epsilon=[0.001], steps=2)
    assert small["step_size"] == 0.001
    assert small["notes"] == ["step_size 0.003 is above epsilon; steps of 0.001 were taken"]


def test_nothing_is_compiled_twice():
    class Traced(layers.Layer):
        calls = 0

        def call(self, x):
            Traced.calls += 1
            return x

    model = keras.Sequential([keras.Input(SHAPE), Traced(), layers.Flatten(), layers.Dense(3)])
    images = grey(6)
    split = split_of(images, predicted(model, images))
    adversarial.evaluate(model, split, batch_size=1, steps=2)
    first = Traced.calls
    adversarial.sweep(model, split, batch_size=1, steps=[1, 3], epsilon=[0.01, 0.2], step_size=0.1, iterate="any")
    assert Traced.calls == first


def test_new_weights_are_seen_and_a_forgotten_model_is_freed():
    model, *_ = linear(2)
    images = grey(20)
    labels = predicted(model, images)
    assert adversarial.evaluate(model, split_of(images, labels), steps=1, restarts=1)["clean_accuracy"] == 1
    model.set_weights([-weights for weights in model.get_weights()])
    assert adversarial.evaluate(model, split_of(images, labels), steps=1, restarts=1)["clean_accuracy"] == 0
    model.set_weights([-10 * weights for weights in model.get_weights()])  # ten times as large, the same decisions
    flat = adversarial.attack(model, images, labels, epsilon=1e-3, step_size=1e-3, steps=1, restarts=1)[0]
    assert flat.shape == images.shape
    forgotten = weakref.ref(model)
    del model
    gc.collect()
    assert forgotten() is None


@pytest.mark.skipif(not JAX, reason="of the JAX loop")
def test_one_program_of_all_steps_equals_one_for_each(network, case, monkeypatch):
    from tfnoisekd.evaluation.attacks import loop_jax

    for iterate in ("final", "any"):
        options = {"epsilon": 0.05, "step_size": 0.01, "steps": 4, "restarts": 2, "iterate": iterate}
        expected = adversarial.attack(network, case.images, case.labels, **options)
        with monkeypatch.context() as patch:
            patch.setattr(loop_jax, "in_one_program", lambda: True)
            found = adversarial.attack(network, case.images, case.labels, **options)
        np.testing.assert_allclose(found[0], expected[0], atol=1e-6)
        np.testing.assert_array_equal(found[1], expected[1])


def test_starts_depend_on_seed_example_and_restart_alone():
    images = grey(6)
    numbers, restarts = np.array([0, 1, 2, 0, 1, 2]), np.array([0, 0, 0, 1, 1, 1])
    images = images[numbers]
    for norm in ("linf", "l2"):
        settings = settings_of(norm, epsilon=0.2)
        drawn = starts.draw(images, numbers, restarts, settings)
        assert len({start.tobytes() for start in drawn - images}) == 6
        some = np.array([4, 2])
        np.testing.assert_array_equal(drawn[some], starts.draw(images[some], numbers[some], restarts[some], settings))
        other = starts.draw(images, numbers, restarts, settings_of(norm, epsilon=0.2, seed=1))
        assert not (other == drawn).all(axis=(1, 2, 3)).any()
        half = starts.draw(images, numbers, restarts, settings_of(norm, epsilon=0.1))
        np.testing.assert_allclose(2 * (half - images), drawn - images, atol=1e-6)
    # The first values of a stream, once and for all.
    first = starts.draw(np.full((1, *SHAPE), 0.5, "float32"), np.array([7]), np.array([2]), settings_of(seed=3))
    np.testing.assert_allclose(first.ravel()[:3], [0.5155913, 0.5297800, 0.4718775], atol=1e-7)


def test_starts_fill_the_ball_evenly():
    n = 2000
    images = np.full((n, 2, 1, 1), 0.5, "float32")
    numbers, first = np.arange(n), np.zeros(n, int)
    for norm in ("linf", "l2"):
        change = (starts.draw(images, numbers, first, settings_of(norm, epsilon=0.2)) - images).reshape(n, 2) / 0.2
        radius = np.abs(change).max(axis=1) if norm == "linf" else np.linalg.norm(change, axis=1)
        assert radius.max() <= 1 + 1e-6
        # In two dimensions, both balls hold r^2 of their area within the radius r.
        for r in (0.3, 0.5, 0.8):
            assert np.mean(radius < r) == pytest.approx(r**2, abs=0.035)
        np.testing.assert_allclose(change.mean(axis=0), 0, atol=0.04)


def test_a_limit_takes_the_same_share_of_each_class():
    labels = np.repeat([0, 1, 2, 5], [400, 200, 100, 30])
    for limit in (1, 10, 73, 365, 730):
        places = examples.stratified(labels, limit, seed=1)
        assert len(places) == limit == len(set(places.tolist())) and (np.diff(places) > 0).all()
        shares = np.bincount(labels)[[0, 1, 2, 5]] * limit / 730
        assert np.abs(np.bincount(labels[places], minlength=6)[[0, 1, 2, 5]] - shares).max() < 1
    assert set(examples.stratified(labels, 73, 1)) < set(examples.stratified(labels, 100, 1))
    assert set(examples.stratified(labels, 73, 1)) != set(examples.stratified(labels, 73, 2))
    balanced = np.tile(np.arange(10), 50)
    assert np.bincount(balanced[examples.stratified(balanced, 120, 0)]).tolist() == [12] * 10
    counts = np.bincount(balanced[examples.stratified(balanced, 125, 0)])
    assert counts.sum() == 125 and set(counts.tolist()) == {12, 13}


def test_a_subset_is_attacked_as_it_is_in_the_whole(network, case):
    options = {"epsilon": 0.12, "step_size": 0.01, "steps": 3, "restarts": 3, "seed": 2}
    _, success = adversarial.attack(network, case.images, case.labels, **options)
    results = adversarial.evaluate(network, case, limit=20, **options)
    places = examples.stratified(case.labels, 20, seed=2)
    assert results["robust_accuracy"] == np.mean(~success[places])
    assert results["indices_sha256"] == examples.choose(case.images[places], case.labels[places], places).digest
    assert results["indices_sha256"] != adversarial.evaluate(network, case, **options)["indices_sha256"]


def test_the_schedule_fills_batches_and_leaves_out_what_is_decided():
    right = np.ones(40, bool)
    right[:5] = False
    schedule = Schedule(right, restarts=3, levels=1, batch_size=32)
    pairs = []
    while (batch := schedule.take()) is not None:
        taken, restarts, rows = batch
        assert len(rows) in (2, 4, 8, 16, 32) and len(taken) <= len(rows)
        np.testing.assert_array_equal(rows[: len(taken)], taken)
        pairs += zip(taken.tolist(), restarts.tolist(), strict=True)
        schedule.record(0, taken, restarts, (taken >= 10) & (restarts == (taken >= 20)))
    assert len(pairs) == len(set(pairs))
    wanted = {(example, restart) for example in range(5, 10) for restart in range(3)}
    assert wanted <= set(pairs)
    assert not [example for example, _ in pairs if example < 5]
    assert len(pairs) <= 15 + 10 + 2 * 20 + 12  # no more than the batches' empty places beyond what must be run
    assert schedule.broken_by[0].tolist() == [CLEAN_ERROR] * 5 + [3] * 5 + [0] * 10 + [1] * 20
    assert schedule.decided() == 40


class Rounded(layers.Layer):
    def call(self, x):
        return keras.ops.round(x * 4)


class Stopped(layers.Layer):
    def call(self, x):
        return keras.ops.stop_gradient(x)


class Root(layers.Layer):
    def call(self, x):
        return keras.ops.sqrt(x * 0.0)  # the slope of the root at 0, times 0


def topped(*inner):
    initializer = keras.initializers.RandomNormal(seed=0)
    dense = layers.Dense(3, kernel_initializer=initializer, bias_initializer=initializer)
    return keras.Sequential([keras.Input(SHAPE), *inner, layers.Flatten(), dense])


@pytest.mark.parametrize("layer", [Rounded, Stopped])
def test_a_model_without_gradients_is_refused(layer):
    model, images = topped(layer()), grey(10)
    with pytest.raises(
        ValueError, match=r"must have gradients.*gradient masking.*0 or None for all 10 .*--attack square"
    ):
        adversarial.evaluate(model, split_of(images, predicted(model, images)), steps=2)


def test_gradients_that_are_not_numbers_are_refused():
    model, images = topped(Root()), grey(10)
    with pytest.raises(ValueError, match=r"`model` must have finite gradients.*NaN or infinity.*10 of 10 images"):
        adversarial.evaluate(model, split_of(images, predicted(model, images)), steps=2)


def test_examples_without_a_gradient_are_counted():
    model, weights, bias = linear(2, scale=150)
    images = grey(100)
    labels = predicted(model, images)
    logits = images.reshape(100, -1) @ weights + bias
    margin = np.abs(logits[:, 0] - logits[:, 1])
    results = adversarial.evaluate(model, split_of(images, labels), epsilon=1e-4, step_size=1e-4, steps=2, restarts=1)
    # exp(-104) is 0 in float32, exp(-85) is a normal number.
    assert np.count_nonzero(margin > 115) <= results["without_gradient"] <= np.count_nonzero(margin > 80)
    assert 0 < results["without_gradient"] < 100


@pytest.mark.parametrize(
    "options, message",
    [
        ({"norm": "l1"}, r"`norm` must be one of 'linf', 'l2'. Received: norm='l1'"),
        ({"iterate": "best"}, r"`iterate` must be one of 'final', 'any'. Received: iterate='best'"),
        ({"epsilon": 0}, r"`epsilon` must be above 0.*Received: epsilon=0.0; .*`clean_accuracy`"),
        ({"epsilon": math.nan}, r"`epsilon` must be above 0 and finite. Received: epsilon=nan"),
        ({"epsilon": 8}, r"`epsilon` must be at most 1, .*in linf. Received: epsilon=8.0; .*\"8/255\""),
        ({"epsilon": 128, "norm": "l2"}, r"`epsilon` must be at most 5.65685, .*in l2. Received: epsilon=128.0"),
        ({"epsilon": "8:255"}, r"`epsilon` must be a number, or a text such as \"8/255\". Received: epsilon='8:255'"),
        ({"epsilon": [0.1]}, r"`epsilon` must be a number.*Received: epsilon=\[0.1\]"),
        ({"step_size": -0.1}, r"`step_size` must be above 0 and finite. Received: step_size=-0.1"),
        ({"step_size": None}, r"`step_size` must be a number.*Received: step_size=None"),
        ({"steps": 0}, r"`steps` must be an integer of at least 1. Received: steps=0"),
        ({"restarts": 2.5}, r"`restarts` must be an integer of at least 1. Received: restarts=2.5"),
        ({"batch_size": True}, r"`batch_size` must be an integer of at least 1. Received: batch_size=True"),
        ({"limit": 0}, r"`limit` must be an integer of at least 1. Received: limit=0"),
        ({"limit": 41}, r"`limit` must be at most 40, the number of examples. Received: limit=41; None takes all"),
        ({"seed": -1}, r"`seed` must be an integer from 0 to 2\*\*32 - 1. Received: seed=-1"),
    ],
)
def test_impossible_settings(network, case, options, message):
    with pytest.raises(ValueError, match=message):
        adversarial.evaluate(network, case, **options)


def test_examples_that_do_not_fit(network, case):
    images, labels = case.images, case.labels
    cases = [
        (split_of(images[:0], []), r"at least one image.*0 images, 0 labels and 0 indices"),
        (split_of(images, labels[:-1]), r"40 images, 39 labels and 40 indices"),
        (split_of(images, labels, np.arange(39)), r"40 images, 40 labels and 39 indices"),
        (split_of(images, labels, np.arange(40) - 3), r"`indices` must be integers of at least 0.*first is -3"),
        (split_of(images * 255, labels), r"must lie in \[0, 1\].*divide by 255, or pass uint8"),
        (split_of(images, labels + 3), r"`labels` must lie in 0..3"),
        (split_of(images, labels / 1), r"`labels` must be integers.*float64"),
        (split_of(images[:, :3], labels), r"\(n, 4, 4, 2\). Received: shape \(40, 3, 4, 2\)"),
    ]
    for split, message in cases:
        with pytest.raises(ValueError, match=message):
            adversarial.evaluate(network, split)
    with pytest.raises(ValueError, match=r"`epsilon` must be one value or several. Received: epsilon=\[\]"):
        adversarial.sweep(network, case, epsilon=[])


def test_models_that_cannot_be_attacked(network, case):
    softmax = keras.Sequential([network, layers.Softmax()])
    with pytest.raises(ValueError, match=r"`model` must give logits. Received: .*probabilities.*Take the softmax off"):
        adversarial.evaluate(softmax, case)
    single = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(1)])
    with pytest.raises(ValueError, match=r"at least 2 classes. Received: 1 output; for two classes"):
        adversarial.evaluate(single, split_of(case.images, [0] * 40))
    diverged = topped()
    diverged.set_weights([weights * np.nan for weights in diverged.get_weights()])
    with pytest.raises(ValueError, match=r"must be finite.*40 of 40 rows"):
        adversarial.evaluate(diverged, case)


def test_a_subclassed_model_is_attacked_too(case):
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.flatten, self.dense = layers.Flatten(), layers.Dense(3)

        def call(self, x):
            return self.dense(self.flatten(x))

    model = Subclassed()
    labels = predicted(model, case.images)
    functional, *_ = linear(3)
    functional.set_weights(model.get_weights())
    options = {"epsilon": 0.05, "step_size": 0.02, "steps": 2, "restarts": 1}
    found, _ = adversarial.attack(model, case.images, labels, **options)
    expected, _ = adversarial.attack(functional, case.images, labels, **options)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_backend_without_a_loop_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ValueError, match=r"needs the backend tensorflow or jax. Received: KERAS_BACKEND=torch"):
        pgd.backend_loop()


def test_a_model_that_is_never_right_needs_no_attack(network, case):
    wrong = split_of(case.images, (predicted(network, case.images) + 1) % 4)
    results = adversarial.evaluate(network, wrong)
    assert (results["clean_accuracy"], results["robust_accuracy"], results["broken_by_restart"]) == (0, 0, [0] * 5)


def test_lengths_are_numbers_or_fractions():
    assert parse_length("8/255") == 8 / 255 and parse_length(" 0.031 ") == 0.031 and parse_length(np.float64(1)) == 1.0
    for wrong in ("8/0", "", "a/b", True, None):
        with pytest.raises(ValueError, match="`epsilon` must be a number"):
            parse_length(wrong)
