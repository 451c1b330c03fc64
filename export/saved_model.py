"""SavedModel: for TensorFlow Serving, TensorFlow.js and C++; loads without Keras and without this package."""

from tfnoisekd.export import checks, verify
from tfnoisekd.export.serving import Wanted


def saved_model(model, path, images, labels=None, *, include=(), overwrite=False, description=None):
    """Writes a SavedModel folder and verifies it with plain `tf.saved_model.load`.

    Its signature `serving_default` takes `image`, float32 (batch, height, width, channels) in [0, 1] with any batch
    size, and gives `logits`, float32 (batch, num_classes).

    Args:
        model: A `keras.Model` with one image input and one output of logits or, by a softmax, probabilities;
            functional, Sequential or subclassed. It takes float images in [0, 1], or bytes in 0..255 if its
            `keras.Input` is uint8; then the file takes bytes too.
        path: The folder to write.
        images: Images to verify with, (n, height, width, channels), uint8 or float in [0, 1]: some of the test set.
        labels: Optional integer array (n,); with it the report has the accuracy of the file and of the Keras model.
        include: What is folded into the file. "preprocessing": it takes uint8 in 0..255, as cameras and decoders give
            them, and divides by 255 itself. "softmax": it gives `probabilities`; that of a model which ends in a
            softmax is called so anyway, and gets no second one.
        description: A `tfnoisekd.export.Description` that is put into the file, or None.
        overwrite: Whether an earlier SavedModel at `path` may be replaced.

    Returns:
        A `tfnoisekd.export.ExportReport`.

    Raises:
        ConversionFailed: If the model can't be written as a SavedModel.
        ExportRejected: If the folder cannot be loaded or its outputs differ; it is kept aside as <path>.rejected.
        FileExistsError: If `path` exists and `overwrite` is False.
        ValueError: If model, images and labels do not fit each other.

    Example:

    >>> report = export.saved_model(student, "student", dataset.test.images, dataset.test.labels)
    >>> report.top1_agreement
    1.0
    """
    wanted = Wanted(checks.check_include(include))

    def convert(served, path):
        write_saved_model(served, path)

    return verify.hand_over(
        "saved_model", model, path, images, labels, convert, wanted=wanted, overwrite=overwrite, description=description
    )


def write_saved_model(served, path):
    """Writes the folder of a `Serving`; the TFLite converter starts from it too."""
    import keras

    archive = keras.export.ExportArchive()
    # Without archive.track(model): the endpoint brings its variables along, and tracking would store them twice.
    archive.add_endpoint("serving_default", served.function)
    archive.write_out(str(path), verbose=False)
