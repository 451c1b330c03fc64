"""SavedModel: for TensorFlow Serving, TensorFlow.js and C++; loads without Keras and without this package."""

from tfnoisekd.export import verify


def saved_model(model, path, images, labels=None, *, overwrite=False):
    """Writes a SavedModel folder and verifies it with plain `tf.saved_model.load`.

    Its signature `serving_default` takes `image`, float32 (batch, height, width, channels) in [0, 1] with any batch
    size, and gives `logits`, float32 (batch, num_classes).

    Args:
        model: A `keras.Model` with one image input and one output, the logits; functional, Sequential or subclassed.
        path: The folder to write.
        images: Images to verify with, (n, height, width, channels), uint8 or float in [0, 1]: some of the test set.
        labels: Optional integer array (n,); with it the report has the accuracy of the file and of the Keras model.
        overwrite: Whether an earlier SavedModel at `path` may be replaced.

    Returns:
        A `tfnoisekd.export.ExportReport`.

    Raises:
        ExportRejected: If the folder cannot be loaded or its logits differ; it is kept aside as <path>.rejected.
        FileExistsError: If `path` exists and `overwrite` is False.
        ValueError: If model, images and labels do not fit each other.

    Example:

    >>> report = export.saved_model(student, "student", dataset.test.images, dataset.test.labels)
    >>> report.top1_agreement
    1.0
    """
    return verify.hand_over("saved_model", model, path, images, labels, overwrite, write_saved_model, load_saved_model)


def write_saved_model(model, shape, path):
    """Writes the folder; the TFLite converter starts from it too."""
    import keras

    archive = keras.export.ExportArchive()
    # Without archive.track(model): the endpoint brings its variables along, and tracking would store them twice.
    archive.add_endpoint("serving_default", verify.serving(model), input_signature=verify.signature(shape))
    archive.write_out(str(path), verbose=False)


def load_saved_model(path):
    """The folder as a function, float32 batch -> logits."""
    import tensorflow as tf

    with tf.device("/CPU:0"):  # where the logits to agree with come from
        loaded = tf.saved_model.load(str(path))

    def run(batch):
        # Through `loaded`, which owns the variables: a signature alone does not keep them alive.
        with tf.device("/CPU:0"):
            return loaded.signatures["serving_default"](image=tf.constant(batch))["logits"].numpy()

    return run
