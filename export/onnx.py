"""ONNX: for ONNX Runtime, TensorRT, OpenVINO and browsers."""

from tfnoisekd.export import verify

OPSETS = range(13, 19)


def onnx(model, path, images, labels=None, *, opset=17, overwrite=False):
    """Writes an ONNX file with tf2onnx and verifies it with ONNX Runtime.

    It takes `image`, float32 (batch, height, width, channels) in [0, 1] with any batch size, and gives `logits`,
    float32 (batch, num_classes).

    Args:
        model: A `keras.Model` with one image input and one output, the logits; functional, Sequential or subclassed.
        path: The file to write.
        images: Images to verify with, (n, height, width, channels), uint8 or float in [0, 1]: some of the test set.
        labels: Optional integer array (n,); with it the report has the accuracy of the file and of the Keras model.
        opset: Version of the ONNX operators, 13 to 18; an older one is for an older runtime.
        overwrite: Whether an earlier file at `path` may be replaced.

    Returns:
        A `tfnoisekd.export.ExportReport`.

    Raises:
        ExportRejected: If the file cannot be run or its logits differ; it is kept aside as <path>.rejected.
        FileExistsError: If `path` exists and `overwrite` is False.
        ImportError: If tf2onnx or onnxruntime is not installed.
        ValueError: If model, images and labels do not fit each other, or the opset is not supported.

    Example:

    >>> report = export.onnx(student, "student.onnx", dataset.test.images, dataset.test.labels)
    >>> report.top1_agreement
    1.0
    """
    if opset not in OPSETS:
        raise ValueError(
            f"`opset` must be from {OPSETS[0]} to {OPSETS[-1]}; tf2onnx (1.17) refuses any above 18. "
            f"Received: opset={opset!r}; every runtime that takes a later opset takes 17 too."
        )
    for module in ("tf2onnx", "onnxruntime"):  # before the conversion, not after it
        verify.require(module, "onnx", module)

    def convert(model, shape, path):
        write_onnx(model, shape, path, opset)

    return verify.hand_over("onnx", model, path, images, labels, overwrite, convert, load_onnx)


def write_onnx(model, shape, path, opset):
    """Converts with from_function: from_keras fails on Sequential models and renames the output."""
    import tensorflow as tf
    import tf2onnx

    function = tf.function(verify.serving(model))
    proto, _ = tf2onnx.convert.from_function(function, input_signature=verify.signature(shape), opset=opset)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"  # tf2onnx invents a name, another one each time
    path.write_bytes(proto.SerializeToString())


def load_onnx(path):
    """The file as a function, float32 batch -> logits."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda batch: session.run(["logits"], {"image": batch})[0]
