"""Models, images and options that do not fit are refused, each with a way out, and leave nothing behind."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import test_export_models
from keras import layers
from test_export_models import leftovers

from tfnoisekd import export
from tfnoisekd.models import wide_resnet

FORMATS = sorted(export.FORMATS)
TRAIN = test_export_models.representative()


@pytest.fixture
def held_out():
    return test_export_models.held_out()


@pytest.fixture
def student():
    return test_export_models.trained("sequential")


def several_inputs():
    inputs = [keras.Input((16, 16, 1)), keras.Input((16, 16, 1))]
    return keras.Model(inputs, layers.Flatten()(layers.Add()(inputs)))


def several_outputs():
    inputs = keras.Input((16, 16, 1))
    flat = layers.Flatten()(inputs)
    return keras.Model(inputs, [layers.Dense(10)(flat), layers.Dense(2)(flat)])


class TwoArguments(keras.Model):
    def call(self, image, mask_image):
        return image


def mixed_precision():
    inputs = keras.Input((16, 16, 1))
    return keras.Model(inputs, layers.Dense(10, dtype="mixed_bfloat16")(layers.Flatten()(inputs)))


def diverged():
    model = wide_resnet(10, 1, input_shape=(16, 16, 1))
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    return model


def classifier(*inner, classes=10, dtype="float32", **head):
    """Some layers between the pixels and a Dense layer."""
    return keras.Sequential(
        [keras.Input((16, 16, 1), dtype=dtype), layers.Flatten(), *inner, layers.Dense(classes, **head)], name="odd"
    )


class Inner(layers.Layer):
    """A layer that is one function of TensorFlow."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, inputs):
        outputs = self.function(inputs)
        outputs.set_shape(inputs.shape)
        return outputs


def python_call():
    return classifier(Inner(lambda x: tf.py_function(lambda y: y * 2, [x], tf.float32)))


def noise_at_inference():
    return classifier(Inner(lambda x: x + tf.random.normal(tf.shape(x))))


def nested_half_precision():
    return keras.Sequential([keras.Input((16, 16, 1)), classifier(layers.Dense(4, dtype="mixed_float16"))])


@pytest.mark.parametrize(
    "make, error, message",
    [
        (several_inputs, ValueError, r"`model` must take one input.*\(None, 16, 16, 1\), \(None, 16, 16, 1\)"),
        (TwoArguments, ValueError, r"`model` must take one input.*call\(\) with inputs \['image', 'mask_image'\]"),
        (several_outputs, ValueError, r"`model` must give one output.*\[\(4, 10\), \(4, 2\)\]"),
        (
            test_export_models.Subclassed,
            ValueError,
            r"must know its input shape.*call it once on a batch of images, model\(images\[:1\]\)",
        ),
        (keras.Sequential, ValueError, r"must know its input shape.*keras.Input\(\(height, width, channels\)\)"),
        (mixed_precision, ValueError, r"compute in float32. Received: layers that compute in bfloat16"),
        (nested_half_precision, ValueError, r"compute in float32. Received: layers that compute in float16"),
        (python_call, ValueError, r"run without Python. Received: EagerPyFunc, by tf.py_function.*with keras.ops"),
        (noise_at_inference, ValueError, r"same outputs each time. Received: two passes.*noise off where training=F"),
        (
            lambda: classifier(activation="sigmoid"),
            ValueError,
            r"must give logits, or.*Received: odd, whose last",
        ),
        (lambda: classifier(classes=1), ValueError, r"one output.*two classes or more. Received: .*\[\(4, 1\)\]"),
        (lambda: classifier(dtype="int32"), ValueError, r"float32 in \[0, 1\] or uint8.*Received: an input of int32"),
        (diverged, ValueError, r"`logits of wrn_10_1` must be finite.*4 of 4 rows"),
        (lambda: "student.keras", TypeError, r"must be a keras.Model. Received: str; load it with"),
        (lambda: wide_resnet(10, 1), ValueError, r"\(n, 32, 32, 3\). Received: shape \(4, 16, 16, 1\)"),
    ],
)
def test_models_that_cannot_be_exported(held_out, tmp_path, make, error, message):
    model = make()
    for format in FORMATS:
        with pytest.raises(error, match=message) as caught:
            export.FORMATS[format](model, tmp_path / "student", held_out[0][:4])
        assert "\n" not in str(caught.value)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (None, None, r"`images` must hold at least one image.*Received: None"),
        (np.zeros((0, 16, 16, 1), "uint8"), None, r"`images` must hold at least one image.*Received: no image"),
        (np.full((2, 16, 16, 1), 7.0), None, r"must lie in \[0, 1\].*values from 7.0 to 7.0"),
        (np.zeros((2, 16, 16, 1), "uint8"), [0], r"`labels` must be integers of shape \(2,\)"),
        (np.zeros((2, 16, 16, 1), "uint8"), [0, 10], r"`labels` must lie in 0..9.*1 of 2 outside, the first is 10"),
    ],
)
def test_images_and_labels_that_cannot_verify(student, tmp_path, images, labels, message):
    for format in FORMATS:
        with pytest.raises(ValueError, match=message):
            export.FORMATS[format](student, tmp_path / "student", images, labels)
    assert leftovers(tmp_path) == []


def test_another_backend_is_refused(student, held_out, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(RuntimeError, match=r"needs the TensorFlow backend.*'jax'; set KERAS_BACKEND=tensorflow"):
        export.tflite(student, tmp_path / "student.tflite", held_out[0])


@pytest.mark.parametrize("include", ["sofmax", ("softmax", "labels"), [3]])
def test_only_known_parts_can_be_included(student, held_out, tmp_path, include):
    for format in FORMATS:
        with pytest.raises(ValueError, match=r"must hold only preprocessing and softmax. Received: (sofm|lab|3)"):
            export.FORMATS[format](student, tmp_path / "student", held_out[0], include=include)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    "options, message",
    [
        ({"quantize": "int4"}, r"`quantize` must be one of none, float16, dynamic, int8, int8-io. Received: .*'int4'"),
        ({"quantize": "int8"}, r"`representative` must hold training images.*Received: None; pass some hundred"),
        ({"quantize": "int8-io", "representative": TRAIN[:0]}, r'quantize="int8-io" learns.*Received: no image'),
        ({"quantize": "int8", "representative": TRAIN[0]}, r"images of the shape of `images`, \(n, 16, 16, 1\)"),
        ({"quantize": "int8", "representative": TRAIN[:, :8]}, r"Received: shape \(200, 8, 16, 1\)"),
        ({"quantize": "int8", "representative": TRAIN * 2.0}, r"`representative` of a float type must lie in \[0, 1\]"),
        ({"quantize": "int8", "representative": TRAIN.astype("int64")}, r"`representative` must be uint8 in 0..255"),
        ({"quantize": "dynamic", "accuracy_drop": 1}, r"`accuracy_drop` must be at least 0 and below 1.*=1"),
        (
            {"quantize": "dynamic", "accuracy_drop": -0.1},
            r"0.01 for one percentage point. .*drop=-0.1",
        ),
    ],
)
def test_options_of_a_quantisation_that_do_not_fit(student, held_out, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        export.tflite(student, tmp_path / "student.tflite", *held_out, **options)
    assert leftovers(tmp_path) == []


def test_calibration_on_the_test_images_is_refused(student, held_out, tmp_path):
    with pytest.raises(ValueError, match=r"Received: the images that the file is verified with"):
        export.tflite(student, tmp_path / "s", *held_out, quantize="int8", representative=held_out[0][:50])


@pytest.mark.parametrize(
    "format, options, function, culprit",
    [
        ("tflite", {}, tf.math.bessel_i0e, "Custom ops: BesselI0e"),
        ("onnx", {}, tf.math.bessel_i0e, "No Op registered for BesselI0e"),
        ("tflite", {"quantize": "int8", "representative": TRAIN}, tf.math.cumsum, "float32 in .*Cumsum"),
    ],
)
def test_an_operation_that_a_format_lacks_is_named(held_out, tmp_path, format, options, function, culprit):
    with pytest.raises(
        export.ConversionFailed,
        match=rf"^`model` must be made of operations that the {format} format has.*{culprit}",
    ):
        export.FORMATS[format](classifier(Inner(function)), tmp_path / "student", held_out[0], **options)
    assert leftovers(tmp_path) == []
