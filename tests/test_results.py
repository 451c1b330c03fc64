"""Committed results: each table is what its script makes of the JSON beside it, and each number has its provenance."""

import importlib.util
import json
from pathlib import Path

import pytest

RESULTS = Path(__file__).resolve().parent.parent / "results"
FOLDERS = sorted(index.parent for index in RESULTS.glob("*/index.json"))


EVALUATED = sorted(file.parent for file in RESULTS.glob("*/pgd.json"))


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, RESULTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script():
    return load_script("table")


@pytest.fixture(scope="module")
def evaluations():
    return load_script("evaluations")


def test_there_are_results():
    assert "first-run" in {folder.name for folder in FOLDERS}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_table_is_made_from_the_json(folder, script):
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert script.rebuild(folder, page) == page
    for name in json.loads((folder / "index.json").read_text()):
        assert f"\n| {name} |" in page


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_number_has_its_provenance(folder, script):
    for record in script.load(folder).values():
        provenance = record["provenance"]
        assert provenance["code"] and provenance["command"] and provenance["device"] and provenance["started_at"]
        assert {"python", "tensorflow", "keras", "numpy"} <= set(provenance["versions"])
        assert record["status"] == "finished" and len(record["student_weights_sha256"]) == 64
        assert len(record["data"]["fingerprint"]) == 64


def test_there_are_evaluations():
    assert "first-robustness" in {folder.name for folder in EVALUATED}


@pytest.mark.parametrize("folder", EVALUATED, ids=lambda folder: folder.name)
def test_the_tables_of_evaluations_are_made_from_the_json(folder, evaluations):
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert evaluations.rebuild(folder, page) == page
    models = evaluations.load(folder)
    for label, found in models.items():
        assert page.count(f"\n| {label} |") == len(evaluations.TABLES) - ("smoothing" not in found)


@pytest.mark.parametrize("folder", EVALUATED, ids=lambda folder: folder.name)
def test_every_evaluation_has_its_provenance(folder, evaluations):
    for found in evaluations.load(folder).values():
        assert {name.partition("-")[0] for name in found["provenance"]} >= {
            "accuracy",
            "pgd",
            "ensemble",
            "corruptions",
        }
        for origin in found["provenance"].values():
            assert origin["code"] and origin["command"] and origin["device"] and origin["started_at"]
            assert {"python", "tensorflow", "keras", "numpy", "cleverhans"} <= set(origin["versions"])
