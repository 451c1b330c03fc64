"""Several seeds of one configuration: one teacher, one folder, mean and standard deviation."""

import json

import numpy as np
import pytest

from tfnoisekd import config, inspection, models, runs, training
from tfnoisekd.experiments import series

SETTINGS = {"teacher": "wrn-10-1", "student": "wrn-10-1", "epochs": 1, "label_corruption": 0.4, "method": "hinton"}


@pytest.fixture
def settings(scans):
    return {**SETTINGS, "data": scans}


def test_a_series_of_seeds_shares_its_teacher_and_reports_mean_and_deviation(settings, untrained, tmp_path):
    announced = []
    folder, finished = series.run_seeds(config.build(settings), [0, 10, 20], root=tmp_path, announce=announced.append)
    assert folder == tmp_path / "hinton-scans-seeds-1" and len(announced) == 1
    assert [method for method, *_ in untrained] == ["baseline", "hinton", "hinton", "hinton"]
    assert [run.path for run in finished] == [folder / f"seed-{seed}" for seed in (0, 10, 20)]
    weights = [inspection.weights_digest(models.load(run.student_path)) for run in finished]
    assert len(set(weights)) == 3
    summary = json.loads((folder / "summary.json").read_text())
    assert summary == series.summarise(finished) and summary["seeds"] == [0, 10, 20]
    for name, nested in (("accuracy", None), ("memorization.student.wrong_label_accuracy", "wrong_label_accuracy")):
        results = [run.record["results"] for run in finished]
        values = [each["memorization"]["student"][nested] if nested else each[name] for each in results]
        assert summary[name]["values"] == values
        assert summary[name]["mean"] == pytest.approx(np.mean(values))
        assert summary[name]["std"] == pytest.approx(np.std(values, ddof=1))
    assert runs.newest_finished(tmp_path).path == folder / "seed-20"


def test_an_interrupted_series_goes_on_with_what_is_missing(settings, untrained, tmp_path):
    chosen = config.build(settings)
    series.run_seeds(chosen, [0], tmp_path / "series", root=tmp_path)
    before = (tmp_path / "series" / "seed-0" / "run.json").read_text()
    _, finished = series.run_seeds(chosen, [0, 1], tmp_path / "series", root=tmp_path)
    assert [method for method, *_ in untrained] == ["baseline", "hinton", "hinton"] and len(finished) == 2
    assert (tmp_path / "series" / "seed-0" / "run.json").read_text() == before
    other = config.build(settings, {"temperature": 2})
    with pytest.raises(ValueError, match="another configuration. Received: temperature=2.0, and there it is 4.0"):
        series.run_seeds(other, [0], tmp_path / "series", root=tmp_path)


def test_one_seed_has_no_deviation(settings, untrained, tmp_path):
    _, finished = series.run_seeds(config.build(settings, {"method": "baseline"}), [4], root=tmp_path)
    assert series.summarise(finished)["accuracy"]["std"] is None
    assert "agreement" not in series.summarise(finished)  # a baseline has no teacher to agree with


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_seeds_must_differ(settings, seeds):
    with pytest.raises(ValueError, match="`seeds` must be different numbers"):
        series.run_seeds(config.build(settings), seeds)


@pytest.mark.slow
def test_the_best_teacher_on_the_validation_images_is_taken(settings, untrained, tmp_path):
    chosen = config.build(settings, {"teacher_seeds": [0, 1, 2], "validation_size": 40})
    run = training.run(chosen, root=tmp_path)
    teacher, data = run.record["teacher"], training.load_data(chosen)
    assert [each["seed"] for each in teacher["candidates"]] == [0, 1, 2]
    shares = {}
    for path in (tmp_path / "teachers").glob("*/student.keras"):
        logits = models.load(path).predict(data.validation.images / np.float32(255), verbose=0)
        seed = runs.Run.open(path.parent).record["config"]["seed"]
        shares[seed] = np.mean(logits.argmax(axis=1) == data.validation.labels)
    assert {each["seed"]: each["validation_accuracy"] for each in teacher["candidates"]} == pytest.approx(shares)
    assert teacher["validation_accuracy"] == max(shares.values())
    assert teacher["weights_sha256"] == inspection.weights_digest(models.load(run.teacher_path()))
    assert runs.Run.open(run.teacher_path().parent).record["config"]["seed"] == teacher["seed"]


def test_a_resumed_run_keeps_its_teacher_and_how_it_was_chosen(settings, untrained, tmp_path):
    run = training.run(config.build(settings, {"teacher_seeds": [0, 1]}), tmp_path / "run", root=tmp_path)
    run.update(status="interrupted")
    again = training.resume(tmp_path / "run", root=tmp_path)
    assert again.record["teacher"] == run.record["teacher"]
