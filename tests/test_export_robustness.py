"""What a file withstands: a file that is its model is right as often as it, image by image; the means by hand."""

import inspect
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

from tfnoisekd import export
from tfnoisekd.data import Split
from tfnoisekd.evaluation import adversarial, corruptions, examples, intervals, prediction
from tfnoisekd.export import robustness

ATTACK = {"epsilon": "16/255", "step_size": "4/255", "steps": 3, "restarts": 1}
NAMES = ("fog", "contrast", "gaussian_noise")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(6, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(4),
        ]
    )


@pytest.fixture(scope="module")
def split(model):
    """Images whose labels are the model's own answers, but for every fifth."""
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3)).astype("uint8")
    labels = prediction.predict_logits(model, images).argmax(axis=1)
    labels[::5] = (labels[::5] + 1) % 4
    return Split(images, labels)


@pytest.fixture(scope="module")
def paths(model, split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    options = {"representative": split.images[30:].copy(), "accuracy_drop": 0.9}
    for format in ("tflite", "onnx"):
        export.FORMATS[format](model, folder / format, split.images)
    export.onnx(model, folder / "bytes", split.images, include="preprocessing")
    export.tflite(model, folder / "int8", split.images, quantize="int8", **options)
    return folder


@pytest.fixture(scope="module")
def attacked(model, split):
    return robustness.attack(model, split, limit=40, seed=1, **ATTACK)


def test_the_attack_is_that_of_the_evaluation(model, split, attacked):
    expected = adversarial.evaluate(model, split, limit=40, seed=1, **ATTACK)
    assert 0 < expected["robust_accuracy"] < expected["clean_accuracy"]
    for name in ("n", "robust_accuracy", "robust_interval", "indices_sha256", "epsilon"):
        value = ATTACK["epsilon"] if name == "epsilon" else expected[name]
        assert attacked.keras[name] == value
    assert (attacked.keras["attack"], attacked.keras["limit"], attacked.keras["seed"]) == ("adaptive PGD", 40, 1)
    assert (attacked.keras["steps"], attacked.keras["norm"], attacked.keras["iterate"]) == (3, "linf", "final")
    assert attacked.images.shape == (40, 8, 8, 3) and attacked.images.dtype == np.float32
    positions = examples.positions(split.labels, 40, 1)
    np.testing.assert_array_equal(attacked.labels, split.labels[positions])


def test_the_settings_in_the_report_are_those_of_the_attack():
    parameters = inspect.signature(adversarial.attack).parameters
    assert {name: parameters[name].default for name in robustness.PGD} == robustness.PGD


@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_a_file_that_is_the_model_is_right_where_the_model_is(model, paths, attacked, format):
    found = robustness.of_file(format, paths / format, attacked.images, attacked.labels)
    right = int((model.predict(attacked.images, verbose=0).argmax(axis=1) == attacked.labels).sum())
    assert found["n"] == 40 and found["transfer_accuracy"] == right / 40 == attacked.keras["robust_accuracy"]
    assert found["transfer_interval"] == list(intervals.wilson_interval(right, 40))
    assert found["rounded"] is False
    assert found["attack"] == "transferred PGD" and "upper bound" in found["note"]


def test_a_file_of_bytes_sees_rounded_images(model, paths, attacked):
    found = robustness.of_file("onnx", paths / "bytes", attacked.images, attacked.labels)
    rounded = np.rint(attacked.images * 255) / 255
    right = model.predict(rounded, verbose=0).argmax(axis=1) == attacked.labels
    assert found["rounded"] is True and found["transfer_accuracy"] == right.mean()


def test_images_and_labels_that_do_not_fit(paths, attacked):
    with pytest.raises(ValueError, match="`images` must have the shape that the model takes"):
        robustness.of_file("onnx", paths / "onnx", attacked.images[:, :6], attacked.labels)
    with pytest.raises(ValueError, match=r"`labels` must be integers of shape \(40,\)"):
        robustness.of_file("onnx", paths / "onnx", attacked.images, attacked.labels[:5])


@pytest.fixture(scope="module")
def corrupted(model, paths, split):
    files = {"float32": ("tflite", paths / "tflite"), "int8": ("tflite", paths / "int8")}
    seen = []
    options = {"limit": 30, "seed": 2, "corruptions": NAMES, "severities": (1, 5)}
    found = robustness.under_corruptions(model, files, split, progress=lambda *done: seen.append(done), **options)
    assert seen == [(number, 6) for number in range(1, 7)]
    return found


def test_the_mini_mca_by_hand(model, paths, split, corrupted):
    places = examples.positions(split.labels, 30, 2)
    images, labels = split.images[places], split.labels[places]
    file = export.open_file("tflite", paths / "int8")
    rights = {"keras": [], "int8": []}
    for name in NAMES:
        for severity in (1, 5):
            batch = corruptions.corrupt(images, name, severity, seed=2, positions=places)
            rights["keras"].append(model.predict(batch / np.float32(255), verbose=0).argmax(axis=1) == labels)
            rights["int8"].append(file.run(batch).argmax(axis=1) == labels)
    for name, right in rights.items():
        found = corrupted["models"][name]
        assert found["mini_mca"] == pytest.approx(np.mean(right), abs=1e-12)
        by_name = np.mean(right, axis=1).reshape(3, 2).mean(axis=1)
        assert list(found["corruptions"].values()) == pytest.approx(by_name, abs=1e-12)
        assert list(found["corruptions"]) == list(NAMES)
    difference = np.mean(rights["int8"]) - np.mean(rights["keras"])
    assert corrupted["models"]["int8"]["accuracy_difference"] == pytest.approx(difference, abs=1e-12)


def test_the_students_numbers_are_those_of_the_evaluation(model, split, corrupted):
    names = [str(number) for number in range(4)]
    expected = corruptions.evaluate(model, split, names, NAMES, (1, 5), seed=2, limit=30)
    found = corrupted["models"]["keras"]
    assert found["mini_mca"] == pytest.approx(expected["mean_accuracy"], abs=1e-12)
    assert found["natural_robustness"] == pytest.approx(expected["natural_robustness"], abs=1e-12)
    assert found["clean_accuracy"] == expected["clean_accuracy"]
    assert (found["agreement"], found["accuracy_difference"]) == (1.0, 0.0)
    assert (corrupted["n"], corrupted["limit"], corrupted["seed"]) == (30, 30, 2)
    assert corrupted["source"] == "generated" and "numpy" in corrupted["versions"]


def test_a_file_that_is_the_model_agrees_on_every_image(corrupted):
    assert corrupted["models"]["float32"] == corrupted["models"]["keras"]


def test_comparison_by_hand():
    labels, names = np.array([0, 1, 2]), ("fog", "snow")
    keras_classes = np.array([[[0, 1, 2]], [[0, 0, 2]]])
    classes = np.array([[[0, 1, 1]], [[1, 0, 2]]])
    found = robustness.compare(classes, keras_classes, np.array([0, 2, 2]), labels, names)
    assert found == {
        "clean_accuracy": 2 / 3,
        "mini_mca": 0.5,
        "natural_robustness": 0.5,  # of images 0 and 2: right in fog, wrong in fog, wrong in snow, right in snow
        "agreement": 4 / 6,
        "accuracy_difference": pytest.approx(3 / 6 - 5 / 6),
        "corruptions": {"fog": 2 / 3, "snow": 1 / 3},
    }
    wrong = robustness.compare(classes, keras_classes, np.array([1, 2, 0]), labels, names)
    assert wrong["natural_robustness"] is None


def test_by_default_every_corruption_at_three_severities(model, paths, split):
    one = Split(split.images[:1], split.labels[:1])
    found = robustness.under_corruptions(model, {"onnx": ("onnx", paths / "onnx")}, one, limit=None)
    assert found["corruptions"] == list(corruptions.NAMES) and found["severities"] == [1, 3, 5]
    assert found["n"] == 1 and set(found["models"]) == {"keras", "onnx"}


def test_a_student_of_bytes(paths, split):
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    student = keras.Model(inputs, layers.Dense(4)(layers.Flatten()(layers.Rescaling(1 / 255)(inputs))))
    found = robustness.under_corruptions(student, {}, split, corruptions="fog", severities=3, limit=None)
    batch = corruptions.corrupt(split.images, "fog", 3)
    right = student.predict(batch, verbose=0).argmax(axis=1) == split.labels
    assert found["models"]["keras"]["mini_mca"] == right.mean()


def with_labels(labels, n=2):
    """A split that `data.Split` would refuse."""
    return SimpleNamespace(images=np.zeros((n, 8, 8, 3), "uint8"), labels=labels)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"paths": {"keras": ("onnx", "onnx")}}, r"`paths` must not use the name 'keras'"),
        ({"limit": 61}, r"`limit` must be at most 60"),
        ({"seed": -1}, r"`seed` must be an integer from 0"),
        ({"corruptions": "fogg"}, r"`corruptions` must be among .*'fogg'"),
        ({"severities": 6}, r"`severities` must be whole numbers from 1 to 5"),
        ({"split": with_labels(np.zeros(0, int), 0)}, r"at least one image and one label"),
        ({"split": with_labels(np.zeros(3, int))}, r"Received: 2 images and 3 labels"),
        ({"split": with_labels(np.array([0.5, 1]))}, r"`labels` must be integers"),
    ],
)
def test_arguments_that_are_refused(model, split, options, message):
    with pytest.raises(ValueError, match=message):
        robustness.under_corruptions(**{"model": model, "paths": {}, "split": split, "limit": None, **options})
