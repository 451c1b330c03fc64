"""Shows a training: a live bar with the time left on a terminal, plain lines in a log."""

import sys
import time

import keras
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def show_training(role, config):
    """Keras callback that shows the training of a "teacher" or "student"."""
    title = f"{role} {config.student}"
    return _Bar(title) if sys.stdout.isatty() else _Lines(title)


def _numbers(logs):
    return "  ".join(f"{name} {float(value):.4f}" for name, value in logs.items())


class _Lines(keras.callbacks.Callback):
    def __init__(self, title):
        super().__init__()
        self.title = title

    def on_train_begin(self, logs=None):
        self.start, self.done = time.monotonic(), 0

    def on_epoch_end(self, epoch, logs=None):
        epochs = self.params["epochs"]
        self.done += 1
        left = (time.monotonic() - self.start) / self.done * (epochs - epoch - 1)
        print(f"{self.title}  epoch {epoch + 1}/{epochs}  {_numbers(logs)}  {_clock(left)} left", flush=True)


def _clock(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"


class _Bar(keras.callbacks.Callback):
    def __init__(self, title):
        super().__init__()
        self.title = title

    def on_train_begin(self, logs=None):
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
        )
        self.task = None
        self.progress.start()

    def on_epoch_begin(self, epoch, logs=None):
        steps = self.params["steps"]
        if self.task is None:
            total = (self.params["epochs"] - epoch) * steps
            self.task = self.progress.add_task(self.title, total=total, numbers="")
        self.progress.update(self.task, description=f"{self.title}  epoch {epoch + 1}/{self.params['epochs']}")

    def on_train_batch_end(self, batch, logs=None):
        self.progress.advance(self.task)

    def on_epoch_end(self, epoch, logs=None):
        accuracy = logs.get("val_accuracy", logs.get("accuracy", float("nan")))
        name = "val_accuracy" if "val_accuracy" in logs else "accuracy"
        self.progress.update(self.task, numbers=f"loss {float(logs['loss']):.4f}  {name} {float(accuracy):.4f}")

    def on_train_end(self, logs=None):
        self.progress.stop()
