"""Accuracy and calibration against slow references, hand-computed cases, and both backends."""

import json
import math
import os
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tfnoisekd.evaluation import accuracy, calibration, intervals, prediction
from tfnoisekd.models import wide_resnet

CLASSES = ["ant", "bee", "cat", "dog"]


def random_case(n=200, classes=4, scale=3.0, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(0, scale, (n, classes)).astype("float32"), random.integers(0, classes, n)


def logits_of(confidences, classes=2):
    """Logits whose softmax puts each confidence on class 0 and shares the rest."""
    rows = [[math.log(c)] + [math.log((1 - c) / (classes - 1))] * (classes - 1) for c in confidences]
    return np.array(rows, np.float64)


def slow_softmax(row):
    exponentials = [math.exp(float(value)) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def slow_calibration_error(logits, labels, num_bins):
    """One bin after the other and one image after the other, as in the paper's equation."""
    error = 0.0
    for m in range(num_bins):
        inside = []
        for row, label in zip(logits, labels, strict=True):
            probabilities = slow_softmax(row)
            confidence = max(probabilities)
            if m / num_bins < confidence <= (m + 1) / num_bins:
                inside.append((confidence, probabilities.index(confidence) == label))
        if inside:
            mean_confidence = sum(confidence for confidence, _ in inside) / len(inside)
            mean_accuracy = sum(correct for _, correct in inside) / len(inside)
            error += len(inside) / len(labels) * abs(mean_accuracy - mean_confidence)
    return error


@pytest.mark.parametrize("num_bins", [1, 5, 15, 100])
def test_calibration_error_equals_the_slow_reference(num_bins):
    logits, labels = random_case()
    expected = slow_calibration_error(logits, labels, num_bins)
    assert calibration.expected_calibration_error(logits, labels, num_bins) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_of_two_bins_by_hand():
    # Bin (0, 0.5] is empty with two classes. Of three bins: (1/3, 2/3] holds 0.6 and 0.6, right once: |0.5 - 0.6|;
    # (2/3, 1] holds 0.9, 0.9, 0.8, right three times: |1 - 2.6 / 3|.
    logits, labels = logits_of([0.6, 0.6, 0.9, 0.9, 0.8]), [0, 1, 0, 0, 0]
    by_hand = 2 / 5 * 0.1 + 3 / 5 * (1 - 2.6 / 3)
    assert calibration.expected_calibration_error(logits, labels, num_bins=3) == pytest.approx(by_hand, abs=1e-12)
    # With one bin the two gaps cancel in part: |4 / 5 - 3.8 / 5|.
    assert calibration.expected_calibration_error(logits, labels, num_bins=1) == pytest.approx(0.04, abs=1e-12)


def test_calibration_bins_are_closed_on_the_right():
    # Confidence is exactly 0.5 for two equal logits and about 0.51 for the other: with two bins they part.
    logits = np.array([[0.0, 0.0], [0.04, 0.0]])
    confidence = slow_softmax(logits[1])[0]
    expected = 0.5 * 0.5 + 0.5 * confidence  # right, then wrong; together in one bin it would be |0.5 - 0.505|
    assert calibration.expected_calibration_error(logits, [0, 1], num_bins=2) == pytest.approx(expected, abs=1e-12)


def test_a_perfectly_calibrated_predictor_has_no_calibration_error():
    logits, labels = [], []
    for confidence, right, of in ((0.5, 5, 10), (0.7, 7, 10), (0.9, 9, 10), (0.96, 24, 25)):
        logits.append(logits_of([confidence] * of))
        labels += [0] * right + [1] * (of - right)
    assert calibration.expected_calibration_error(np.concatenate(logits), labels) == pytest.approx(0, abs=1e-12)


def test_a_confident_and_wrong_predictor_has_full_calibration_error():
    assert calibration.expected_calibration_error([[1000.0, 0.0]] * 3, [1, 1, 1]) == 1.0


def test_negative_log_likelihood_equals_the_slow_reference_and_ignores_shifts():
    logits, labels = random_case()
    expected = -sum(math.log(slow_softmax(row)[label]) for row, label in zip(logits, labels, strict=True)) / len(labels)
    assert calibration.negative_log_likelihood(logits, labels) == pytest.approx(expected, rel=1e-12)
    shifted = logits.astype("float64") + 5000
    assert calibration.negative_log_likelihood(shifted, labels) == pytest.approx(expected, rel=1e-9)


def test_negative_log_likelihood_by_hand():
    assert calibration.negative_log_likelihood([[0.0] * 10], [3]) == pytest.approx(math.log(10))
    assert calibration.negative_log_likelihood([[2000.0, 0.0]], [1]) == 2000.0  # log(softmax) would be log(0)


@pytest.mark.parametrize(
    "logits, labels, message",
    [
        ([[1.0, 2.0]], [2], r"`labels` must lie in 0..1.*1 of 1 outside, the first is 2"),
        ([[1.0, 2.0], [1.0, 2.0]], [0, -1], r"1 of 2 outside, the first is -1"),
        ([[1.0, 2.0]], [0, 1], r"`labels` must be integers of shape \(1,\).*shape \(2,\)"),
        ([[1.0, 2.0]], [0.0], r"`labels` must be integers.*float64"),
        ([1.0, 2.0], [0], r"`logits` must have shape \(n, num_classes\).*\(2,\)"),
        (np.zeros((0, 3)), [], r"not be empty"),
        ([[1.0, np.nan], [1.0, 2.0], [np.inf, 0.0]], [0, 0, 0], r"NaN or infinity in 2 of 3 rows, the first is row 0"),
    ],
)
def test_logits_and_labels_that_do_not_fit(logits, labels, message):
    functions = (accuracy.top1, calibration.expected_calibration_error, calibration.negative_log_likelihood)
    for function in functions:
        with pytest.raises(ValueError, match=message):
            function(logits, labels)


def test_calibration_needs_a_positive_number_of_bins():
    with pytest.raises(ValueError, match=r"`num_bins` must be an integer of at least 1. Received: num_bins=0"):
        calibration.expected_calibration_error([[0.0, 1.0]], [0], num_bins=0)


def test_top1_and_per_class_by_hand():
    logits = np.eye(4)[[0, 0, 1, 3, 3]] * 5
    labels = np.array([0, 1, 1, 3, 0])
    assert accuracy.top1(logits, labels) == 3 / 5
    assert accuracy.per_class(logits, labels, CLASSES) == {
        "ant": {"accuracy": 0.5, "n": 2},
        "bee": {"accuracy": 0.5, "n": 2},
        "cat": {"accuracy": None, "n": 0},
        "dog": {"accuracy": 1.0, "n": 1},
    }


def test_per_class_adds_up_to_the_accuracy():
    logits, labels = random_case(n=333)
    table = accuracy.per_class(logits, labels, CLASSES)
    assert sum(row["n"] for row in table.values()) == 333
    assert sum(row["n"] * row["accuracy"] for row in table.values()) / 333 == pytest.approx(
        accuracy.top1(logits, labels)
    )
    with pytest.raises(ValueError, match=r"one logit for each of the 3 class names. Received: 4 logits"):
        accuracy.per_class(logits, labels, CLASSES[:3])


def test_agreement_counts_equal_decisions_also_wrong_ones():
    ours, theirs = np.eye(3)[[0, 1, 2, 2]], np.eye(3)[[0, 1, 1, 2]] * 9 - 100
    assert accuracy.agreement(ours, theirs) == 0.75
    with pytest.raises(ValueError, match=r"same shape.*\(4, 3\) and \(3, 3\)"):
        accuracy.agreement(ours, theirs[:3])


@pytest.mark.parametrize(
    "successes, n, low, high",
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_interval_equals_published_values(successes, n, low, high):
    # 81 of 263 is the example of Newcombe (1998), Table I, method 3: 0.2553 to 0.3662.
    assert intervals.wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_solves_its_defining_equation():
    z = 1.959963984540054
    for bound in intervals.wilson_interval(37, 50):
        assert abs(37 / 50 - bound) == pytest.approx(z * math.sqrt(bound * (1 - bound) / 50), abs=1e-12)


@pytest.fixture(scope="module")
def student():
    keras.utils.set_random_seed(1)
    return wide_resnet(10, 1, num_classes=4, input_shape=(8, 8, 1), dropout=0.3)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(2).integers(0, 256, (37, 8, 8, 1), dtype=np.uint8)


def test_predicted_logits_equal_a_plain_forward_pass(student, images):
    expected = keras.ops.convert_to_numpy(student(images.astype("float32") / 255, training=False))
    for batch_size in (1000, 37, 8):
        logits = prediction.predict_logits(student, images, batch_size)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected, atol=1e-5)
    np.testing.assert_allclose(prediction.predict_logits(student, images / 255, 8), expected, atol=1e-5)


def test_prediction_sees_one_shape_and_scales_by_batches(images):
    class Watched(keras.Model):
        def __init__(self):
            super().__init__()
            self.pool, self.shapes, self.highest = keras.layers.GlobalAveragePooling2D(), [], 0.0

        def predict_on_batch(self, x):
            self.shapes.append(x.shape)
            self.highest = max(self.highest, float(x.max()))
            return super().predict_on_batch(x)

        def call(self, x):
            return keras.ops.concatenate([self.pool(x), self.pool(1 - x)], axis=-1)

    model = Watched()
    logits = prediction.predict_logits(model, images, batch_size=16)
    assert model.shapes == [(16, 8, 8, 1)] * 3
    assert model.highest <= 1.0
    means = images.mean(axis=(1, 2), dtype=np.float64) / 255
    np.testing.assert_allclose(logits, np.concatenate([means, 1 - means], axis=1), atol=1e-6)


def split_of(images, labels):
    return SimpleNamespace(images=images, labels=np.asarray(labels))


def test_evaluate_is_made_of_its_parts_and_is_json(student, images):
    keras.utils.set_random_seed(5)
    teacher = wide_resnet(10, 2, num_classes=4, input_shape=(8, 8, 1))
    labels = np.random.default_rng(3).integers(0, 4, len(images))
    results = accuracy.evaluate(student, split_of(images, labels), CLASSES, teacher=teacher, batch_size=16)
    logits, teacher_logits = prediction.predict_logits(student, images), prediction.predict_logits(teacher, images)
    right = int((logits.argmax(1) == labels).sum())
    assert results["n"] == 37
    assert results["accuracy"] == right / 37
    assert results["accuracy_interval"] == list(intervals.wilson_interval(right, 37))
    assert results["expected_calibration_error"] == pytest.approx(slow_calibration_error(logits, labels, 15), abs=1e-6)
    assert results["num_bins"] == 15
    expected = calibration.negative_log_likelihood(logits, labels)
    assert results["negative_log_likelihood"] == pytest.approx(expected, abs=1e-6)
    assert results["per_class"] == accuracy.per_class(logits, labels, CLASSES)
    assert results["teacher_accuracy"] == accuracy.top1(teacher_logits, labels)
    assert results["agreement"] == accuracy.agreement(logits, teacher_logits)
    assert json.loads(json.dumps(results, allow_nan=False)) == results


def test_evaluate_without_a_teacher_says_nothing_about_one(student, images):
    results = accuracy.evaluate(student, split_of(images, [0] * 37), CLASSES)
    assert "agreement" not in results
    assert "teacher_accuracy" not in results


def test_evaluate_refuses_what_does_not_fit(student, images):
    good = split_of(images, [0] * 37)
    cases = [
        ((student, split_of(images[:0], []), CLASSES), r"`split` must hold at least one image.*0 images and 0 labels"),
        ((student, split_of(images, [0] * 36), CLASSES), r"37 images and 36 labels"),
        ((student, split_of(images, [0] * 36 + [4]), CLASSES), r"`labels` must lie in 0..3.*1 of 37 outside"),
        ((student, good, [*CLASSES, "elk"]), r"`student` must have one logit for each of the 5.*Received: 4 logits"),
        ((student, split_of(images[:, :4], [0] * 37), CLASSES), r"\(n, 8, 8, 1\). Received: shape \(37, 4, 8, 1\)"),
        ((student, split_of(images / 1.0, [0] * 37), CLASSES), r"must lie in \[0, 1\].*divide by 255, or pass uint8"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            accuracy.evaluate(*arguments)
    other = wide_resnet(10, 1, num_classes=3, input_shape=(8, 8, 1))
    with pytest.raises(ValueError, match=r"`teacher` must have one logit for each of the 4"):
        accuracy.evaluate(student, good, CLASSES, teacher=other)


def test_predict_refuses_images_that_are_none(student, images):
    cases = [
        (images[0], r"at least one image. Received: shape \(8, 8, 1\); a single image needs a batch axis"),
        (images.astype("int64"), r"must be uint8 in 0..255 or float in \[0, 1\]. Received: dtype int64"),
        (np.full((2, 8, 8, 1), np.nan, "float32"), r"values from nan to nan"),
        (np.full((2, 8, 8, 1), -0.5, "float32"), r"values from -0.5 to -0.5"),
    ]
    for bad, message in cases:
        with pytest.raises(ValueError, match=message):
            prediction.predict_logits(student, bad)
    with pytest.raises(ValueError, match=r"`batch_size` must be an integer of at least 1. Received: batch_size=0"):
        prediction.predict_logits(student, images, batch_size=0)


def test_predict_refuses_a_model_that_has_diverged_or_has_two_outputs(images):
    diverged = wide_resnet(10, 1, num_classes=4, input_shape=(8, 8, 1))
    diverged.set_weights([weight * np.nan for weight in diverged.get_weights()])
    with pytest.raises(ValueError, match=r"`logits of wrn_10_1` must be finite.*37 of 37 rows"):
        prediction.predict_logits(diverged, images)
    inputs = keras.Input((8, 8, 1))
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    with pytest.raises(ValueError, match=r"`model` must give one output.*Received: 2 outputs"):
        prediction.predict_logits(keras.Model(inputs, [pooled, pooled]), images)
    with pytest.raises(ValueError, match=r"`model` must give one output.*Received: \(37, 8, 8, 1\)"):
        prediction.predict_logits(keras.Model(inputs, keras.layers.ReLU()(inputs)), images)
    with pytest.raises(ValueError, match=r"`model` must take one input"):
        prediction.predict_logits(keras.Model([inputs, keras.Input((1,))], pooled), images)


def test_image_shape_of_every_kind_of_model():
    class Pool(keras.Model):
        def call(self, x):
            return keras.ops.mean(x, axis=(1, 2))

    subclassed, sequential = Pool(), keras.Sequential([keras.layers.Flatten()])
    assert prediction.image_shape(subclassed) is None
    assert prediction.image_shape(sequential) is None
    subclassed(np.zeros((5, 8, 9, 3), "float32"))
    sequential(np.zeros((5, 8, 9, 3), "float32"))
    assert prediction.image_shape(subclassed) == (8, 9, 3)
    assert prediction.image_shape(sequential) == (8, 9, 3)
    assert prediction.image_shape(wide_resnet(10, 1, input_shape=(None, None, 1))) == (None, None, 1)


JAX_SCRIPT = """
import sys
import keras, numpy as np
from tfnoisekd.evaluation import prediction
assert keras.config.backend() == "jax"
model = keras.models.load_model(sys.argv[1])
np.save(sys.argv[2], prediction.predict_logits(model, np.load(sys.argv[3]), batch_size=16))
assert "tensorflow" not in sys.modules, "TensorFlow was imported"
"""


def test_the_jax_backend_gives_the_same_logits_without_tensorflow(images, tmp_path):
    pytest.importorskip("jax")
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(inputs))
    x = keras.layers.Dropout(0.5)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, keras.layers.Dense(4)(x))
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    files = [str(tmp_path / name) for name in ("model.keras", "logits.npy", "images.npy")]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", JAX_SCRIPT, *files], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), prediction.predict_logits(model, images), atol=1e-5)
