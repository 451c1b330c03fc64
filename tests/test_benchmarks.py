"""The benchmarks run, compare equal things, and write what they print."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def run(name, *words, folder):
    output = folder / "result.json"
    command = [sys.executable, str(BENCHMARKS / name), *words, "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(output.read_text()), done.stdout


@pytest.mark.slow
def test_train_step(tmp_path):
    sizes = ["--teacher", "10,1", "--student", "10,1", "--batch-size", "8", "--rounds", "3"]
    result, shown = run("train_step.py", *sizes, folder=tmp_path)
    assert len(result["seconds_per_step"]["tfnoisekd"]) == len(result["seconds_per_step"]["keras"]) == 3
    assert result["first_loss"]["tfnoisekd"] == pytest.approx(result["first_loss"]["keras"], rel=1e-3)
    assert f"{result['time_ratio_ours_to_keras']['median']:.3f}" in shown


@pytest.mark.slow
def test_input_pipeline(tmp_path):
    result, shown = run("input_pipeline.py", "--rounds", "3", folder=tmp_path)
    ratios = sorted(a / b for a, b in zip(result["seconds_per_batch"], result["seconds_per_step"], strict=True))
    assert result["median_ratio"] == pytest.approx(ratios[1]) and f"{ratios[1]:.4f}" in shown
