"""`tfnoisekd evaluate`."""

import json
from pathlib import Path

import click

from tfnoisekd.cli.groups import GroupedCommand, group
from tfnoisekd.cli.options import DATA_SETTINGS, given, settings
from tfnoisekd.cli.train import RUNS

ATTACK = group("Attack")
CORRUPTIONS = group("Common corruptions")
OTHER = group("Other data, certified robustness")
HOW = group("How and where")


@click.command(cls=GroupedCommand)
@click.argument("paths", metavar="[RUN|MODEL.keras|pretrained:NAME]...", nargs=-1)
@ATTACK("--attack", metavar="NAME,...", help="pgd, apgd-ce, apgd-dlr, apgd-t, square, or ensemble for the strong ones")
@ATTACK("--epsilon", metavar="X,...", help="largest perturbation, 0.031 or 8/255; several sweep  [0.031]")
@ATTACK("--step-size", metavar="X", help="length of a step of PGD  [0.003]")
@ATTACK("--steps", metavar="N,...", help="steps of PGD; several sweep  [20]")
@ATTACK("--restarts", metavar="N", help="random starts, all of which a robust image survives  [5; 1 of strong ones]")
@ATTACK("--norm", type=click.Choice(["linf", "l2"]), help="what epsilon bounds  [linf]")
@ATTACK("--iterate", type=click.Choice(["final", "any"]), help="which images of PGD count: `any` is stronger  [final]")
@ATTACK("--apgd-steps", metavar="N", help="steps of APGD  [100]")
@ATTACK("--queries", metavar="N", help="queries of Square  [5000]")
@ATTACK("--eot", metavar="N", help="average a model whose outputs vary over N draws (expectation over transformation)")
@ATTACK("--self-checks/--no-self-checks", default=True, help="check whether the attack can be believed  [on]")
@CORRUPTIONS(
    "--corruptions", metavar="[NAME,...]", is_flag=False, flag_value="all", help="the 19 of CIFAR-10-C, or those named"
)
@CORRUPTIONS("--severities", metavar="N,...", help="of 1 to 5  [all]")
@CORRUPTIONS("--corruption-source", metavar="SOURCE", help="folder:DIR or tfds, the published CIFAR-10-C  [made here]")
@CORRUPTIONS("--frost", metavar="DIR", help="photographs of frost  [drawn textures]")
@OTHER("--ood", metavar="DATA", multiple=True, help="accuracy on all images of another set: folder:, npz:, tfds:")
@OTHER("--smoothing", metavar="SIGMA,...", help="certified accuracy of randomized smoothing at these sigma")
@OTHER("--draws", metavar="N", help="noisy copies of each image for a certificate  [10000]")
@OTHER("--alpha", metavar="X", help="probability that a certificate may be wrong  [0.001]")
@OTHER("--radii", metavar="X,...", help="l2 radii of certified accuracy")
@HOW("--limit", metavar="N", help="images for attack, corruptions and smoothing, the same share of each class  [all]")
@HOW("--seed", metavar="N", help="decides that subset, random starts and noise  [0]")
@HOW("--batch-size", type=click.IntRange(1), default=256, show_default=True, help="images per forward pass")
@HOW("--teacher", "teacher_path", metavar="RUN|MODEL.keras", help="compare with this teacher")
@HOW("--folder", metavar="DIR", help="where results are kept  [evaluation/ in the run, or beside the model]")
@HOW("--again", is_flag=True, help="evaluate anew what is kept there already")
@HOW("--figures", metavar="DIR", help="write figures of the results, PNG and SVG")
@HOW("--output", metavar="FILE", type=click.Path(dir_okay=False), help="also write the results as JSON")
@HOW("--json", "as_json", is_flag=True, help="print JSON instead of tables")
@RUNS
@settings(only=DATA_SETTINGS)
@click.pass_obj
def command(words, paths, teacher_path, folder, again, figures, output, as_json, root, batch_size, **values):
    """Judge models on test images: accuracy, calibration, robustness (default: the newest finished run).

    Accuracy and calibration are always reported; the options ask for more. Answers are kept: the same question is
    not computed twice, and what was interrupted goes on where it was. A run is evaluated on its own data unless --data
    names another; a model file needs --data.

    \b
    tfnoisekd evaluate runs/sr-cifar10-1 --attack pgd --steps 1,5,10,15,20,100,200,1000 --limit 1000
    tfnoisekd evaluate runs/sr-cifar10-1 --attack pgd --epsilon 1/255,8/255,50/255,200/255
    tfnoisekd evaluate runs/sr-cifar10-1 --attack ensemble --epsilon 8/255 --limit 1000
    tfnoisekd evaluate runs/hinton-* --corruptions --ood npz:cinic10.npz --figures figures
    """
    from tfnoisekd.cli.questions import read

    if folder and len(paths) > 1:
        raise click.UsageError("`--folder` is for one model: each of several has its own")
    questions = read({name: values.pop(name) for name in list(values) if name not in DATA_SETTINGS})
    from tfnoisekd.cli.backend import load_quietly

    load_quietly()
    from tfnoisekd import disk
    from tfnoisekd.cli.assessed import assess, prepare
    from tfnoisekd.cli.checked import make_folder
    from tfnoisekd.cli.evaluation_tables import print_assessment, print_comparison

    if output and not Path(output).parent.is_dir():
        raise FileNotFoundError(f"`--output` must be in a folder that is there. Received: {output}")
    if figures:
        make_folder(figures)
    options = {"teacher_path": teacher_path, "folder": folder, "again": again, "batch_size": batch_size}
    options |= {"root": root, "command": words, "overrides": given(values)}
    assessed = []
    for subject, assessment in [prepare(path, questions, **options) for path in paths or (None,)]:
        results = assess(subject, assessment, questions)
        assessed.append(results)
        if not as_json:
            print_assessment(results)
    text = json.dumps(assessed[0] if len(assessed) == 1 else {"models": assessed}, indent=2)
    if output:
        with disk.replacing(output) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    if as_json:
        click.echo(text)
    elif len(assessed) > 1:
        print_comparison(assessed)
    if figures:
        from tfnoisekd.cli.figures import draw

        for path in draw(assessed, figures):
            click.echo(f"Figure: {path}", err=as_json)
    errors = [f"{name}: {reason}" for results in assessed for name, reason in results.get("errors", {}).items()]
    if errors:
        raise ValueError("; ".join(errors))
