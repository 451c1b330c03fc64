"""A run directory: what is in it, atomic writes, checkpoints that survive a crash."""

import contextlib
import json
import os
import re
import warnings
import zipfile
from pathlib import Path

import filelock
import numpy as np

from tfnoisekd.provenance import provenance

RECORD = "run.json"
STUDENT = "student.keras"
CORRUPTION = "corruption.npz"
LOCK = ".lock"


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
        if path.exists() and (not path.is_dir() or not all(map(_is_leftover, path.iterdir()))):
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


@contextlib.contextmanager
def replacing(path):
    """A temporary path beside `path` that takes its place on success and is removed on failure.

    What stood at `path` survives any failure, a full disk included.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder):
    """Deletes what a process that was killed while writing left in a run directory that no process is working on."""
    for path in Path(folder).glob(".*.tmp*"):
        if _is_leftover(path):
            path.unlink(missing_ok=True)


def _is_leftover(path):
    """Whether a file is what `replacing` was killed over, or a lock that nobody need hold."""
    return path.name == LOCK or re.fullmatch(r"\..*\.\d+\.tmp(\..*)?", path.name) is not None


@contextlib.contextmanager
def exclusive(path, *, wait):
    """Holds the lock file `path`, so that two processes never train the same thing; it goes with the process.

    Args:
        path: File to lock; it is made, and stays.
        wait: Whether to wait until another process lets go, or to raise.

    Raises:
        BlockingIOError: If another process holds it and `wait` is False.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=1 if wait else 0)
    except filelock.Timeout:
        if not wait:
            busy = f"{path.parent} is being trained by another process: wait for it, or end it"
            raise BlockingIOError(busy) from None
        warnings.warn(f"Waiting for another process to train {path.with_suffix('')}", stacklevel=3)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class Checkpoint:
    """The last two states of a training, each written whole or not at all, each checked when read.

    Keras's BackupAndRestore writes in place, so that a full disk or a kill in the middle costs the only copy.

    Args:
        folder: Run directory.
        digest: Identifies the configuration; a checkpoint of another one is refused.
    """

    def __init__(self, folder, digest):
        self.latest = Path(folder) / "checkpoint.npz"
        self.previous = Path(folder) / "checkpoint.previous.npz"
        self.digest = digest

    def save(self, epoch, groups):
        """Writes a state.

        Args:
            epoch: Number of epochs done.
            groups: Mapping of group name -> list of arrays.

        Raises:
            OSError: If the disk is full or the like; the last good checkpoint is still there.
        """
        arrays = {f"{name}/{i:05d}": np.asarray(a) for name, group in groups.items() for i, a in enumerate(group)}
        with replacing(self.latest) as temporary:
            np.savez(temporary, epoch=np.int64(epoch), digest=np.array(self.digest), **arrays)
            if self.latest.exists():
                os.replace(self.latest, self.previous)

    def load(self):
        """The newest readable state: (epochs done, groups), or `None` if there is none yet.

        Raises:
            ValueError: If checkpoints exist but none can be read, or they belong to another configuration.
        """
        damaged = []
        for path in (self.latest, self.previous):
            if not path.exists():
                continue
            try:
                digest, epoch, groups = self._read(path)
            except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
                damaged.append(f"{path.name} ({type(error).__name__})")
                continue
            if digest != self.digest:
                raise ValueError(f"{path} belongs to another configuration: name another folder")
            if damaged:
                warnings.warn(f"{damaged[0]} is damaged: going on after epoch {epoch} instead", stacklevel=2)
            return epoch, groups
        if damaged:
            raise ValueError(f"No checkpoint in {self.latest.parent} can be read: {', '.join(damaged)}; train anew")
        return None

    def _read(self, path):
        with np.load(path, allow_pickle=False) as file:
            digest = str(file["digest"])
            groups = {}
            for key in sorted(file.files):
                name, _, index = key.partition("/")
                if index:
                    groups.setdefault(name, []).append(file[key])
            return digest, int(file["epoch"]), groups
