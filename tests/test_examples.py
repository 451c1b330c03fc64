"""The examples run, and what they print and leave behind is true."""

import importlib
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from reference import losses as reference

from tfnoisekd import InputNoise, LabelNoise, data
from tfnoisekd.features import OUTPUTS, extractor

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture
def example(monkeypatch):
    """Imports an example by name."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


def small_backbone(shape, **options):
    """In the place of MobileNetV2, which takes TensorFlow half a minute to trace."""
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(16, 4, strides=4),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(32, 3, strides=2),
            layers.BatchNormalization(),
            layers.ReLU(name="out_relu"),
        ]
    )


def small_network(depth, width, num_classes, input_shape):
    """In the place of a Wide ResNet; large enough to learn wrong labels by heart."""
    hidden = layers.Dense(128 * width, activation="relu")
    return keras.Sequential([keras.Input(input_shape), layers.Flatten(), hidden, layers.Dense(num_classes)])


@pytest.mark.parametrize("backbone", ["small", pytest.param("MobileNetV2", marks=pytest.mark.slow)])
def test_keras_applications(example, backbone, tmp_path, monkeypatch, capsys):
    if backbone == "small":
        monkeypatch.setattr(keras.applications, "MobileNetV2", small_backbone)
    module = example("keras_applications")
    epochs = (
        ["--teacher-epochs", "6", "--epochs", "12"] if backbone == "small" else ["--teacher-epochs=1", "--epochs=1"]
    )
    student = module.main([*epochs, "--output", str(tmp_path / "student.keras")])
    printed = capsys.readouterr().out
    *_, test = module.load_data()
    images, labels = (np.concatenate(part) for part in zip(*test.as_numpy_iterator(), strict=True))
    reloaded = keras.models.load_model(tmp_path / "student.keras")
    outputs = reloaded.predict(images, verbose=0)
    np.testing.assert_allclose(outputs, student.predict(images, verbose=0), rtol=1e-5, atol=1e-6)
    accuracy = np.mean(outputs.argmax(axis=1) == labels)
    # Four seeds gave 0.66 to 0.75, and processors round differently; one epoch is too short to be above chance.
    assert backbone != "small" or accuracy > 0.4
    assert f"{accuracy:.3f}" == re.search(r"student distilled +(\S+)", printed)[1]
    assert float(re.search(r"standard deviation of the noise: (\S+)", printed)[1]) == pytest.approx(0.05, rel=0.02)


def test_the_step_of_the_custom_loop_is_the_reference(example, rng):
    module = example("custom_training_loop")
    images, labels = rng.random((12, 16, 16, 1)).astype("float32"), rng.integers(0, 10, 12)
    keras.utils.set_random_seed(0)
    teacher, student = module.make_network((4, 6), dropout=0.5), module.make_network((3, 5))
    before = keras.models.clone_model(student)
    before.set_weights(student.get_weights())
    weights = teacher.get_weights()
    noises = InputNoise(0.1), LabelNoise(0.5)
    step = module.make_step(teacher, student, keras.optimizers.SGD(0.1), *noises, seed=3)
    (dropout,) = (layer for layer in teacher.layers if isinstance(layer, layers.Dropout))
    state = keras.ops.convert_to_numpy(dropout.seed_generator.state)
    measured = {name: float(value) for name, value in step(images, labels).items()}

    dropout.seed_generator.state.assign(state)
    seed = keras.random.SeedGenerator(3)
    noisy_images, noisy_labels = (
        keras.ops.convert_to_numpy(noisy)
        for noisy, _ in (noises[0].perturb_inputs(images, seed), noises[1].perturb_labels(labels, 10, seed))
    )
    clean, noisy = (
        {name: keras.ops.convert_to_numpy(value) for name, value in read(inputs, training=True).items()}
        for read, inputs in (
            (extractor(teacher, ["embedding"]), images),
            (extractor(before, ["embedding"]), noisy_images),
        )
    )
    expected = {
        "cross_entropy": reference.cross_entropy(noisy_labels, noisy[OUTPUTS]),
        "hinton": reference.hinton(clean[OUTPUTS], noisy[OUTPUTS], 4.0),
        "similarity": reference.similarity_preserving(clean["embedding"], noisy["embedding"]),
        "input_noise_stddev": np.sqrt(np.mean((noisy_images - images) ** 2)),
        "label_noise_share": np.mean(noisy_labels != labels),
    }
    expected["loss"] = 0.1 * expected["cross_entropy"] + 0.9 * expected["hinton"] + 100.0 * expected["similarity"]
    assert measured == pytest.approx(expected, rel=1e-3)
    # The same teacher without its dropout would have said something else.
    assert reference.hinton(teacher.predict(images, verbose=0), noisy[OUTPUTS]) != pytest.approx(measured["hinton"])
    for old, new in zip(weights, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    for old, new in zip(before.trainable_weights, student.trainable_weights, strict=True):
        assert (keras.ops.convert_to_numpy(old) != keras.ops.convert_to_numpy(new)).any(), new.path
    again = step(images, labels)
    assert float(again["input_noise_stddev"]) != measured["input_noise_stddev"]  # new noise in every step


@pytest.mark.slow
def test_custom_training_loop(example, capsys):
    module = example("custom_training_loop")
    networks = module.main(["--teacher-epochs", "3", "--epochs", "6"])
    before, after = re.findall(r"test accuracy: teacher (\S+), student (\S+)", capsys.readouterr().out)
    test = data.load("digits").test
    assert after == tuple(f"{module.accuracy(network, test):.3f}" for network in networks)
    assert before[0] == after[0]  # the teacher varies, it does not learn
    assert float(before[1]) < 0.3 and float(after[1]) > 0.7


@pytest.mark.parametrize("network", ["small", pytest.param("wide_resnet", marks=pytest.mark.slow)])
def test_noisy_labels(example, network, monkeypatch, capsys):
    module = example("noisy_labels")
    if network == "small":
        monkeypatch.setattr(module, "wide_resnet", small_network)
    digits, results = module.main(["--epochs", "4", "--seed", "1"])
    printed = capsys.readouterr().out
    clean = data.load("digits", validation_size=0)
    np.testing.assert_array_equal(digits.test.labels, clean.test.labels)
    wrong = digits.train.labels != clean.train.labels
    assert wrong.mean() == pytest.approx(0.4 * 9 / 10, abs=4 * (0.36 * 0.64 / len(wrong)) ** 0.5)
    assert printed.startswith(f"{wrong.sum()} of 1437 training labels are wrong ({wrong.mean():.3f})")
    assert list(results) == ["teacher", "baseline", "hinton", "mc"]
    for name, result in results.items():
        assert f"{result['accuracy']:.3f}" in re.search(rf"^{name}.*", printed, re.M)[0]
        assert result["n"] == wrong.sum() and result["accuracy"] > 0.4  # chance is 0.1
        assert 0 < result["wrong_label_accuracy"] + result["true_label_accuracy"] <= 1
