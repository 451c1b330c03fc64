"""What a grid takes: the jobs that train and question its models, each of which is there once."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from tfnoisekd import architectures, methods, runs
from tfnoisekd.config import Config

STUDENTS, TEACHERS = "students", "teachers"
# Where data lie and how files are read is no part of what is computed.
PLACES = {"data_dir": None, "corruption_file": None, "unsafe": False}


@dataclass(frozen=True)
class Job:
    """One model: its training, and the questions that it is asked.

    Attributes:
        key: Text that names it, equal for equal settings wherever the data lie.
        role: "teacher" or "student".
        config: Resolved `Config` of the student; for a teacher, that of a student who needs it.
        seed: Of the model itself.
        needs: Keys of the jobs that must be done before.
        questions: List of what `Question.asked` gives.
    """

    key: str
    role: str
    config: object
    seed: int
    needs: tuple = ()
    questions: list = field(default_factory=list)

    @property
    def own_config(self):
        """The configuration of the model itself."""
        return methods.teacher_config(self.config, self.seed) if self.role == "teacher" else self.config

    @classmethod
    def of(cls, payload):
        """The job that another process's `payload` describes; what it needs is done by then."""
        return cls(**{**payload, "config": Config(**payload["config"])})

    def payload(self):
        """The job for another process, ready for JSON."""
        settings = self.config.model_dump(mode="json")
        return {"key": self.key, "role": self.role, "config": settings, "seed": self.seed, "questions": self.questions}


def plan(grids):
    """All jobs of some grids, teachers first.

    Args:
        grids: Dict of name -> list of `grid.Cell`.

    Returns:
        (jobs, keys): dict of key -> `Job`, and dict of name -> list of (cell, dict of seed -> key).

    Raises:
        ValueError: If two data sets can't be told apart by their names.
    """
    teachers, students, keys, places = {}, {}, {}, {}
    for name, cells in grids.items():
        keys[name] = []
        for cell in cells:
            found = {}
            for seed, config in cell.configs.items():
                _check_name(config, places)
                needs = [_add(teachers, _teacher(config, each), cell.teacher_questions) for each in _seeds(config)]
                job = Job(_key(config), "student", config, seed, tuple(needs))
                found[seed] = _add(students, job, cell.questions)
            keys[name].append((cell, found))
    return {**teachers, **students}, keys


def digest(config):
    """Identifies what a run computes, wherever its data lie: 10 hexadecimal digits."""
    # Without defaults: a setting that a later version adds does not make another run of this one.
    settings = config.canonical().model_copy(update=PLACES).model_dump(mode="json", exclude_defaults=True)
    settings["data"] = _name(config.data)
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:10]


def _seeds(config):
    """Seeds of the teachers that have to be trained."""
    trained = methods.get(config.method).distils and architectures.is_name(config.teacher)
    return config.teacher_seeds if trained else ()


def _teacher(config, seed):
    own = methods.teacher_config(config, seed)
    return Job(f"teacher-{_key(own)}", "teacher", config, seed)


def _add(jobs, job, questions):
    """Adds a job, or its questions to the one that is there; returns its key."""
    known = jobs.setdefault(job.key, job)
    known.questions.extend(each for each in questions if each not in known.questions)
    return job.key


def _key(config):
    """Such as "sr-cifar10-sigma0.05-seed0-1f2e3d4c5b"; for a plain network its name comes first."""
    parts = [config.method, config.student, runs.slug(config.data)]
    parts += [f"{name}{getattr(config, name):g}" for name in ("dropout", "sigma", "rate") if getattr(config, name)]
    if config.label_corruption:
        parts.append(f"corruption{config.label_corruption:g}")
    return "-".join(re.sub(r"[^A-Za-z0-9+.]+", "-", part) for part in parts) + f"-seed{config.seed}-{digest(config)}"


def _name(data):
    """A data set's name without the folder that it lies in."""
    kind, colon, _ = data.partition(":")
    return f"{kind}:{runs.slug(data)}" if colon and kind in ("npz", "folder") else data


def _check_name(config, places):
    other = places.setdefault(_name(config.data), config.data)
    if other != config.data:
        raise ValueError(f"`data` must have different file names. Received: {other} and {config.data}; rename one")


def missing_files(jobs):
    """Names of files and folders that jobs need and that are not there."""
    sources, found = set(), []
    for job in jobs.values():
        sources.add(job.config.data)
        sources.update(options["source"] for name, options in job.questions if name == "ood")
        found.append(job.config.corruption_file)
    found += [source.partition(":")[2] for source in sorted(sources) if source.startswith(("npz:", "folder:"))]
    return [path for path in dict.fromkeys(filter(None, found)) if not Path(path).expanduser().exists()]
