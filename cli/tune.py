"""`tfnoisekd tune`."""

import os
from pathlib import Path

import click

from tfnoisekd.cli import executors
from tfnoisekd.cli.groups import GroupedCommand, group
from tfnoisekd.cli.options import given, settings
from tfnoisekd.cli.train import RUNS

WHAT = group("The search")
ROLES = {"chief": "the chief of a search, at", "worker": "a worker of the search whose chief is at"}


@click.command(cls=GroupedCommand)
@click.option("--config", "source", metavar="NAME|FILE", help="a shipped configuration (digits, cifar10, svhn) or YAML")
@click.option("--output", metavar="DIR", help="the search's folder; the same one goes on  [RUNS/tune-METHOD-DATA]")
@RUNS
@WHAT("--search", "searched", metavar="NAME=LOW:HIGH,...", help="what varies; a range may end in :log or :STEP")
@WHAT("--tuner", type=click.Choice(["bayesian", "random", "hyperband"]), default="bayesian", show_default=True)
@WHAT("--trials", metavar="N", type=click.IntRange(1), help="bayesian, random: how many; more of them go on  [20]")
@WHAT("--max-epochs", metavar="N", type=click.IntRange(1), help="hyperband: of the longest trials  [as --epochs]")
@WHAT("--factor", metavar="N", type=click.IntRange(2), help="hyperband: each round has as many times the epochs  [3]")
@WHAT("--retry-failed", is_flag=True, help="try again what has failed")
@executors.options(workers="local: 1; ray: as many as there is room for", threads="local: all, divided; ray: 1")
@settings()
@click.pass_obj
def command(words, source, output, root, searched, tuner, trials, max_epochs, factor, retry_failed, executor, **rest):
    """Search settings of a method: which noise, which weight, which temperature.

    Trials are judged on validation images alone, after their last epoch. The same command goes on after an
    interruption. --seed fixes the trainings and the search; with several workers Bayesian search and Hyperband also
    depend on who is done first. What is given here, or named in no --search, stays as it is.

    \b
    tfnoisekd tune --method mc
    tfnoisekd tune --method sr --search sigma=0.01:0.2:log,alpha --tuner random --trials 40 --workers 4
    tfnoisekd tune --config cifar10 --method ft --tuner hyperband --executor ray --address auto --gpus-per-run 0.5

    With keras-tuner's variables KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT set, the command
    is one chief or worker of several on machines that share the folder. Who reaches a chief's port can give it orders:
    run it in a network that you trust.
    """
    who = {name: rest.pop(name) for name in ("workers", "threads", "gpus", "gpus_per_run", "address")}
    from tfnoisekd.experiments.tuning import folder, roles, search, space

    role = roles.role()
    executors.check(executor, who)
    _check_role(executor, role, who)
    overrides = given(rest)
    chosen = _config(source, overrides)
    space = space.parse(searched, chosen) if searched else space.default(chosen, fixed=overrides)
    _check_fixed(space, overrides)
    planned = search.build(chosen, space, tuner, trials, max_epochs, factor)
    from tfnoisekd.runs import slug

    output = output or Path(root) / f"tune-{chosen.method}-{slug(chosen.data)}"
    found = folder.Folder.prepare(output, planned, words)
    options = {"root": str(Path(root).resolve()), "command": words, "again": retry_failed}
    _tell_plan(found, role)
    _search(found, options, executor, role, **who)
    if role != roles.WORKER:
        from tfnoisekd.cli.tune_results import tell

        tell(found, output, root)


def _search(folder, options, executor, role, workers, threads, gpus, gpus_per_run, address):
    from tfnoisekd.experiments import resources

    if executor == "local":
        gpus = executors.gpu_list(gpus)
        workers, threads = resources.divided(workers or (len(gpus) if gpus else 1), threads)
        if role or workers == 1:
            os.environ.update(resources.environment(threads, gpus and gpus[0]))  # before TensorFlow is there
            _search_here(folder, options, role)
            return
    from tfnoisekd.cli.tune_progress import Lines
    from tfnoisekd.experiments.tuning import crew

    options = {**options, "folder": str(folder.path)}
    if executor == "ray":
        from tfnoisekd.experiments.tuning import ray_crew

        workers = ray_crew.connect(address, workers, threads or 1, gpus_per_run)
        crowd = ray_crew.Actors(options, address, threads or 1, gpus_per_run)
    else:
        crowd = crew.Processes(folder, options, threads, gpus)
    crew.carry_out(folder, crowd, workers, options, Lines(folder))


def _search_here(folder, options, role):
    from contextlib import nullcontext

    from tfnoisekd.cli.backend import load_quietly
    from tfnoisekd.cli.tune_progress import Lines
    from tfnoisekd.experiments.tuning.roles import WORKER
    from tfnoisekd.experiments.tuning.trial import CannotGoOn

    load_quietly()
    from tfnoisekd.cli.progress import shown_trainings
    from tfnoisekd.experiments.tuning.tuner import search

    with nullcontext() if role == WORKER else folder.alone(), shown_trainings() as progress:
        try:
            search(folder, progress=progress, watch=Lines(folder), **options)
        except CannotGoOn as error:
            raise error.__cause__ from None


def _tell_plan(folder, role):
    from tfnoisekd.experiments.tuning import roles

    search = folder.search
    names = ", ".join(f"{name} {each}" for name, each in search.space.items())
    if role is not None:
        click.echo(f"This is {ROLES[role]} {roles.place()}.")
    click.echo(f"Searching {names}")
    click.echo(f"{search.wanted} trials of {search.config.method} in {folder.path}, {search.epochs:,} epochs in all")


def _check_role(executor, role, who):
    if role is not None and (executor == "ray" or who["workers"]):
        raise click.UsageError(
            f"keras-tuner's variables make this process a {role}, which has no workers of its own: leave `--executor` "
            "and `--workers` out, or unset KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT"
        )


def _check_fixed(space, overrides):
    for name in space:
        if name in overrides:
            raise click.UsageError(f"`{name}` is given and searched: leave one of the two out")


def _config(source, overrides):
    from tfnoisekd import config
    from tfnoisekd.data import corruption

    if source is None and overrides.get("data", "digits") == "digits":
        source = "digits"
    chosen = config.build(overrides) if source is None else config.load(source, overrides)
    wrong = (chosen.label_corruption, chosen.corruption_kind, chosen.corruption_seed, chosen.corruption_file)
    corruption.check(*wrong)
    return chosen
