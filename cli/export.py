"""`tfnoisekd export`."""

from pathlib import Path

import click

from tfnoisekd.cli.options import DATA_SETTINGS, given, settings
from tfnoisekd.cli.train import RUNS

SUFFIXES = {"tflite": ".tflite", "onnx": ".onnx", "saved_model": ""}


@click.command()
@click.argument("path", metavar="[RUN|MODEL.keras]", required=False)
@click.option("--tflite", is_flag=True, help="TFLite (LiteRT), for phones and boards")
@click.option("--onnx", is_flag=True, help="ONNX, for onnxruntime and others")
@click.option("--saved-model", is_flag=True, help="SavedModel, for TensorFlow and TF Serving")
@click.option("--output", metavar="DIR", help="folder to write to; default: export/ in the run, or beside the model")
@click.option("--opset", type=int, default=17, show_default=True, help="ONNX opset, 13 to 18")
@click.option("--overwrite", is_flag=True, help="replace files that are already there")
@RUNS
@settings(only=DATA_SETTINGS)
def command(path, output, opset, overwrite, root, tflite, onnx, saved_model, **values):
    """Write the student for a device (default: of the newest finished run).

    Each file is run on real test images by the runtime that a device would use, and counts as written only if it
    agrees with the Keras student.
    """
    formats = [name for name, on in (("tflite", tflite), ("onnx", onnx), ("saved_model", saved_model)) if on]
    if not formats:
        raise click.UsageError("Say at least one format: --tflite, --onnx or --saved-model")
    from tfnoisekd.cli.backend import load_quietly

    load_quietly()
    from tfnoisekd import export
    from tfnoisekd.cli.subject import find_subject

    subject = find_subject(path, root, given(values))
    folder = Path(output) if output else subject.model_path.parent / "export"
    model, test = subject.load_model(), subject.data.test
    folder.mkdir(parents=True, exist_ok=True)
    for name in formats:
        options = {"opset": opset} if name == "onnx" else {}
        report = export.FORMATS[name](
            model,
            folder / f"{subject.model_path.stem}{SUFFIXES[name] or '_saved_model'}",
            test.images,
            labels=test.labels,
            overwrite=overwrite,
            **options,
        )
        click.echo(
            f"{report.path}  {report.bytes:,} bytes  agrees with the Keras student on {report.top1_agreement:.2%} of "
            f"{report.n:,} test images (largest logit difference {report.max_logit_difference:.1e})"
        )
