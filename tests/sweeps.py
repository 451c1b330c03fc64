"""Sweeps of a few small runs in processes of their own, as a person starts them, and what is to be equal of two."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import yaml

SHARED = {"student": "wrn-10-1", "teacher": "wrn-10-1", "epochs": 3, "batch_size": 40, "validation_size": 0}
QUESTION = {"pgd": {"steps": [1, 3], "epsilon": ["2/255"], "restarts": 2, "limit": 20}, "where": {"method": "mc"}}
PATIENCE = 240  # seconds that a test waits for something to happen


def write_grid(folder, data, **more):
    """A grid of four students and a teacher, as a YAML file."""
    settings = {"title": "small", "shared": {**SHARED, "data": data}, "axes": {"seed": [0, 1]}}
    settings |= {"blocks": [{"method": ["baseline", "mc"]}], "evaluations": [QUESTION]}
    settings |= {"comparisons": [{"of": {"method": "mc"}, "against": {"method": "baseline"}}], **more}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def mislabelled(scans):
    """A file of human labels for the scans, every third of them wrong."""
    path = pathlib.Path(scans.removeprefix("npz:"))
    clean = np.load(path)["labels"]
    worse = (clean + (np.arange(len(clean)) % 3 == 0)) % 10
    np.savez(path.with_name("human.npz"), clean_label=clean, worse_label=worse)
    return str(path.with_name("human.npz"))


def start(grid, folder, *words):
    """A running `tfnoisekd sweep`."""
    command = "from tfnoisekd.cli.main import main; main()"
    words = ["sweep", str(grid), "--output", str(folder), *map(str, words)]
    with open(f"{folder}.log", "a") as log:
        return subprocess.Popen([sys.executable, "-c", command, *words], stdout=log, stderr=log, start_new_session=True)


def finish(process, folder):
    """Waits for a sweep; returns (exit code, all that it and those before it printed)."""
    code = process.wait(PATIENCE)
    return code, pathlib.Path(f"{folder}.log").read_text()


def kill(process):
    """kill -9 of the sweep's own process."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(condition):
    """Waits until a function gives something true, and returns that."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def entries(folder):
    """What the ledger says of each job that has been begun."""
    found = {}
    for path in (folder / "jobs").glob("[!.]*.json"):
        try:
            found[path.stem] = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            continue  # it is being replaced
    return found


def in_training(folder):
    """Entries of jobs that are being done, and have saved an epoch."""
    saved = {path.parent.name for path in folder.glob("students/*/checkpoint.npz")}
    return [entry for key, entry in entries(folder).items() if entry["status"] == "running" and key in saved]


def is_alive(pid):
    """Whether a process is there, and no zombie."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def outcome(folder):
    """All that two sweeps must have in common: weights, results and answers of each run."""
    found = {}
    for path in [*folder.glob("students/*/run.json"), *folder.glob("teachers/*/run.json")]:
        record = json.loads(path.read_text())
        answers = [json.loads(each.read_text()) for each in sorted(path.parent.glob("evaluation/[!.]*.json"))]
        found[path.parent.name] = {
            "status": record["status"],
            "weights": record["student_weights_sha256"],
            "results": record["results"],
            "history": (path.parent / "history.csv").read_text(),
            "answers": [(each["question"], each["settings"], each["results"]) for each in answers],
        }
    return found
