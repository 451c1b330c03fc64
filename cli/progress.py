"""Shows what takes time: a live bar with the time left on a terminal, plain lines in a log."""

import contextlib
import sys
import time

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tfnoisekd.cli.clock import clock

LINE_EVERY = 15  # seconds between the lines of a log


@contextlib.contextmanager
def shown_trainings():
    """Gives a function (role, config) -> Keras callback; the terminal is tidy again on the way out, errors included."""
    if not sys.stdout.isatty():
        yield lambda role, config: _Lines(f"{role} {config.student}")
        return
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[numbers]}"),
    )
    with bars:
        yield lambda role, config: _Bar(bars, f"{role} {config.student}")


@contextlib.contextmanager
def shown_work(title):
    """Gives a function (done, total) that shows on the error stream how far some work is: a bar, or a line at times."""
    if not sys.stderr.isatty():
        yield _line_now_and_then(title)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        task = bars.add_task(title, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _line_now_and_then(title):
    start = last = time.monotonic()
    first = None

    def show(done, total):
        nonlocal last, first
        first = done if first is None else first  # what an interrupted work had done took no time now
        now = time.monotonic()
        if now - last >= LINE_EVERY and done > first:
            last = now
            left = (now - start) / (done - first) * (total - done)
            print(f"{title}  {done}/{total}  {clock(left)} left", file=sys.stderr, flush=True)

    return show


class _Lines(keras.callbacks.Callback):
    def __init__(self, title):
        super().__init__()
        self.title = title

    def on_train_begin(self, logs=None):
        self.start, self.done = time.monotonic(), 0

    def on_epoch_end(self, epoch, logs=None):
        epochs = self.params["epochs"]
        self.done += 1
        left = f"{clock((time.monotonic() - self.start) / self.done * (epochs - epoch - 1))} left"
        numbers = "  ".join(f"{name} {float(value):.4f}" for name, value in logs.items())
        print(f"{self.title}  epoch {epoch + 1}/{epochs}  {numbers}  {left}", flush=True)


class _Bar(keras.callbacks.Callback):
    def __init__(self, bars, title):
        super().__init__()
        self.bars = bars
        self.title = title
        self.task = None

    def on_epoch_begin(self, epoch, logs=None):
        epochs = self.params["epochs"]
        if self.task is None:
            total = (epochs - epoch) * self.params["steps"]
            self.task = self.bars.add_task(self.title, total=total, numbers="")
        self.bars.update(self.task, description=f"{self.title}  epoch {epoch + 1}/{epochs}")
        self.seen = 0

    def on_train_batch_end(self, batch, logs=None):
        self.bars.advance(self.task, batch + 1 - self.seen)  # several steps at once, with `steps_per_execution`
        self.seen = batch + 1

    def on_epoch_end(self, epoch, logs=None):
        name = "val_accuracy" if "val_accuracy" in logs else "accuracy"
        self.bars.update(self.task, numbers=f"loss {float(logs['loss']):.4f}  {name} {float(logs[name]):.4f}")
