"""`tfnoisekd train`."""

import click

from tfnoisekd.cli.options import given, settings

RUNS = click.option(
    "--runs", "root", metavar="DIR", default="runs", envvar="TFNOISEKD_RUNS", show_default=True, help="folder of runs"
)


@click.command()
@click.option("--config", "source", metavar="NAME|FILE", help="a shipped configuration (digits, cifar10, svhn) or YAML")
@click.option("--output", metavar="DIR", help="run folder to make; default: a new numbered one below --runs")
@click.option("--resume", "resumed", metavar="RUN", help="go on with a run that was cut off")
@click.option("--seeds", metavar="N,N,...", help="train once for each seed, and report mean and standard deviation")
@RUNS
@settings()
@click.pass_obj
def command(words, source, output, resumed, seeds, root, **values):
    """Train a student, and its teacher first where there is none.

    With no --config and no --data it trains on the embedded digits. Settings given here win over the configuration's;
    without one, the defaults are the paper's.

    \b
    tfnoisekd train --method mc --rate 0.1
    tfnoisekd train --config cifar10 --method ft --dropout 0.4
    tfnoisekd train --data folder:photos --image-size 32 --method sr --sigma 0.05
    tfnoisekd train --method mc --label-corruption 0.4
    tfnoisekd train --config cifar10 --method at+ft --seeds 0,10,20,30,40
    """
    overrides = given(values)
    if resumed is not None:
        if overrides or source or output or seeds:
            raise click.UsageError("`--resume` takes a run's own configuration: give no other setting with it")
        from tfnoisekd.runs import Run

        if Run.open(resumed).finished:
            click.echo(f"{resumed} has already finished: nothing to do.")
            return
    else:
        config = _config(source, overrides)
    seeds = seeds and _seeds(seeds, overrides)

    from tfnoisekd.cli.backend import load_quietly

    load_quietly()
    from tfnoisekd import training
    from tfnoisekd.cli.progress import shown_trainings
    from tfnoisekd.cli.results import print_results, print_summary
    from tfnoisekd.experiments import series

    with shown_trainings() as progress:
        if resumed is not None:
            run = training.resume(resumed, root=root, command=words, progress=progress, announce=_announce)
        elif seeds:
            options = {"command": words, "progress": progress, "announce": _announce}
            folder, finished = series.run_seeds(config, seeds, output, root=root, **options)
        else:
            run = training.run(config, output, root=root, command=words, progress=progress, announce=_announce)
    if seeds:
        print_summary(series.summarise(finished))
        click.echo(f"\nStudents: {folder}/seed-N/student.keras")
        return
    print_results(run.record["results"], corruption=run.record["data"].get("corruption"))
    click.echo(f"\nStudent: {run.path / 'student.keras'}  ({run.record['student_parameters']:,} parameters)")
    click.echo(f"Next:    tfnoisekd export {run.path} --tflite")


def _seeds(text, overrides):
    if "seed" in overrides:
        raise click.UsageError("`--seeds` gives every run its seed: leave `--seed` out")
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"`seeds` must be whole numbers with commas between, such as 0,10,20,30,40. Received: {text}")
    return [int(part) for part in parts]


def _announce(data):
    from tfnoisekd.cli.results import corruption_line

    if data.corruption is not None:
        click.echo(f"labels: {corruption_line(data.corruption.summary(), len(data.train))}")


def _config(source, overrides):
    """The configuration asked for. The first words a user reads say on what data it trains."""
    from tfnoisekd import config, methods
    from tfnoisekd.data import corruption

    if source is None and overrides.get("data", "digits") == "digits":
        chosen = config.load("digits", overrides)
        if "data" not in overrides:
            asked = "".join(f" --{key} {overrides[key]}" for key in ("method", "rate", "sigma") if key in overrides)
            click.echo(
                "Training on the embedded digits (1,797 real scans). "
                f"For the paper's CIFAR-10 setting: tfnoisekd train --config cifar10{asked}"
            )
    elif source is None:
        chosen = config.build(overrides)
    else:
        chosen = config.load(source, overrides)
    methods.get(chosen.method)
    wrong = (chosen.label_corruption, chosen.corruption_kind, chosen.corruption_seed, chosen.corruption_file)
    corruption.check(*wrong)
    return chosen
