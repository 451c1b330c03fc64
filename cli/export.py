"""`tfnoisekd export`."""

from pathlib import Path

import click

from tfnoisekd.cli.groups import GroupedCommand, group
from tfnoisekd.cli.options import DATA_SETTINGS, given, settings
from tfnoisekd.cli.train import RUNS

QUANTIZATIONS = ("none", "float16", "dynamic", "int8", "int8-io")
INCLUDES = ("preprocessing", "softmax")

FORMATS = group("Formats")
HOW = group("How and where")


@click.command(cls=GroupedCommand)
@click.argument("path", metavar="[RUN|MODEL.keras|pretrained:NAME]", required=False)
@FORMATS("--tflite", is_flag=True, help="TFLite (LiteRT), for phones and boards")
@FORMATS("--quantize", metavar="NAME,...", help=f"of TFLite: {', '.join(QUANTIZATIONS)}; several make several  [none]")
@FORMATS("--onnx", is_flag=True, help="ONNX, for onnxruntime and others")
@FORMATS("--opset", type=int, default=17, show_default=True, help="ONNX opset, 13 to 18")
@FORMATS("--channels-first", is_flag=True, help="ONNX that takes (batch, channels, height, width)")
@FORMATS("--web", is_flag=True, help="a page that runs the ONNX file in any browser, offline (needs npm now)")
@FORMATS("--saved-model", is_flag=True, help="SavedModel, for TensorFlow and TF Serving")
@FORMATS("--include", metavar="NAME,...", help="fold into the files: preprocessing (they take bytes), softmax")
@HOW("--accuracy-drop", type=float, default=0.01, show_default=True, help="what int8 and dynamic may lose")
@HOW("--robustness", metavar="N", type=click.IntRange(1), help="also attack and corrupt N test images, for each file")
@HOW("--epsilon", metavar="X", help="largest perturbation of that attack  [8/255]")
@HOW("--costs/--no-costs", default=True, help="measure latency, throughput and memory  [on]")
@HOW("--teacher", "teacher_path", metavar="RUN|MODEL.keras", help="stands beside the student  [the run's own]")
@HOW("--licence", metavar="TEXT", default="not stated", show_default=True, help="of the weights, for files and card")
@HOW("--output", metavar="DIR", help="folder to write to  [export/ in the run, or beside the model]")
@HOW("--overwrite", is_flag=True, help="replace files that are already there")
@RUNS
@settings(only=DATA_SETTINGS)
@click.pass_obj
def command(
    words, path, tflite, quantize, onnx, opset, channels_first, saved_model, include, epsilon, teacher_path, output,
    root, accuracy_drop, robustness, costs, overwrite, web, licence, **values,
):  # fmt: skip
    """Write the student for a device (default: of the newest finished run).

    Each file is run on real test images by the runtime that a device would use, and counts as written only if it
    agrees with the Keras student. `export.json` beside the files says what they cost.

    \b
    tfnoisekd export runs/sr-cifar10-1 --tflite --quantize none,int8 --onnx
    tfnoisekd export runs/sr-cifar10-1 --tflite --quantize int8-io --include preprocessing
    tfnoisekd export runs/sr-cifar10-1 --tflite --quantize float16,int8 --robustness 500
    """
    wanted = _files(tflite, quantize, onnx, saved_model)
    include = _chosen("include", include, INCLUDES)
    if epsilon and not robustness:
        raise click.UsageError("`--epsilon` has a use only with `--robustness`")
    if web and not onnx:
        raise click.UsageError("`--web` needs `--onnx`, whose file the page runs")
    from tfnoisekd.cli.backend import load_quietly

    load_quietly()
    from tfnoisekd.cli.export_tables import print_report
    from tfnoisekd.cli.subject import find_subject
    from tfnoisekd.export import description
    from tfnoisekd.export.delivery import Order, deliver

    subject = find_subject(path, root, given(values))
    teacher = subject.find_teacher(teacher_path)
    order = Order(
        wanted, include, opset, channels_first, accuracy_drop, overwrite, costs, robustness, epsilon or "8/255", web
    )
    folder = Path(output) if output else (subject.home or subject.model_path.parent) / "export"
    model = subject.load_model()
    if subject.run is not None:
        described = description.of_run(subject.run.record, model, licence=licence)
    else:
        described = description.of_model(model, subject.data.class_names, licence=licence)
    report = deliver(
        model,
        subject.data,
        folder,
        order,
        stem=subject.model_path.stem,
        teacher=teacher and subject.load_fitting(teacher, "teacher"),
        description=described,
        command=words,
        show=lambda title: click.echo(f"{title} ...", err=True),
    )
    print_report(report, folder)


def _files(tflite, quantize, onnx, saved_model):
    """Pairs (format, quantisation)."""
    if quantize and not tflite:
        raise click.UsageError("`--quantize` has a use only with `--tflite`")
    chosen = [("tflite", name) for name in _chosen("quantize", quantize, QUANTIZATIONS) or ("none",)] if tflite else []
    chosen += [(name, "none") for name, on in (("onnx", onnx), ("saved_model", saved_model)) if on]
    if not chosen:
        raise click.UsageError("Say at least one format: --tflite, --onnx or --saved-model")
    return tuple(chosen)


def _chosen(name, text, known):
    """The names of a list with commas between, each once."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(","))) if text else ()
    for each in names:
        if each not in known:
            from tfnoisekd.names import nearest

            raise ValueError(f"`{name}` must be among {', '.join(known)}. Received: {each!r}.{nearest(each, known)}")
    return names
