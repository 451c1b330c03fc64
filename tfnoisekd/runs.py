"""A run directory: what is in it, and how it is found."""

import json
import os
import re
import warnings
from pathlib import Path

from tfnoisekd.disk import is_leftover, replacing
from tfnoisekd.provenance import provenance

RECORD = "run.json"
STUDENT = "student.keras"
CORRUPTION = "corruption.npz"


class Run:
    """One training on disk.

    A run directory holds `run.json` (status, configuration, provenance, results), `checkpoint.npz` and the one before,
    `history.csv`, `tensorboard/`, `corruption.npz` where training labels were replaced and, once finished,
    `student.keras`.

    Attributes:
        path: The directory.
        record: Contents of `run.json`.
    """

    def __init__(self, path, record):
        self.path = Path(path)
        self.record = record

    @classmethod
    def create(cls, path, config, command=None):
        """Makes a new run directory.

        Args:
            path: Directory that does not exist, or is empty.
            config: Mapping of settings, JSON-serialisable.
            command: The command line that asked for it.

        Raises:
            FileExistsError: If the directory holds anything.
        """
        path = Path(path)
        if (path / RECORD).exists():
            raise FileExistsError(
                f"`output` {path} holds another run, which is never overwritten: name another folder, "
                f"or go on with it by `--resume {path}`"
            )
        if path.exists() and (not path.is_dir() or not all(map(is_leftover, path.iterdir()))):
            raise FileExistsError(f"`output` {path} is not an empty folder: name another one")
        run = cls(path, {"status": "running", "config": config, "provenance": {**provenance(), "command": command}})
        try:
            path.mkdir(parents=True, exist_ok=True)
            run.write()
        except OSError as error:
            raise PermissionError(
                f"`output` {path} can't be written ({error.strerror}): name another folder"
            ) from error
        return run

    @classmethod
    def open(cls, path):
        """Reads a run directory.

        Raises:
            FileNotFoundError: If it is none.
            ValueError: If its record can't be read.
        """
        record = Path(path) / RECORD
        if not record.is_file():
            raise FileNotFoundError(f"{path} is not a run folder: it has no {RECORD}")
        try:
            return cls(path, json.loads(record.read_text(encoding="utf-8")))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{record} is damaged: {error}") from None

    def go_on(self, command):
        """Records that work on the run starts again, by which command and where: other threads round otherwise."""
        self.update(resumed=[*self.record.get("resumed", []), {**provenance(), "command": command}])

    @property
    def finished(self):
        return self.record["status"] == "finished"

    @property
    def student_path(self):
        """The trained student.

        Raises:
            FileNotFoundError: If the run has not finished.
        """
        if not self.finished:
            raise FileNotFoundError(
                f"{self.path} has not finished ({self.record['status']}): "
                f"go on with it by `tfnoisekd train --resume {self.path}`"
            )
        return self.path / STUDENT

    def settings(self):
        """The run's settings. A data path that leads nowhere from here is looked for from the run's folder."""
        settings = dict(self.record["config"])
        data = self.record.get("data", {})
        kind, _, place = settings["data"].partition(":")
        if data.get("path") and not Path(place).exists():
            settings["data"] = f"{kind}:{self.locate(data['path'])}"
        if data.get("corruption_path") and not Path(settings["corruption_file"]).expanduser().exists():
            settings["corruption_file"] = str(self.locate(data["corruption_path"]))
        return settings

    def teacher_path(self):
        """The file of the teacher that supervised, or `None`."""
        teacher = self.record.get("teacher")
        return self.locate(teacher["path"]) if teacher else None

    def locate(self, relative):
        """A path that the record gives relative to the run's folder, as a path from here."""
        return Path(os.path.normpath(self.path / relative))

    def relative(self, path):
        """A path for the record: relative to the run's folder, so that both can move together."""
        return os.path.relpath(Path(path).resolve(), self.path.resolve())

    def update(self, **entries):
        """Sets entries of the record and writes it."""
        self.record.update(entries)
        self.write()

    def write(self):
        with replacing(self.path / RECORD) as temporary:
            temporary.write_text(json.dumps(self.record, indent=2) + "\n", encoding="utf-8")


def slug(name):
    """A data set's name as part of a folder's: "npz:a/b.npz" -> "b"."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", Path(name.partition(":")[2] or name).stem).strip("-") or "data"


def new_path(root, name):
    """The first of root/name-1, root/name-2, ... that does not exist."""
    number = 1
    while (Path(root) / f"{name}-{number}").exists():
        number += 1
    return Path(root) / f"{name}-{number}"


def newest_finished(root):
    """The run under `root` that finished last.

    Raises:
        FileNotFoundError: If there is none.
    """
    found = []
    for record in (*Path(root).glob(f"*/{RECORD}"), *Path(root).glob(f"*/seed-*/{RECORD}")):
        try:
            found.append(Run.open(record.parent))
        except ValueError as error:
            warnings.warn(f"Passed over: {error}", stacklevel=2)
    found = [run for run in found if run.finished]
    if not found:
        raise FileNotFoundError(f"There is no finished run in {root}: train one by `tfnoisekd train`, or name a run")
    return max(found, key=lambda run: run.record["finished_at"])
