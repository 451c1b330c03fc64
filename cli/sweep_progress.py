"""Shows a sweep: bars on a terminal, one line for each job in a log."""

import contextlib
import sys
import time

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tfnoisekd.cli.clock import clock


@contextlib.contextmanager
def shown(jobs, store):
    """Gives what `schedule.carry_out` wants as `watch`."""
    done = sum(store.is_done(job) for job in jobs.values())
    click.echo(f"{len(jobs)} jobs in {store.path}, {done} of them done before")
    if not sys.stdout.isatty():
        yield Lines(len(jobs), done)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[what]}")) as bars:
        yield Bars(bars, len(jobs), done)


class Lines:
    """A line for each job that ends."""

    def __init__(self, total, done):
        self.total, self.done = total, done
        self._began = {}

    def begun(self, slot, job):
        """Notes when a job began."""
        self._began[slot] = time.monotonic()

    def progress(self, slot, share, what):
        """Says nothing: a log has a line for each job."""

    def ended(self, slot, job, answer):
        """Prints what became of a job."""
        self.done += answer["status"] == "finished"
        if answer["status"] != "busy":
            self._print(f"[{self.done}/{self.total}] {job.key}  {_result(answer)}  {clock(self._seconds(slot))}")

    def _seconds(self, slot):
        return time.monotonic() - self._began[slot]

    def _print(self, line):
        print(line, flush=True)


class Bars(Lines):
    """The same lines above a bar for all jobs and one for each worker."""

    def __init__(self, bars, total, done):
        super().__init__(total, done)
        self.bars, self._tasks = bars, {}
        self._all = bars.add_task("all jobs", total=total, completed=done, what="")

    def begun(self, slot, job):
        """Shows a worker's new job."""
        super().begun(slot, job)
        if slot not in self._tasks:
            self._tasks[slot] = self.bars.add_task("", total=100, what="")
        name = job.key.rpartition("-")[0]
        self.bars.reset(self._tasks[slot], description=name, what="starting", total=100)

    def progress(self, slot, share, what):
        """Moves a worker's bar."""
        self.bars.update(self._tasks[slot], completed=round(100 * share), what=what)

    def ended(self, slot, job, answer):
        """Prints what became of a job, and moves the bar of all."""
        super().ended(slot, job, answer)
        self.bars.update(self._all, completed=self.done)

    def _print(self, line):
        self.bars.console.print(line, highlight=False, markup=False)


def _result(answer):
    if answer["status"] == "finished":
        return f"test accuracy {answer['accuracy']:.2%}"
    return f"{answer['status']}: {answer['error']}"
