"""Committed results: each table is what its script makes of the JSON beside it, and each number has its provenance."""

import importlib.util
import json
from pathlib import Path

import pytest

RESULTS = Path(__file__).resolve().parent.parent / "results"
FOLDERS = sorted(index.parent for index in RESULTS.glob("*/index.json"))


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("table", RESULTS / "table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
