"""What a file says of itself, that saying it changes nothing else of the file, and the card beside it."""

import dataclasses
import importlib
import json
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import yaml
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from PIL import Image
from test_export_models import digest, held_out, keras_outputs, leftovers, trained, write

from tfnoisekd import config, export, inspection, methods
from tfnoisekd.evaluation import accuracy
from tfnoisekd.evaluation.intervals import wilson_interval
from tfnoisekd.export import description, ends, files, metadata, model_card, origin, snippets

NAMES = ("zéro", "uno", "二", "three", "vier", "fünf", "six", "sjö", "åtta", "'nio|9'")
# Every kind of input: (target, folded in, dtype, layout, batch, minimum, maximum).
INPUTS = {
    "float.tflite": ("tflite-none", (), "float32", "NHWC", None, 0, 1),
    "bytes.tflite": ("tflite-int8", ("preprocessing",), "uint8", "NHWC", None, 0, 255),
    "int8_io.tflite": ("tflite-int8-io", (), "int8", "NHWC", 1, -128, 127),
    "float.onnx": ("onnx", (), "float32", "NHWC", None, 0, 1),
    "bytes_first.onnx": ("onnx-nchw", ("preprocessing", "softmax"), "uint8", "NCHW", None, 0, 255),
    "saved_model": ("saved_model", (), "float32", "NHWC", None, 0, 1),
}


def run_record(model, **settings):
    """What a run writes of a student: real settings and results, an invented teacher and data set."""
    labels = held_out()[1]
    settings = {"method": "mc", "data": "npz:/home/somebody/secret/scans.npz", "student": "wrn-16-2", **settings}
    resolved = methods.resolve(config.build(settings))
    return {
        "status": "finished",
        "config": resolved.model_dump(mode="json"),
        "provenance": {
            "code": "abc123",
            "versions": {"keras": "3.15.1"},
            "device": "a processor",
            "command": "tfnoisekd train --data npz:/home/somebody/secret/scans.npz",
        },
        "data": {
            "name": settings["data"],
            "path": "../secret/scans.npz",
            "fingerprint": "f" * 64,
            "train": 1200,
            "validation": 300,
            "test": 297,
            "corruption": {"kind": "symmetric", "rate": 0.2, "seed": 0, "true_rate": 0.18, "n": 216},
            "class_names": list(NAMES),
        },
        "teacher": {"path": "../teachers/t/student.keras", "weights_sha256": "e" * 64, "parameters": 1234567},
        "finished_at": "2026-01-02T03:04:05.000000+00:00",
        "student_weights_sha256": inspection.weights_digest(model),
        "results": accuracy.of_logits(keras_outputs("sequential"), labels, NAMES, keras_outputs("sequential")),
    }


@pytest.fixture(scope="module")
def model():
    return trained("sequential")


@pytest.fixture(scope="module")
def described(model):
    return description.of_run(run_record(model, sigma=0.05), model, licence="CC-BY-4.0")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Folder of the files of INPUTS without a description, and their reports by name. Not to be changed."""
    folder = tmp_path_factory.mktemp("plain")
    reports = {
        name: write("sequential", target, folder / name, include=include)
        for name, (target, include, *_) in INPUTS.items()
    }
    return folder, reports


def copied(exported, name, folder):
    """A copy of a file to put a description in: (format, path, report)."""
    source, reports = exported
    subprocess.run(["cp", "-r", str(source / name), str(folder / name)], check=True)
    report = dataclasses.replace(reports[name], path=str(folder / name))
    return report.format, folder / name, report


def test_a_run_becomes_a_description(model, described):
    expected = keras_outputs("sequential")
    found = described.training
    assert described.name == "wrn-16-2 (mc, npz:scans.npz)" and described.licence == "CC-BY-4.0"
    assert (described.class_names, described.parameters) == (NAMES, 80 + 16 + 3930)
    assert described.metrics["accuracy"] == accuracy.top1(expected, held_out()[1])
    assert described.metrics["accuracy_interval"] == run_record(model)["results"]["accuracy_interval"]
    assert (described.metrics["n"], described.metrics["num_bins"], described.metrics["agreement"]) == (297, 15, 1.0)
    each = accuracy.per_class(expected, held_out()[1], NAMES)
    lowest = [found["accuracy"] for found in described.metrics["lowest_classes"]]
    assert lowest == sorted(found["accuracy"] for found in each.values())[:5]
    assert "per_class" not in described.metrics
    assert found.settings["sigma"] == 0.05 and found.settings["rate"] == 0.1 and found.settings["teacher_seeds"] == [0]
    assert found.teacher == {"name": "wrn-40-2", "parameters": 1234567, "weights_sha256": "e" * 64}
    assert found.data["corruption"]["n"] == 216 and found.data["fingerprint"] == "f" * 64
    assert described.versions["training"] == {"keras": "3.15.1"}
    exporting = described.versions["export"]
    assert exporting["keras"] == keras.__version__ and {"ai-edge-litert", "onnxruntime"} <= set(exporting)
    assert (described.format, described.input, described.output) == (None, None, None)


def test_what_a_trial_reached_on_validation_images_is_no_test_result(model):
    record = run_record(model)
    assert description.of_run({**record, "split": "test"}, model).metrics == description.of_run(record, model).metrics
    assert description.of_run({**record, "split": "validation"}, model).metrics is None


def test_nothing_of_the_machine_or_its_user_is_told(model, described):
    for private in ("somebody", "secret", "home/", "../", "tfnoisekd train", "a processor"):
        assert private not in described.to_json(), private
    record = run_record(model, teacher="C:\\Users\\me\\teacher.keras", data="folder:/home/me/photos/")
    told = description.of_run(record, model).to_json()
    assert '"folder:photos"' in told and '"teacher.keras"' in told and "me/" not in told and "Users" not in told


@pytest.mark.parametrize(
    ("settings", "losses", "noise"),
    [
        ({"method": "baseline"}, "cross-entropy with the labels", []),
        ({"method": "baseline", "dropout": 0.3}, "cross-entropy with the labels", ["dropout at a rate of 0.3."]),
        ({"method": "ga", "sigma": 0.1}, "cross-entropy", ["0.1, where .* to the input, .*Gaussian augmentation"]),
        ({"method": "hinton", "alpha": 0.7}, "labels and the divergence .* weight 0.7, temperature 4", []),
        ({"method": "sr"}, "Hinton", ["0.05, .* to the student's input, .*Soft Randomization"]),
        ({"method": "mc", "rate": 0.2, "sigma": 0.1}, "Hinton", ["of 0.1, ", "probability of 0.2 .Messy"]),
        ({"method": "ft"}, "Hinton", ["rate of 0.4, stayed on .*Fickle Teacher"]),
        ({"method": "at"}, "^cross-entropy with the labels and attention transfer .*2017.$", []),
        ({"method": "rkd-da+ft"}, "distances and angles .* and the divergence", ["Fickle Teacher"]),
        ({"method": "sp", "dropout": 0.3}, "similarity preserving", []),
    ],
)
def test_losses_and_noise_in_words(model, settings, losses, noise):
    record = run_record(model, **settings)
    if not methods.get(settings["method"]).distils:
        record["teacher"] = None
    found = origin.of_record(record)
    assert re.search(losses, found.losses)
    assert len(found.noise) == len(noise)
    for sentence, pattern in zip(found.noise, noise, strict=True):
        assert re.search(pattern, sentence) and sentence.endswith(".")
    assert (found.teacher is None) == (record["teacher"] is None)


def test_a_bare_model_says_what_it_does_to_pixels_and_leaves_the_rest_open(model):
    found = description.of_model(model, NAMES)
    assert found.preprocessing == (
        "Rescaling: pixel * 2.0 + -1.0",
        "Normalization: (pixel - mean) / sqrt(variance), mean [-0.4], variance [0.6]",
    )
    assert (found.name, found.licence) == ("sequential_cnn", "not stated")
    assert (found.training, found.metrics) == (None, None)
    assert found.weights_sha256 == inspection.weights_digest(model)


@pytest.mark.parametrize("name", INPUTS)
def test_a_description_comes_back_out_and_the_file_does_what_it_did(name, exported, described, tmp_path):
    format, path, report = copied(exported, name, tmp_path)
    before = export.open_file(format, path).run(held_out()[0][:40])
    inside = metadata.embed(format, path, described, report.quantize)
    assert metadata.read(format, path) == inside
    assert inside.class_names == NAMES and inside.training == described.training
    assert (inside.format, inside.quantize) == (format, report.quantize)
    _, include, dtype, layout, batch, minimum, maximum = INPUTS[name]
    image = inside.input
    assert (image.name, image.dtype, image.layout, image.batch) == ("image", dtype, layout, batch)
    assert (image.height, image.width, image.channels) == (16, 16, 1)
    assert (image.minimum, image.maximum) == (minimum, maximum)
    assert (inside.output.name, inside.output.num_classes) == (report.output, 10)
    assert inside.output.name == ("probabilities" if "softmax" in include else "logits")
    np.testing.assert_array_equal(export.open_file(format, path).run(held_out()[0][:40]), before)
    changed = metadata.embed(format, path, dataclasses.replace(described, licence="MIT"), report.quantize)
    assert metadata.read(format, path) == changed != inside  # replaced, not added
    assert leftovers(tmp_path) == [name]


def test_the_quantised_ends_say_how_to_read_them(exported):
    folder, _ = exported
    image, output = ends.of_file("tflite", folder / "int8_io.tflite")
    assert image.scale == pytest.approx(1 / 255) and image.zero_point == -128
    assert output.dtype == "int8" and output.scale > 0 and -128 <= output.zero_point <= 127
    assert "subtract 128" in image.prepare
    image, output = ends.of_file("tflite", folder / "bytes.tflite")
    assert (image.scale, image.zero_point, output.dtype, output.scale) == (None, None, "float32", None)
    assert ends._prepare("int8", 0.5, 3) == "divide each byte by 255, then by 0.5, round, add 3, clip to -128..127"


@pytest.mark.parametrize("name", ["float.tflite", "bytes.tflite", "int8_io.tflite"])
def test_a_tflite_file_keeps_its_signature_tensors_operators_and_weights(name, exported, described, tmp_path):
    _, path, report = copied(exported, name, tmp_path)
    metadata.embed("tflite", path, described, report.quantize)
    before, after = (Interpreter(model_content=file.read_bytes()) for file in (exported[0] / name, path))  # verified
    assert after.get_signature_list() == before.get_signature_list()
    assert repr(after.get_tensor_details()) == repr(before.get_tensor_details())
    old, new = (
        schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(file.read_bytes(), 0))
        for file in (exported[0] / name, path)
    )
    assert path.read_bytes()[4:8] == b"TFL3"
    assert len(new.buffers) == len(old.buffers) + 1
    for one, other in zip(old.buffers, new.buffers, strict=False):
        np.testing.assert_array_equal(one.data, other.data)
    assert [entry.name for entry in new.metadata] == [*(entry.name for entry in old.metadata), b"tfnoisekd.json"]
    assert [op.opcodeIndex for op in new.subgraphs[0].operators] == [
        op.opcodeIndex for op in old.subgraphs[0].operators
    ]


def test_onnx_keeps_its_layout_and_shows_the_rest_in_lines(exported, described, tmp_path):
    onnx = importlib.import_module("onnx")
    _, path, _ = copied(exported, "bytes_first.onnx", tmp_path)
    metadata.embed("onnx", path, described)
    proto = onnx.load(path)
    onnx.checker.check_model(proto)
    props = {entry.key: entry.value for entry in proto.metadata_props}
    assert props["layout"] == "NCHW" and props["licence"] == "CC-BY-4.0"
    assert props["class_names"].splitlines() == list(NAMES)
    assert props["image"] == "uint8, 16x16x1, 0 to 255" and props["output"] == "probabilities"
    assert props["training"].startswith("mc Gaussian noise with a standard deviation of 0.05")
    assert json.loads(props["tfnoisekd.json"])["class_names"] == list(NAMES)
    assert proto.graph == onnx.load(exported[0] / "bytes_first.onnx").graph


@pytest.mark.parametrize("format", export.FORMATS)
def test_a_thousand_classes(format, tmp_path):
    large = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(1000)])
    names = [f"κλάση {number} 类" for number in range(1000)]
    images = np.random.default_rng(0).random((8, 4, 4, 3)).astype("float32")
    export.FORMATS[format](large, tmp_path / "large", images)
    metadata.embed(format, tmp_path / "large", description.of_model(large, names))
    assert metadata.read(format, tmp_path / "large").class_names == tuple(names)
    outputs = export.open_file(format, tmp_path / "large").run(images)
    np.testing.assert_allclose(outputs, large.predict(images, verbose=0), atol=1e-5)


def test_errors_say_what_is_wrong_and_change_nothing(exported, described, model, tmp_path):
    folder, _ = exported
    _, path, _ = copied(exported, "float.onnx", tmp_path)
    before = digest(path)
    with pytest.raises(ValueError, match="each of the model's 10 classes. Received: 2 names"):
        metadata.embed("onnx", path, description.Description("two", ("a", "b")))
    with pytest.raises(ValueError, match=r"`format` must be one of .*saved_model. Received: format='h5'"):
        metadata.embed("h5", path, described)
    with pytest.raises(ValueError, match=r"`format` must be one of tflite, onnx, saved_model. Received: format='h5'"):
        metadata.read("h5", path)
    for name in ("float.onnx", "float.tflite", "saved_model"):
        format = name.partition(".")[2] or name
        with pytest.raises(ValueError, match="`path` must be a file with a description. Received: .*export the model"):
            metadata.read(format, folder / name)
        with pytest.raises(FileNotFoundError, match="which is not there"):
            metadata.read(format, folder / "none")
    assert digest(path) == before
    for names in (("a", "b\nc"), ("a", ""), ("a", " "), ("a", 3), ("a", "b\u2028")):
        with pytest.raises(ValueError, match="one line of text. Received: "):
            description.Description("name", names)
    with pytest.raises(ValueError, match="`licence`"):
        description.of_model(model, NAMES, licence="")
    with pytest.raises(ValueError, match="`record` must be of a finished run. Received: one that is failed"):
        description.of_run({**run_record(model), "status": "failed"}, model)
    with pytest.raises(ValueError, match="`model` must be the student of the run"):
        description.of_run({**run_record(model), "student_weights_sha256": "0"}, model)
    for damaged in ("{", "[]", "{}", described.to_json().replace('"schema": 1', '"schema": 2')):
        with pytest.raises(
            ValueError, match="`text` must be a description of schema 1. Received: .*; export the model"
        ):
            description.from_json(damaged)


def test_a_full_disk_leaves_the_file_as_it_was(exported, described, tmp_path, monkeypatch):
    _, path, _ = copied(exported, "float.tflite", tmp_path)
    before = path.read_bytes()

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        metadata.embed("tflite", path, described)
    assert path.read_bytes() == before and leftovers(tmp_path) == ["float.tflite"]


@pytest.fixture(scope="module")
def card(exported, described, tmp_path_factory):
    """A folder with all files and their card; the card's text."""
    folder = tmp_path_factory.mktemp("card")
    reports = [copied(exported, name, folder)[2] for name in INPUTS]
    written = model_card.write(folder, described, [reports[0], *map(dataclasses.asdict, reports[1:])])
    assert written == (folder / "MODEL_CARD.md", folder / "labels.txt")
    assert leftovers(folder) == sorted([*INPUTS, "MODEL_CARD.md", "labels.txt"])
    return folder, (folder / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_the_card_has_its_sections_and_true_numbers(card, described, exported):
    folder, text = card
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "license": "cc-by-4.0",
        "library_name": "tfnoisekd",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "knowledge-distillation"],
    }
    assert (folder / "labels.txt").read_text(encoding="utf-8").splitlines() == list(NAMES)
    sections = "Intended use,Limits,Training,Data,Metrics of the Keras model,Files,How to call it,"
    assert re.findall("^## (.*)", body, re.M) == [*sections[:-1].split(","), "Licence of the weights", "Provenance"]
    low, high = wilson_interval(round(described.metrics["accuracy"] * 297), 297)
    accuracy_line = f"| accuracy | {described.metrics['accuracy']:.4f} | {low:.4f} to {high:.4f} |"
    assert accuracy_line in body and "n = 297 test images" in body
    assert f"calibration error (15 bins) | {described.metrics['expected_calibration_error']:.4f} |" in body
    for name, report in exported[1].items():
        (row,) = re.findall(rf"^\| `{re.escape(name)}` .*", body, re.M)
        assert f" | {report.quantize} | {report.bytes:,} | {report.input_dtype} | {report.output} | " in row
        assert f"| {report.accuracy:.4f} (" in row and f"| {report.top1_agreement:.2%} | 297 |" in row
    assert "standard deviation of 0.05, where black is 0" in body and "216 of its training labels" in body
    assert "wrn-16-2 was trained for 200 epochs on 1,200 images, to minimise cross-entropy" in body
    assert "Its teacher was wrn-40-2, 1,234,567 parameters." in body
    assert "16x16 pixels with one grey channel" in body
    assert not re.search(r"somebody|secret|\bNone\b|\bnan\b", text)


def test_a_card_of_a_bare_model_invents_nothing(model):
    text = model_card.text(description.of_model(model, NAMES), [])
    assert "license" not in text.split("---")[1]
    assert "Not stated: ask" in text and "## Training\n\nNot recorded." in text
    assert "No accuracy of the Keras model is recorded." in text
    assert not re.search("## (Metrics|Files|How|Data)|None|knowledge-distillation", text)
    own = dataclasses.replace(description.of_model(model, NAMES), licence="ask me")
    assert "license: other\n" in model_card.text(own, []) and "\n\nask me\n" in model_card.text(own, [])


def test_the_lines_of_the_card_run_on_the_device_and_name_the_class_that_keras_names(card):
    folder, text = card
    codes = re.findall(r"^### (\S+)\n.*?```python\n(.*?)```", text, re.M | re.S)
    assert [name for name, _ in codes] == [name for name in INPUTS if "." in name]
    assert all(len([line for line in code.splitlines() if line]) <= 8 for _, code in codes)
    for index in (0, 5):
        Image.fromarray(held_out()[0][index, ..., 0]).save(folder / "photo.png")
        blocked = "import sys\nsys.modules['tensorflow'] = sys.modules['tfnoisekd'] = None\n"
        lines = [f"exec({code!r}, {{}})" for _, code in codes]
        done = subprocess.run(
            [sys.executable, "-c", blocked + "\n".join(lines)],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            timeout=120,
        )
        (folder / "photo.png").unlink()
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [NAMES[keras_outputs("sequential")[index].argmax()]] * len(codes)


def test_lines_for_images_that_pillow_does_not_have_and_for_other_scales(exported, rng):
    image, output = ends.of_file("tflite", exported[0] / "int8_io.tflite")
    odd = dataclasses.replace(image, channels=5, scale=0.01, zero_point=-20)
    code = snippets.litert("a.tflite", odd, output)
    assert 'np.load("image.npy").reshape(1, 16, 16, 5)' in code and "PIL" not in code
    pixels = rng.integers(0, 256, (1, 16, 16, 5)).astype("uint8")
    encoded = eval(snippets._encode(odd), {"np": np, "pixels": pixels})
    assert encoded.dtype == np.int8
    np.testing.assert_allclose((encoded + 20.0) * 0.01, np.minimum(pixels / 255, 1.47), atol=0.0051)
    assert '.convert("RGB").resize((16, 8)' in snippets.onnxruntime(
        "a.onnx", dataclasses.replace(image, channels=3, height=8), output
    )


def test_a_card_that_cannot_be_written_leaves_the_old_one(described, tmp_path, monkeypatch):
    (tmp_path / "MODEL_CARD.md").write_text("old")
    monkeypatch.setattr(files, "replace", lambda source, target: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        model_card.write(tmp_path, described, [])
    assert (tmp_path / "MODEL_CARD.md").read_text() == "old" and leftovers(tmp_path) == ["MODEL_CARD.md"]
