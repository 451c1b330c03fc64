"""Files that are written whole or not at all, and locks that go with their process."""

import contextlib
import os
import re
import warnings
from pathlib import Path

import filelock

LOCK = ".lock"


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
        if is_leftover(path):
            path.unlink(missing_ok=True)


def is_leftover(path):
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
