"""Hands jobs to workers, teachers before their students, until nothing is left that can be done."""

import time
from collections import Counter
from dataclasses import dataclass, field

from tfnoisekd.experiments.store import FAILED, FINISHED
from tfnoisekd.experiments.work import BUSY, STOPPED

DEATHS = 3  # of the process that does a job, until the job is given up
LOOK_AGAIN = 5.0  # seconds between two looks at a job that another process holds


class UnfinishedError(RuntimeError):
    """Not all jobs of a sweep are done."""


@dataclass
class Outcome:
    """What became of the jobs.

    Attributes:
        finished: Keys of those that are done, now or before.
        failed: Dict of key -> error.
        blocked: Dict of key -> key of the teacher that failed.
        stopped: Why the work was broken off, or None.
    """

    finished: set = field(default_factory=set)
    failed: dict = field(default_factory=dict)
    blocked: dict = field(default_factory=dict)
    stopped: str | None = None


class Schedule:
    """Which job is next.

    Args:
        jobs: Dict of key -> `plan.Job`.
        store: `store.Store`.
        again: Whether jobs that have failed before are tried again.
    """

    def __init__(self, jobs, store, again=False):
        self.jobs, self.store, self.outcome = jobs, store, Outcome()
        self._waiting, self._elsewhere, self._deaths = [], {}, Counter()
        for key, job in jobs.items():
            if store.is_done(job):
                self.outcome.finished.add(key)
            elif store.has_failed(job) and not again:
                self.outcome.failed[key] = store.entry(key)["error"]
            else:
                self._waiting.append(key)
        self._block()

    @property
    def is_over(self):
        """Whether no job waits, for a worker or for another process."""
        return not self._waiting and not self._elsewhere

    def take(self):
        """The next job that can be done now, or None."""
        for key, when in list(self._elsewhere.items()):
            if time.monotonic() >= when:
                del self._elsewhere[key]
                self._waiting.insert(0, key)
        for key in self._waiting:
            if set(self.jobs[key].needs) <= self.outcome.finished:
                self._waiting.remove(key)
                return self.jobs[key]
        return None

    def done(self, key, answer):
        """Notes what a worker answered."""
        if answer["status"] == FINISHED:
            self.outcome.finished.add(key)
        elif answer["status"] == FAILED:
            self.outcome.failed[key] = answer["error"]
            self._block()
        elif answer["status"] == BUSY:
            self._elsewhere[key] = time.monotonic() + LOOK_AGAIN
        elif answer["status"] == STOPPED:
            self.outcome.stopped = answer["error"]

    def died(self, key, reason, started=True):
        """Notes that the process that did a job has died; the job is begun again, but not for ever."""
        if not started:
            self.outcome.stopped = f"A worker could not be started: {reason}"
            return
        self._deaths[key] += 1
        if self._deaths[key] < DEATHS:
            self._waiting.insert(0, key)
            return
        error = f"The process that did it died {DEATHS} times, the last time with {reason}"
        try:
            with self.store.alone(key):
                self.store.note(key, role=self.jobs[key].role, status=FAILED, error=error)
            self.done(key, {"status": FAILED, "error": error})
        except BlockingIOError:  # another process has taken it over
            self.done(key, {"status": BUSY})

    def _block(self):
        """Takes out what waits for a teacher that has failed."""
        for key in list(self._waiting):
            culprit = next((each for each in self.jobs[key].needs if each in self.outcome.failed), None)
            if culprit is not None:
                self._waiting.remove(key)
                self.outcome.blocked[key] = culprit


class Silent:
    """Watches without a word: the methods that `carry_out` calls."""

    def begun(self, slot, job):
        """A worker has begun a job."""

    def progress(self, slot, share, what):
        """A job is done to a share, from 0 to 1, of some part of it."""

    def ended(self, slot, job, answer):
        """A job has ended, with what `work.Worker.do` returned, or `status` "died"."""


def carry_out(schedule, pool, watch):
    """Does all jobs of a schedule.

    Args:
        schedule: `Schedule`.
        pool: `local.LocalPool`, or another with its methods; it is closed at the end.
        watch: Object with the methods of `Silent`.

    Returns:
        The `Outcome`.
    """
    busy = {}
    try:
        while not schedule.outcome.stopped and (busy or not schedule.is_over):
            for slot in range(pool.slots):
                if slot not in busy and (job := schedule.take()) is not None:
                    busy[slot] = job
                    watch.begun(slot, job)
                    pool.send(slot, job.payload())
            for slot, kind, content in pool.events(1.0):
                if kind == "progress":
                    watch.progress(slot, content["share"], content["what"])
                elif slot in busy:
                    job = busy.pop(slot)
                    answer = content if kind == "done" else {"status": "died", "error": content["reason"]}
                    watch.ended(slot, job, answer)
                    schedule.done(job.key, content) if kind == "done" else schedule.died(job.key, **content)
    finally:
        pool.close()
    return schedule.outcome
