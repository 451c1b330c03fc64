"""One configuration with several seeds: as many runs, and what they say together."""

import json
import math
import statistics
from pathlib import Path

from tfnoisekd import disk, methods, runs, training

SUMMARY = "summary.json"
# What of the results is averaged; lists of names lead into nested results.
FIGURES = (
    ("accuracy",),
    ("agreement",),
    ("expected_calibration_error",),
    ("negative_log_likelihood",),
    ("memorization", "student", "wrong_label_accuracy"),
    ("memorization", "student", "true_label_accuracy"),
)


def run_seeds(config, seeds, output=None, *, root="runs", **options):
    """Trains a configuration once for each seed, under one teacher (section 3: five seeds, mean and 1 std).

    Each run is a folder `seed-N` of its own below `output`. What is finished there is kept and what was cut off goes
    on, so that the same call ends an interrupted series.

    Args:
        config: `Config`; its `seed` is replaced.
        seeds: Different non-negative integers.
        output: Folder of the series; `None` numbers one below `root`.
        root: Folder of runs and of the cached teachers.
        **options: Passed on to `training.run`.

    Returns:
        (folder, list of the finished `runs.Run`s).

    Raises:
        ValueError: If the seeds are not such, or a run of another configuration is in the way.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"`seeds` must be different numbers. Received: seeds={','.join(map(str, seeds)) or 'none'}")
    configs = [type(config)(**{**config.model_dump(), "seed": seed}) for seed in seeds]  # checked again
    output = Path(output or runs.new_path(root, f"{config.method}-{runs.slug(config.data)}-seeds"))
    options.setdefault("data", None)
    finished = []
    for each in configs:
        path = output / f"seed-{each.seed}"
        started = (path / runs.RECORD).exists()
        if started:
            _check_same(path, methods.resolve(each))
        options["data"] = options["data"] or training.load_data(each)
        finished.append(training.run(each, path, root=root, resume=started, **options))
        options["announce"] = None  # the data is the same for all
        with disk.replacing(output / SUMMARY) as temporary:
            temporary.write_text(json.dumps(summarise(finished), indent=2) + "\n", encoding="utf-8")
    return output, finished


def summarise(finished):
    """Mean and spread of the results of some runs.

    Args:
        finished: List of finished `runs.Run`s that differ in their seed.

    Returns:
        A dict: `seeds`, and for each figure that all runs have `mean`, `std` (sample standard deviation, `None` for a
        single run) and `values`, in the order of the seeds. Names of nested figures are joined by dots.
    """
    summary = {"seeds": [run.record["config"]["seed"] for run in finished]}
    for names in FIGURES:
        values = [_figure(run.record["results"], names) for run in finished]
        if None in values:
            continue
        spread = statistics.stdev(values) if len(values) > 1 else None
        summary[".".join(names)] = {"mean": math.fsum(values) / len(values), "std": spread, "values": values}
    return summary


def _figure(results, names):
    for name in names:
        results = results.get(name) if results else None
    return results


def _check_same(path, config):
    before, now = runs.Run.open(path).record["config"], config.model_dump(mode="json")
    for key, value in now.items():
        if before.get(key) != value:
            raise ValueError(
                f"{path} is a run of another configuration. Received: {key}={value}, and there it is "
                f"{before.get(key)}; name another folder"
            )
