"""TFLite: for phones and small boards, run by LiteRT."""

import tempfile
import warnings
from pathlib import Path

from tfnoisekd.export import verify
from tfnoisekd.export.saved_model import write_saved_model


def tflite(model, path, images, labels=None, *, overwrite=False):
    """Writes a float32 TFLite file and verifies it with LiteRT's interpreter.

    Its signature `serving_default` takes `image`, float32 (batch, height, width, channels) in [0, 1], and gives
    `logits`, float32 (batch, num_classes). The batch size is 1 until the input is resized.

    Args:
        model: A `keras.Model` with one image input and one output, the logits; functional, Sequential or subclassed.
        path: The file to write.
        images: Images to verify with, (n, height, width, channels), uint8 or float in [0, 1]: some of the test set.
        labels: Optional integer array (n,); with it the report has the accuracy of the file and of the Keras model.
        overwrite: Whether an earlier file at `path` may be replaced.

    Returns:
        A `tfnoisekd.export.ExportReport`.

    Raises:
        ExportRejected: If the file cannot be run or its logits differ; it is kept aside as <path>.rejected.
        FileExistsError: If `path` exists and `overwrite` is False.
        ValueError: If model, images and labels do not fit each other.

    Example:

    >>> report = export.tflite(student, "student.tflite", dataset.test.images, dataset.test.labels)
    >>> report.top1_agreement
    1.0
    """
    return verify.hand_over("tflite", model, path, images, labels, overwrite, write_tflite, load_tflite)


def write_tflite(model, shape, path):
    """Converts by way of a SavedModel: from_concrete_functions, the shorter way, can write NaN without an error."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        write_saved_model(model, shape, Path(folder) / "saved_model")
        converter = tf.lite.TFLiteConverter.from_saved_model(str(Path(folder) / "saved_model"))
        path.write_bytes(converter.convert())


def load_tflite(path):
    """The file as a function, float32 batch -> logits; each new batch size resizes the input, as a device would."""
    runner = interpreter(path).get_signature_runner("serving_default")
    return lambda batch: runner(image=batch)["logits"]


def interpreter(path):
    """LiteRT's interpreter of a file; TensorFlow's own, which is deprecated, only where LiteRT is not installed."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tensorflow import lite

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says that LiteRT is to be used, which is known
            return lite.Interpreter(model_path=str(path))
    return Interpreter(model_path=str(path))
