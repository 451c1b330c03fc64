"""Every format on real trained models, and every way in which an export may fail."""

import dataclasses
import errno
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from tfnoisekd import export
from tfnoisekd.evaluation import accuracy
from tfnoisekd.export import files, verify
from tfnoisekd.models import wide_resnet

# The package has functions of the same names as these modules.
MODULES = {name: importlib.import_module(f"tfnoisekd.export.{name}") for name in export.FORMATS}
FORMATS = sorted(export.FORMATS)


@keras.saving.register_keras_serializable("test_export")
class Subclassed(keras.Model):
    """Convolution, BatchNorm, dropout; its `call` knows training, and an error in that shows in the logits."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = keras.layers.Conv2D(8, 3, strides=2, activation="relu")
        self.norm = keras.layers.BatchNormalization()
        self.dropout = keras.layers.Dropout(0.5)
        self.head = keras.layers.Dense(10)

    def call(self, images, training=False):
        features = self.norm(self.conv(images), training=training)
        return self.head(self.dropout(keras.ops.reshape(features, (-1, 7 * 7 * 8)), training=training))


def sequential():
    return keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            keras.layers.RandomTranslation(0.1, 0.1),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(10, name="logits"),
        ],
        name="sequential_cnn",
    )


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    images = np.kron(data.images, np.ones((1, 2, 2)))[..., None] / 16 * 255
    return images.round().astype(np.uint8), data.target


@pytest.fixture(scope="module")
def held_out(digits):
    return digits[0][1500:], digits[1][1500:]


@pytest.fixture(scope="module")
def trained(digits):
    """The three kinds of Keras model, trained for a few steps, so that weights and BatchNorm statistics are real."""
    keras.utils.set_random_seed(0)
    models = {
        "functional": wide_resnet(10, 1, input_shape=(16, 16, 1), dropout=0.3),
        "sequential": sequential(),
        "subclassed": Subclassed(name="subclassed_cnn"),
    }
    images, labels = digits[0][:1024].astype("float32") / 255, digits[1][:1024]
    for model in models.values():
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(3e-3), loss, run_eagerly=False)
        model.fit(images, labels, batch_size=64, epochs=2, verbose=0)
    return models


@pytest.fixture(scope="module")
def student(trained):
    """The quickest to convert, for the tests of everything around a conversion."""
    return trained["sequential"]


def leftovers(folder):
    """Names in a folder, hidden ones too."""
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("kind", ["functional", "sequential", "subclassed"])
@pytest.mark.parametrize("format", FORMATS)
def test_every_kind_of_model_in_every_format(trained, held_out, tmp_path, format, kind, capfd):
    path = tmp_path / f"student.{format}"
    report = export.FORMATS[format](trained[kind], path, *held_out)
    expected = accuracy.predict_logits(trained[kind], held_out[0])
    assert (report.format, report.path, report.n) == (format, str(path), 297)
    assert report.bytes == files.size_on_disk(path)
    weights = 4 * trained[kind].count_params()
    graph = 250_000 if format == "saved_model" else 20_000  # a SavedModel keeps its functions' sources too
    assert 0.9 * weights < report.bytes < weights + graph  # each weight once
    assert report.max_logit_difference < 2e-5
    assert report.logit_difference_limit == pytest.approx(1e-4 * max(1, np.abs(expected).max()), rel=1e-4)
    assert report.top1_agreement == 1.0
    assert report.accuracy == report.keras_accuracy == accuracy.top1(expected, held_out[1])
    assert report.accuracy > 0.5  # trained: a model that is constant would prove little
    assert json.loads(json.dumps(dataclasses.asdict(report)))["accuracy"] == report.accuracy
    assert leftovers(tmp_path) == [path.name]
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_saved_model_loads_without_keras_and_this_package(student, held_out, tmp_path):
    export.saved_model(student, tmp_path / "student", held_out[0][:8])
    np.save(tmp_path / "images.npy", held_out[0][:5].astype("float32") / 255)
    script = """
import sys, numpy as np, tensorflow as tf
sys.modules["keras"] = sys.modules["tfnoisekd"] = None
function = tf.saved_model.load(sys.argv[1] + "/student").signatures["serving_default"]
for batch in (np.load(sys.argv[1] + "/images.npy"), np.load(sys.argv[1] + "/images.npy")[:1]):
    outputs = function(image=tf.constant(batch))
    assert list(outputs) == ["logits"], outputs
np.save(sys.argv[1] + "/logits.npy", outputs["logits"])
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = accuracy.predict_logits(student, held_out[0][:1])
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, atol=1e-5)


def test_tflite_names_its_input_and_output_and_starts_at_batch_size_one(student, held_out, tmp_path):
    export.tflite(student, tmp_path / "student.tflite", held_out[0][:8])
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(tmp_path / "student.tflite"))
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": ["logits"]}}
    interpreter.allocate_tensors()  # as a program on a device does, without signatures and without resizing
    image, logits = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert (tuple(image["shape"]), image["dtype"]) == ((1, 16, 16, 1), np.float32)
    interpreter.set_tensor(image["index"], held_out[0][:1].astype("float32") / 255)
    interpreter.invoke()
    expected = accuracy.predict_logits(student, held_out[0][:1])
    np.testing.assert_allclose(interpreter.get_tensor(logits["index"]), expected, atol=1e-5)


@pytest.mark.parametrize("opset", [13, 17, 18])
def test_onnx_has_the_opset_the_names_and_a_free_batch_size(student, held_out, tmp_path, opset):
    onnx = importlib.import_module("onnx")
    export.onnx(student, tmp_path / "student.onnx", held_out[0][:8], opset=opset)
    proto = onnx.load(tmp_path / "student.onnx")
    onnx.checker.check_model(proto)
    assert [entry.version for entry in proto.opset_import if entry.domain == ""] == [opset]
    (image,), (logits,) = proto.graph.input, proto.graph.output
    dims = [[dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in (image, logits)]
    assert (image.name, logits.name, dims) == ("image", "logits", [["batch", 16, 16, 1], ["batch", 10]])


@pytest.mark.parametrize("opset", [12, 19, "17"])
def test_onnx_refuses_an_opset_that_it_cannot_write(student, held_out, tmp_path, opset):
    with pytest.raises(ValueError, match=rf"`opset` must be from 13 to 18; tf2onnx.*Received: opset={opset!r}"):
        export.onnx(student, tmp_path / "student.onnx", held_out[0], opset=opset)


def test_a_size_that_the_model_leaves_open_is_that_of_the_images(held_out, tmp_path):
    report = export.onnx(wide_resnet(10, 1, input_shape=(None, None, 1)), tmp_path / "open.onnx", held_out[0][:4])
    assert report.top1_agreement == 1.0
    assert (report.accuracy, report.keras_accuracy) == (None, None)


# What may be broken in a conversion. Each writes a file that loads and runs, and that is wrong.


def nan_weights(model):
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])


def lost_batchnorm_statistics(model):
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(keras.ops.zeros_like(layer.moving_mean))
            layer.moving_variance.assign(keras.ops.ones_like(layer.moving_variance))


def slightly_wrong_bias(model):
    kernel, bias = model.get_layer("logits").get_weights()
    bias[3] += 0.01
    model.get_layer("logits").set_weights([kernel, bias])


def broken(format, breakage):
    """The real conversion, of a copy of the model with something broken in it."""
    write = getattr(MODULES[format], f"write_{format}")

    def convert(model, *rest):
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        breakage(copy)
        write(copy, *rest)

    return convert


@pytest.mark.parametrize(
    "breakage, message",
    [
        (nan_weights, r"max logit difference nan .*297 of 297 images with NaN or infinite logits"),
        (lost_batchnorm_statistics, r"max logit difference \d.* \(limit [\d.e-]+\), top-1 agreement [\d.]+%"),
        (slightly_wrong_bias, r"max logit difference 0\.01 \(limit 0\.00\d+\)"),
    ],
)
@pytest.mark.parametrize("format", FORMATS)
def test_a_broken_conversion_is_rejected_and_kept_aside(
    student, held_out, tmp_path, monkeypatch, format, breakage, message
):
    path = tmp_path / "student"
    monkeypatch.setattr(MODULES[format], f"write_{format}", broken(format, breakage))
    with pytest.raises(export.ExportRejected, match=rf"^`{format}` export must agree.*{message}") as caught:
        export.FORMATS[format](student, path, held_out[0])
    assert str(caught.value).endswith(
        f"nothing was written to {path}, the file is kept for inspection at {path}.rejected"
    )
    assert "\n" not in str(caught.value)
    assert leftovers(tmp_path) == ["student.rejected"]
    run = getattr(MODULES[format], f"load_{format}")(Path(f"{path}.rejected"))
    assert run(np.zeros((1, 16, 16, 1), "float32")).shape == (1, 10)


def test_a_rejected_overwrite_leaves_the_older_file_and_replaces_the_older_rejected_one(
    student, held_out, tmp_path, monkeypatch
):
    for format in FORMATS:
        path = tmp_path / format
        export.FORMATS[format](student, path, held_out[0][:4])
        before = digest(path)
        monkeypatch.setattr(MODULES[format], f"write_{format}", broken(format, nan_weights))
        (tmp_path / f"{format}.rejected").write_bytes(b"an older one")
        with pytest.raises(export.ExportRejected):
            export.FORMATS[format](student, path, held_out[0][:4], overwrite=True)
        assert files.size_on_disk(tmp_path / f"{format}.rejected") > 1000
        assert digest(path) == before
    assert leftovers(tmp_path) == sorted([*FORMATS, *(f"{format}.rejected" for format in FORMATS)])


def digest(path):
    """What a file or a folder holds."""
    if path.is_file():
        return path.read_bytes()
    return {file.relative_to(path): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def test_a_file_that_cannot_be_run_is_rejected(student, held_out, tmp_path, monkeypatch):
    def truncated(model, shape, path, opset):
        path.write_bytes(b"half a file")

    monkeypatch.setattr(MODULES["onnx"], "write_onnx", truncated)
    with pytest.raises(export.ExportRejected, match=r"running it fails with InvalidProtobuf: .*nothing was written"):
        export.onnx(student, tmp_path / "student.onnx", held_out[0])
    assert leftovers(tmp_path) == ["student.onnx.rejected"]


def test_comparison_catches_a_frozen_batch_size_and_a_single_wrong_image():
    images = np.random.default_rng(0).random((20, 2, 2, 1), dtype=np.float32)
    expected = np.concatenate([images.sum(axis=(1, 2)), 2 - images.sum(axis=(1, 2))], axis=1)

    def right(batch):
        return np.concatenate([batch.sum(axis=(1, 2)), 2 - batch.sum(axis=(1, 2))], axis=1)

    def wrong_alone(batch):
        return right(batch) + (len(batch) == 1)

    def wrong_in_company(batch):
        return right(batch) + (len(batch) > 1)

    def first_only(batch):
        return right(batch[:1])

    logits, measured = verify.compare(right, images, expected)
    np.testing.assert_allclose(logits, expected, atol=1e-6)
    assert measured["max_logit_difference"] < 1e-6
    assert measured["top1_agreement"] == 1.0
    for run in (wrong_alone, wrong_in_company):
        logits, measured = verify.compare(run, images, expected)
        assert measured["max_logit_difference"] == pytest.approx(1, abs=1e-5)
        assert "max logit difference 1 " in verify.over_the_limits(logits, measured, verify.FLOAT32)
    with pytest.raises(ValueError, match=r"20 images must give logits \(20, 2\). Received: \(1, 2\)"):
        verify.compare(first_only, images, expected)


def test_limits_are_relative_to_large_logits_only_and_nothing_but_a_number_passes():
    images, small, large = np.zeros((1, 2, 2, 1), "float32"), np.array([[0.1, 0.2]]), np.array([[50.0, -80.0]])
    for expected, limit in ((small, 1e-4), (large, 8e-3)):
        _, measured = verify.compare(lambda batch, out=expected: out + 0.9 * limit, images, expected)  # noqa: B023
        assert measured["logit_difference_limit"] == pytest.approx(limit)
        assert verify.over_the_limits(expected, measured, verify.FLOAT32) is None
        logits, measured = verify.compare(lambda batch, out=expected: out + 1.1 * limit, images, expected)  # noqa: B023
        assert "top-1 agreement 100.00%" in verify.over_the_limits(logits, measured, verify.FLOAT32)
    for value in (np.nan, np.inf, -np.inf):
        logits, measured = verify.compare(lambda batch, out=value: np.array([[0.1, out]]), images, small)
        assert "1 of 1 images with NaN or infinite logits" in verify.over_the_limits(logits, measured, verify.FLOAT32)
    flipped = {"max_logit_difference": 0.0, "logit_difference_limit": 1e-4, "top1_agreement": 0.99}
    assert "top-1 agreement 99.00% (limit 100.00%)" in verify.over_the_limits(small, flipped, verify.FLOAT32)


# Failures in the middle


def test_a_converter_that_raises_leaves_everything_as_it_was(student, held_out, tmp_path, monkeypatch, capfd):
    def failing(model, shape, path, *rest):
        os.write(2, b"chatter that explains the error\n")
        raise RuntimeError("the converter gave up")

    for format in FORMATS:
        export.FORMATS[format](student, tmp_path / format, held_out[0][:4])
        before = digest(tmp_path / format)
        monkeypatch.setattr(MODULES[format], f"write_{format}", failing)
        capfd.readouterr()
        for path in (tmp_path / format, tmp_path / "fresh"):
            with pytest.raises(RuntimeError, match="the converter gave up"):
                export.FORMATS[format](student, path, held_out[0][:4], overwrite=True)
        assert capfd.readouterr().err == "chatter that explains the error\n" * 2
        assert digest(tmp_path / format) == before
    assert leftovers(tmp_path) == FORMATS


def test_a_full_disk_leaves_everything_as_it_was(student, held_out, tmp_path, monkeypatch):
    for format in FORMATS:
        export.FORMATS[format](student, tmp_path / format, held_out[0][:4])
    before = {format: digest(tmp_path / format) for format in FORMATS}
    write_bytes, write_saved_model = Path.write_bytes, MODULES["saved_model"].write_saved_model

    def half(path, data):
        write_bytes(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def half_folder(model, shape, path):
        write_saved_model(model, shape, path)
        half(path / "variables" / "variables.index", (path / "variables" / "variables.index").read_bytes())

    for format in FORMATS:
        with monkeypatch.context() as patch:
            if format == "saved_model":
                patch.setattr(MODULES["saved_model"], "write_saved_model", half_folder)
            else:
                patch.setattr(Path, "write_bytes", half)
            for path in (tmp_path / format, tmp_path / "fresh"):
                with pytest.raises(OSError, match="No space left on device"):
                    export.FORMATS[format](student, path, held_out[0][:4], overwrite=True)
    assert leftovers(tmp_path) == FORMATS
    assert {format: digest(tmp_path / format) for format in FORMATS} == before


def test_an_interrupted_replacement_brings_the_older_folder_back(tmp_path, monkeypatch):
    old, new = tmp_path / "student", tmp_path / ".student.1.partial"
    for folder, text in ((old, "old"), (new, "new")):
        folder.mkdir()
        (folder / "saved_model.pb").write_text(text)
    rename, calls = os.rename, []

    def failing_once(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing_once)
    with pytest.raises(KeyboardInterrupt):
        files.replace(new, old)
    assert (old / "saved_model.pb").read_text() == "old"
    files.replace(new, old)
    assert (old / "saved_model.pb").read_text() == "new"
    assert leftovers(tmp_path) == ["student"]


@pytest.mark.parametrize("format", FORMATS)
def test_overwriting_has_to_be_asked_for(trained, held_out, tmp_path, format):
    path = tmp_path / "deep" / "student"
    first = export.FORMATS[format](trained["sequential"], path, held_out[0][:4])
    with pytest.raises(
        FileExistsError, match=r"`path` must not exist yet.*overwrite=True \(command line: --overwrite\)"
    ):
        export.FORMATS[format](trained["subclassed"], path, held_out[0][:4])
    second = export.FORMATS[format](trained["subclassed"], path, held_out[0][:4], overwrite=True)
    assert second.bytes == files.size_on_disk(path) != first.bytes
    assert leftovers(path.parent) == ["student"]


def test_overwriting_never_removes_what_is_no_export(student, held_out, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years")
    for format in FORMATS:
        with pytest.raises(FileExistsError, match=r"can be overwritten only where it is a (file|SavedModel folder)"):
            export.FORMATS[format](student, precious, held_out[0], overwrite=True)
    assert (precious / "thesis.txt").read_text() == "years"


# Models, images and surroundings that do not fit


def several_inputs():
    inputs = [keras.Input((16, 16, 1)), keras.Input((16, 16, 1))]
    return keras.Model(inputs, keras.layers.Flatten()(keras.layers.Add()(inputs)))


def several_outputs():
    inputs = keras.Input((16, 16, 1))
    flat = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, [keras.layers.Dense(10)(flat), keras.layers.Dense(2)(flat)])


class TwoArguments(keras.Model):
    def call(self, image, mask_image):
        return image


def mixed_precision():
    inputs = keras.Input((16, 16, 1))
    return keras.Model(inputs, keras.layers.Dense(10, dtype="mixed_bfloat16")(keras.layers.Flatten()(inputs)))


def diverged():
    model = wide_resnet(10, 1, input_shape=(16, 16, 1))
    nan_weights(model)
    return model


@pytest.mark.parametrize(
    "make, error, message",
    [
        (several_inputs, ValueError, r"`model` must take one input.*\(None, 16, 16, 1\), \(None, 16, 16, 1\)"),
        (TwoArguments, ValueError, r"`model` must take one input.*call\(\) with inputs \['image', 'mask_image'\]"),
        (several_outputs, ValueError, r"`model` must give one output.*\[\(4, 10\), \(4, 2\)\]"),
        (
            Subclassed,
            ValueError,
            r"must know its input shape.*call it once on a batch of images, model\(images\[:1\]\)",
        ),
        (keras.Sequential, ValueError, r"must know its input shape.*keras.Input\(\(height, width, channels\)\)"),
        (mixed_precision, ValueError, r"compute in float32. Received: layers that compute in bfloat16"),
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


@pytest.mark.parametrize("module", ["tf2onnx", "onnxruntime"])
def test_a_missing_runtime_is_named_before_any_work(student, held_out, tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"`onnx` export needs the package {module}.*pip install {module}"):
        export.onnx(student, tmp_path / "student.onnx", held_out[0])
    assert leftovers(tmp_path) == []


def test_without_litert_the_interpreter_of_tensorflow_verifies(student, held_out, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    report = export.tflite(student, tmp_path / "student.tflite", held_out[0][:20])
    assert report.top1_agreement == 1.0
    interpreter = MODULES["tflite"].interpreter(tmp_path / "student.tflite")
    assert type(interpreter).__module__.startswith("tensorflow")


def test_importing_the_package_loads_no_framework():
    script = "import sys, tfnoisekd.export; print([m for m in ('keras', 'tensorflow', 'onnx') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_quiet_holds_back_chatter_only_while_all_is_well(capfd):
    with files.quiet():
        os.write(2, b"chatter\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
    with pytest.raises(ZeroDivisionError), files.quiet():
        os.write(2, b"the cause\n")
        raise ZeroDivisionError
    assert capfd.readouterr().err == "the cause\n"
