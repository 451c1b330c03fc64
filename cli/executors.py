"""The options of `sweep` and `tune` that say who does the work."""

import click

from tfnoisekd.cli.groups import group

WHO = group("Who does the work")
OWNERS = {"gpus": "local", "gpus_per_run": "ray", "address": "ray"}  # options of one executor alone


def options(workers, threads):
    """A decorator that adds them; `workers` and `threads` are what the help says of their defaults."""
    added = (
        WHO("--executor", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="where"),
        WHO("--workers", metavar="N", type=click.IntRange(1), help=f"runs at a time  [{workers}]"),
        WHO("--threads", metavar="N", type=click.IntRange(1), help=f"cores for each run  [{threads}]"),
        WHO("--gpus", metavar="ID,ID,...", help="local: GPUs, one for each worker"),
        WHO(
            "--gpus-per-run", type=click.FloatRange(min=0), default=0.0, help="ray: GPUs for each run, a share too  [0]"
        ),
        WHO("--address", metavar="HOST:PORT", help="ray: a cluster that this machine is part of, or auto"),
    )

    def decorate(function):
        for option in reversed(added):
            function = option(function)
        return function

    return decorate


def check(executor, who):
    """Raises a UsageError for an option that the executor has no use for.

    Args:
        executor: "local" or "ray".
        who: Dict of the other options.
    """
    for name, owner in OWNERS.items():
        if who[name] and executor != owner:
            raise click.UsageError(f"`--{name.replace('_', '-')}` has a use only with `--executor {owner}`")


def gpu_list(text):
    """The names of GPUs in "0,1", or None."""
    return [part.strip() for part in text.split(",")] if text else None
