"""The scripts that run on a device give what Keras gives, where neither TensorFlow nor this package can be imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image
from test_export_models import held_out, keras_outputs, write

from tfnoisekd.evaluation import prediction
from tfnoisekd.export import description, ends, metadata
from tfnoisekd.export.serving import softmax

SCRIPTS = Path(__file__).resolve().parent.parent / "examples" / "on_device"
NAMES = ("zéro", "uno", "二", "three", "vier", "fünf", "six", "sjö", "åtta", "nio")
# Files by name: target and what is folded in. Both scripts see all types of input and output that there are.
FILES = {
    "litert": {
        "float.tflite": ("tflite-none", ()),
        "probabilities.tflite": ("tflite-none", ("softmax",)),
        "bytes.tflite": ("tflite-dynamic", ("preprocessing",)),
        "int8.tflite": ("tflite-int8", ()),
        "int8_bytes.tflite": ("tflite-int8", ("preprocessing",)),
        "int8_io.tflite": ("tflite-int8-io", ()),
        "int8_io_probabilities.tflite": ("tflite-int8-io", ("preprocessing", "softmax")),
    },
    "onnx": {
        "float.onnx": ("onnx", ()),
        "channels_first.onnx": ("onnx-nchw", ()),
        "bytes.onnx": ("onnx-nchw", ("preprocessing", "softmax")),
    },
}
BLOCKED = "import sys\nfor name in ('tensorflow', 'keras', 'tfnoisekd'): sys.modules[name] = None\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All FILES, each with its labels inside, and images: held-out ones as an array, the first as .png and .npy."""
    folder = tmp_path_factory.mktemp("device")
    images, labels = held_out()
    for files in FILES.values():
        for name, (target, include) in files.items():
            report = write("sequential", target, folder / name, images[:60], labels[:60], include=include)
            metadata.embed(report.format, folder / name, description.Description("digits", NAMES), report.quantize)
    np.save(folder / "images.npy", images[:60])
    np.save(folder / "first.npy", images[0])
    np.save(folder / "first_float.npy", images[0] / np.float32(255))
    Image.fromarray(images[0, ..., 0]).save(folder / "first.png")
    return folder


def fresh(code, folder, *arguments, blocked=()):
    """What code prints in a process of its own that sees no TensorFlow, Keras or this package."""
    code = BLOCKED + "".join(f"sys.modules[{name!r}] = None\n" for name in blocked) + code
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def script(name, folder, *arguments, **options):
    """What a script prints, as a list of lines."""
    path = SCRIPTS / f"classify_{name}.py"
    code = f"import runpy; sys.argv[0] = {str(path)!r}; runpy.run_path({str(path)!r}, run_name='__main__')"
    return fresh(code, folder, *arguments, **options).splitlines()


OPEN = {
    "litert": "opened = device.Interpreter(name); opened.allocate_tensors()\n",
    "onnx": "opened = device.onnxruntime.InferenceSession(name)\n",
}


@pytest.mark.parametrize("runtime", FILES)
def test_a_script_gives_the_probabilities_of_keras_for_every_type_of_file(runtime, folder):
    code = (
        f"sys.path.insert(0, {str(SCRIPTS)!r})\n"
        f"import json, numpy as np, classify_{runtime} as device\n"
        "images, answers = np.load('images.npy'), {}\n"
        f"for name in {list(FILES[runtime])!r}:\n"
        f"    {OPEN[runtime].rstrip()}\n"
        "    answers[name] = [device.classify(opened, image).tolist() for image in images]\n"
        "    floats = [device.classify(opened, image / np.float32(255)).tolist() for image in images]\n"
        "    assert np.abs(np.subtract(floats, answers[name])).max() < 1e-5, name\n"
        "print(json.dumps(answers))"
    )
    answers = json.loads(fresh(code, folder))
    expected = softmax(keras_outputs("sequential"))[:60]
    assert sorted(answers) == sorted(FILES[runtime])
    for name, answer in answers.items():
        exact = name in ("float.tflite", "probabilities.tflite") or runtime == "onnx"
        np.testing.assert_allclose(answer, expected, atol=1e-5 if exact else 0.15, err_msg=name)
        same = (np.argmax(answer, axis=1) == expected.argmax(axis=1)).mean()
        assert same == 1 if exact else same > 0.95, name


@pytest.mark.parametrize(("runtime", "name"), [("litert", "float.tflite"), ("onnx", "channels_first.onnx")])
@pytest.mark.parametrize("image", ["first.png", "first.npy", "first_float.npy"])
def test_the_command_prints_the_best_classes_by_the_names_inside_the_file(runtime, name, image, folder):
    expected = softmax(keras_outputs("sequential"))[0]
    lines = [f"{expected[index]:.3f}  {NAMES[index]}" for index in expected.argsort()[::-1][:4]]
    blocked = () if image == "first.png" else ("PIL",)  # arrays need no Pillow
    assert script(runtime, folder, name, image, "--top", 4, blocked=blocked) == lines


@pytest.mark.parametrize("runtime", FILES)
def test_without_labels_inside_those_of_the_text_file_are_taken(runtime, folder, tmp_path):
    target, suffix = ("tflite-none", "tflite") if runtime == "litert" else ("onnx", "onnx")
    images, labels = held_out()
    write("sequential", target, tmp_path / f"plain.{suffix}", images[:8], labels[:8])
    (tmp_path / "labels.txt").write_text("\n".join(f"klass {name}" for name in NAMES), encoding="utf-8")
    best = NAMES[keras_outputs("sequential")[0].argmax()]
    (line,) = script(runtime, tmp_path, f"plain.{suffix}", folder / "first.png", "--top", 1)
    assert line.endswith(f"  klass {best}")


def test_an_onnx_file_that_takes_int8_gets_bytes_less_128(tmp_path):
    rng = np.random.default_rng(0)
    model = keras.Sequential([keras.Input((4, 5, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    kernel, image = model.get_weights()[0], rng.integers(0, 256, (4, 5, 3)).astype("uint8")
    constants = {"shift": np.float32(128), "scale": np.float32(255), "kernel": kernel}
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Add", ["float", "shift"], ["byte"]),
        helper.make_node("Div", ["byte", "scale"], ["unit"]),
        helper.make_node("Flatten", ["unit"], ["flat"]),
        helper.make_node("MatMul", ["flat", "kernel"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "int8",
        [helper.make_tensor_value_info("image", onnx.TensorProto.INT8, ["batch", 4, 5, 3])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "int8.onnx").write_bytes(proto.SerializeToString())
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    np.save(tmp_path / "image.npy", image)
    expected = softmax(prediction.predict_logits(model, image[None]))[0]
    lines = [f"{expected[index]:.3f}  {'abc'[index]}" for index in expected.argsort()[::-1]]
    assert script("onnx", tmp_path, "int8.onnx", "image.npy") == lines


def test_the_table_of_the_document_is_what_the_files_take_and_give(folder):
    text = (SCRIPTS.parent.parent / "docs" / "on_device.md").read_text(encoding="utf-8")
    table = text.split("| file | `image` |")[1].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table]
    assert ["int8-io" in row[0] for row in rows] == [False, False, True, True]
    for runtime, files in FILES.items():
        for name, (target, include) in files.items():
            image, output = ends.of_file("tflite" if runtime == "litert" else "onnx", folder / name)
            row = rows[2 * ("int8-io" in target) + ("preprocessing" in include)]
            assert row[1] == f"{image.dtype}, {image.minimum} to {image.maximum}", name
            assert row[3] == output.dtype, name
