"""TFLite: for phones and small boards, run by LiteRT; in float32 or quantised."""

import tempfile
import warnings
from pathlib import Path

import numpy as np

from tfnoisekd.export import checks, pixels, verify
from tfnoisekd.export.runtimes import interpreter
from tfnoisekd.export.saved_model import write_saved_model
from tfnoisekd.export.serving import Wanted
from tfnoisekd.export.verdict import limits_of

QUANTIZATIONS = ("none", "float16", "dynamic", "int8", "int8-io")
INTEGER = ("int8", "int8-io")
CALIBRATION_IMAGES = 500  # more of them hardly move a range, and each takes a float32 inference


def tflite(
    model,
    path,
    images,
    labels=None,
    *,
    quantize="none",
    representative=None,
    include=(),
    accuracy_drop=0.01,
    overwrite=False,
    description=None,
):
    """Writes a TFLite file and verifies it with LiteRT's interpreter.

    Its signature `serving_default` takes `image`, (batch, height, width, channels), and gives `logits`, (batch,
    num_classes). The batch size is 1 until the input is resized; that of int8-io stays 1, because the compilers of
    microcontrollers and accelerators want every shape fixed.

    | quantize | weights | activations | `image` | with "preprocessing" | output |
    | none | float32 | float32 | float32 in [0, 1] | uint8 | float32 |
    | float16 | float16 | float32 | float32 in [0, 1] | uint8 | float32 |
    | dynamic | int8 | float32, int8 inside a kernel | float32 in [0, 1] | uint8 | float32 |
    | int8 | int8 per channel | int8 | float32 in [0, 1] | uint8 | float32 |
    | int8-io | int8 per channel | int8 | int8 | uint8 | int8 |

    uint8 is in 0..255, the bytes of a camera as they are; in an int8 file it only moves the zero point, and no
    operation of the file is in float. The int8 `image` of int8-io is byte - 128: its scale is 1/255, its zero point
    -128. A dynamic file keeps small weights (below 1024 elements) in float32.

    Args:
        model: A `keras.Model` with one image input and one output of logits or, by a softmax, probabilities;
            functional, Sequential or subclassed. It takes float images in [0, 1], or bytes in 0..255 if its
            `keras.Input` is uint8; then the file takes bytes too.
        path: The file to write.
        images: Images to verify with, (n, height, width, channels), uint8 or float in [0, 1]: some of the test set.
        labels: Optional integer array (n,); with it the report has the accuracy of the file and of the Keras model.
        quantize: "none", "float16", "dynamic", "int8" or "int8-io".
        representative: For int8 and int8-io: training images (n, height, width, channels), uint8 or float in [0, 1],
            from which the range of every activation is taken. Of more than 500, 500 evenly spread ones are used.
        include: What is folded into the file. "preprocessing": it takes uint8 in 0..255. "softmax": it gives
            `probabilities`; that of a model which ends in a softmax is called so anyway, and gets no second one.
        accuracy_drop: For dynamic, int8 and int8-io: how much lower the accuracy of the file may be, 0.01 for one
            percentage point. Without labels, the share of images that may change their class.
        description: A `tfnoisekd.export.Description` that is put into the file, or None.
        overwrite: Whether an earlier file at `path` may be replaced.

    Returns:
        A `tfnoisekd.export.ExportReport`.

    Raises:
        ConversionFailed: If the model has an operation that TFLite, or int8 TFLite, does not have.
        ExportRejected: If the file cannot be run or is too far off; it is kept aside as <path>.rejected.
        FileExistsError: If `path` exists and `overwrite` is False.
        ValueError: If model, images, labels, representative and quantize do not fit each other.

    Example:

    >>> report = export.tflite(student, "student.tflite", test.images, test.labels,
    ...                        quantize="int8", representative=train.images[:500])
    >>> report.accuracy, report.keras_accuracy
    """
    if quantize not in QUANTIZATIONS:
        raise ValueError(f"`quantize` must be one of {', '.join(QUANTIZATIONS)}. Received: quantize={quantize!r}")
    limits = limits_of(quantize, accuracy_drop)
    integer = quantize in INTEGER
    if integer:
        checks.check_representative(representative, images, quantize)
    wanted = Wanted(checks.check_include(include), batch=1 if quantize == "int8-io" else None, integer=integer)

    def convert(served, path):
        write_tflite(served, path, quantize, representative)

    return verify.hand_over(
        "tflite",
        model,
        path,
        images,
        labels,
        convert,
        wanted=wanted,
        overwrite=overwrite,
        description=description,
        quantize=quantize,
        limits=limits,
    )


def write_tflite(served, path, quantize="none", representative=None):
    """Converts by way of a SavedModel: from_concrete_functions, the shorter way, can write NaN without an error."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(served, Path(folder) / "saved_model")
        converter = tf.lite.TFLiteConverter.from_saved_model(str(Path(folder) / "saved_model"))
        if quantize != "none":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantize in INTEGER:
            calibrate(converter, served, representative)
            converter.inference_output_type = tf.int8 if quantize == "int8-io" else tf.float32
            if served.takes_bytes:
                converter.inference_input_type = tf.uint8
            elif quantize == "int8-io":
                converter.inference_input_type = tf.int8
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it calibrates on TensorFlow's interpreter, and warns of that
            path.write_bytes(converter.convert())
    if quantize in INTEGER:
        check_integer(path)


def check_integer(path):
    """Raises a ValueError if a file computes in float between its input and its output.

    The converter leaves an operation that int8 does not have in float, between a dequantisation and a quantisation,
    and says nothing.
    """
    file = interpreter(path, threads=1, delegates=False)  # a delegate has tensors of its own
    ends = {detail["index"] for detail in (*file.get_input_details(), *file.get_output_details())}
    floats = [
        tensor["name"].split(";")[0]
        for tensor in file.get_tensor_details()
        if tensor["dtype"] == np.float32 and tensor["index"] not in ends
    ]
    if floats:
        raise ValueError(f"int8 must be possible for every operation. Received: float32 in {', '.join(floats[:3])}")


def calibrate(converter, served, representative):
    """Has a converter quantise every activation, by its range on training images."""
    import tensorflow as tf

    sample = calibration_images(representative, served.takes_bytes).astype(served.dtype)
    converter.representative_dataset = lambda: ({"image": image[None]} for image in sample)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]  # an error where int8 is not possible


def calibration_images(representative, in_bytes):
    """At most 500 of the images, evenly spread, in 0..255 or [0, 1], with at least one black and one white pixel.

    The range of the file's input becomes that of these images. Where no pixel is black or white, a corner of the first
    or last one is made so, that every image of [0, 1] fits in and the scale is 1/255 for every file.
    """
    count = min(len(representative), CALIBRATION_IMAGES)
    chosen = np.linspace(0, len(representative) - 1, count).round().astype(int)
    chosen = np.stack([np.asarray(representative[index]) for index in chosen])
    sample = (pixels.to_bytes if in_bytes else pixels.to_unit)(chosen, "representative").copy()
    if sample.min() > 0:
        sample[0, 0, 0] = 0
    if sample.max() < (255 if in_bytes else 1):
        sample[-1, -1, -1] = 255 if in_bytes else 1
    return sample
