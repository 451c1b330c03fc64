"""What every export keeps to: names and shapes, and what is left behind when something fails."""

import errno
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import test_export_models
from test_export_models import digest, leftovers

from tfnoisekd import export
from tfnoisekd.evaluation import prediction
from tfnoisekd.export import files, runtimes

# The package has functions of the same names as these modules.
MODULES = {name: importlib.import_module(f"tfnoisekd.export.{name}") for name in export.FORMATS}
FORMATS = sorted(export.FORMATS)


@pytest.fixture(scope="module")
def held_out():
    return test_export_models.held_out()


@pytest.fixture(scope="module")
def student():
    """The quickest to convert, for the tests of everything around a conversion."""
    return test_export_models.trained("sequential")


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
    expected = prediction.predict_logits(student, held_out[0][:1])
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
    expected = prediction.predict_logits(student, held_out[0][:1])
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


# Failures in the middle


def test_a_converter_that_raises_leaves_everything_as_it_was(student, held_out, tmp_path, monkeypatch, capfd):
    def failing(served, path, *rest):
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


@pytest.mark.slow
def test_a_full_disk_leaves_everything_as_it_was(student, held_out, tmp_path, monkeypatch):
    for format in FORMATS:
        export.FORMATS[format](student, tmp_path / format, held_out[0][:4])
    before = {format: digest(tmp_path / format) for format in FORMATS}
    write_bytes, write_saved_model = Path.write_bytes, MODULES["saved_model"].write_saved_model

    def half(path, data):
        write_bytes(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def half_folder(served, path):
        write_saved_model(served, path)
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
def test_overwriting_has_to_be_asked_for(held_out, tmp_path, format):
    trained = test_export_models.trained
    path = tmp_path / "deep" / "student"
    first = export.FORMATS[format](trained("sequential"), path, held_out[0][:4])
    with pytest.raises(
        FileExistsError, match=r"`path` must not exist yet.*overwrite=True \(command line: --overwrite\)"
    ):
        export.FORMATS[format](trained("subclassed"), path, held_out[0][:4])
    second = export.FORMATS[format](trained("subclassed"), path, held_out[0][:4], overwrite=True)
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


# Surroundings


@pytest.mark.parametrize("module", ["tf2onnx", "onnxruntime"])
def test_a_missing_runtime_is_named_before_any_work(student, held_out, tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"`onnx` export needs the package {module}.*pip install {module}"):
        export.onnx(student, tmp_path / "student.onnx", held_out[0])
    assert leftovers(tmp_path) == []


def test_without_litert_the_interpreter_of_tensorflow_verifies(student, held_out, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    report = export.tflite(student, tmp_path / "student.tflite", held_out[0][:20])
    assert report.top1_agreement == 1.0
    interpreter = runtimes.interpreter(tmp_path / "student.tflite", threads=1)
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
