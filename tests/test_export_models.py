"""Every kind of Keras model in every format and quantisation, with trained weights and images that they never saw.

The models are here, and what else the other tests of exports share.
"""

import dataclasses
import functools
import importlib
import json
import os

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

from tfnoisekd import export
from tfnoisekd.evaluation import accuracy, prediction
from tfnoisekd.export import files
from tfnoisekd.models import wide_resnet

# Every file that there is, as (format, options).
TARGETS = {
    "saved_model": ("saved_model", {}),
    "onnx": ("onnx", {}),
    "onnx-nchw": ("onnx", {"channels_first": True}),
    **{f"tflite-{quantize}": ("tflite", {"quantize": quantize}) for quantize in export.QUANTIZATIONS},
}
EXACT = ("saved_model", "onnx", "onnx-nchw", "tflite-none")


@keras.saving.register_keras_serializable("test_export")
class Subclassed(keras.Model):
    """Convolution, BatchNorm, dropout; its `call` knows training, and an error in that shows in the logits."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(8, 3, strides=2, activation="relu")
        self.norm = layers.BatchNormalization()
        self.dropout = layers.Dropout(0.5)
        self.head = layers.Dense(10)

    def call(self, images, training=False):
        features = self.norm(self.conv(images), training=training)
        return self.head(self.dropout(keras.ops.reshape(features, (-1, 7 * 7 * 8)), training=training))


def sequential():
    """Augmentation, and two kinds of preprocessing of its own, one of which holds constants that are no weights."""
    return keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            layers.RandomTranslation(0.1, 0.1),
            layers.Rescaling(2.0, -1.0),
            layers.Normalization(mean=[-0.4], variance=[0.6]),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, name="logits"),
        ],
        name="sequential_cnn",
    )


def branches_of_bytes():
    """Takes uint8, has two branches, and ends in a softmax."""
    image = keras.Input((16, 16, 1), dtype="uint8")
    x = layers.Rescaling(1 / 255)(image)
    wide = layers.Conv2D(6, 5, strides=2, padding="same", activation="relu")(x)
    narrow = layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=4)(x)
    both = layers.Concatenate()([layers.BatchNormalization()(wide), layers.ReLU(max_value=6)(narrow)])
    both = layers.Add()([both, layers.Conv2D(10, 1)(both)])
    return keras.Model(image, layers.Dense(10, activation="softmax")(layers.Flatten()(both)), name="branches")


BUILDERS = {
    "functional": lambda: wide_resnet(10, 1, input_shape=(16, 16, 1), dropout=0.3),
    "sequential": sequential,
    "subclassed": lambda: Subclassed(name="subclassed_cnn"),
    "branches": branches_of_bytes,
}


@functools.cache
def digits():
    """1,797 scans of digits as (images uint8 16x16x1, labels); the first 1,024 are for training, 297 are held out."""
    data = load_digits()
    images = np.kron(data.images, np.ones((1, 2, 2)))[..., None] / 16 * 255
    return images.round().astype(np.uint8), data.target


def held_out():
    return digits()[0][1500:], digits()[1][1500:]


def representative():
    return digits()[0][:200]


@functools.cache
def trained(kind):
    """A model, trained for a few steps, so that weights and BatchNorm statistics are real. Not to be changed."""
    keras.utils.set_random_seed(0)
    model = BUILDERS[kind]()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=kind != "branches")
    model.compile(keras.optimizers.Adam(3e-3), loss, run_eagerly=False, jit_compile=False)
    scale = 1 if kind == "branches" else np.float32(255)
    model.fit(
        digits()[0][:1024] / scale,
        digits()[1][:1024],
        batch_size=64,
        epochs=2 if kind == "functional" else 8,
        verbose=0,
    )
    return model


def keras_outputs(kind):
    """What a trained model gives for the held-out images, by Keras's own predict."""
    if kind == "branches":
        return trained(kind).predict(held_out()[0], verbose=0)
    return prediction.predict_logits(trained(kind), held_out()[0])


def write(kind, target, path, images=None, labels=None, **options):
    """Exports a trained model for one of the TARGETS, verified on the held-out images."""
    format, more = TARGETS[target]
    if format == "tflite":
        more = {"representative": representative(), **more}
    images, labels = held_out() if images is None else (images, labels)
    return export.FORMATS[format](trained(kind), path, images, labels, **more, **options)


def leftovers(folder):
    """Names in a folder, hidden ones too."""
    return sorted(os.listdir(folder))


def digest(path):
    """What a file or a folder holds."""
    if path.is_file():
        return path.read_bytes()
    return {file.relative_to(path): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


@pytest.mark.parametrize("kind", BUILDERS)
@pytest.mark.parametrize("target", TARGETS)
def test_every_kind_of_model_in_every_format(target, kind, tmp_path, capfd):
    report = write(kind, target, tmp_path / "student")
    expected = keras_outputs(kind)
    assert (report.format, report.path, report.n) == (TARGETS[target][0], str(tmp_path / "student"), 297)
    assert report.quantize == TARGETS[target][1].get("quantize", "none")
    assert report.output == ("probabilities" if kind == "branches" else "logits")
    assert report.keras_accuracy == accuracy.top1(expected, held_out()[1]) > 0.5  # a constant would prove little
    if target in EXACT:
        assert report.max_difference < 2e-5
        assert report.difference_limit == pytest.approx(1e-4 * max(1, np.abs(expected).max()), rel=1e-4)
        assert (report.top1_agreement, report.accuracy) == (1.0, report.keras_accuracy)
    else:
        assert report.max_difference < 0.2 * max(1, np.abs(expected).max())
        assert report.top1_agreement >= 0.97
        assert report.accuracy >= report.keras_accuracy - 0.01
    assert json.loads(json.dumps(dataclasses.asdict(report)))["accuracy"] == report.accuracy
    assert leftovers(tmp_path) == ["student"]
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    # The file gives what the report says to whoever opens it.
    outputs = export.open_file(report.format, report.path).run(held_out()[0])
    assert np.abs(outputs - expected).max() == pytest.approx(report.max_difference, rel=0.2, abs=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_softmax_and_preprocessing_make_probabilities_of_raw_bytes(target, tmp_path):
    report = write("subclassed", target, tmp_path / "student", include=("softmax", "preprocessing"))
    assert (report.input_dtype, report.output) == ("uint8", "probabilities")
    logits = keras_outputs("subclassed").astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    outputs = export.open_file(report.format, report.path).run(held_out()[0])
    tolerance = 1e-5 if target in EXACT else 0.02 if target == "tflite-float16" else 0.2
    np.testing.assert_allclose(outputs, expected, atol=tolerance)
    np.testing.assert_allclose(outputs.sum(axis=1), 1, atol=0.03 if "int8" in target else 1e-5)
    assert report.difference_limit == {"tflite-float16": 0.02}.get(target, 1e-4 if target in EXACT else None)


def test_each_weight_is_in_a_file_once(tmp_path):
    for format in export.FORMATS:
        report = write("functional", {"tflite": "tflite-none"}.get(format, format), tmp_path / format)
        weights = 4 * trained("functional").count_params()
        graph = 250_000 if format == "saved_model" else 20_000  # a SavedModel keeps its functions' sources too
        assert report.bytes == files.size_on_disk(tmp_path / format)
        assert 0.9 * weights < report.bytes < weights + graph


def test_a_model_that_ends_in_a_softmax_gets_no_second_one(tmp_path):
    plain = write("branches", "onnx", tmp_path / "plain")
    asked = write("branches", "onnx", tmp_path / "asked", include="softmax")
    assert plain.output == asked.output == "probabilities"
    images = held_out()[0][:20]
    first, second = (export.open_file("onnx", tmp_path / name).run(images) for name in ("plain", "asked"))
    np.testing.assert_array_equal(first, second)
    onnx = importlib.import_module("onnx")
    assert [node.op_type for node in onnx.load(tmp_path / "asked").graph.node].count("Softmax") == 1


def test_floats_for_a_file_of_bytes_are_rounded_to_bytes_first(tmp_path):
    images = np.random.default_rng(0).random((20, 16, 16, 1))
    report = write("branches", "onnx", tmp_path / "student", images)
    assert (report.input_dtype, report.n) == ("uint8", 20)
    assert report.max_difference < 1e-5
    run = export.open_file("onnx", tmp_path / "student").run
    np.testing.assert_array_equal(run(images), run(np.round(images * 255).astype("uint8")))


def test_a_size_that_the_model_leaves_open_is_that_of_the_images(tmp_path):
    model = wide_resnet(10, 1, input_shape=(None, None, 1))
    report = export.onnx(model, tmp_path / "open.onnx", held_out()[0][:4])
    assert report.top1_agreement == 1.0
    assert (report.accuracy, report.keras_accuracy, report.accuracy_limit) == (None, None, None)
