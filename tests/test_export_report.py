"""The report: what goes in comes out of the file, and the table shows it."""

import json

import numpy as np
import pytest

from tfnoisekd.export import ExportReport, report

FACTS = {
    "format": "tflite",
    "quantize": "int8",
    "bytes": 731_192,
    "input_dtype": "float32",
    "output": "logits",
    "n": 100,
    "max_difference": 0.25,
    "difference_limit": None,
    "top1_agreement": 0.99,
    "agreement_limit": 0.0,
    "accuracy": 0.9,
}
COST = {
    "bytes": 731_192,
    "peak_memory_bytes": 8 * 2**20,
    "timings": [
        {"threads": 2, "median_ms": 0.4, "p95_ms": 0.6, "images_per_second": 3210.4},
        {"threads": 1, "median_ms": 0.5651, "p95_ms": 0.7, "images_per_second": 1600.0},
    ],
}
MACS = {"macs": 101_106_944, "parameters": 691_674}


@pytest.fixture
def built(tmp_path):
    exported = ExportReport(path=str(tmp_path / "student.tflite"), **FACTS)
    plain = {"format": "onnx", "path": tmp_path / "inner" / "student.onnx", "bytes": 2_774_270}
    return report.build(
        [report.entry(exported, COST, {"transfer": {"n": 40}}), report.entry(plain)],
        student={"name": "wrn_16_2", "bytes": 3_000_000, "accuracy": np.float32(0.5), "agreement": 0.75, "macs": MACS},
        teacher={"name": "wrn_40_2", "accuracy": 0.95, "macs": {"macs": 3, "parameters": 4}, "cost": {"bytes": 7}},
        folder=tmp_path,
        command="tfnoisekd export --tflite",
        settings={"seed": np.int64(3)},
    )


def test_what_is_written_is_read(built, tmp_path):
    path = report.write(tmp_path / "new", built)
    assert path == tmp_path / "new" / "export.json" and report.read(tmp_path / "new") == built
    assert report.write(tmp_path / "new", {**built, "files": []}) == path  # an earlier one is replaced
    assert report.read(tmp_path / "new")["files"] == []
    assert [each.name for each in path.parent.iterdir()] == ["export.json"]


def test_a_report_holds_everything(built):
    first, second = built["files"]
    assert first == {
        **FACTS,
        "path": "student.tflite",
        "keras_accuracy": None,
        "accuracy_limit": None,
        "cost": COST,
        "robustness": {"transfer": {"n": 40}},
    }
    assert (second["path"], second["cost"], second["robustness"]) == ("inner/student.onnx", None, None)
    assert built["student"]["macs"] == MACS and built["teacher"]["name"] == "wrn_40_2"
    assert built["student"]["accuracy"] == 0.5 and built["settings"] == {"seed": 3}
    provenance = built["provenance"]
    assert provenance["command"] == "tfnoisekd export --tflite"
    assert {"python", "tfnoisekd", "tensorflow"} <= set(provenance["versions"]) and provenance["device"]


def test_a_failure_leaves_the_earlier_report(built, tmp_path):
    report.write(tmp_path, built)
    with pytest.raises(ValueError, match="`report` must hold only what JSON has, neither NaN nor infinity. Received: "):
        report.write(tmp_path, {**built, "student": {"accuracy": float("nan")}})
    assert report.read(tmp_path) == built
    assert [each.name for each in tmp_path.iterdir()] == ["export.json"]


def test_the_table(built):
    columns, rows = report.table(built)
    assert columns == [
        "format",
        "bytes",
        "parameters",
        "MACs",
        "accuracy",
        "agreement",
        "latency ms, 1 thread",
        "latency ms, 2 threads",
        "images/s",
        "peak memory MiB",
    ]
    size = ["691,674", "101,106,944"]
    assert rows == [
        ["teacher", "7", "4", "3", "95.00%", "-", "-", "-", "-", "-"],
        ["student", "3,000,000", *size, "50.00%", "75.00%", "-", "-", "-", "-"],
        ["tflite int8", "731,192", *size, "90.00%", "99.00%", "0.57 / 0.70", "0.40 / 0.60", "3,210", "8.0"],
        ["onnx", "2,774,270", *size, "-", "-", "-", "-", "-", "-"],
    ]


def test_the_smallest_table():
    built = report.build([], student={})
    assert built["teacher"] is None and built["files"] == [] and built["provenance"]["command"] is None
    columns, rows = report.table(built)
    assert len(columns) == 8 and rows == []  # nothing is known of the student
    assert report.table(report.build([], student={"bytes": 5}))[1] == [["student", "5", *["-"] * 6]]


@pytest.mark.parametrize("missing", ["format", "path", "bytes"])
def test_a_file_without(missing):
    plain = {"format": "onnx", "path": "student.onnx", "bytes": 5}
    assert report.build([plain], student={})["files"] == [plain]
    with pytest.raises(ValueError, match=f"`entries` must each have .* Received: one without {missing}"):
        report.build([{**plain, missing: None}], student={})


def test_values_that_json_does_not_have():
    for value in (object(), np.float32("inf"), np.zeros(2)):
        with pytest.raises(ValueError, match=f"neither NaN nor infinity. Received: {type(value).__name__}"):
            report.build([], student={"x": value})
    with pytest.raises(ValueError, match="`more` must have names of its own. Received: files"):
        report.build([], student={}, **{"files": 3})


def test_a_report_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="`folder` must hold export.json. Received: "):
        report.read(tmp_path)
    (tmp_path / "export.json").write_text(json.dumps({})[:1])
    with pytest.raises(ValueError, match="`folder` must hold a report that can be read. Received: .*export.json"):
        report.read(tmp_path)
