"""Run directories, files that are written whole, checkpoints that survive damage, provenance."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tfnoisekd import checkpoints, disk, runs
from tfnoisekd.provenance import now, provenance


@pytest.fixture
def checkpoint(tmp_path):
    saved = checkpoints.Checkpoint(tmp_path, "abc")
    for epoch in (1, 2):
        saved.save(epoch, {"student": [np.full(3, epoch), np.eye(2)], "optimizer": [np.int64(10 * epoch)]})
    return saved


def test_a_checkpoint_comes_back(checkpoint):
    epoch, groups = checkpoint.load()
    assert epoch == 2
    np.testing.assert_array_equal(groups["student"][0], [2, 2, 2])
    np.testing.assert_array_equal(groups["student"][1], np.eye(2))
    assert groups["optimizer"] == [20]


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoints.Checkpoint(tmp_path, "abc").load() is None


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_truncated_checkpoint_gives_way_to_the_one_before(checkpoint, keep):
    content = checkpoint.latest.read_bytes()
    checkpoint.latest.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
    with pytest.warns(UserWarning, match=r"checkpoint.npz \(.*\) is damaged: going on after epoch 1"):
        epoch, groups = checkpoint.load()
    assert epoch == 1
    np.testing.assert_array_equal(groups["student"][0], [1, 1, 1])


def test_a_flipped_bit_is_noticed(checkpoint):
    content = bytearray(checkpoint.latest.read_bytes())
    # Inside the data of an array: the zip's checksum no longer fits.
    position = content.find(np.full(3, 2).tobytes())
    content[position] ^= 1
    checkpoint.latest.write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged"):
        assert checkpoint.load()[0] == 1


def test_two_damaged_checkpoints_are_an_error(checkpoint):
    checkpoint.latest.write_bytes(b"")
    checkpoint.previous.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"No checkpoint in .* can be read: .*train anew"):
        checkpoint.load()


def test_a_pickle_in_a_checkpoints_place_is_not_run(checkpoint, tmp_path):
    np.savez(checkpoint.latest, epoch=np.int64(3), digest=np.array([print], dtype=object))
    with pytest.warns(UserWarning, match="is damaged"):
        assert checkpoint.load()[0] == 1


def test_a_checkpoint_of_another_configuration_is_refused(checkpoint, tmp_path):
    with pytest.raises(ValueError, match="belongs to another configuration"):
        checkpoints.Checkpoint(tmp_path, "other").load()


def test_a_full_disk_costs_nothing(checkpoint, monkeypatch):
    def full(path, **arrays):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(3, {"student": [np.zeros(3)]})
    assert checkpoint.load()[0] == 2
    assert sorted(os.listdir(checkpoint.latest.parent)) == ["checkpoint.npz", "checkpoint.previous.npz"]


def test_a_kill_while_writing_leaves_a_good_checkpoint(tmp_path):
    code = f"""
import os, numpy as np
from tfnoisekd import checkpoints
from tfnoisekd.provenance import now
saved = checkpoints.Checkpoint({str(tmp_path)!r}, "abc")
saved.save(1, {{"student": [np.ones(3)]}})
savez = np.savez
def die(path, **arrays):
    savez(path, **arrays)
    with open(path, "r+b") as file:
        file.truncate(100)
    os.kill(os.getpid(), 9)
np.savez = die
saved.save(2, {{"student": [np.ones(3)]}})
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == -9
    assert checkpoints.Checkpoint(tmp_path, "abc").load()[0] == 1


def test_replacing_keeps_the_old_file_on_failure(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), disk.replacing(path) as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert path.read_text() == "old"
    with disk.replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_another_run_is_never_overwritten(tmp_path):
    runs.Run.create(tmp_path / "a", {"method": "mc"})
    with pytest.raises(FileExistsError, match=r"holds another run, which is never overwritten: .*--resume"):
        runs.Run.create(tmp_path / "a", {"method": "sr"})
    assert runs.Run.open(tmp_path / "a").record["config"] == {"method": "mc"}
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.tex").write_text("precious")
    with pytest.raises(FileExistsError, match="is not an empty folder"):
        runs.Run.create(tmp_path / "b", {})


def test_runs_are_numbered_and_the_newest_finished_is_found(tmp_path):
    paths = []
    for _ in range(3):
        path = runs.new_path(tmp_path, "mc-digits")
        paths.append(path.name)
        run = runs.Run.create(path, {})
        if len(paths) < 3:
            run.update(status="finished", finished_at=now())
    assert paths == ["mc-digits-1", "mc-digits-2", "mc-digits-3"]
    assert runs.newest_finished(tmp_path).path.name == "mc-digits-2"
    with pytest.raises(FileNotFoundError, match=r"has not finished \(running\): go on with it by"):
        _ = runs.Run.open(tmp_path / "mc-digits-3").student_path


def test_a_damaged_record_hides_no_other_run(tmp_path):
    runs.Run.create(tmp_path / "good", {}).update(status="finished", finished_at=now())
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("{")
    with pytest.warns(UserWarning, match="Passed over: .*bad/run.json is damaged"):
        assert runs.newest_finished(tmp_path).path.name == "good"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PermissionError, match=r"`output` .*file/run can't be written \(Not a directory\)"):
        runs.Run.create(tmp_path / "file" / "run", {})


def test_no_finished_run_says_how_to_get_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="no finished run in .*tfnoisekd train"):
        runs.newest_finished(tmp_path)


def test_a_damaged_record_is_named(tmp_path):
    run = runs.Run.create(tmp_path / "a", {})
    (run.path / "run.json").write_text('{"status": "fin')
    with pytest.raises(ValueError, match=r"run.json is damaged"):
        runs.Run.open(run.path)
    with pytest.raises(FileNotFoundError, match="is not a run folder"):
        runs.Run.open(tmp_path)


def test_provenance_says_where_a_number_comes_from(tmp_path):
    record = runs.Run.create(tmp_path / "a", {"seed": 3}, command="tfnoisekd train --seed 3").record
    found = record["provenance"]
    assert found["command"] == "tfnoisekd train --seed 3"
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"tfnoisekd", "tensorflow", "keras", "numpy"} <= set(found["versions"])
    assert found["device"] and found["started_at"].startswith("20")


def test_provenance_says_what_changes_the_last_bits(monkeypatch):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    device = provenance()["device"]
    assert device.endswith(" (TF_ENABLE_ONEDNN_OPTS=1)")
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "2")
    assert provenance()["device"] == device[:-1] + ", TF_NUM_INTRAOP_THREADS=2)"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert provenance()["device"] == device[:-1] + ", TF_NUM_INTRAOP_THREADS=2, ONEDNN_MAX_CPU_ISA=AVX2)"


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="the instruction sets are read where Linux says them")
def test_provenance_says_the_widest_instructions_of_the_processor():
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    flags = next((line.split(":")[1].split() for line in text.splitlines() if line.startswith("flags")), [])
    widest = [name for name in ("avx", "avx2", "avx512f") if name in flags][-1:]
    assert provenance()["device"].partition(",")[0].split(" with ")[1:] == widest


def test_a_lock_keeps_others_out_and_dies_with_its_process(tmp_path):
    code = f"""
import sys, time
from tfnoisekd import disk
with disk.exclusive({str(tmp_path / ".lock")!r}, wait=False):
    print("locked", flush=True)
    time.sleep(100)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        with (
            pytest.raises(BlockingIOError, match="is being trained by another process"),
            disk.exclusive(tmp_path / ".lock", wait=False),
        ):
            pass
        other.kill()
    with disk.exclusive(tmp_path / ".lock", wait=False):
        pass
