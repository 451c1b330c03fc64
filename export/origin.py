"""Origin: what a run's record says of how its student came about, without what is private."""

import dataclasses
from pathlib import PureWindowsPath

LOWEST = 5  # this many of the least accurate classes are named
METRICS = (
    "n",
    "accuracy",
    "accuracy_interval",
    "expected_calibration_error",
    "num_bins",
    "negative_log_likelihood",
    "teacher_accuracy",
    "agreement",
)
SETTINGS = ("student", "sigma", "rate", "dropout", "epochs", "batch_size", "seed", "teacher_seeds", "split_seed")
TEACHER = ("parameters", "weights_sha256")
LOSSES = {
    "at": "attention transfer (Zagoruyko and Komodakis, 2017)",
    "sp": "similarity preserving (Tung and Mori, 2019)",
    "rkd-d": "relational knowledge distillation of distances (Park et al., 2019)",
    "rkd-a": "relational knowledge distillation of angles (Park et al., 2019)",
    "rkd-da": "relational knowledge distillation of distances and angles (Park et al., 2019)",
}


@dataclasses.dataclass(frozen=True)
class Training:
    """How a student was trained, as its run recorded it.

    Args:
        method: Name as in `tfnoisekd methods`.
        losses: What was minimised, in words.
        noise: One sentence for each noise; empty without any.
        settings: `sigma`, `rate`, `dropout`, `epochs`, `seed`, `teacher_seeds`, `split_seed` and what else decides.
        teacher: `name`, `parameters`, `weights_sha256`; None where the student learnt alone.
        data: `name`, `fingerprint`, `train`, `validation`, `test` (numbers of images) and `corruption` of labels.
        finished_at: Date and time in UTC, ISO 8601.
        code: Commit of the training program, or None.
    """

    method: str
    losses: str
    noise: tuple[str, ...]
    settings: dict
    teacher: dict | None
    data: dict
    finished_at: str | None
    code: str | None


def of_record(record):
    """The `Training` of a finished run.

    Paths and the command line stay out: they say things of the machine and its user that nobody else needs.

    Args:
        record: `runs.Run.record`.
    """
    config, data, teacher = record["config"], record["data"], record.get("teacher")
    kept = {name: data.get(name) for name in ("fingerprint", "train", "validation", "test", "corruption")}
    return Training(
        method=config["method"],
        losses=_losses(config, teacher),
        noise=tuple(_noise(config, teacher)),
        settings={name: config[name] for name in SETTINGS},
        teacher=teacher and {"name": public(config["teacher"])} | {k: teacher.get(k) for k in TEACHER},
        data={"name": public(data["name"]), **kept},
        finished_at=record.get("finished_at"),
        code=record["provenance"].get("code"),
    )


def metrics(results):
    """The results of a run that belong into a file: all but those of every single class, of which a few are named."""
    chosen = {name: results[name] for name in METRICS if name in results}
    counted = [
        {"name": name, **found} for name, found in results.get("per_class", {}).items() if found["accuracy"] is not None
    ]
    lowest = sorted(counted, key=lambda each: each["accuracy"])[:LOWEST]
    return {**chosen, "lowest_classes": lowest}


def public(name):
    """The name of a data set or a teacher without the folders that lead to it: "npz:/home/me/a.npz" -> "npz:a.npz"."""
    kind, colon, place = name.partition(":")
    if kind in ("npz", "folder"):
        return f"{kind}{colon}{PureWindowsPath(place).name}"  # it knows both kinds of slashes
    return name if kind == "tfds" else PureWindowsPath(name).name


def _losses(config, teacher):
    """What was minimised, in words."""
    parts = ["cross-entropy with the labels"]
    base, *more = config["method"].split("+")
    if base in LOSSES:
        parts.append(LOSSES[base])
    if teacher and (base not in LOSSES or more):
        parts.append(
            "the divergence from the teacher's softened outputs (Hinton et al., 2015; "
            f"weight {config['alpha']:g}, temperature {config['temperature']:g})"
        )
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _noise(config, teacher):
    """One sentence for each noise of a training."""
    if config["sigma"]:
        name, target = ("Soft Randomization", "student's input") if teacher else ("Gaussian augmentation", "input")
        yield (
            f"Gaussian noise with a standard deviation of {config['sigma']:g}, where black is 0 and white is 1, was "
            f"added to the {target}, anew for every batch ({name})."
        )
    if config["rate"]:
        yield (
            f"In every batch each label was drawn anew from all classes with a probability of {config['rate']:g} "
            "(Messy Collaboration)."
        )
    if config["dropout"] and "ft" in config["method"].split("+"):
        yield f"The teacher's dropout, at a rate of {config['dropout']:g}, stayed on while it taught (Fickle Teacher)."
    elif config["dropout"] and not teacher:
        yield f"The network was trained with dropout at a rate of {config['dropout']:g}."
