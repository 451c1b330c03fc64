"""The networks that come with the package: they are what their cards say, and every command takes them by name."""

import json

import keras
import numpy as np
import pytest

from tfnoisekd import inspection, models, pretrained


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Name of a data set of 60 coloured squares, 32x32, in ten classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 10
    colours = rng.integers(0, 256, (10, 1, 1, 3))[labels]
    images = np.clip(colours + rng.integers(-20, 20, (60, 32, 32, 3)), 0, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("photos") / "squares.npz"
    np.savez(path, images=images, labels=labels)
    return f"npz:{path}"


def test_there_is_a_teacher_and_a_student_below_three_megabytes():
    assert {"teacher", "student"} <= set(pretrained.names())
    assert {f"{name}.keras" for name in pretrained.names()} == {path.name for path in pretrained.FOLDER.glob("*.keras")}
    assert sum(path.stat().st_size for path in pretrained.FOLDER.iterdir() if path.is_file()) < 3_000_000


@pytest.mark.parametrize("name", pretrained.names())
def test_a_network_is_what_its_card_says(name):
    card, model = pretrained.card(name), keras.saving.load_model(pretrained.path(name))  # without this package's help
    expected = models.from_name(card["architecture"], 10, (32, 32, 3), card["settings"]["dropout"])
    assert inspection.count_parameters(model) == inspection.count_parameters(expected)
    for weight in model.get_weights():
        assert weight.dtype == np.float32 and np.array_equal(weight, weight.astype(np.float16).astype(np.float32))
    assert len(card["classes"]) == 10 and card["accuracy_interval"][0] < card["accuracy"] < card["accuracy_interval"][1]
    assert abs(card["accuracy"] - card["accuracy_before_rounding"]) <= 0.002
    assert card["provenance"]["code"] and card["provenance"]["command"].startswith("tfnoisekd ")


def test_a_network_is_loaded_by_name():
    given, named = keras.saving.load_model(pretrained.path("student")), models.load("pretrained:student")
    images = np.random.default_rng(1).random((4, 32, 32, 3), dtype=np.float32)
    np.testing.assert_array_equal(given(images), named(images))
    assert np.std(named(images)) > 0.1


def test_evaluate_and_export_take_a_name(run, photos, tmp_path):
    words = ["pretrained:student", "--data", photos, "--test-size", "0.5", "--validation-size", "0"]
    code, said, errors = run("evaluate", *words, "--json", "--teacher", "pretrained:teacher", "--runs", tmp_path)
    assert code == 0, errors
    found = json.loads(said)
    found = found[0] if isinstance(found, list) else found
    assert found["n"] == 30 and 0 <= found["agreement"] <= 1
    assert (tmp_path / "pretrained-student" / "evaluation").is_dir()
    code, _, errors = run("export", *words, "--tflite", "--no-costs", "--runs", tmp_path)
    assert code == 0, errors
    assert (tmp_path / "pretrained-student" / "export" / "student.tflite").stat().st_size > 100_000
    assert not [path for path in pretrained.FOLDER.iterdir() if path.is_dir() and path.name != "__pycache__"]


@pytest.mark.slow
def test_a_name_can_be_the_teacher(run, photos, tmp_path):
    words = ["--method", "hinton", "--teacher", "pretrained:teacher", "--student", "wrn-10-1", "--epochs", "1"]
    words += ["--data", photos, "--test-size", "0.2", "--validation-size", "0", "--output", tmp_path / "run"]
    code, _, errors = run("train", *words)
    assert code == 0, errors
    origin = json.loads((tmp_path / "run" / "run.json").read_text())["teacher"]
    assert origin["weights_sha256"] == inspection.weights_digest(models.load("pretrained:teacher"))


def test_info_shows_the_card(run):
    code, said, _ = run("info", "pretrained:student", "--json")
    assert code == 0 and json.loads(said) == pretrained.card("student")
    code, said, _ = run("info", "pretrained:student")
    assert code == 0 and "wrn-10-1" in said and f"{pretrained.card('student')['accuracy']:.4f}" in said


def test_an_unknown_name_is_an_error_that_names_the_nearest(run, photos):
    with pytest.raises(ValueError, match="must name one of .*student.* Received: studnet. Did you mean `student`?"):
        models.load("pretrained:studnet")
    code, _, errors = run("evaluate", "pretrained:techer", "--data", photos)
    assert code != 0 and "Did you mean `teacher`?" in errors
    code, _, errors = run("evaluate", "pretrained:student")
    assert code != 0 and "`--data` must name the data that pretrained:student is tested on" in errors
