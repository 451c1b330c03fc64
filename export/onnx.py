"""ONNX: for ONNX Runtime, TensorRT, OpenVINO and browsers."""

from tfnoisekd.export import checks, verify
from tfnoisekd.export.serving import Wanted

OPSETS = range(13, 19)


def onnx(
    model, path, images, labels=None, *, opset=17, channels_first=False, include=(), overwrite=False, description=None
):
    """Writes an ONNX file with tf2onnx and verifies it with ONNX Runtime.

    It takes `image`, float32 (batch, height, width, channels) in [0, 1] with any batch size, and gives `logits`,
    float32 (batch, num_classes). Its metadata says `layout`, NHWC or NCHW.

    Args:
        model: A `keras.Model` with one image input and one output of logits or, by a softmax, probabilities;
            functional, Sequential or subclassed. It takes float images in [0, 1], or bytes in 0..255 if its
            `keras.Input` is uint8; then the file takes bytes too.
        path: The file to write.
        images: Images to verify with, (n, height, width, channels), uint8 or float in [0, 1]: some of the test set.
        labels: Optional integer array (n,); with it the report has the accuracy of the file and of the Keras model.
        opset: Version of the ONNX operators, 13 to 18; an older one is for an older runtime.
        channels_first: Whether `image` is (batch, channels, height, width), as files that come from PyTorch take it.
        include: What is folded into the file. "preprocessing": it takes uint8 in 0..255, as cameras and decoders give
            them, and divides by 255 itself. "softmax": it gives `probabilities`; that of a model which ends in a
            softmax is called so anyway, and gets no second one.
        description: A `tfnoisekd.export.Description` that is put into the file, or None.
        overwrite: Whether an earlier file at `path` may be replaced.

    Returns:
        A `tfnoisekd.export.ExportReport`.

    Raises:
        ConversionFailed: If tf2onnx can't write the model: it has an operation that ONNX does not have.
        ExportRejected: If the file cannot be run or its outputs differ; it is kept aside as <path>.rejected.
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
        checks.require(module, "onnx", module)
    wanted = Wanted(checks.check_include(include), channels_first=bool(channels_first))

    def convert(served, path):
        write_onnx(served, path, opset)

    return verify.hand_over(
        "onnx", model, path, images, labels, convert, wanted=wanted, overwrite=overwrite, description=description
    )


def write_onnx(served, path, opset):
    """Converts a `Serving` with from_function: from_keras fails on Sequential models and renames the output."""
    import tf2onnx
    from onnx import checker, helper

    proto, _ = tf2onnx.convert.from_function(frozen(served), input_signature=served.signature, opset=opset)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"  # tf2onnx invents a name, another one each time
    helper.set_model_props(proto, {"layout": "NCHW" if served.wanted.channels_first else "NHWC"})
    checker.check_model(proto)  # tf2onnx writes an operation that it does not know all the same
    path.write_bytes(proto.SerializeToString())


def frozen(served):
    """The function of a `Serving` with all that it captures as constants.

    tf2onnx does so with variables only: a captured tensor, such as the mean of a Normalization layer that was given
    one, would become a second input of the file.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    inner = convert_variables_to_constants_v2(served.function.get_concrete_function(*served.signature))
    return tf.function(lambda image: {served.output: inner(image)[0]})
