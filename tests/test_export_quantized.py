"""Quantised TFLite files, read with LiteRT and NumPy alone, against what can be worked out by hand."""

import dataclasses
import importlib

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from test_export_models import digits, held_out, keras_outputs, representative, trained, write

from tfnoisekd import export
from tfnoisekd.export import serving

tflite = importlib.import_module("tfnoisekd.export.tflite")  # the package has a function of the same name


def opened(path):
    """The interpreter of a file as it is, with the details of its input and output."""
    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    interpreter.allocate_tensors()
    return interpreter, interpreter.get_input_details()[0], interpreter.get_output_details()[0]


def one_by_one(path, batch):
    """The raw outputs for inputs of the file's own type, as a program on a device gets them."""
    interpreter, image, output = opened(path)
    rows = []
    for single in batch:
        interpreter.set_tensor(image["index"], single[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(output["index"])[0].copy())
    return np.stack(rows)


@pytest.fixture(scope="module")
def linear():
    """One matrix, so that NumPy can bound what quantising it may do."""
    rng = np.random.default_rng(0)
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.set_weights([rng.normal(size=(16, 3)).astype("float32"), rng.normal(size=3).astype("float32")])
    return model, rng.integers(0, 256, (64, 4, 4, 1)).astype("uint8")


def test_an_int8_file_is_as_near_as_its_steps_allow(linear, tmp_path):
    model, images = linear
    path = tmp_path / "linear.tflite"
    export.tflite(model, path, images[32:], quantize="int8-io", representative=images.copy(), accuracy_drop=0.5)
    _, image, output = opened(path)
    assert image["quantization"] == (pytest.approx(1 / 255), -128)  # a byte less 128, nothing lost
    step, zero = output["quantization"]
    raw = one_by_one(path, (images.astype(int) - 128).astype("int8"))
    assert raw.dtype == np.int8
    found = (raw.astype(int) - zero) * step
    kernel, bias = model.get_weights()
    flat = images.reshape(64, 16) / 255
    expected = flat @ kernel + bias
    # The nearest of 255 weights per output, the nearest of 256 outputs, and one step for the rounding of both scales.
    weight_steps = np.abs(kernel).max(axis=0) / 127
    bound = flat.sum(axis=1, keepdims=True) * weight_steps / 2 + 1.5 * step
    inside = (expected > (-128 - zero) * step) & (expected < (127 - zero) * step)
    assert inside.mean() > 0.95
    assert (np.abs(found - expected) <= bound)[inside].all()
    assert step == pytest.approx(np.ptp(expected) / 255, rel=0.05)  # all 256 steps are used


def scales(tensor):
    return tensor["quantization_parameters"]["scales"]


def test_weights_are_quantised_per_channel(tmp_path):
    write("functional", "tflite-int8", tmp_path / "wrn.tflite")
    interpreter, _, _ = opened(tmp_path / "wrn.tflite")
    kernels = [
        tensor
        for tensor in interpreter.get_tensor_details()
        if tensor["dtype"] == np.int8
        and len(tensor["shape"]) == 4
        and len(tensor["quantization_parameters"]["scales"]) > 1
    ]
    convolutions = [layer for layer in trained("functional").layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(kernels) == len(convolutions) == 9
    for tensor in kernels:
        assert len(set(scales(tensor))) == len(scales(tensor)) == tensor["shape"][0]  # output channels
        assert tensor["quantization_parameters"]["quantized_dimension"] == 0
        assert (tensor["quantization_parameters"]["zero_points"] == 0).all()


@pytest.mark.slow
def test_sizes_fall_with_the_bits_of_a_weight(tmp_path):
    size = {name: write("functional", f"tflite-{name}", tmp_path / name).bytes for name in export.QUANTIZATIONS}
    assert 0.5 < size["float16"] / size["none"] < 0.55
    for name in ("dynamic", "int8", "int8-io"):
        assert 0.25 < size[name] / size["none"] < 0.35


@pytest.mark.parametrize(
    "quantize, include, takes, gives",
    [
        ("none", (), np.float32, np.float32),
        ("none", ("preprocessing",), np.uint8, np.float32),
        ("float16", (), np.float32, np.float32),
        ("dynamic", ("preprocessing",), np.uint8, np.float32),
        ("int8", (), np.float32, np.float32),
        ("int8", ("preprocessing",), np.uint8, np.float32),
        ("int8-io", (), np.int8, np.int8),
        ("int8-io", ("preprocessing", "softmax"), np.uint8, np.int8),
    ],
)
def test_types_and_names_are_what_the_table_says(tmp_path, quantize, include, takes, gives):
    write("sequential", f"tflite-{quantize}", tmp_path / "file", include=include)
    interpreter, image, output = opened(tmp_path / "file")
    name = "probabilities" if "softmax" in include else "logits"
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": [name]}}
    assert (image["dtype"], output["dtype"], tuple(image["shape"])) == (takes, gives, (1, 16, 16, 1))
    assert image["shape_signature"][0] == (1 if quantize == "int8-io" else -1)
    images, expected = held_out()[0][:40], keras_outputs("sequential")[:40]
    given = {np.uint8: images, np.float32: images / np.float32(255), np.int8: (images.astype(int) - 128).astype("int8")}
    outputs = one_by_one(tmp_path / "file", given[takes])
    if gives is np.int8:
        step, zero = output["quantization"]
        outputs = (outputs.astype(int) - zero) * step
    if "softmax" in include:
        expected = np.exp(expected) / np.exp(expected).sum(axis=1, keepdims=True)
    assert np.mean(outputs.argmax(axis=1) == expected.argmax(axis=1)) >= 0.95
    assert np.abs(outputs - expected).mean() < 0.1


@pytest.mark.parametrize("kind", ["sequential", "branches"])
def test_nothing_of_an_int8_file_is_in_float(tmp_path, kind):
    write(kind, "tflite-int8-io", tmp_path / "file")  # branches is a Keras model of uint8 input
    interpreter, _, _ = opened(tmp_path / "file")
    assert {tensor["dtype"] for tensor in interpreter.get_tensor_details()} <= {np.int8, np.uint8, np.int32}


def serve(model, images, **wanted):
    wanted = serving.Wanted(integer=True, **wanted)
    return serving.serve(model, images.shape[1:], serving.keras_outputs(model, images), wanted)


def test_ranges_come_from_the_representative_images(linear, tmp_path):
    model, images = linear
    steps = {}
    for name, sample in (("all", images), ("dark", images // 8), ("floats", images / 255), ("dark again", images // 8)):
        tflite.write_tflite(serve(model, images), tmp_path / "file", "int8-io", sample)
        _, image, output = opened(tmp_path / "file")
        assert image["quantization"] == (pytest.approx(1 / 255), -128)  # also where no pixel is white
        steps[name] = output["quantization"][0]
    assert steps["all"] == pytest.approx(steps["floats"], rel=1e-4)
    assert steps["dark"] == steps["dark again"] < 0.5 * steps["all"]


def test_calibration_takes_500_evenly_spread_images_with_black_and_white():
    many = np.arange(1100).reshape(-1, 1, 1, 1) % 200 + 20
    many = np.broadcast_to(many, (1100, 4, 4, 1)).astype("uint8")
    sample = tflite.calibration_images(many, in_bytes=True)
    assert (sample.shape, sample.min(), sample.max()) == ((500, 4, 4, 1), 0, 255)
    changed = sample != many[np.linspace(0, 1099, 500).round().astype(int)]
    assert changed.sum() == 2  # one pixel is made black and one white
    assert many.min() == 20  # in a copy
    unit = tflite.calibration_images(many[:3], in_bytes=False)
    assert (unit.shape, unit.dtype, unit.min(), unit.max()) == ((3, 4, 4, 1), np.float32, 0, 1)


# What is wrong with a quantised file is found by its accuracy, or without labels by its agreement.


@pytest.mark.slow
def test_a_calibration_on_other_images_is_rejected(tmp_path):
    images, labels = held_out()
    dark = {"quantize": "int8", "representative": digits()[0][:200] // 16}
    path = tmp_path / "file"
    with pytest.raises(export.ExportRejected, match=r"accuracy \d+\.\d+% \(Keras model \d+\.\d+%, limit") as caught:
        export.tflite(trained("functional"), path, images, labels, **dark)
    report = caught.value.report
    assert report.accuracy < report.accuracy_limit == pytest.approx(report.keras_accuracy - 0.01)
    assert (report.path, path.exists()) == (f"{path}.rejected", False)
    with pytest.raises(export.ExportRejected, match=r"top-1 agreement \d+\.\d+% \(limit 99.00%\)"):
        export.tflite(trained("functional"), path, images, **dark)
    accepted = export.tflite(trained("functional"), path, images, labels, accuracy_drop=0.99, **dark)
    assert accepted.accuracy == report.accuracy


@pytest.mark.parametrize("quantize", ["float16", "dynamic", "int8", "int8-io"])
def test_a_broken_conversion_is_caught(tmp_path, monkeypatch, quantize):
    write_tflite = tflite.write_tflite

    def lost_statistics(served, *rest):
        copy = keras.models.clone_model(served.model)
        copy.set_weights(served.model.get_weights())
        for layer in copy.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.moving_variance.assign(keras.ops.ones_like(layer.moving_variance))
                layer.moving_mean.assign(keras.ops.zeros_like(layer.moving_mean))
        write_tflite(dataclasses.replace(served, model=copy), *rest)

    monkeypatch.setattr(tflite, "write_tflite", lost_statistics)
    with pytest.raises(export.ExportRejected, match=r"top-1 agreement \d+.*accuracy \d+") as caught:
        write("functional", f"tflite-{quantize}", tmp_path / "file")
    assert caught.value.report.top1_agreement < 0.9
    assert [file.name for file in tmp_path.iterdir()] == ["file.rejected"]


def test_float_images_calibrate_and_verify_as_bytes_do(tmp_path):
    images, labels = held_out()
    reports = [
        export.tflite(trained("sequential"), tmp_path / name, given, labels, quantize="int8", representative=sample)
        for name, given, sample in (
            ("bytes", images, representative()),
            ("floats", images / 255, representative() / 255),
        )
    ]
    first, second = (dataclasses.replace(report, path="") for report in reports)
    assert first == second
