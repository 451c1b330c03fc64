"""No file counts as written before the runtime that a device would use has run it and agreed with the Keras model."""

import os
import re
from pathlib import Path

import numpy as np

from tfnoisekd.evaluation.calibration import check_labels
from tfnoisekd.export import checks, files, metadata, pixels, serving
from tfnoisekd.export.runtimes import open_file
from tfnoisekd.export.verdict import (
    ConversionFailed,
    ExportRejected,
    ExportReport,
    limits_of,
    measure,
    reason_to_reject,
)

SINGLE_IMAGES = 8  # this many images are also run one by one, as a device does
BATCH_TOLERANCE = 0.05  # some steps of int8 outputs: kernels for one image and for many may round otherwise
FLOAT32 = limits_of("none")


def hand_over(
    format,
    model,
    path,
    images,
    labels,
    convert,
    *,
    wanted,
    overwrite,
    quantize="none",
    limits=FLOAT32,
    description=None,
):
    """Converts, verifies, and only then moves the file to its place; a failure leaves `path` as it was.

    Args:
        format: Name of the format.
        model: A `keras.Model`: one batch of images -> logits or probabilities (batch, num_classes).
        path: Where the file goes.
        images: Images to verify with, (n, height, width, channels), uint8 or float in [0, 1].
        labels: Optional integer array (n,), for the accuracies.
        convert: Function (`Serving`, target path) that writes the file.
        wanted: A `serving.Wanted`.
        overwrite: Whether an earlier file of this format at `path` may be replaced.
        quantize: Name of the quantisation, for the report.
        limits: The `Limits` that decide.
        description: `description.Description` that is put into the file before it is verified, or None.

    Returns:
        An `ExportReport`.

    Raises:
        ConversionFailed: If the converter can't write the model.
        ExportRejected: If the file cannot be run or differs by more than the limits.
        FileExistsError: If something is at `path` and `overwrite` is False, or it is not an export of this format.
        RuntimeError: If Keras does not run on TensorFlow.
        TypeError, ValueError: If model, images or labels do not fit.
    """
    path = Path(path)
    files.check_free(path, format, overwrite)
    served, images, expected = promise(model, images, wanted)
    if description is not None:
        description.check_classes(expected.shape[1])
    if labels is not None:
        labels = check_labels(labels, *expected.shape)
    with files.partial_sibling(path) as partial:
        convert_quietly(format, convert, served, partial)
        try:
            with files.quiet():
                if description is not None:
                    metadata.embed(format, partial, description, quantize)
                runtime = open_file(format, partial, threads=os.cpu_count() or 1)
                outputs = run_both_ways(runtime, images, expected)
        except Exception as error:
            raise rejected(format, partial, path, f"running it fails with {in_one_line(error)}") from error
        measured = measure(outputs, expected, labels, limits)
        facts = {"format": format, "quantize": quantize, "bytes": files.size_on_disk(partial), "n": len(images)}
        facts |= {"input_dtype": runtime.input_dtype, "output": runtime.output_kind, **measured}
        reason = reason_to_reject(outputs[-1], measured, served.output)
        if reason:
            raise rejected(format, partial, path, reason, facts)
        files.replace(partial, path)
    return ExportReport(path=str(path), **facts)


def promise(model, images, wanted):
    """The `Serving` of a model, the images as the file takes them, and what it must give for them.

    Floats are rounded to bytes for a file that takes bytes, before the Keras model sees them: that rounding is no fault
    of the file's.
    """
    checks.check_model(model)
    shape = checks.check_images(model, images)
    if serving.takes_bytes(model, wanted):
        images = pixels.to_bytes(images)
    outputs = serving.keras_outputs(model, images)
    served = serving.serve(model, shape, outputs, wanted)
    serving.check_operations(served)
    return served, images, serving.softmax(outputs) if served.adds_softmax else outputs


def convert_quietly(format, convert, served, path):
    """Runs a converter; its errors say what to do, and those of the disk are left as they are."""
    try:
        with files.quiet():
            convert(served, path)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise ConversionFailed(
            f"`model` must be made of operations that the {format} format has. Received: {in_one_line(error)}; "
            "write that layer with operations of keras.ops that it has, or choose another format or quantisation."
        ) from error


def run_both_ways(runtime, images, expected):
    """What a file gives for all images: with the first ones run one by one, and with all of them in batches.

    Both ways, because a conversion can freeze the batch size: such a file is right for one size only.

    Returns:
        Two arrays of the shape of `expected`, (n, num_classes).

    Raises:
        ValueError: If the shapes are others, or an image gives something else alone than in a batch.
    """
    outputs = runtime.run(images)
    singles = np.concatenate([runtime.run_single(image) for image in images[:SINGLE_IMAGES]])
    for found, wanted in ((outputs, expected), (singles, expected[:SINGLE_IMAGES])):
        if found.shape != wanted.shape:
            raise ValueError(f"{len(wanted)} images must give outputs {wanted.shape}. Received: {found.shape}")
    apart = np.abs(singles - outputs[:SINGLE_IMAGES]).max()
    if apart > BATCH_TOLERANCE * max(1.0, np.abs(expected).max()):
        raise ValueError(f"an image must give the same alone and in a batch. Received: a difference of {apart:.3g}")
    return np.concatenate([singles, outputs[SINGLE_IMAGES:]]), outputs


def rejected(format, partial, path, reason, facts=None):
    """Keeps the file aside as <path>.rejected and returns the error to raise."""
    aside = path.with_name(f"{path.name}.rejected")
    files.remove(aside)
    os.replace(partial, aside)
    return ExportRejected(
        f"`{format}` export must agree with the Keras model on the given images. Received: {reason}; nothing was "
        f"written to {path}, the file is kept for inspection at {aside}",
        facts and ExportReport(path=str(aside), **facts),
    )


def in_one_line(error):
    """Type and message of an error, 300 characters at most; of the converter of TFLite, what it has no kernel for."""
    culprits = re.search(r"(Custom|Flex) ops: [^\n]*", str(error))
    message = culprits.group() if culprits else " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {message}"
