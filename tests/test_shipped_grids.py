"""Every YAML that is shipped: it loads, it can be counted, and, shrunk to seconds, it trains."""

import pytest
import sweeps

from tfnoisekd.experiments import grid
from tfnoisekd.experiments.store import Store
from tfnoisekd.experiments.sweep import Sweep
from tfnoisekd.experiments.work import Worker

# Everything that makes a run long; methods, noise and corruption stay.
SHORT = {"student": "wrn-10-1", "teacher": "wrn-10-1", "teacher_seeds": [0], "epochs": 1, "teacher_epochs": 1}
SHORT |= {"batch_size": 40, "test_size": 0.2, "validation_size": 0, "seed": [0], "teacher_cache": False}
QUESTIONS = {
    "pgd": {"pgd": {"steps": [1], "epsilon": ["2/255"], "restarts": 1, "limit": 10}},
    "corruptions": {"corruptions": {"corruptions": ["fog", "jpeg_compression"], "severities": [1], "limit": 10}},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("grids") / "all", create=True)


def shrunk(name, scans):
    """A shipped grid on small data, its questions asked of a few images."""
    human = {"corruption_file": sweeps.mislabelled(scans)} if name == "mini/human_labels" else {}
    settings = grid.load(name, {**SHORT, **human, "data": scans}).model_dump(exclude_unset=True)
    for each in settings.get("evaluations", []):
        asked = next(key for key in ("pgd", "corruptions", "ood") if key in each)
        each |= {"ood": scans} if asked == "ood" else QUESTIONS[asked]
        each.pop("where", None)
    return grid.build(settings)


def one_of_each_block(sweep):
    """Keys of the first student of each method or block, as far as its settings differ."""
    ((_, cells),) = sweep.cells.items()
    first = {}
    for cell, runs in cells:
        method = cell.axes.get("method", "compared")
        kind = method if method in ("baseline", "hinton", "ft", "mc", "sr", "ga") else "compared"
        first.setdefault((kind, "sigma" in cell.axes, "rate" in cell.axes), runs[0])
    return list(first.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", grid.shipped())
def test_a_shipped_grid_trains(name, scans, store):
    sweep = Sweep([shrunk(name, scans)])
    sweep.note(store, f"tfnoisekd sweep {name}")
    worker = Worker(store.path)
    for key in one_of_each_block(sweep):
        job = sweep.jobs[key]
        for each in (*(sweep.jobs[need] for need in job.needs), job):
            answer = worker.do(each.payload())
            assert answer["status"] == "finished", answer["error"]
            entry = store.entry(each.key)
            assert 0 <= answer["accuracy"] <= 1
            assert all(question in entry["answered"] for question in each.questions)


@pytest.mark.parametrize("name", grid.shipped())
def test_a_shipped_grid_is_counted(name, run, tmp_path):
    code, said, _ = run("sweep", name, "--dry-run", "--no-measure", "--output", tmp_path / "none")
    sweep = Sweep([grid.load(name)])
    roles = [job.role for job in sweep.jobs.values()]
    assert code == 0 and f"{roles.count('teacher')} teachers and {roles.count('student')} students" in said
    asked = sum(len(job.questions) for job in sweep.jobs.values())
    assert f"Evaluations:  {asked}" in said


@pytest.mark.parametrize("name", grid.shipped())
def test_a_shipped_grid_says_what_it_takes(name):
    from importlib import resources

    folder, _, file = name.partition("/")
    text = (resources.files("tfnoisekd.configs") / folder / f"{file}.yaml").read_text(encoding="utf-8")
    for heading in ("# Command:   tfnoisekd sweep", "# Hardware:", "# Expect:"):
        assert heading in text
    assert f"tfnoisekd sweep {name}" in text
