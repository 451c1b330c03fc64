"""`tfnoisekd evaluate`."""

import json

import click

from tfnoisekd.cli.options import DATA_SETTINGS, given, settings
from tfnoisekd.cli.train import RUNS


@click.command()
@click.argument("path", metavar="[RUN|MODEL.keras]", required=False)
@click.option("--teacher", "teacher_path", metavar="RUN|MODEL.keras", help="compare with this teacher")
@click.option("--output", metavar="FILE", type=click.Path(dir_okay=False), help="also write the results as JSON")
@click.option("--json", "as_json", is_flag=True, help="print JSON instead of tables")
@RUNS
@settings(only=DATA_SETTINGS)
def command(path, teacher_path, output, as_json, root, **values):
    """Accuracy, calibration and agreement with the teacher, on the test images (default: the newest finished run).

    A run is evaluated on its own data unless --data names another; a model file needs --data.
    """
    from tfnoisekd.cli.backend import load_quietly

    load_quietly()
    from tfnoisekd import runs
    from tfnoisekd.cli.results import print_results
    from tfnoisekd.cli.subject import find_subject
    from tfnoisekd.evaluation import accuracy

    subject = find_subject(path, root, given(values))
    teacher = subject.load_teacher(teacher_path)
    results = accuracy.evaluate(subject.load_model(), subject.data.test, subject.data.class_names, teacher=teacher)
    results = {"model": str(subject.model_path), "data": subject.data.name, **results}
    text = json.dumps(results, indent=2)
    if output:
        with runs.replacing(output) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    if as_json:
        click.echo(text)
    else:
        click.echo(f"{subject.model_path} on {subject.data.name}")
        print_results(results, per_class=True)
