"""No file counts as written before the runtime that a device would use has run it and agreed with the Keras model."""

import dataclasses
import importlib
import inspect
import os
from pathlib import Path

import numpy as np

from tfnoisekd.evaluation import accuracy
from tfnoisekd.evaluation.calibration import check_labels, check_logits
from tfnoisekd.export import files

BATCH_SIZE = 256
SINGLE_IMAGES = 8  # this many images are also run one by one, as a device does


@dataclasses.dataclass(frozen=True)
class Limits:
    """How far a file may be from its Keras model.

    Args:
        logit_difference: Largest difference of a logit, relative to max(1, the largest |logit| of the Keras model).
            Plain absolute it would reject good files of confident models: float32 resolves a logit of 40 to 4e-6, and
            the order of summation differs from runtime to runtime.
        top1_agreement: Smallest share of the images that file and model put into the same class.
    """

    logit_difference: float = 1e-4
    top1_agreement: float = 1.0


FLOAT32 = Limits()


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """What was written, and how well it agrees with the Keras model; `dataclasses.asdict(report)` is ready for JSON.

    Args:
        format: saved_model, tflite or onnx.
        path: Where the file (for saved_model: the folder) lies.
        bytes: Its size on disk.
        n: Number of images that it was verified on.
        max_logit_difference: Largest absolute difference of a logit between file and Keras model.
        logit_difference_limit: What that difference had to stay within.
        top1_agreement: Share of the images that both put into the same class.
        accuracy: Accuracy of the file on these images; None without labels.
        keras_accuracy: Accuracy of the Keras model on these images; None without labels.
    """

    format: str
    path: str
    bytes: int
    n: int
    max_logit_difference: float
    logit_difference_limit: float
    top1_agreement: float
    accuracy: float | None = None
    keras_accuracy: float | None = None


class ExportRejected(RuntimeError):
    """A file was written, but does not do what the Keras model does; it was kept aside for inspection."""


def hand_over(format, model, path, images, labels, overwrite, convert, load, limits=FLOAT32):
    """Converts, verifies, and only then moves the file to its place; a failure leaves `path` as it was.

    Args:
        format: Name of the format, for the report and for errors.
        model: A `keras.Model`: one batch of images in [0, 1] -> logits (batch, num_classes).
        path: Where the file goes.
        images: Images to verify with, (n, height, width, channels), uint8 or float in [0, 1].
        labels: Optional integer array (n,), for the accuracies of the report.
        overwrite: Whether an earlier file of this format at `path` may be replaced.
        convert: Function (model, shape, target path) that writes the file; shape is (height, width, channels).
        load: Function (path) -> function (float32 batch) -> logits, on the runtime of a device.
        limits: The `Limits` that decide.

    Returns:
        An `ExportReport`.

    Raises:
        ExportRejected: If the file cannot be run or differs by more than the limits.
        FileExistsError: If something is at `path` and `overwrite` is False, or it is not an export of this format.
        RuntimeError: If Keras does not run on TensorFlow.
        TypeError, ValueError: If model, images or labels do not fit.
    """
    path = Path(path)
    files.check_free(path, format, overwrite)
    check_model(model)
    shape = check_images(model, images)
    expected = keras_logits(model, images)
    if labels is not None:
        labels = check_labels(labels, *expected.shape)
    with files.partial_sibling(path) as partial:
        with files.quiet():
            convert(model, shape, partial)
        try:
            with files.quiet():
                actual, measured = compare(load(partial), images, expected, limits)
        except Exception as error:
            reason = f"running it fails with {type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise rejected(format, partial, path, reason) from error
        reason = over_the_limits(actual, measured, limits)
        if reason:
            raise rejected(format, partial, path, reason)
        size = files.size_on_disk(partial)
        files.replace(partial, path)
    if labels is not None:
        measured |= {"accuracy": accuracy.top1(actual, labels), "keras_accuracy": accuracy.top1(expected, labels)}
    return ExportReport(format=format, path=str(path), bytes=size, n=len(images), **measured)


def compare(run, images, expected, limits=FLOAT32):
    """Runs a loaded file on all images in batches, and on the first of them one by one, beside the expected logits.

    Both ways, because a conversion can freeze the batch size: such a file is right for one size only.

    Returns:
        The file's logits, and a dict of `max_logit_difference` (NaN if any logit is), `logit_difference_limit` and
        `top1_agreement`, each the worse of both ways.
    """
    singles = [np.asarray(run(batch)) for batch in accuracy.unit_batches(images[:SINGLE_IMAGES], 1)]
    batches = [np.asarray(run(batch)) for batch in accuracy.unit_batches(images, BATCH_SIZE)]
    expected = np.asarray(expected, np.float64)
    differences, agreements = [], []
    for outputs, wanted in ((singles, expected[:SINGLE_IMAGES]), (batches, expected)):
        logits = np.concatenate(outputs)
        if logits.shape != wanted.shape:
            raise ValueError(f"{wanted.shape[0]} images must give logits {wanted.shape}. Received: {logits.shape}")
        differences.append(np.abs(logits.astype(np.float64) - wanted).max())  # max keeps a NaN
        agreements.append(np.mean(logits.argmax(axis=1) == wanted.argmax(axis=1)))
    return logits, {
        "max_logit_difference": float(np.max(differences)),
        "logit_difference_limit": float(limits.logit_difference * max(1.0, np.abs(expected).max())),
        "top1_agreement": float(min(agreements)),
    }


def over_the_limits(logits, measured, limits):
    """The reason to reject a file, in words, or None."""
    bad = int((~np.isfinite(logits)).any(axis=1).sum())
    difference, limit = measured["max_logit_difference"], measured["logit_difference_limit"]
    agreement = measured["top1_agreement"]
    # Asked this way round because every comparison with NaN is False, and NaN must not pass.
    if difference <= limit and agreement >= limits.top1_agreement and not bad:
        return None
    return (
        f"max logit difference {difference:.3g} (limit {limit:.3g}), top-1 agreement {agreement:.2%} "
        f"(limit {limits.top1_agreement:.2%}), {bad} of {len(logits)} images with NaN or infinite logits"
    )


def rejected(format, partial, path, reason):
    """Keeps the file aside as <path>.rejected and returns the error to raise."""
    aside = path.with_name(f"{path.name}.rejected")
    files.remove(aside)
    os.replace(partial, aside)
    return ExportRejected(
        f"`{format}` export must agree with the Keras model on the given images. Received: {reason}; nothing was "
        f"written to {path}, the file is kept for inspection at {aside}"
    )


def check_model(model):
    """Raises unless this is a Keras model on TensorFlow that computes in float32 and whose `call` takes one input."""
    import keras

    if keras.config.backend() != "tensorflow":
        raise RuntimeError(
            "`tfnoisekd.export` needs the TensorFlow backend of Keras. "
            f"Received: backend {keras.config.backend()!r}; set KERAS_BACKEND=tensorflow and load the model again."
        )
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a keras.Model. Received: {type(model).__name__}; load it with keras.models.load_model."
        )
    low = sorted({layer.compute_dtype for layer in (model, *model.layers)} & {"float16", "bfloat16"})
    if low:
        raise ValueError(
            f"`model` must compute in float32. Received: layers that compute in {', '.join(low)}; build it anew under "
            "keras.config.set_dtype_policy('float32') and copy the weights with set_weights(model.get_weights())."
        )
    required = [
        parameter.name
        for parameter in inspect.signature(model.call).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    inputs = [name for name in required if name not in ("training", "mask")]
    if len(inputs) > 1:
        raise ValueError(f"`model` must take one input, a batch of images. Received: call() with inputs {inputs}")


def check_images(model, images):
    """The shape (height, width, channels) that the file will take; a side that the model leaves open is the images'."""
    expected = accuracy.image_shape(model)
    if expected is None:
        raise ValueError(
            f"`model` must know its input shape. Received: {model.name}, which was never built; call it once on a "
            "batch of images, model(images[:1]), or give it a keras.Input((height, width, channels))."
        )
    if images is None or not len(images):
        raise ValueError(
            "`images` must hold at least one image that the file is verified with. "
            f"Received: {'None' if images is None else 'no image'}; pass some of the test images."
        )
    accuracy.check_images(images, expected)
    return tuple(int(side) for side in np.shape(images)[1:])


def serving(model):
    """The function that every format converts: `image` -> {"logits": float32}, in inference mode."""
    import keras
    import tensorflow as tf

    def logits(image):
        outputs = keras.tree.flatten(model(image, training=False))
        if len(outputs) != 1 or len(outputs[0].shape) != 2:
            shapes = [tuple(output.shape) for output in outputs]
            raise ValueError(
                f"`model` must give one output, logits (batch, num_classes). Received: outputs of shapes {shapes}; "
                "export a keras.Model(model.inputs, the_logits)."
            )
        return {"logits": tf.cast(outputs[0], tf.float32)}

    return logits


def signature(shape):
    """The input of every format: float32 `image`, any batch size."""
    import tensorflow as tf

    return [tf.TensorSpec((None, *shape), tf.float32, name="image")]


def keras_logits(model, images):
    """The logits to agree with, by an eager forward pass: nothing of a converter or compiler is in it.

    On the CPU, because a GPU may round its float32 products to TF32, and because the runtimes of devices run there.
    """
    import tensorflow as tf

    function = serving(model)
    with tf.device("/CPU:0"):
        logits = [function(tf.constant(batch))["logits"].numpy() for batch in accuracy.unit_batches(images, BATCH_SIZE)]
    return check_logits(np.concatenate(logits), f"logits of {model.name}")


def require(module, format, package):
    """Imports an optional module, or says which package to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"`{format}` export needs the package {package}. Received: {type(error).__name__}: {error}; "
            f"install it with: pip install {package}"
        ) from error
