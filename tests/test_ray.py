"""`tfnoisekd sweep --executor ray` on a real Ray of this machine, one of whose workers is killed."""

import os
import signal
import sys

import pytest
import sweeps

ray = pytest.importorskip("ray")


@pytest.mark.slow
def test_ray_ends_with_the_numbers_of_local_processes_though_a_worker_is_killed(scans, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    grid = sweeps.write_grid(tmp_path, scans)
    calm, folder = tmp_path / "local", tmp_path / "ray"
    code, said = sweeps.finish(sweeps.start(grid, calm, "--workers", 2, "--threads", 1), calm)
    assert code == 0, said
    process = sweeps.start(grid, folder, "--executor", "ray", "--workers", 2)
    entry = sweeps.wait_for(lambda: sweeps.in_training(folder))[0]
    os.kill(entry["origin"]["process"], signal.SIGKILL)
    code, said = sweeps.finish(process, folder)
    assert code == 0, said
    assert "died: " in said
    found = sweeps.entries(folder)
    assert {each["origin"]["worker"] for each in found.values()} == {"ray-0", "ray-1"}
    assert found[entry["key"]]["attempts"] == 2
    assert sweeps.outcome(folder) == sweeps.outcome(calm)


@pytest.mark.slow
def test_a_cluster_that_cannot_be_reached_is_named(scans, tmp_path, run):
    grid = sweeps.write_grid(tmp_path, scans)
    code, _, error = run("sweep", grid, "--output", tmp_path / "out", "--executor", "ray", "--address", "127.0.0.1:1")
    assert code == 2 and "`address` must be that of a Ray cluster that can be reached. Received: 127.0.0.1:1" in error


def test_without_ray_it_is_said_how_to_get_it(scans, tmp_path, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    grid = sweeps.write_grid(tmp_path, scans)
    code, _, error = run("sweep", grid, "--output", tmp_path / "out", "--executor", "ray")
    assert code == 2 and 'needs Ray: pip install "tfnoisekd[ray]"' in error
