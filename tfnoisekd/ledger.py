"""Finished evaluations on disk: nothing is computed twice, and what was cut off goes on where it was."""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import MutableMapping
from pathlib import Path

from tfnoisekd.disk import exclusive, replacing
from tfnoisekd.provenance import provenance

FORMAT = 1  # part of every key: raise it when the same question gets another answer
LOCK = ".lock"
LEAST_REWRITTEN = 2**20  # bytes


class Ledger:
    """A folder with one JSON file for each evaluation of one model: question, settings, results, provenance.

    Args:
        folder: Where the files are; made when the first one is written.
        subject: Dict, ready for JSON, of what the results are about, such as digests of weights and images. Results
            about another subject, as those of a model that was trained anew, are never taken for those of this one.
        again: Whether to evaluate anew what is there already.
        command: The command line to record.

    Attributes:
        origins: Dict of file name -> provenance, of all that was answered since this was made, computed now or before.

    Example:

    >>> ledger = Ledger("runs/sr-1/evaluation", {"weights": digest, "data": fingerprint})
    >>> ledger.answer("pgd", {"steps": 20}, lambda done: adversarial.evaluate(student, test, steps=20, done=done))
    """

    def __init__(self, folder, subject, again=False, command=None):
        self.folder = Path(folder)
        self.origins = {}
        self._subject, self._again, self._command = subject, again, command

    def answer(self, question, settings, compute):
        """The results of an evaluation: those on disk, or else what is computed now, which is written before it counts.

        Args:
            question: A short name, part of the file's.
            settings: Dict, ready for JSON, of all that decides the results besides the subject.
            compute: Function that is given a mapping of what an interrupted evaluation has found, and adds to it what
                it finds; it returns the results, ready for JSON.

        Returns:
            The results.

        Raises:
            BlockingIOError: If another process is evaluating into this folder.
        """
        key = {"question": question, "settings": settings, "subject": self._subject, "format": FORMAT}
        path = self.path(question, settings)
        if not self._again and (known := _read(path)) is not None:
            self.origins[path.name] = known["provenance"]
            return known["results"]
        self.folder.mkdir(parents=True, exist_ok=True)
        with _alone(self.folder):
            if self._again:
                path.with_suffix(".parts").unlink(missing_ok=True)
            start, parts = time.monotonic(), Parts(path.with_suffix(".parts"))
            results = compute(parts)
            origin = {**provenance(), "command": self._command, "seconds": time.monotonic() - start}
            with replacing(path) as temporary:
                record = {**key, "results": results, "provenance": origin}
                temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            parts.remove()
        self.origins[path.name] = origin
        return results

    def path(self, question, settings):
        """The file of an evaluation, whether it is there or not."""
        key = {"question": question, "settings": settings, "subject": self._subject, "format": FORMAT}
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{question}-{digest[:12]}.json"


class Parts(MutableMapping):
    """A mapping of finished parts, text -> value ready for JSON, that outlives the process.

    Each part is appended to a file, and is on disk before the next one is begun. A last line that was cut off, by a
    kill or a full disk, is passed over. Where most of the file are parts that were replaced, it is written anew.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path):
        self._path = Path(path)
        self._parts, self._sizes, self._whole = {}, {}, 0
        with contextlib.suppress(FileNotFoundError), open(self._path, "rb") as file:
            for line in file:
                part = _part(line)
                if part is None:
                    break
                self._note(*part, len(line))

    def __setitem__(self, key, value):
        line = _line(key, value)
        try:
            with open(self._path, "ab") as file:
                file.truncate(self._whole)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            self._note(key, value, len(line))
            if self._whole > max(2 * sum(self._sizes.values()), LEAST_REWRITTEN):
                self._rewrite()
        except OSError as error:
            raise OSError(
                f"{self._path.parent} can't be written ({error.strerror}); what was finished is kept"
            ) from error

    def _note(self, key, value, size):
        self._parts[key], self._sizes[key] = value, size
        self._whole += size

    def _rewrite(self):
        with replacing(self._path) as temporary:
            temporary.write_bytes(b"".join(_line(*part) for part in self._parts.items()))
        self._whole = sum(self._sizes.values())

    def __getitem__(self, key):
        return self._parts[key]

    def __delitem__(self, key):
        raise TypeError("Finished parts are added, never taken out")

    def __iter__(self):
        return iter(self._parts)

    def __len__(self):
        return len(self._parts)

    def remove(self):
        """Deletes the file, when the whole is done."""
        self._path.unlink(missing_ok=True)


def _line(key, value):
    return json.dumps([key, value]).encode() + b"\n"


def _part(line):
    """(key, value) of a line, or None if it is not whole."""
    try:
        key, value = json.loads(line)
        return (key, value) if line.endswith(b"\n") and isinstance(key, str) else None
    except (ValueError, TypeError):
        return None


def _read(path):
    """A finished evaluation, or None if it is not there or damaged."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) and {"results", "provenance"} <= set(record) else None


@contextlib.contextmanager
def _alone(folder):
    try:
        with exclusive(folder / LOCK, wait=False):
            yield
    except BlockingIOError:
        raise BlockingIOError(f"{folder} is being written by another evaluation: wait for it, or end it") from None
