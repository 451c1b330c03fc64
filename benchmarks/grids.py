"""What a grid costs beside its trainings and evaluations: python benchmarks/grids.py

First a grid of real runs on the embedded digits, of which every second of every worker is accounted for: training and
evaluating, starting up, between two jobs, and idle for want of a job that can be done. Then the commands that a person
waits for, on a folder of as many finished runs as asked, made of copies of one of those records.
"""

import argparse
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SHARED = {"data": "digits", "student": "wrn-10-1", "teacher": "wrn-10-1", "batch_size": 32, "validation_size": 0}
QUESTION = {"pgd": {"steps": [1, 5], "limit": 100, "restarts": 1}}


def main(arguments=None):
    """Measures, prints, and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=24, help="students of the real grid")
    parser.add_argument("--epochs", type=int, default=10, help="epochs of each")
    parser.add_argument("--workers", type=int, help="one a core by default")
    parser.add_argument("--finished", type=int, default=1000, help="finished runs of the other folder")
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args(arguments)
    import keras
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        real = Path(folder) / "real"
        result = {
            "command": " ".join(["python", *sys.argv]),
            "device": f"{platform.machine()}, {os.cpu_count()} cores",
            "versions": {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__},
            "grid": real_grid(real, options.runs, options.epochs, options.workers),
        }
        show_grid(result["grid"])
        many = Path(folder) / "many"
        result["finished"] = {"runs": finished_grid(many, real, options.finished), **commands(many)}
    for name, seconds in result["finished"].items():
        if name != "runs":
            print(f"{name:28} {seconds:6.2f} s with {result['finished']['runs']:,} finished runs")
    if options.output:
        Path(options.output).write_text(json.dumps(result, indent=1) + "\n")


class Clock:
    """Watches a sweep: when each job began and ended, by slot."""

    def __init__(self):
        self.jobs, self._began = {}, {}

    def begun(self, slot, job):
        self._began[slot] = time.monotonic()

    def progress(self, slot, share, what):
        pass

    def ended(self, slot, job, answer):
        assert answer["status"] == "finished", answer
        self.jobs.setdefault(slot, []).append((job.key, self._began[slot], time.monotonic()))


def real_grid(folder, runs, epochs, workers):
    """Carries out a grid, and accounts for every second of every worker."""
    from tfnoisekd.experiments import grid, local, resources
    from tfnoisekd.experiments.store import Store
    from tfnoisekd.experiments.sweep import Sweep

    settings = {"shared": {**SHARED, "epochs": epochs}, "axes": {"seed": list(range(runs // 3))}}
    settings |= {"blocks": [{"method": ["baseline", "hinton", "mc"]}], "evaluations": [QUESTION]}
    sweep, store = Sweep([grid.build(settings)]), Store(folder, create=True)
    sweep.note(store)
    workers, threads = resources.divided(workers)
    pool, watch = local.LocalPool(folder, {"folder": str(folder)}, workers, threads), Clock()
    start = time.monotonic()
    sweep.run(store, pool, watch)
    end = time.monotonic()
    seconds = {key: store.entry(key)["seconds"] for key in sweep.jobs}
    work = sum(sum(each.values()) for each in seconds.values())
    startup = sum(pool.startup_seconds)
    busy = sum(ended - began for jobs in watch.jobs.values() for _, began, ended in jobs)
    between = sum(b[1] - a[2] for jobs in watch.jobs.values() for a, b in itertools.pairwise(jobs))
    wall = end - start
    return {
        "students": runs // 3 * 3,
        "workers": workers,
        "threads": threads,
        "wall_seconds": wall,
        "work_seconds": work,
        "startup_seconds": pool.startup_seconds,
        "around_jobs_seconds": busy - startup - work,
        "between_jobs_seconds": between,
        "at_the_ends_seconds": workers * wall - busy - between,
        "overhead_share": (busy - work + between) / (workers * wall),
    }


def show_grid(found):
    """Prints the account."""
    total = found["workers"] * found["wall_seconds"]
    print(f"{found['students']} students, {found['workers']} workers: {found['wall_seconds']:.0f} s")
    rows = {
        "training and evaluating": found["work_seconds"],
        "starting up, once a worker": sum(found["startup_seconds"]),
    }
    rows |= {"around a job (locks, records)": found["around_jobs_seconds"]}
    rows |= {"between two jobs": found["between_jobs_seconds"], "idle at the end": found["at_the_ends_seconds"]}
    for name, seconds in rows.items():
        print(f"  {name:30} {seconds:8.1f} s  {seconds / total:6.2%}")
    print(f"  overhead without idle workers  {found['overhead_share']:.2%}")


def finished_grid(folder, real, count):
    """Makes a folder of finished runs out of copies of a real one; returns their number."""
    from tfnoisekd.experiments import grid
    from tfnoisekd.experiments.store import Store
    from tfnoisekd.experiments.sweep import Sweep

    sigmas = [round(0.001 * (1 + number), 3) for number in range(max(1, count // 10))]
    settings = {"name": "many", "shared": {**SHARED, "epochs": 10}, "axes": {"seed": [0, 1, 2, 3, 4]}}
    settings |= {"blocks": [{"method": ["sr", "ga"], "sigma": sigmas}], "evaluations": [QUESTION]}
    settings["comparisons"] = [{"of": {"method": "sr"}, "against": {"method": "ga"}}]
    sweep, store = Sweep([grid.build(settings)]), Store(folder, create=True)
    sweep.note(store, "tfnoisekd sweep many.yaml")
    source = next(real.glob("students/mc-*"))
    record, answers = json.loads((source / "run.json").read_text()), list(source.glob("evaluation/[!.]*.json"))
    for job in sweep.jobs.values():
        run = folder / "students" / job.key
        (run / "evaluation").mkdir(parents=True)
        changed = {**record, "config": job.config.model_dump(mode="json"), "student_weights_sha256": job.key}
        (run / "run.json").write_text(json.dumps(changed, indent=2))
        shutil.copy(source / "history.csv", run)
        for answer in answers:
            shutil.copy(answer, run / "evaluation")
        entry = {"role": job.role, "status": "finished", "run": f"students/{job.key}", "answered": job.questions}
        store.note(job.key, **entry, seconds={"training": 60.0, "evaluation": 5.0}, attempts=1, error=None)
    (folder / "many.yaml").write_text(json.dumps(settings))
    return len([job for job in sweep.jobs.values() if job.role == "student"])


def commands(folder):
    """Seconds of the commands on it, the start of Python included."""
    words = {
        "sweep --dry-run": ["sweep", str(folder / "many.yaml"), "--output", str(folder), "--dry-run"],
        "report, all formats": ["report", str(folder)],
    }
    return {name: _timed(each) for name, each in words.items()}


def _timed(words):
    code = "from tfnoisekd.cli.main import main; main()"
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True)
    return time.monotonic() - start


if __name__ == "__main__":
    main()
