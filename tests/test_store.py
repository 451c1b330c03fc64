"""The ledger of a grid: whole or not there, and of one process at a time."""

import json
import subprocess
import sys

import pytest

from tfnoisekd import disk, methods, runs
from tfnoisekd.config import Config
from tfnoisekd.experiments.plan import Job
from tfnoisekd.experiments.store import Store

JOB = Job("k", "student", methods.resolve(Config(method="baseline", data="digits")), 0, (), [["pgd", {}]])


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "grid", create=True)


def finish(store, **entries):
    (store.path / "students" / "k").mkdir(parents=True)
    (store.path / "students" / "k" / runs.RECORD).write_text("{}")
    store.note("k", status="finished", run="students/k", answered=[["pgd", {}]], **entries)


def test_a_job_is_done_when_its_run_is_there_and_has_answered(store):
    assert store.entry("k") == {} and not store.is_done(JOB)
    finish(store, accuracy=0.5)
    assert store.is_done(JOB) and store.entry("k")["accuracy"] == 0.5
    asked_more = Job("k", "student", JOB.config, 0, (), [["pgd", {}], ["corruptions", {}]])
    assert not store.is_done(asked_more)
    (store.path / "students" / "k" / runs.RECORD).unlink()
    assert store.entry("k") == {} and not store.is_done(JOB)


def test_a_damaged_entry_counts_as_none(store):
    finish(store)
    path = store.path / "jobs" / "k.json"
    path.write_text(path.read_text()[:20])
    assert store.entry("k") == {} and not store.is_done(JOB)
    store.note("k", status="failed", error="E: x")
    assert store.has_failed(JOB) and store.entry("k") == {"status": "failed", "error": "E: x", "key": "k"}


def test_writing_that_fails_leaves_what_was_there(store, monkeypatch):
    finish(store)
    before = (store.path / "jobs" / "k.json").read_text()
    monkeypatch.setattr(json, "dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.note("k", status="failed")
    assert (store.path / "jobs" / "k.json").read_text() == before
    assert [path.name for path in (store.path / "jobs").iterdir()] == ["k.json"]


def test_a_job_is_held_by_one_process_and_set_free_when_it_is_killed(store):
    code = (
        "import sys, time\nfrom tfnoisekd.experiments.store import Store\n"
        f"with Store({str(store.path)!r}).alone('k'):\n print('held', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        assert store.is_held("k") and not store.is_held("other")
        with pytest.raises(BlockingIOError), store.alone("k"):
            pass
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert not store.is_held("k")


def test_other_folders_are_refused(tmp_path, store):
    with pytest.raises(FileNotFoundError, match="is not a grid folder: it has no grid.json"):
        Store(tmp_path / "nothing")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(FileExistsError, match="is neither a grid folder nor empty"):
        Store(tmp_path / "full", create=True)
    (store.path / "grid.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="must be a grid folder of format 1. Received: format 99"):
        Store(store.path)
    (store.path / "grid.json").write_text("{")
    with pytest.raises(ValueError, match="Received: format none that can be read"):
        Store(store.path)


def test_a_folder_that_was_killed_while_it_was_made_is_made_again(tmp_path):
    (tmp_path / "grid" / "jobs").mkdir(parents=True)
    (tmp_path / "grid" / ".grid.123.tmp.json").write_text("{")
    assert Store(tmp_path / "grid", create=True).entry("k") == {}


def test_data_that_change_are_noticed(store):
    store.check_data("npz:x", "settings", "aa")
    store.check_data("npz:x", "settings", "aa")
    store.check_data("npz:x", "other settings", "bb")
    with pytest.raises(ValueError, match="npz:x holds other images or labels than when .* was begun"):
        store.check_data("npz:x", "settings", "bb")


def test_a_run_folder_that_was_killed_while_it_was_made_is_made_again(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".run.77.tmp.json").write_text("{")
    (folder / disk.LOCK).touch()
    runs.Run.create(folder, {"seed": 1})
    assert runs.Run.open(folder).record["config"] == {"seed": 1}
    disk.remove_leftovers(folder)
    assert sorted(path.name for path in folder.iterdir()) == [disk.LOCK, runs.RECORD]
