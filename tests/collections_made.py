"""Collections as `tfnoisekd.report.collect` makes them, without a training: seeded numbers in the shape of a sweep."""

import hashlib
import itertools

import numpy as np

from tfnoisekd.evaluation.corruptions.catalog import NAMES

SOURCE = "npz:data/cinic10-imagenet-sample.npz"
DATA = "npz:data/cifar10-exact-train.npz"
NOTE = "9,000 training images, WRN-16-2 teaches WRN-10-1 for 30 epochs. Not the paper's setting."
VERSIONS = {"python": "3.11.7", "tfnoisekd": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.1"}
BASES = {"baseline": 0.60, "hinton": 0.62, "ft": 0.64, "sr": 0.61, "ga": 0.58, "mc": 0.63}
ON_FEWER = ("mca", "mca_15", "natural_robustness", "robust_accuracy", "corruption_accuracy")


def attack(steps, epsilon=8 / 255, step_size=0.003):
    """Settings of a PGD measurement."""
    chosen = {"attack": "pgd", "norm": "linf", "epsilon": epsilon, "steps": steps, "restarts": 5}
    return {**chosen, "step_size": step_size}


def asked(metric, **settings):
    return {"metric": metric, "settings": settings}


ACCURACY, TEACHER = asked("test_accuracy"), asked("teacher_accuracy")
OOD, MCA = asked("ood_accuracy", source=SOURCE), asked("mca")
CORRUPTED = [MCA, asked("mca_15"), asked("natural_robustness")]
STEPS = [asked("robust_accuracy", **attack(steps)) for steps in (1, 5, 20)]
LONG_STEPS = [asked("robust_accuracy", **attack(steps, step_size=0.03)) for steps in (1, 5, 20)]
EPSILONS = [asked("robust_accuracy", **attack(20, level / 255)) for level in (1, 2, 10)]
SR_GA = [{"of": {"method": "sr"}, "against": {"method": "ga"}}]
NOISES = {"sigma": [0.02, 0.05], "method": ["ga", "sr"]}
METHODS = ["baseline", "hinton", "at", "rkd-da"]
MESSY = [{"method": ["baseline", "hinton"]}, {"method": "mc", "rate": [0.1, 0.3]}]
MESSY = [{"label_corruption": [0.0, 0.2, 0.4], **block} for block in MESSY]
FICKLE = {"method": "ft", "dropout": [0.2, 0.4]}
ADDED = ["at", "at+h", "sp", "sp+h"]
# view -> (blocks of axes, metrics, comparisons)
GRIDS = {
    "table1": (
        [{"method": METHODS}, FICKLE],
        [ACCURACY, TEACHER, OOD, *CORRUPTED],
        [
            {"of": {"method": "hinton"}, "against": {"method": "baseline"}},
            {"of": {"method": "ft"}, "against": {"method": "hinton"}},
        ],
    ),
    "table2": (
        [{"method": ADDED}, {"method": ["at+ft", "sp+ft"], "dropout": 0.4, "epochs": 52}],
        [ACCURACY, TEACHER, OOD],
        [{"of": {"method": "at+ft"}, "against": {"method": "at+h"}}],
    ),
    "table3": ([NOISES], [ACCURACY, TEACHER, OOD], SR_GA),
    "table4": ([NOISES], [ACCURACY, TEACHER, *STEPS, *LONG_STEPS], SR_GA),
    "table5": ([NOISES], [ACCURACY, TEACHER, *EPSILONS], SR_GA),
    "figure2": ([NOISES], [ACCURACY, TEACHER, STEPS[2]], SR_GA),
    "figure3": (
        [{"method": "hinton"}, {"method": "sr", "sigma": [0.02, 0.05, 0.1]}],
        [ACCURACY, TEACHER, *CORRUPTED],
        [{"of": {"method": "sr"}, "against": {"method": "hinton"}}],
    ),
    "figure4": (
        MESSY,
        [ACCURACY, TEACHER, asked("wrong_label_accuracy")],
        [{"of": {"method": "mc"}, "against": {"method": "hinton"}}],
    ),
    "figure5": (
        MESSY,
        [ACCURACY, TEACHER, OOD, asked("teacher_ood_accuracy", source=SOURCE)],
        [{"of": {"method": "mc"}, "against": {"method": "hinton"}}],
    ),
    None: (
        [{"method": "hinton", "temperature": [1.0, 4.0], "alpha": [0.5, 0.9]}],
        [ACCURACY, asked("negative_log_likelihood"), asked("average_certified_radius", sigma=0.25)],
        [{"of": {"temperature": 4.0}, "against": {"temperature": 1.0}}],
    ),
}
TITLES = {None: "Temperature and alpha"}


def cells_of(blocks):
    """All combinations of the axes of each block, as dicts."""
    for block in blocks:
        values = [each if isinstance(each, list) else [each] for each in block.values()]
        for combination in itertools.product(*values):
            yield dict(zip(block, combination, strict=True))


def made(*views, seeds=(0, 10, 20), epochs=30, data=None):
    """A collection with a grid for each view, such as "table1"; None is a grid that is not of the paper.

    Args:
        views: Keys of `GRIDS`.
        seeds: Seeds of every cell.
        epochs: Length of the curves.
        data: List of data sets for a `data` axis; None for none, and `stands_for` CIFAR-10.
    """
    collection = {"format": 1, "grids": [], "runs": {}, "measurements": []}
    for view in views:
        blocks, metrics, comparisons = GRIDS[view]
        add_grid(collection, view, blocks, metrics, comparisons, seeds, epochs, data)
    return collection


def large(cells=200, seeds=(0, 10, 20, 30, 40), epochs=200):
    """A collection of 1,000 finished runs, each with curves, corruptions and attacks."""
    collection = {"format": 1, "grids": [], "runs": {}, "measurements": []}
    sigmas = [round(0.01 + 0.5 * place / cells, 4) for place in range(cells // 2)]
    metrics = [ACCURACY, TEACHER, OOD, *CORRUPTED, *STEPS]
    add_grid(collection, "table3", [{"sigma": sigmas, "method": ["ga", "sr"]}], metrics, SR_GA, seeds, epochs, None)
    return collection


def add_grid(collection, view, blocks, metrics, comparisons, seeds, epochs, data):
    """Adds a grid, its runs and their measurements."""
    if data:
        blocks = [{"data": data, **block} for block in blocks]
    cells = list(cells_of(blocks))
    grid = {
        "name": view or "custom",
        "title": TITLES.get(view) or f"{view.capitalize()} in small & more",
        "paper": view,
        "stands_for": "cifar10" if view and not data else None,
        "note": NOTE,
        "axes": list(dict.fromkeys(name for cell in cells for name in cell)),
        "seeds": list(seeds),
        "cells": [],
        "comparisons": comparisons,
        "metrics": metrics,
    }
    for axes in cells:
        found = {str(seed): add_run(collection, axes, seed, metrics, epochs) for seed in seeds}
        grid["cells"].append({"axes": axes, "runs": found})
    collection["grids"].append(grid)


def digest(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def add_run(collection, axes, seed, metrics, epochs=30):
    """Adds a finished run of a cell, if it is not there yet, and what it lacks of the measurements."""
    config = {"method": "hinton", "data": DATA, "dropout": 0.0, "sigma": 0.0, "rate": 0.0, "label_corruption": 0.0}
    config |= {"teacher": "wrn-16-2", "student": "wrn-10-1", "epochs": epochs, "learning_rate": 0.1, "batch_size": 128}
    config |= {"temperature": 4.0, "alpha": 0.9, "milestones": [0.3, 0.6, 0.8], **axes, "seed": seed}
    key = f"{config['method']}-{digest(sorted(axes.items()), seed)[:12]}"
    rng = np.random.default_rng(int(digest(key)[:8], 16))
    distils = config["method"] not in ("baseline", "ga")
    if key not in collection["runs"]:
        collection["runs"][key] = run_of(key, config, distils, rng)
    there = {(each["metric"], repr(each["settings"])) for each in collection["measurements"] if each["run"] == key}
    for each in every_metric(metrics, config, distils):
        if (each["metric"], repr(each["settings"])) not in there:
            value = round(float(level(each, config) + rng.normal(0, 0.004)), 6)
            if "teacher" in each["metric"]:
                value = 0.70 - 0.3 * config["label_corruption"]
            n = 1000 if each["metric"] in ON_FEWER else 2167
            collection["measurements"].append({"run": key, **each, "value": value, "n": n})
    return key


def every_metric(metrics, config, distils):
    """What a run of these metrics is measured by: those that can be, and what comes with them."""
    found = [*metrics, asked("expected_calibration_error")]
    if MCA in metrics:
        found += [asked("corruption_accuracy", corruption=name) for name in NAMES]
    if not distils:
        found = [each for each in found if "teacher" not in each["metric"]]
    if not config["label_corruption"]:
        found = [each for each in found if each["metric"] != "wrong_label_accuracy"]
    return found


def level(each, config):
    """About which value a metric has."""
    metric, settings = each["metric"], each["settings"]
    base = BASES.get(config["method"], 0.625) - 0.25 * config["label_corruption"] - config["sigma"]
    if metric == "robust_accuracy":
        return max(0.02, base * 0.9 ** settings["steps"] ** 0.5 * (1 - 20 * settings["epsilon"] / 10) + config["sigma"])
    if metric == "corruption_accuracy":
        return base - 0.01 * NAMES.index(settings["corruption"]) + 2 * config["sigma"] * (1 - 8 * config["sigma"])
    return {"negative_log_likelihood": 1.1, "average_certified_radius": 0.2}.get(metric, base)


def run_of(key, config, distils, rng):
    """A finished run."""
    epochs = np.arange(1, config["epochs"] + 1)
    loss = 2.2 * np.exp(-epochs / (0.3 * config["epochs"])) + rng.normal(0, 0.02, len(epochs)) + 0.3
    teacher = {"weights_sha256": digest("teacher", config["dropout"], config["label_corruption"])}
    teacher |= {"run": None, "parameters": 691674, "seed": 0, "candidates": [0]}
    student, macs = digest(key, "student"), {"student": 12_500_000, "teacher": 101_000_000 if distils else None}
    return {
        "path": f"/data/sweep/students/{key}",
        "status": "finished",
        "error": None,
        "config": config,
        "provenance": {
            "code": "5ee8a6f8276e",
            "versions": VERSIONS,
            "device": "AMD EPYC, 2 cores, Linux",
            "started_at": "2026-11-22T15:16:08+00:00",
            "command": "tfnoisekd sweep mini/table1",
        },
        "finished_at": "2026-11-22T15:28:19+00:00",
        "attempts": 1,
        "seconds": round(float(rng.uniform(600, 800)), 1),
        "evaluation_seconds": 30.5,
        "data": {"name": config["data"], "fingerprint": digest("data"), "train": 9000, "validation": 0, "test": 2167},
        "teacher": teacher if distils else None,
        "student_parameters": 77850,
        "student_weights_sha256": student,
        "curves": {
            "epoch": epochs.tolist(),
            "loss": [round(float(each), 5) for each in loss],
            "accuracy": [round(float(1 - each / 3), 5) for each in loss],
        },
        "evaluations": [
            {
                "question": "pgd",
                "file": f"pgd-{key[-4:]}.json",
                "provenance": {
                    "code": "5ee8a6f8276e",
                    "versions": VERSIONS,
                    "device": "NVIDIA T4",
                    "started_at": "2026-11-23T10:00:00+00:00",
                    "command": "tfnoisekd sweep mini/table4",
                },
            }
        ],
        "macs": macs,
        "training_flops": 2 * 9000 * config["epochs"] * (3 * macs["student"] + (macs["teacher"] or 0)),
    }


def fail(collection, key, error="ValueError: the loss is not finite"):
    """Makes a run a failed one: its measurements are gone."""
    collection["runs"][key] = {"path": None, "status": "failed", "error": error, "evaluations": []}
    collection["measurements"] = [each for each in collection["measurements"] if each["run"] != key]


def forget(collection, key):
    """Makes a run one that nobody has begun yet."""
    del collection["runs"][key]
    collection["measurements"] = [each for each in collection["measurements"] if each["run"] != key]
    for grid in collection["grids"]:
        for cell in grid["cells"]:
            cell["runs"] = {seed: None if each == key else each for seed, each in cell["runs"].items()}


def unmeasure(collection, key, metric):
    """Takes a run's measurements of one metric away."""
    collection["measurements"] = [
        each for each in collection["measurements"] if (each["run"], each["metric"]) != (key, metric)
    ]


def key_of(collection, name, seed=0, **axes):
    """Key of the run of a grid's cell that has these axes."""
    grid = next(each for each in collection["grids"] if each["name"] == name)
    cells = [each for each in grid["cells"] if axes.items() <= each["axes"].items()]
    assert len(cells) == 1, cells
    return cells[0]["runs"][str(seed)]
