"""An exported file as anyone opens it: any number of images, one image to be timed, and nothing of its layout."""

import keras
import numpy as np
import pytest
from keras import layers

from tfnoisekd import export
from tfnoisekd.export import pixels, runtimes

TARGETS = {
    "saved_model": ("saved_model", {}, "float32"),
    "saved_model-bytes": ("saved_model", {"include": "preprocessing"}, "uint8"),
    "onnx": ("onnx", {}, "float32"),
    "onnx-bytes-nchw": ("onnx", {"channels_first": True, "include": "preprocessing"}, "uint8"),
    "tflite": ("tflite", {}, "float32"),
    "tflite-bytes": ("tflite", {"include": "preprocessing"}, "uint8"),
    "int8": ("tflite", {"quantize": "int8"}, "float32"),
    "int8-io": ("tflite", {"quantize": "int8-io"}, "int8"),
    "int8-io-bytes": ("tflite", {"quantize": "int8-io", "include": ("preprocessing", "softmax")}, "uint8"),
}


@pytest.fixture(scope="module")
def colours():
    """Images whose sides and channels all differ, so that no mix-up of axes goes unseen."""
    return np.random.default_rng(0).integers(0, 256, (40, 8, 6, 3)).astype("uint8")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((8, 6, 3)),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )


@pytest.fixture(scope="module")
def paths(model, colours, tmp_path_factory):
    """Every target, written."""
    folder = tmp_path_factory.mktemp("exports")
    for name, (format, options, _) in TARGETS.items():
        more = {"representative": colours[:20].copy(), "accuracy_drop": 0.5} if format == "tflite" else {}
        export.FORMATS[format](model, folder / name, colours, **options, **more)
    return folder


def close(name, outputs, model, images):
    expected = model.predict(pixels.to_unit(images), verbose=0)
    if "io-bytes" in name:
        expected = np.exp(expected) / np.exp(expected).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(outputs, expected, atol=0.15 if "int8" in name else 1e-5)


@pytest.mark.parametrize("name", TARGETS)
def test_any_number_of_images_and_one_alone(name, paths, model, colours):
    format, options, dtype = TARGETS[name]
    file = export.open_file(format, paths / name)
    assert (file.input_dtype, file.image_shape) == (dtype, (8, 6, 3))
    assert file.channels_first == options.get("channels_first", False)
    assert file.output_kind == ("probabilities" if "softmax" in options.get("include", ()) else "logits")
    assert file.batch == (1 if "int8-io" in name else None)
    every = file.run(colours)
    assert (every.dtype, every.shape) == (np.float32, (40, 5))
    close(name, every, model, colours)
    step = 0.02 if "int8" in name else 1e-6  # another kernel may run for another number of images
    for n, batch_size in ((1, 256), (7, 3), (40, 16)):
        np.testing.assert_allclose(file.run(colours[:n], batch_size), every[:n], atol=step)
    np.testing.assert_allclose(file.run(pixels.to_unit(colours)), every, atol=step)  # floats are the same images
    np.testing.assert_allclose(file.run_single(colours[5]), every[5:6], atol=step)
    file.prepare(colours[3])
    for _ in range(3):  # as often as a benchmark likes
        file.invoke()
    np.testing.assert_allclose(file.result(), every[3:4], atol=step)


@pytest.mark.parametrize("name", ["onnx-bytes-nchw", "int8-io", "int8-io-bytes", "tflite"])
def test_what_is_prepared_is_what_the_file_itself_takes(name, paths, colours):
    encoded = runtimes.open_file(TARGETS[name][0], paths / name).encode(colours[:2])
    expected = {
        "onnx-bytes-nchw": colours[:2].transpose(0, 3, 1, 2),
        "int8-io": (colours[:2].astype(int) - 128).astype("int8"),
        "int8-io-bytes": colours[:2],
        "tflite": colours[:2].astype("float32") / np.float32(255),
    }[name]
    assert encoded.dtype == expected.dtype
    np.testing.assert_array_equal(encoded, expected)


def test_a_file_of_a_fixed_batch_size_runs_any_number(model, colours, tmp_path):
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.add_endpoint(
        "serving_default",
        lambda image: {"logits": model(image)},
        input_signature=[tf.TensorSpec((16, 8, 6, 3), tf.float32, name="image")],
    )
    archive.write_out(str(tmp_path / "fixed"), verbose=False)
    file = export.open_file("saved_model", tmp_path / "fixed")
    assert file.batch == 16
    close("fixed", file.run(colours), model, colours)  # 16, 16 and 8 that are filled up
    close("fixed", file.run_single(colours[0]), model, colours[:1])


def test_onnx_runtime_gets_the_threads_and_runs_in_order(paths):
    for threads in (1, 3):
        options = export.open_file("onnx", paths / "onnx", threads=threads).session.get_session_options()
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (threads, 1)
        assert options.execution_mode.name == "ORT_SEQUENTIAL"


def test_litert_gets_the_threads(paths, monkeypatch):
    from ai_edge_litert import interpreter

    real, seen = interpreter.Interpreter, []
    monkeypatch.setattr(interpreter, "Interpreter", lambda **options: seen.append(options) or real(**options))
    export.open_file("tflite", paths / "tflite", threads=3)
    assert [options["num_threads"] for options in seen] == [3]


def test_channels_first_equals_channels_last(paths, model, colours, tmp_path):
    """By onnxruntime and NumPy alone."""
    import onnxruntime

    export.onnx(model, tmp_path / "nchw", colours, channels_first=True)
    last, first = (onnxruntime.InferenceSession(str(path)) for path in (paths / "onnx", tmp_path / "nchw"))
    assert [session.get_inputs()[0].shape for session in (last, first)] == [["batch", 8, 6, 3], ["batch", 3, 8, 6]]
    images = colours.astype("float32") / 255
    expected = last.run(["logits"], {"image": images})[0]
    found = first.run(["logits"], {"image": images.transpose(0, 3, 1, 2).copy()})[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    "format, name, options, error, message",
    [
        (
            "tflight",
            "tflite",
            {},
            ValueError,
            r"`format` must be one of tflite, onnx, saved_model. .*'tflight'",
        ),
        ("onnx", "absent", {}, FileNotFoundError, r"`path` must be an exported file.*absent'"),
        (
            "onnx",
            "onnx",
            {"threads": 0},
            ValueError,
            r"`threads` must be an integer of at least 1. .*threads=0",
        ),
        ("onnx", "onnx", {"threads": True}, ValueError, r"Received: threads=True"),
    ],
)
def test_files_that_cannot_be_opened(paths, format, name, options, error, message):
    with pytest.raises(error, match=message):
        export.open_file(format, paths / name, **options)


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((0, 8, 6, 3), "uint8"), r"at least one image"),
        (np.zeros((2, 3, 8, 6), "uint8"), r"`images` must have the shape that the model takes, \(n, 8, 6, 3\)"),
        (np.full((2, 8, 6, 3), 1.5), r"must lie in \[0, 1\]"),
        (np.zeros((2, 8, 6, 3), "int32"), r"must be uint8 in 0..255 or float in \[0, 1\]. Received: dtype int32"),
    ],
)
def test_images_that_a_file_does_not_take(paths, images, message):
    for name in ("onnx-bytes-nchw", "int8-io"):
        with pytest.raises(ValueError, match=message):
            export.open_file(TARGETS[name][0], paths / name).run(images)


def test_bytes_and_floats_are_the_same_images():
    every = np.arange(256, dtype="uint8")
    np.testing.assert_array_equal(pixels.to_bytes(pixels.to_unit(every)), every)
    np.testing.assert_array_equal(pixels.to_bytes(np.array([0.0, 0.4999 / 255, 0.5001 / 255, 1.0])), [0, 0, 1, 255])
