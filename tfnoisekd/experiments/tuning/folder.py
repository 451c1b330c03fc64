"""The folder of a search, which any process may be killed over: what is searched, and what became of each trial.

    DIR/tuning.json         the search
    DIR/oracle/             keras-tuner's own files
    DIR/trials/ID.json      status, settings, accuracy, error and times of a trial
    DIR/trials/ID/          its run directory
    DIR/data.json           which images and labels the trials saw
    DIR/logs/               what the workers printed
    DIR/best.yaml           the best trial, for `tfnoisekd train --config`

Every file is written whole or not at all.
"""

import contextlib
import json
from pathlib import Path

from pydantic import ValidationError

from tfnoisekd import disk
from tfnoisekd.experiments.tuning.search import Search
from tfnoisekd.provenance import now

FORMAT = 1
TUNING, ORACLE, TRIALS, DATA, LOGS, BEST = "tuning.json", "oracle", "trials", "data.json", "logs", "best.yaml"
FINISHED, FAILED, RUNNING = "finished", "failed", "running"
FAILURES = 5  # of trials in a row, after which no more are begun: it is no accident then
# Where data lie and how files are read is no part of what is computed.
PLACES = ("data_dir", "corruption_file", "unsafe")


class Folder:
    """One such folder, opened.

    Args:
        path: The folder.

    Attributes:
        path: The folder, absolute.
        search: `search.Search`.

    Raises:
        FileNotFoundError: If it is none.
        ValueError: If it can't be read.
    """

    def __init__(self, path):
        self.path = Path(path).resolve()
        file = self.path / TUNING
        if not file.is_file():
            raise FileNotFoundError(f"{path} is not the folder of a search: it has no {TUNING}")
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            found = content["format"]
            self.search = Search(**content["search"]) if found == FORMAT else None
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            raise ValueError(f"{file} is damaged: {type(error).__name__}; take another folder") from None
        if self.search is None:
            raise ValueError(
                f"{file} must be of format {FORMAT}. Received: format {found}; take another folder, or the version of "
                "tfnoisekd that made this one"
            )

    @classmethod
    def prepare(cls, path, search, command=None):
        """The folder for a search: a new one, or the one in which the same search goes on.

        Only the number of trials may be another one than before, and where the data lie.

        Raises:
            FileExistsError: If the folder holds something else.
            ValueError: If it holds another search.
            PermissionError: If it can't be written.
        """
        path = Path(path)
        if (path / TUNING).exists():
            _check_same(path, cls(path).search, search)
        elif path.exists() and (not path.is_dir() or any(not each.name.startswith(".") for each in path.iterdir())):
            raise FileExistsError(f"`output` {path} is neither the folder of a search nor empty: name another one")
        content = {"format": FORMAT, "search": search.model_dump(mode="json"), "command": command, "written_at": now()}
        try:
            for each in (path, path / TRIALS, path / LOGS):
                each.mkdir(parents=True, exist_ok=True)
            _write(path / TUNING, content)
        except OSError as error:
            raise PermissionError(f"`output` {path} can't be written ({error.strerror}): name another one") from error
        return cls(path)

    def alone(self):
        """Holds the folder for the one process that hands out its trials.

        Raises:
            BlockingIOError: If another process does.
        """
        return _alone(self.path)

    def run_path(self, trial):
        """The run directory of a trial."""
        return self.path / TRIALS / trial

    def entry(self, trial):
        """What is known of a trial: a dict; an empty one if it was never begun."""
        return _read(self.path / TRIALS / f"{trial}.json") or {}

    def note(self, trial, **entries):
        """Adds to what is known of a trial. Returns the whole."""
        found = {**self.entry(trial), **entries, "trial": trial}
        _write(self.path / TRIALS / f"{trial}.json", found)
        return found

    def entries(self):
        """What is known of all trials: a list of dicts, in the order in which they were thought of."""
        files = (self.path / TRIALS).glob("[!.]*.json")
        return [found for file in sorted(files, key=lambda file: int(file.stem)) if (found := _read(file))]

    def check_data(self, name, fingerprint):
        """Makes sure that all trials see the same images and labels.

        Raises:
            ValueError: If they are others than when the search was begun.
        """
        path = self.path / DATA
        with disk.exclusive(path.with_name(".data.lock"), wait=True):
            known = _read(path)
            if known is None:
                _write(path, {"name": name, "fingerprint": fingerprint})
            elif known["fingerprint"] != fingerprint:
                raise ValueError(
                    f"{name} holds other images or labels than when {self.path} was begun: put them back, or search in "
                    "another folder"
                )


@contextlib.contextmanager
def _alone(path):
    try:
        with disk.exclusive(path / disk.LOCK, wait=False):
            yield
    except BlockingIOError:
        raise BlockingIOError(f"{path} is being searched by another process: wait for it, or end it") from None


def _check_same(path, before, search):
    was, now_ = _flat(before), _flat(search)
    for name in dict.fromkeys([*was, *now_]):
        if was.get(name) != now_.get(name):
            raise ValueError(
                f"`output` {path} holds another search. Received: {name}={now_.get(name)}, and there it is "
                f"{was.get(name)}; name another folder"
            )


def _flat(search):
    settings = {key: value for key, value in search.config.model_dump(mode="json").items() if key not in PLACES}
    space = {f"search {name}": str(each) for name, each in search.space.items()}
    return {**settings, **space, "tuner": search.tuner, "max_epochs": search.max_epochs, "factor": search.factor}


def _read(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _write(path, content):
    with disk.replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
