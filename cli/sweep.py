"""`tfnoisekd sweep`."""

import time
from pathlib import Path

import click
import yaml

from tfnoisekd.cli import executors
from tfnoisekd.cli.groups import GroupedCommand, group
from tfnoisekd.cli.train import RUNS

WHAT = group("What is run")


@click.command(cls=GroupedCommand)
@click.argument("sources", metavar="GRID...", nargs=-1, required=True)
@click.option("--output", metavar="DIR", help="the grid's folder; the same one goes on  [RUNS/NAME]")
@RUNS
@WHAT("--set", "settings", metavar="KEY=VALUE", multiple=True, help="a setting of all runs, or the values of an axis")
@WHAT("--only", metavar="KEY=VALUE", multiple=True, help="only the cells with this value of an axis; again for more")
@WHAT("--seeds", metavar="N,N,...", help="in place of the grid's seeds")
@WHAT("--ood", metavar="DATA", help="in place of the grid's out-of-distribution data")
@WHAT("--dry-run", is_flag=True, help="say how much work it is, and do none of it")
@WHAT("--measure/--no-measure", default=True, help="with --dry-run: measure steps to estimate the time  [on]")
@WHAT("--retry-failed", is_flag=True, help="try again what has failed")
@executors.options(workers="as many as there are cores for", threads="1; local with --workers or --gpus: all, divided")
@click.pass_obj
def command(words, sources, output, root, settings, only, seeds, ood, dry_run, measure, retry_failed, executor, **who):
    """Carry out grids of runs: the tables and figures of the paper, or your own YAML.

    What is done is never done again: the same command goes on after an interruption, and several may work on one
    folder. A part of a grid (--only, --seeds) is added to what the folder was asked before. `tfnoisekd report DIR`
    makes the tables.

    \b
    tfnoisekd sweep mini/table1 --dry-run
    tfnoisekd sweep mini/table1 mini/table3 --output runs/mini
    tfnoisekd sweep mini/table1 --only method=hinton --only method=ft --seeds 0
    tfnoisekd sweep paper/table1 --set data=cifar10 --executor ray --address auto --gpus-per-run 0.25
    """
    executors.check(executor, who)
    from tfnoisekd.experiments import grid, plan, store, sweep

    overrides = {**_settings("set", settings), **({"seed": _seeds(seeds)} if seeds else {})}
    grids = [grid.with_other_data(grid.load(source, overrides), ood) for source in sources]
    if only:
        grids = [grid.only(each, _wanted(only)) for each in grids]
    planned = sweep.Sweep(grids)
    output = Path(output or Path(root) / "-".join(str(source).replace("/", "-") for source in map(_stem, sources)))
    missing = plan.missing_files(planned.jobs)
    if dry_run:
        from tfnoisekd.cli.dry_run import show

        known = store.Store(output) if (output / store.GRID).exists() else None
        show(planned, known, missing, measure, executor, who)
        return
    if missing:
        raise FileNotFoundError(
            f"There is no {missing[0]}, which the grid needs: put it there, or name another one by "
            "`--set data=npz:PATH` or `--ood npz:PATH`"
        )
    folder = store.Store(output, create=True)
    pool = _pool(executor, folder, {"folder": str(output), "command": words, "again": retry_failed}, **who)
    planned.note(folder, words, part=bool(only or seeds))
    from tfnoisekd.cli.sweep_progress import shown

    start = time.monotonic()
    with shown(planned.jobs, folder) as watch:
        outcome = planned.run(folder, pool, watch, retry_failed)
    _tell(outcome, planned, output, time.monotonic() - start, pool)


def _pool(executor, folder, options, workers, threads, gpus, gpus_per_run, address):
    if executor == "ray":
        from tfnoisekd.experiments import ray_pool

        workers = ray_pool.connect(address, workers, threads or 1, gpus_per_run)
        return ray_pool.RayPool(folder.path, options, workers, threads or 1, gpus_per_run)
    from tfnoisekd.experiments import local, resources

    gpus = executors.gpu_list(gpus)
    workers, threads = resources.divided(workers or (len(gpus) if gpus else None), threads)
    return local.LocalPool(folder.path, options, workers, threads, gpus)


def _settings(option, texts):
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"`--{option}` takes KEY=VALUE, such as rate=0.1. Received: {text}")
        try:
            found[key.replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError:
            found[key.replace("-", "_")] = value
    return found


def _wanted(texts):
    found = {}
    for text in texts:
        for name, value in _settings("only", [text]).items():
            found.setdefault(name, []).extend(value if isinstance(value, list) else [value])
    return found


def _seeds(text):
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"`seeds` must be whole numbers with commas between, such as 0,10,20. Received: {text}")
    return [int(part) for part in parts]


def _stem(source):
    return Path(source).stem if Path(source).is_file() else source


def _tell(outcome, planned, output, seconds, pool):
    from tfnoisekd.cli.clock import clock
    from tfnoisekd.experiments.schedule import UnfinishedError

    click.echo(f"\n{len(outcome.finished)} of {len(planned.jobs)} jobs are done. This took {clock(seconds)}.")
    for key, error in outcome.failed.items():
        click.echo(f"Failed:  {key}: {error}")
    for key, culprit in outcome.blocked.items():
        click.echo(f"Waiting: {key}, for {culprit}")
    if outcome.failed:
        click.echo(f"Tracebacks are in {output}/jobs. Try again by the same command with --retry-failed.")
    click.echo(f"Next:    tfnoisekd report {output}")
    if outcome.stopped:
        raise UnfinishedError(f"The sweep was broken off: {outcome.stopped}")
    if outcome.failed:
        raise UnfinishedError(f"{len(outcome.failed)} of {len(planned.jobs)} jobs failed")
