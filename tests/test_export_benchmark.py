"""The benchmark of exports runs and writes what it prints; nothing here is about how long anything takes."""

import importlib
import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("export")


@pytest.mark.slow
def test_a_small_run(tmp_path, benchmark):
    sizes = ["--student", "10,1", "--teacher", "16,1", "--threads", "1", "--rounds", "2", "--seconds", "0.01"]
    command = [sys.executable, str(BENCHMARKS / "export.py"), *sizes, "--repetitions", "2", "--batch-size", "2"]
    output = tmp_path / "result.json"
    done = subprocess.run([*command, "--output", str(output)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(output.read_text())
    assert benchmark.show(result) in done.stdout
    assert "wrn_16_1 -> wrn_10_1 (random teacher and random student)" in done.stdout
    assert result["setting"]["n"] == 2 and result["provenance"]["versions"]["tensorflow"]
    assert result["macs"]["student"]["macs"] < result["macs"]["teacher"]["macs"]
    assert f"{result['macs']['teacher']['macs']:,}" in done.stdout
    assert result["ratios"] == benchmark.compare(result["rounds"])
    for name in benchmark.FILES:
        memory = [each["peak_memory_bytes"] for each in result["rounds"][name]]
        assert result["files"][name]["peak_memory_bytes"] == (None if None in memory else statistics.median(memory))


def rounds_of(latencies, size):
    timing = {"threads": 1, "p95_ms": 9.0, "images_per_second": 5.0, "cores_used": 0.8}
    common = {"format": "tflite", "bytes": size, "runtime": {}, "peak_memory_bytes": 7}
    return [{**common, "timings": [{**timing, "median_ms": latency}]} for latency in latencies]


def test_ratios_are_those_within_a_round(benchmark):
    rounds = {
        "teacher, tflite": rounds_of([8.0, 16.0, 8.0], 1000),
        "student, tflite": rounds_of([4.0, 8.0, 2.0], 100),
        "student, tflite int8": rounds_of([1.0, 6.0, 1.0], 31),
    }
    int8, student, both = benchmark.compare(rounds)
    assert int8["latency"]["rounds"] == [0.25, 0.75, 0.5]
    assert (int8["latency"]["median"], int8["latency"]["target"], int8["latency"]["met"]) == (0.5, 0.5, True)
    assert int8["bytes"] == {"ratio": 0.31, "target": 0.3, "met": False}
    assert student["latency"]["median"] == 0.5 and student["bytes"]["ratio"] == 0.1 and both["bytes"]["met"] is None
    assert "0.310 of the bytes, 0.50 (0.25 to 0.75) of the latency on one thread (targets" in benchmark.sentence(int8)
    files = benchmark.summarise(rounds, [1])
    assert files["student, tflite"]["timings"][0]["median_ms"] == 4.0
    assert benchmark.busy({"files": files})


def test_options_that_are_refused(benchmark):
    for words in (["--threads", "2"], ["--rounds", "0"]):
        with pytest.raises(SystemExit):
            benchmark.parse_arguments(words)
