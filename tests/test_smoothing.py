"""Randomized smoothing, on linear models: there the smoothed classifier and its radii are known in closed form."""

import gc
import json
import math
import weakref
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from scipy import stats

from tfnoisekd.evaluation import noisy_votes, smoothing
from tfnoisekd.evaluation.intervals import wilson_interval

SHAPE, SIGMA = (3, 3, 1), 0.25
shapes = []  # of the images of every trace of a model of `linear`


@keras.saving.register_keras_serializable(package="tests")
class Trace(keras.layers.Layer):
    """Notes the shape of its input whenever Python runs it: once for every compilation."""

    def call(self, x):
        shapes.append(tuple(x.shape))
        return x


def linear(kernel, bias, shape=SHAPE, **options):
    inputs = keras.Input(shape)
    outputs = keras.layers.Dense(len(bias), **options)(keras.layers.Flatten()(Trace()(inputs)))
    model = keras.Model(inputs, outputs, name="linear")
    model.set_weights([np.asarray(kernel, "float32").reshape(-1, len(bias)), np.asarray(bias, "float32")])
    return model


def binary(weights, offset, **options):
    """Class 1 where weights . x + offset > 0."""
    return linear(np.stack([-weights / 2, weights / 2], axis=1), [-offset / 2, offset / 2], **options)


WEIGHTS = np.random.default_rng(1).normal(size=9)
OFFSET = -WEIGHTS.sum() / 2


@pytest.fixture(scope="module")
def model():
    return binary(WEIGHTS, OFFSET)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(2).uniform(size=(24, *SHAPE)).astype("float32")


def distances(images):
    """How far each image lies on the side of class 1."""
    return (images.reshape(len(images), -1).astype("float64") @ WEIGHTS + OFFSET) / np.linalg.norm(WEIGHTS)


def slow_bound(k, n, alpha):
    """The p at which k or more of n have the probability alpha, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        tail = sum(math.comb(n, j) * middle**j * (1 - middle) ** (n - j) for j in range(k, n + 1))
        low, high = (middle, high) if tail < alpha else (low, middle)
    return low


@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.5])
def test_the_lower_bound_is_that_of_clopper_and_pearson(alpha):
    expected = [slow_bound(k, 30, alpha) if k else 0.0 for k in range(31)]
    np.testing.assert_allclose(smoothing.lower_bound(np.arange(31), 30, alpha), expected, atol=1e-12)
    for k, n in ((1, 1), (51, 100), (9_990, 10_000), (99_000, 100_000), (100_000, 100_000)):
        exact = stats.binomtest(k, n, alternative="greater").proportion_ci(1 - alpha, method="exact").low
        assert smoothing.lower_bound(k, n, alpha) == pytest.approx(exact, rel=1e-10)


@pytest.mark.parametrize("n", [1000, 10_000])
def test_radii_of_a_linear_classifier_are_bounded_by_its_margin_and_approach_it(model, images, n):
    exact, alpha = np.abs(distances(images)), 1e-5
    classes, radii, bounds, votes = smoothing.certify(model, images, sigma=SIGMA, n=n, n0=1000, alpha=alpha)
    share = stats.norm.cdf(exact / SIGMA)  # of the copies that stay on the side of their image
    # What the binomial counts can be, but for one in 10^7 of cases, gives what the radii can be.
    lowest, highest = (stats.binom.ppf(q, n, share).astype(int) for q in (1e-7, 1 - 1e-7))
    low, high = (SIGMA * stats.norm.ppf(smoothing.lower_bound(k, n, alpha)) for k in (lowest, highest))
    assert (radii >= np.maximum(low, 0)).all() and (radii <= np.maximum(high, 0)).all()
    assert (radii <= exact).all()
    sure = classes != smoothing.ABSTAIN
    assert sure.sum() >= 12 and (classes[sure] == (distances(images) > 0)[sure]).all()
    np.testing.assert_allclose(radii, SIGMA * stats.norm.ppf(np.maximum(bounds, 0.5)), atol=1e-12)
    assert (votes.sum(axis=1) == n).all()
    near = (exact > 0.2 * SIGMA) & (exact < 2 * SIGMA)
    assert near.sum() >= 12 and (exact - radii)[near].max() < {1000: 0.6, 10_000: 0.2}[n] * SIGMA


def test_certificates_are_false_as_often_as_alpha_allows(model):
    alpha, n, image = 0.2, 200, np.full((1, *SHAPE), 0.5, "float32")
    image += (0.2 * WEIGHTS / np.linalg.norm(WEIGHTS)).reshape(image.shape).astype("float32")
    exact = distances(image)[0]
    many = np.repeat(image, 250, axis=0)
    radii = smoothing.certify(model, many, sigma=SIGMA, n=n, alpha=alpha).radii
    counts = np.arange(n + 1)
    share = stats.norm.cdf(exact / SIGMA)
    false = stats.binom.pmf(counts, n, share)[smoothing.lower_bound(counts, n, alpha) > share].sum()
    assert 0.15 < false <= alpha
    assert abs(np.mean(radii > exact) - false) < 4 * math.sqrt(false * (1 - false) / len(many))


def test_on_the_boundary_it_abstains(model):
    images = np.full((50, *SHAPE), 0.5, "float32")
    assert np.abs(distances(images)).max() < 1e-6
    settings = {"sigma": SIGMA, "n": 500, "alpha": 1e-6}
    classes, radii, bounds, _ = smoothing.certify(model, images, **settings)
    assert (classes == smoothing.ABSTAIN).all() and (radii == 0).all() and (bounds < 0.5).all()
    assert (smoothing.predict(model, images, **settings) == smoothing.ABSTAIN).all()


def test_few_votes_do_not_decide_even_if_all_agree(images):
    sure = binary(WEIGHTS, 1000.0)
    for n, classes in ((9, -1), (10, 1)):  # 0.001^(1/9) = 0.46, 0.001^(1/10) = 0.501
        certificates = smoothing.certify(sure, images[:1], sigma=SIGMA, n=n, batch_size=20)
        assert certificates.classes.tolist() == [classes]
        assert certificates.lower_bounds[0] == pytest.approx(0.001 ** (1 / n))
    assert certificates.radii[0] == pytest.approx(SIGMA * stats.norm.ppf(0.001**0.1))
    for n, classes in ((10, -1), (11, 1)):  # two tails: 2 / 2^10 = 0.00195, 2 / 2^11 = 0.00098
        assert smoothing.predict(sure, images[:1], sigma=SIGMA, n=n, batch_size=20).tolist() == [classes]


@pytest.mark.parametrize("alpha", [0.001, 0.3])
def test_predictions_are_those_of_the_binomial_test(images, alpha):
    kernel = np.random.default_rng(3).normal(size=(9, 4))
    model = linear(kernel, -kernel.sum(axis=0) / 2)
    settings = {"sigma": 0.5, "n": 60, "alpha": alpha, "batch_size": 40}
    votes = smoothing.certify(model, images, **settings).votes
    expected = []
    for row in votes:
        first, second = sorted(row.tolist(), reverse=True)[:2]
        decided = stats.binomtest(first, first + second, 0.5).pvalue <= alpha
        expected.append(row.tolist().index(first) if decided else -1)
    assert smoothing.predict(model, images, **settings).tolist() == expected
    assert -1 in expected and len(set(expected)) > 2


def test_noise_is_normal_and_not_clipped():
    # The class of a pixel is the interval between -0.5, 0.5 and 1.5 that it lies in: the highest of four lines.
    thresholds = np.array([-0.5, 0.5, 1.5])
    model = linear([np.arange(4.0)], -np.concatenate([[0], np.cumsum(thresholds)]), shape=(1, 1, 1))
    votes = smoothing.certify(model, np.full((20, 1, 1, 1), 0.3, "float32"), sigma=1.0, n=2000).votes.sum(axis=0)
    shares = np.diff(np.concatenate([[0], stats.norm.cdf(thresholds, loc=0.3), [1]]))
    assert stats.chisquare(votes, 40_000 * shares).pvalue > 0.01


def test_the_class_is_guessed_from_other_noise_than_its_share_is_measured_with(model, images):
    votes = noisy_votes.count(model, images, None, (1000, 1000), sigma=SIGMA, seed=0, batch_size=500)
    share = stats.norm.cdf(distances(images) / SIGMA)
    deviations = (votes[:, :, 1] - 1000 * share) / np.sqrt(1000 * share * (1 - share))
    varied = (share > 0.05) & (share < 0.95)
    assert varied.sum() >= 15
    assert (votes[0] != votes[1])[varied].any(axis=1).mean() > 0.8
    assert abs(np.corrcoef(deviations[:, varied])[0, 1]) < 0.5
    few, many = (smoothing.certify(model, images, sigma=SIGMA, n=100, n0=n0) for n0 in (7, 900))
    np.testing.assert_array_equal(few.votes, many.votes)


def test_batch_size_order_and_company_change_nothing(model, images):
    expected = smoothing.certify(model, images, sigma=SIGMA, n=130, n0=30, batch_size=79)
    for batch_size in (20, 4000):
        other = smoothing.certify(model, images, sigma=SIGMA, n=130, n0=30, batch_size=batch_size)
        np.testing.assert_array_equal(other.votes, expected.votes)
    places = np.random.default_rng(0).permutation(len(images))[:9]
    other = smoothing.certify(model, images[places], sigma=SIGMA, n=130, n0=30, indices=places, batch_size=79)
    for ours, theirs in zip(other, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs[places])
    # As other images they get other noise, and so with another seed.
    for options in ({"indices": np.arange(24) + 100}, {"seed": 1}):
        votes = smoothing.certify(model, images, sigma=SIGMA, n=130, n0=30, batch_size=79, **options).votes
        assert (votes != expected.votes).any(axis=1).mean() > 0.5


def test_draws_of_one_image_are_all_different(images):
    model = linear(np.random.default_rng(4).normal(size=(9, 50)), np.zeros(50))
    settings = {"sigma": 5.0, "n0": 1, "batch_size": 20}
    sums = [smoothing.certify(model, images[:1], n=20 * k, **settings).votes[0] for k in range(1, 6)]
    blocks = np.diff([np.zeros(50, int), *sums], axis=0)  # the votes of each block of 20 draws
    assert (blocks >= 0).all() and len(np.unique(blocks, axis=0)) == 5
    assert (blocks.max(axis=1) < 10).all()  # and within a block


def test_bytes_are_scaled(model):
    pixels = np.random.default_rng(5).integers(0, 256, (3, *SHAPE), dtype=np.uint8)
    ours = smoothing.certify(model, pixels, sigma=SIGMA, n=100)
    theirs = smoothing.certify(model, pixels.astype("float32") / np.float32(255), sigma=SIGMA, n=100)
    np.testing.assert_array_equal(ours.votes, theirs.votes)


def test_one_compilation_serves_all_settings_and_new_weights(images):
    model = binary(WEIGHTS, OFFSET)
    shapes.clear()
    first = smoothing.certify(model, images[:5], sigma=SIGMA, n=100, batch_size=40)
    smoothing.certify(model, images, sigma=0.5, n=333, n0=5, alpha=0.1, seed=3, batch_size=40)
    smoothing.predict(model, images[:1], sigma=SIGMA, n=200, batch_size=40)
    model.set_weights([-weight for weight in model.get_weights()])
    flipped = smoothing.certify(model, images[:5], sigma=SIGMA, n=100, batch_size=40)
    np.testing.assert_array_equal(flipped.votes, first.votes[:, ::-1])
    assert [shape[0] for shape in shapes if shape[0] != noisy_votes.BLOCK] == [40]  # a block checks the model's output


def test_a_model_is_not_kept_alive(images):
    model = binary(WEIGHTS, OFFSET)
    smoothing.predict(model, images[:1], sigma=SIGMA, n=20)
    reference = weakref.ref(model)
    keras.backend.clear_session(free_memory=False)
    del model
    gc.collect()
    assert reference() is None


def test_probabilities_and_half_precision_vote_as_logits_do(model, images):
    expected = smoothing.certify(model, images, sigma=SIGMA, n=100).votes
    softmax = binary(WEIGHTS, OFFSET, activation="softmax")
    np.testing.assert_array_equal(smoothing.certify(softmax, images, sigma=SIGMA, n=100).votes, expected)
    half = binary(WEIGHTS, OFFSET, dtype="mixed_float16")
    assert np.abs(smoothing.certify(half, images, sigma=SIGMA, n=100).votes - expected).max() <= 2


def test_a_network_runs_in_inference_mode():
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Conv2D(8, 3), keras.layers.BatchNormalization(), keras.layers.Dropout(0.9)]
    head = [keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(3)]
    network = keras.Sequential([keras.Input((6, 6, 1)), *layers, *head])
    layers[1].set_weights([np.ones(8), np.zeros(8), np.linspace(-1, 1, 8), np.ones(8)])  # moving mean and variance
    images = np.random.default_rng(6).uniform(size=(2, 6, 6, 1)).astype("float32")
    noise = np.random.default_rng(7).normal(0, 0.5, (2, 1000, 6, 6, 1)).astype("float32")
    head[1].bias.assign(-network.predict_on_batch(images[0] + noise[0]).mean(axis=0))  # so that all classes occur
    before = network.get_weights()
    votes = smoothing.certify(network, images, sigma=0.5, n=1000, batch_size=100).votes
    for image, drawn, counted in zip(images, noise, votes, strict=True):
        expected = np.bincount(network.predict_on_batch(image + drawn).argmax(axis=1), minlength=3)
        assert (expected > 20).all() and stats.chi2_contingency([expected, counted]).pvalue > 1e-4
    again = smoothing.certify(network, images, sigma=0.5, n=1000, batch_size=100).votes
    np.testing.assert_array_equal(again, votes)
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def split_of(images, labels, **options):
    return SimpleNamespace(images=images, labels=np.asarray(labels), **options)


def test_evaluate_is_made_of_certificates_and_predictions_and_is_json(model, images):
    labels = (distances(images) > 0.02).astype(int)
    settings = {"sigma": SIGMA, "n0": 50, "n": 300, "alpha": 0.01, "batch_size": 100, "seed": 5}
    done = []
    results = smoothing.evaluate(
        model,
        split_of(images, labels),
        radii=(0, 0.1, 0.3, 9),
        progress=lambda *counts: done.append(counts),
        **settings,
    )
    classes, radii, _, _ = smoothing.certify(model, images, **settings)
    for row, radius in zip(results["certified_accuracy"], (0, 0.1, 0.3, 9), strict=True):
        count = sum(c == label and r >= radius for c, label, r in zip(classes, labels, radii, strict=True))
        expected = {"radius": radius, "accuracy": count / 24, "interval": list(wilson_interval(count, 24))}
        assert row == expected
    largest = radii[classes == labels].max()
    reached = smoothing.evaluate(model, split_of(images, labels), radii=[largest], **settings)["certified_accuracy"]
    assert reached[0]["accuracy"] == np.mean((classes == labels) & (radii == largest)) > 0
    accuracies = [row["accuracy"] for row in results["certified_accuracy"]]
    assert accuracies[0] > accuracies[1] > accuracies[2] >= accuracies[3] == 0
    assert results["abstention_rate"] == np.mean(classes == -1) > 0
    assert results["average_certified_radius"] == pytest.approx(np.where(classes == labels, radii, 0).mean())
    del settings["n0"]
    predicted = smoothing.predict(model, images, **settings)
    right = int((predicted == labels).sum())
    assert results["smoothed_accuracy"] == right / 24
    assert results["smoothed_accuracy_interval"] == list(wilson_interval(right, 24))
    assert results["smoothed_abstention_rate"] == np.mean(predicted == -1)
    assert results["largest_radius"] == pytest.approx(SIGMA * stats.norm.ppf(0.01 ** (1 / 300)))
    assert {name: results[name] for name in settings} == settings and results["n0"] == 50
    assert (results["n_images"], results["limit"], results["backend"]) == (24, None, keras.backend.backend())
    assert done == [(i, 24) for i in range(1, 25)]
    assert json.loads(json.dumps(results, allow_nan=False)) == results


def test_an_interrupted_evaluation_goes_on_where_it_was(model, images, monkeypatch):
    monkeypatch.setattr(noisy_votes, "PART", 5)
    split, settings = split_of(images, np.repeat([0, 1], 12)), {"sigma": SIGMA, "n0": 20, "n": 60, "alpha": 0.01}
    saved = {}

    def stop(number, total):
        if number == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        smoothing.evaluate(model, split, progress=stop, done=saved, **settings)
    assert list(saved) == ["votes_0", "votes_5"]
    saved, seen = json.loads(json.dumps(saved)), []
    results = smoothing.evaluate(model, split, progress=lambda *now: seen.append(now[0]), done=saved, **settings)
    assert seen == [5, 10, *range(11, 25)]
    assert results == smoothing.evaluate(model, split, **settings)


def test_evaluate_takes_a_subset_of_each_class_whose_noise_is_that_of_the_whole(model, images):
    labels = np.repeat([0, 1], 12)
    numbers = np.arange(24)[::-1] + 50
    certified = []

    def certify(model, chosen, **settings):
        certified.append((chosen, settings["indices"]))
        return certify_them(model, chosen, **settings)

    certify_them = smoothing.certify
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smoothing, "certify", certify)
        results = smoothing.evaluate(
            model, split_of(images, labels, indices=numbers), sigma=SIGMA, n=np.int64(40), limit=6, seed=2
        )
    places = [numbers.tolist().index(number) for number in certified[0][1]]
    np.testing.assert_array_equal(certified[0][0], images[places])
    assert labels[places].tolist() == [0, 0, 0, 1, 1, 1]
    assert (results["n_images"], results["limit"]) == (6, 6)
    assert json.loads(json.dumps(results)) == results


def test_settings_that_are_none(model, images):
    cases = [
        ({"sigma": 0}, r"`sigma` must be a number above 0 and below inf. Received: sigma=0; take the stddev"),
        ({"sigma": -0.5}, r"`sigma`.*sigma=-0.5"),
        ({"sigma": math.nan}, r"`sigma`.*sigma=nan"),
        ({"sigma": "0.5"}, r"`sigma`.*sigma='0.5'"),
        ({"alpha": 0}, r"`alpha` must be a number above 0 and below 1. Received: alpha=0"),
        ({"alpha": 1}, r"`alpha`.*alpha=1"),
        ({"n": 0}, r"`n` must be an integer of at least 1. Received: n=0"),
        ({"n": 1e4}, r"`n` must be an integer.*10000.0"),
        ({"n": 2**24 + 1}, r"`n` must be at most 16777216.*Received: n=16777217"),
        ({"batch_size": 19}, r"`batch_size` must be an integer of at least 20, since noise.*batch_size=19"),
        ({"seed": -1}, r"`seed` must be an integer from 0"),
        ({"indices": [0, 1]}, r"`indices` must be integers from 0 to 2\*\*32 - 1 of shape \(24,\).*shape \(2,\)"),
        ({"indices": np.arange(24) - 1}, r"`indices`.*starting with \[-1, 0, 1\]"),
    ]
    for bad, message in cases:
        for function in (smoothing.certify, smoothing.predict):
            with pytest.raises(ValueError, match=message):
                function(model, images, **{"sigma": SIGMA, **bad})
    with pytest.raises(ValueError, match=r"`n0` must be an integer of at least 1. Received: n0=0"):
        smoothing.certify(model, images, sigma=SIGMA, n0=0)


def test_images_labels_and_models_that_do_not_fit(model, images):
    good = split_of(images, [0] * 24)
    cases = [
        (split_of(images, [0] * 23), {}, r"24 images, 23 labels"),
        (split_of(images, [2] * 24), {}, r"`labels` must lie in 0..1.*24 of 24 outside"),
        (split_of(images[:, :2], [0] * 24), {}, r"\(n, 3, 3, 1\). Received: shape \(24, 2, 3, 1\)"),
        (split_of(images * 255, [0] * 24), {}, r"must lie in \[0, 1\].*divide by 255"),
        (good, {"radii": ()}, r"`radii` must be numbers of at least 0"),
        (good, {"radii": (-0.1,)}, r"`radii`.*-0.1"),
        (good, {"radii": (math.inf,)}, r"`radii`.*inf"),
        (good, {"limit": 25}, r"`limit` must be at most 24"),
    ]
    for split, options, message in cases:
        with pytest.raises(ValueError, match=message):
            smoothing.evaluate(model, split, sigma=SIGMA, **options)
    single = linear(WEIGHTS[:, None], [0.0])
    with pytest.raises(ValueError, match=r"`model` must give one output.*at least 2 classes.*shape=\(20, 1\)"):
        smoothing.predict(single, images, sigma=SIGMA)
    two = keras.Model(model.input, [model.output, model.output])
    with pytest.raises(ValueError, match=r"`model` must give one output"):
        smoothing.predict(two, images, sigma=SIGMA)
    with pytest.raises(ValueError, match=r"`model` must give one output"):
        smoothing.predict(keras.Model(model.input, model.layers[1].output), images, sigma=SIGMA)


def test_logits_that_are_not_finite_are_refused(images):
    damaged = binary(WEIGHTS * np.nan, OFFSET)
    with pytest.raises(ValueError, match=r"finite logits under noise.*from linear for 30 of 30 noisy copies"):
        smoothing.predict(damaged, images, sigma=SIGMA, n=30)
    rare = binary(WEIGHTS * 1e38, 0.0)  # overflows where the noise is large
    with pytest.raises(ValueError, match=r"NaN or infinity from linear for \d+ of 400 noisy copies"):
        smoothing.certify(rare, images, sigma=1.0, n=300)


def test_a_subclassed_model_is_run_too(model, images):
    class Own(keras.Model):
        def call(self, x):
            return model(x)

    expected = smoothing.predict(model, images, sigma=SIGMA, n=100)
    assert smoothing.predict(Own(), images, sigma=SIGMA, n=100).tolist() == expected.tolist()


def test_other_backends_are_refused(model, images, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ValueError, match=r"Smoothing needs KERAS_BACKEND=tensorflow or jax. Received: torch"):
        smoothing.predict(model, images, sigma=SIGMA)
