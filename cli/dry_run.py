"""`tfnoisekd sweep --dry-run`: how much work a sweep is."""

from collections import Counter

import click

from tfnoisekd.cli.clock import clock


def show(planned, store, missing, measure, executor, who):
    """Prints the number of trainings and evaluations, what of them is done, and how long the rest will take.

    Args:
        planned: `sweep.Sweep`.
        store: The grid's `Store`, or None if there is none yet.
        missing: Names of files that are needed and not there.
        measure: Whether to measure steps.
        executor: "local" or "ray".
        who: Dict of the options that say how many workers there are.
    """
    left = [job for job in planned.jobs.values() if store is None or not store.is_done(job)]
    failed = [job for job in left if store is not None and store.has_failed(job)]
    for name, grid in planned.grids.items():
        cells = planned.cells[name]
        click.echo(f"{name}: {len(cells)} cells, {sum(len(runs) for _, runs in cells)} runs. {grid.title}")
    _count(planned, left)
    if failed:
        click.echo(f"{len(failed)} of these have failed before: --retry-failed")
    for path in missing:
        click.echo(f"Missing:      {path}")
    if left and measure:
        _estimate(left, missing, executor, who)


def _count(planned, left):
    keys = {job.key for job in left}
    questions = [(job.key, name) for job in planned.jobs.values() for name, _ in job.questions]
    by_name = Counter(name for _, name in questions)
    roles = Counter(job.role for job in planned.jobs.values())
    todo = Counter(job.role for job in left)
    asked = ", ".join(f"{count} {name}" for name, count in by_name.items())
    click.echo(f"Trainings:    {roles['teacher']} teachers and {roles['student']} students, each once")
    click.echo(f"Evaluations:  {len(questions)}{f' ({asked})' if asked else ''}")
    click.echo(
        f"Left to do:   {todo['teacher']} teachers, {todo['student']} students, "
        f"{sum(key in keys for key, _ in questions)} evaluations"
    )


def _estimate(left, missing, executor, who):
    from tfnoisekd.experiments import estimate, resources

    needed = estimate.networks(left)
    absent = [data for _, _, data in needed if data.partition(":")[2] in missing]
    if absent:
        click.echo("Time:         can't be estimated without the data")
        return
    names = ", ".join(dict.fromkeys(f"{name} (batches of {batch})" for name, batch, _ in needed))
    click.echo(f"Measuring steps of {names} on this machine, with all its cores ...", err=True)
    from tfnoisekd.cli.backend import load_quietly

    load_quietly()
    from tfnoisekd import training

    try:
        found = {data: estimate.sizes(config, training.load_data) for (_, _, data), config in needed.items()}
    except (OSError, ValueError) as error:
        click.echo(f"Time:         can't be estimated: {' '.join(str(error).split())}")
        return
    measured = {}
    for name, batch, data in needed:
        measured.setdefault((name, batch, found[data].shape), estimate.measure(name, batch, found[data]))
    trainings = evaluations = 0.0
    for job in left:
        config = job.own_config
        own = found[config.data]
        speeds = {name: speed for (name, batch, shape), speed in measured.items() if shape == own.shape}
        trainings += estimate.training_seconds(config, own, speeds)
        for name, options in job.questions:
            speed = speeds[config.student]
            evaluations += estimate.question_seconds(name, options, own, config.batch_size, speed)
    total = trainings + evaluations
    click.echo(
        f"Time:         about {clock(total)} on this machine ({clock(trainings)} of training, at most "
        f"{clock(evaluations)} of evaluation); hours:minutes:seconds"
    )
    if executor == "local":
        workers, threads = resources.divided(who["workers"], who["threads"])
        click.echo(f"              by {workers} workers with {threads} threads each, which share its cores")
