"""Workers as processes of this machine, each of which imports TensorFlow once and does one job after another."""

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tfnoisekd.experiments.resources import environment
from tfnoisekd.experiments.store import LOGS


class Event(NamedTuple):
    """What a worker says: its slot, a kind and a dict.

    Kinds are "progress" (`share`, `what`), "done" (what `work.Worker.do` returned) and "died" (`reason`, and `started`,
    whether it was ever ready for a job).
    """

    slot: int
    kind: str
    content: dict


class LocalPool:
    """As many worker processes as there are slots; a dead one is replaced when its slot gets its next job.

    Args:
        folder: The grid's folder, for the workers' logs.
        options: Dict of `work.Worker`'s arguments, ready for JSON.
        workers: Number of slots.
        threads: Threads of each.
        gpus: Names of GPUs, of which each slot sees one, in turn; None leaves them as they are.

    Attributes:
        slots: Number of slots.
        startup_seconds: List of how long each process took until it was ready for a job.
    """

    def __init__(self, folder, options, workers, threads, gpus=None):
        self.slots = workers
        self.folder, self.options, self.threads, self.gpus = Path(folder), options, threads, gpus
        self.startup_seconds = []
        self._processes, self._started, self._ready = {}, {}, set()
        self._selector = selectors.DefaultSelector()
        (self.folder / LOGS).mkdir(exist_ok=True)

    def send(self, slot, payload):
        """Gives a job to a slot that has none."""
        if slot not in self._processes:
            self._start(slot)
        process = self._processes[slot]
        with contextlib.suppress(BrokenPipeError):  # it has died, which the next look at it tells
            process.stdin.write(json.dumps(payload).encode() + b"\n")

    def events(self, timeout):
        """What workers have said since the last call; waits for something for `timeout` seconds at most."""
        found = []
        for key, _ in self._selector.select(timeout):
            slot, line = key.data, key.fileobj.readline()
            if not line.endswith(b"\n"):
                started = slot in self._ready
                found.append(Event(slot, "died", {"reason": self._bury(slot), "started": started}))
                continue
            kind, content = json.loads(line)
            if kind == "ready":
                self._ready.add(slot)
                self.startup_seconds.append(time.monotonic() - self._started[slot])
            else:
                found.append(Event(slot, kind, content))
        return found

    def close(self):
        """Ends all workers, in the middle of a job too."""
        for slot in list(self._processes):
            self._processes[slot].kill()
            self._bury(slot)
        self._selector.close()

    def _start(self, slot):
        gpu = self.gpus[slot % len(self.gpus)] if self.gpus else None
        options = {**self.options, "name": f"local-{slot}"}
        command = [sys.executable, "-m", "tfnoisekd.experiments.serve", json.dumps(options)]
        with open(self._log(slot), "ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,  # a line that waits in a buffer would not wake the selector
                env={**os.environ, **environment(self.threads, gpu)},
                start_new_session=True,  # Ctrl-C is for this process, which ends the workers itself
            )
        self._processes[slot], self._started[slot] = process, time.monotonic()
        self._selector.register(process.stdout, selectors.EVENT_READ, slot)

    def _log(self, slot):
        return self.folder / LOGS / f"worker-{os.getpid()}-{slot}.log"

    def _bury(self, slot):
        """Forgets a dead worker; returns why it died, as far as that can be told."""
        process = self._processes.pop(slot)
        self._ready.discard(slot)
        self._selector.unregister(process.stdout)
        process.stdin.close()
        process.stdout.close()
        code = process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code} (see {self._log(slot)})"
