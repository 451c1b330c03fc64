"""The benchmarks run, compare equal things, and write what they print; nothing here is about how long they take."""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
SIZES = ["--teacher", "10,1", "--student", "10,1", "--batch-size", "8", "--rounds", "3", "--warm-up", "1"]


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def run(name, *words, folder):
    output = folder / "result.json"
    command = [sys.executable, str(BENCHMARKS / name), *words, "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(output.read_text()), done.stdout


def check_method(found, peers):
    """All peers took part in every round, started from the same loss, and the ratios are those of the rounds."""
    assert set(found["seconds"]) == set(found["cpu_seconds"]) == set(found["first"]) == set(peers)
    ours = found["first"]["tfnoisekd"]
    for name, seconds in found["seconds"].items():
        assert len(seconds) == 3 and min(seconds) > 0
        assert found["median_seconds"][name] == statistics.median(seconds)
        if name != "keras_feature":
            same = 1e-3 if ours["teacher_variance"] is None else 0.25
            assert found["first"][name]["loss"] == pytest.approx(ours["loss"], rel=same)
    for name, ratio in found["speed_ratio"]["tfnoisekd"].items():
        rounds = [b / a for a, b in zip(found["seconds"]["tfnoisekd"], found["seconds"][name], strict=True)]
        assert ratio["rounds"] == rounds and ratio["median"] == statistics.median(rounds)


@pytest.mark.slow
def test_kernels(tmp_path):
    result, shown = run("kernels.py", "--networks", "10-1", "--rounds", "2", folder=tmp_path)
    found = result["networks"]["10-1"]
    ratios = [each["eigen"]["seconds"] / each["onednn"]["seconds"] for each in found["rounds"]]
    assert found["ratio_of_seconds"]["min"] == min(ratios) and len(ratios) == 2 and "wrn-10-1: onednn" in shown


@pytest.mark.slow
def test_train_step_beside_keras(tmp_path, load):
    result, shown = run("train_step.py", "--methods", "hinton,at", "--peers", "keras", *SIZES, folder=tmp_path)
    check_method(result["methods"]["hinton"], ["tfnoisekd", "cached", "cached_on_disk", "keras"])
    check_method(result["methods"]["at"], ["tfnoisekd", "keras", "keras_feature"])
    assert set(result["methods"]["hinton"]["speed_ratio"]["cached_on_disk"]) == {"tfnoisekd", "keras"}
    assert load("report").table(result) in shown and "torch" not in result["versions"]
    assert result["setting"]["n"] == 3 and result["device"]["cpu_count"] and result["command"].startswith("python ")


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")
def test_train_step_beside_torch(tmp_path):
    result, shown = run("train_step.py", "--methods", "at,sp,rkd,ft", "--peers", "torch", *SIZES, folder=tmp_path)
    for method in ("at", "sp", "rkd", "ft"):
        check_method(result["methods"][method], ["tfnoisekd", "torch"])
    variances = [each["teacher_variance"] for each in result["methods"]["ft"]["first"].values()]
    assert min(variances) > 0
    assert result["versions"]["torch"] in shown and result["setting"]["torch_memory_format"] in shown


def test_unlike_losses_are_not_compared(load):
    first = {"tfnoisekd": {"loss": 1.0, "teacher_variance": None}, "torch": {"loss": 1.002, "teacher_variance": None}}
    with pytest.raises(SystemExit, match="No comparison: the first loss of torch is 1.002, ours 1.0"):
        load("train_step").check_agreement(first)
    load("train_step").check_agreement({**first, "torch": {"loss": 1.0005, "teacher_variance": None}})
    load("train_step").check_agreement({"tfnoisekd": first["tfnoisekd"], "keras_feature": first["torch"]})


def test_without_torch_it_says_what_to_do(load, monkeypatch, capsys):
    script = load("train_step")
    monkeypatch.setattr(script.importlib.util, "find_spec", lambda name: None)
    assert script.parse_arguments(["--peers", "keras"]).peers == ["keras"]
    with pytest.raises(SystemExit):
        script.parse_arguments([])
    assert "pip install torch" in capsys.readouterr().err


def test_a_worker_that_fails_says_why(load):
    with pytest.raises(RuntimeError, match="No module named 'no_such_peer'"):
        load("workers").Worker("no_such_peer")


def test_the_page_shows_the_committed_result(load):
    report = load("report")
    result = json.loads(report.RESULT.read_text(encoding="utf-8"))
    page = report.PAGE.read_text(encoding="utf-8")
    assert report.rebuild(page, result) == page
    assert set(result["methods"]) == set(report.METHODS)
    for found in result["methods"].values():
        assert found == {**found, **report.compare(found["seconds"], result["setting"]["batch_size"])}


@pytest.mark.slow
def test_input_pipeline(tmp_path):
    result, shown = run("input_pipeline.py", "--rounds", "3", folder=tmp_path)
    ratios = sorted(a / b for a, b in zip(result["seconds_per_batch"], result["seconds_per_step"], strict=True))
    assert result["median_ratio"] == pytest.approx(ratios[1]) and f"{ratios[1]:.4f}" in shown


@pytest.mark.slow
def test_every_second_of_a_grid_is_accounted_for(tmp_path):
    words = ("--runs", "3", "--epochs", "1", "--workers", "1", "--finished", "20")
    result, shown = run("grids.py", *words, folder=tmp_path)
    grid = result["grid"]
    parts = [grid[f"{name}_seconds"] for name in ("work", "around_jobs", "between_jobs", "at_the_ends")]
    total = sum(parts) + sum(grid["startup_seconds"])
    assert total == pytest.approx(grid["workers"] * grid["wall_seconds"]) and min(parts) >= 0
    assert len(grid["startup_seconds"]) == grid["workers"] == 1 and grid["students"] == 3
    overhead = sum(grid["startup_seconds"]) + grid["around_jobs_seconds"] + grid["between_jobs_seconds"]
    assert grid["overhead_share"] == pytest.approx(overhead / grid["wall_seconds"])
    assert result["finished"]["runs"] == 20 and "20 finished runs" in shown
    assert set(result["finished"]) == {"runs", "sweep --dry-run", "report, all formats"}


@pytest.mark.slow
def test_the_queue_for_gpus_stops_and_goes_on(tmp_path, scans):
    """On the CPU: seeds in one program, time that runs out, an ordinary run to compare with."""
    small = {"data": scans, "teacher": "wrn-10-1", "student": "wrn-10-1", "epochs": 2, "teacher_epochs": 1}
    small |= {"batch_size": 40, "test_size": 0.2, "validation_size": 0}
    queued = {"shared": small, "axes": {"method": ["hinton", "ft"], "seed": [0, 10]}}
    (tmp_path / "queue.yaml").write_text(json.dumps(queued))  # which is YAML too
    words = ["--grid", str(tmp_path / "queue.yaml")]
    words += ["--counts", "1", "2", "--steps", "2", "--seeds-together", "2"]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}

    def queue(*more):
        command = [sys.executable, str(BENCHMARKS / "gpu_queue.py"), str(tmp_path / "queue"), *words, *more]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = queue("--minutes", "0")
    assert "hinton, 2 seeds" in said and "The time is up." in said and "0 of 6 jobs are done" in said
    measured = json.loads((tmp_path / "queue" / "measured.json").read_text())
    for each in measured["steps"].values():
        assert each["images_per_second"] > 0 and each["flops_per_image"] > 1e6 and 0 < each["share_of_peak"] < 1
    said = queue("--minutes", "60")
    assert "hinton, 2 seeds, epoch 2/2" in said and "6 of 6 jobs are done; next: nothing" in said
    found = json.loads(next((tmp_path / "queue" / "students").glob("hinton*seed10*/run.json")).read_text())
    history = next((tmp_path / "queue" / "students").glob("ft*seed10*/history.csv")).read_text().splitlines()
    assert len(history) == 3 and "teacher_variance" in history[0]
    code = f"""
from pathlib import Path
import numpy as np
from tfnoisekd import config, training
folder = Path({str(tmp_path)!r})
alone = training.run(config.Config(**{found["config"]!r}), folder / "alone", root=folder)
paths = alone.path, next(folder.glob("queue/students/hinton*seed10*"))
one, other = (np.load(path / "checkpoint.npz") for path in paths)
print(max(np.abs(one[name] - other[name]).max() for name in one if name != "digest"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert float(done.stdout) < 1e-3, done.stderr
