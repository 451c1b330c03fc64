"""A chief and its workers, each a process: they are started, watched, and started again where one dies."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from typing import NamedTuple

from tfnoisekd.experiments.resources import environment
from tfnoisekd.experiments.tuning.folder import FAILED, FINISHED, LOGS, RUNNING
from tfnoisekd.experiments.tuning.roles import variables

DEATHS = 3  # of the process that does a trial, until the trial is given up; and of processes that do none
LOOK = 0.5  # seconds between two looks at the processes
LOOPBACK = "127.0.0.1"


class End(NamedTuple):
    """How a process ended.

    Attributes:
        name: Of the process.
        died: Why it died; None where it came to its end.
        stopped: Why it makes no sense to go on; None where the search is over.
    """

    name: str
    died: str | None = None
    stopped: str | None = None


class Processes:
    """Processes of this machine that take part in a search.

    Args:
        folder: `folder.Folder`, for the logs.
        options: Dict of `serve.work`'s arguments, ready for JSON.
        threads: Threads of each.
        gpus: Names of GPUs, of which each process sees one, in turn; None leaves them as they are.
    """

    host = LOOPBACK

    def __init__(self, folder, options, threads=1, gpus=None):
        self.folder, self.options, self.threads, self.gpus = folder, options, threads, gpus
        self._processes = {}

    def start(self, slot, name, variables):
        """Starts a process.

        Args:
            slot: Number of its place among the others.
            name: Its name in the events.
            variables: Environment variables of its role.
        """
        gpu = self.gpus[slot % len(self.gpus)] if self.gpus else None
        command = [sys.executable, "-m", "tfnoisekd.experiments.tuning.serve", json.dumps(self.options)]
        with open(self._log(name), "ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # it ends with this process, whose end closes the pipe
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **environment(self.threads, gpu), **variables},
                start_new_session=True,  # Ctrl-C is for this process, which ends the others itself
            )

    def ended(self):
        """List of the `End`s of processes since the last call."""
        return [self._bury(name) for name, process in list(self._processes.items()) if process.poll() is not None]

    def close(self):
        """Ends all processes, in the middle of a trial too."""
        for name in list(self._processes):
            self._processes[name].kill()
            self._bury(name)

    def _bury(self, name):
        process = self._processes.pop(name)
        said, _ = process.communicate()
        if process.returncode == 0 and said:
            return End(name, stopped=json.loads(said)["stopped"])
        code = process.returncode
        return End(name, f"signal {-code}" if code < 0 else f"exit code {code} (see {self._log(name)})")

    def _log(self, name):
        return self.folder.path / LOGS / f"{name}.log"


def carry_out(folder, workers, count, options, watch):
    """Searches with several workers until the search is over.

    Args:
        folder: `folder.Folder`.
        workers: `Processes`, or another with its methods and `host`; closed at the end.
        count: Number of workers.
        options: As `Processes` takes them, for the chief.
        watch: Function of what is known of each trial that ends, a dict.

    Raises:
        RuntimeError: If the search had to be broken off.
    """
    with folder.alone():
        news = _News(folder, watch)
        for attempt in range(DEATHS):
            chief = Processes(folder, {**options, "again": options.get("again", False) and attempt == 0})
            crew = _Crew(folder, workers, f"{os.getpid()}-{attempt}")
            try:
                died = crew.search(chief, count, news)
            finally:
                workers.close()
                chief.close()
            news.look()
            if died is None:
                return
        raise RuntimeError(f"The search was broken off: its chief died {DEATHS} times, the last time with {died}")


class _Crew:
    """One chief and its workers, until the search is over or the chief dies."""

    def __init__(self, folder, workers, name):
        self.folder, self.workers, self.name = folder, workers, name
        self._deaths = Counter()

    def search(self, chief, count, news):
        """Returns why the chief died; None once the search is over."""
        self.port = _free_port(self.workers.host)
        chief.start(0, f"chief-{self.name}", variables(f"chief-{self.name}", self.workers.host, self.port))
        names = {f"worker-{self.name}-{slot}": slot for slot in range(count)}
        for name, slot in names.items():
            self._start(name, slot)
        while names:
            time.sleep(LOOK)
            news.look()
            ends = self.workers.ended()
            for end in chief.ended():  # workers die of it
                if end.died is None:
                    raise RuntimeError(f"The search was broken off: {end.stopped or 'its chief left'}")
                return end.died
            for end in ends:
                if end.stopped:
                    raise RuntimeError(f"The search was broken off: {end.stopped}")
                if end.died:
                    self._mourn(end)
                    self._start(end.name, names[end.name])
                else:
                    del names[end.name]
        return None

    def _start(self, name, slot):
        # Under its old name a worker gets back the trial that it died over, and goes on from the checkpoint.
        self.workers.start(slot, name, variables(name, self.workers.host, self.port))

    def _mourn(self, end):
        doing = [
            each["trial"]
            for each in self.folder.entries()
            if each["status"] == RUNNING and each["origin"]["worker"] == end.name
        ]
        trial = doing[0] if doing else None
        self._deaths[trial] += 1
        if self._deaths[trial] < DEATHS:
            return
        if trial is None:
            raise RuntimeError(f"The search was broken off: a worker could not be kept alive: {end.died}")
        reason = f"The process that trained it died {DEATHS} times, the last time with {end.died}"
        self.folder.note(trial, given_up=reason)


class _News:
    """Tells of each trial that ends, once."""

    def __init__(self, folder, watch):
        self.folder, self.watch = folder, watch
        self._told = {each["trial"] for each in folder.entries() if each["status"] in (FINISHED, FAILED)}

    def look(self):
        for each in self.folder.entries():
            ended = each["status"] in (FINISHED, FAILED)
            if ended and each["trial"] not in self._told:
                self._told.add(each["trial"])
                self.watch(each)
            elif not ended:  # begun again
                self._told.discard(each["trial"])


def _free_port(host):
    with contextlib.closing(socket.socket()) as found:
        found.bind((host, 0))
        return found.getsockname()[1]
