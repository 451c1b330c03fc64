"""The folder of a grid: runs, and a ledger that says of each job whether it is done, and how it went.

    DIR/grid.json           which format this is
    DIR/grids/NAME.json     each grid that was asked for: its cells, and which run each of them is
    DIR/jobs/KEY.json       the ledger: status, error, attempts, times, and where the run is
    DIR/jobs/KEY.lock       held by the process that works on the job
    DIR/students/KEY/       run directories; teachers and their caches are in DIR/teachers/
    DIR/data/               what the data were when the first run saw them
    DIR/logs/               what the workers printed

Every file is written whole or not at all, and locks go with their process, so that any process may be killed at any
time. Several grids, and several processes, may share a folder.
"""

import contextlib
import json
from pathlib import Path

import tfnoisekd
from tfnoisekd import disk, runs
from tfnoisekd.provenance import now

FORMAT = 1
GRID, GRIDS, JOBS, DATA, LOGS = "grid.json", "grids", "jobs", "data", "logs"
FINISHED, FAILED, RUNNING = "finished", "failed", "running"


class Store:
    """One such folder.

    Args:
        path: The folder.
        create: Whether to make it, if there is none.

    Raises:
        FileNotFoundError: If it is no grid folder, and not to be made.
        FileExistsError: If it is to be made and holds something else.
        ValueError: If it is of another format.
    """

    def __init__(self, path, create=False):
        self.path = Path(path)
        description = self.path / GRID
        if not description.exists():
            self._make(description, create)
        try:
            found = json.loads(description.read_text(encoding="utf-8"))["format"]
        except (ValueError, KeyError, TypeError):
            found = "none that can be read"
        if found != FORMAT:
            raise ValueError(
                f"{self.path} must be a grid folder of format {FORMAT}. Received: format {found}; take another folder, "
                "or the version of tfnoisekd that made this one"
            )

    def _make(self, description, create):
        if not create:
            raise FileNotFoundError(f"{self.path} is not a grid folder: it has no {GRID}; `tfnoisekd sweep` makes one")
        if self.path.exists() and (not self.path.is_dir() or any(not _is_ours(each) for each in self.path.iterdir())):
            raise FileExistsError(f"`output` {self.path} is neither a grid folder nor empty: name another one")
        try:
            (self.path / JOBS).mkdir(parents=True, exist_ok=True)
            _write(description, {"format": FORMAT, "tfnoisekd": tfnoisekd.__version__, "made_at": now()})
        except OSError as error:
            raise PermissionError(f"`output` {self.path} can't be written ({error.strerror})") from error

    def note_grid(self, name, description):
        """Writes what a grid is, in place of an earlier one of its name; runs stay whatever they are of."""
        folder = self.path / GRIDS
        folder.mkdir(exist_ok=True)
        _write(folder / f"{name}.json", description)

    def grids(self):
        """Dict of name -> what `note_grid` was given."""
        files = sorted((self.path / GRIDS).glob("[!.]*.json"))
        return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}

    def entry(self, key):
        """What the ledger says of a job: a dict; an empty one if nobody has begun it, or its run is gone."""
        try:
            found = json.loads((self.path / JOBS / f"{key}.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        if found.get("status") == FINISHED and not (self.path / found["run"] / runs.RECORD).exists():
            return {}
        return found

    def note(self, key, **entries):
        """Adds entries to what the ledger says of a job; only who holds its lock may. Returns the whole."""
        found = {**self.entry(key), **entries, "key": key}
        _write(self.path / JOBS / f"{key}.json", found)
        return found

    @contextlib.contextmanager
    def alone(self, key):
        """Holds a job, so that no other process works on it.

        Raises:
            BlockingIOError: If another process holds it.
        """
        with disk.exclusive(self.path / JOBS / f"{key}.lock", wait=False):
            yield

    def is_held(self, key):
        """Whether a process is working on a job."""
        try:
            with self.alone(key):
                return False
        except BlockingIOError:
            return True

    def is_done(self, job):
        """Whether a job is finished, and has answered all its questions."""
        entry = self.entry(job.key)
        return entry.get("status") == FINISHED and all(each in entry["answered"] for each in job.questions)

    def has_failed(self, job):
        """Whether the last attempt at a job ended in an error."""
        return self.entry(job.key).get("status") == FAILED

    def check_data(self, name, settings, fingerprint):
        """Makes sure that all runs of the same data saw the same images and labels.

        Args:
            name: What the data are called.
            settings: Digest of the settings that decide them.
            fingerprint: Of what was loaded.

        Raises:
            ValueError: If the data are others than when the grid was begun.
        """
        path = self.path / DATA / f"{settings}.json"
        path.parent.mkdir(exist_ok=True)
        with disk.exclusive(path.with_suffix(".lock"), wait=True):
            if not path.exists():
                _write(path, {"name": name, "fingerprint": fingerprint})
            elif json.loads(path.read_text(encoding="utf-8"))["fingerprint"] != fingerprint:
                raise ValueError(f"{name} holds other images or labels than when {self.path} was begun: put them back")


def _is_ours(path):
    return path.name.startswith(".") or path.name == JOBS


def _write(path, content):
    with disk.replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
