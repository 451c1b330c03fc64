"""A tiny ONNX file: one matrix of fixed random weights on an image's pixels."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def write(path, image_shape, num_classes=10, *, layout="NHWC", takes_bytes=False, softmax=False, batch="batch"):
    """Writes an ONNX file as the exporter does: input `image`, output `logits` or `probabilities`, metadata `layout`.

    Args:
        path: The file.
        image_shape: Shape of one image, in the file's layout.
        num_classes: Number of classes.
        layout: What the metadata says; None for none.
        takes_bytes: Whether the input is uint8 and the division by 255 in the file.
        softmax: Whether the softmax is in the file.
        batch: First side of input and output.

    Returns:
        `path`.
    """
    size = int(np.prod(image_shape))
    weights = np.random.default_rng(0).normal(size=(size, num_classes), scale=12 / size**0.5).astype(np.float32)
    constants = {"weights": weights, "grey": np.float32(0.5)} | ({"white": np.float32(255)} if takes_bytes else {})
    nodes, value = [], "image"
    if takes_bytes:
        nodes.append(helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Div", ["float", "white"], ["unit"]))
        value = "unit"
    output = "probabilities" if softmax else "logits"
    nodes += [helper.make_node("Sub", [value, "grey"], ["centred"]), helper.make_node("Flatten", ["centred"], ["flat"])]
    nodes.append(helper.make_node("MatMul", ["flat", "weights"], ["product" if softmax else output]))
    if softmax:
        nodes.append(helper.make_node("Softmax", ["product"], [output]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8 if takes_bytes else 1, [batch, *image_shape])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, num_classes])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if layout:
        helper.set_model_props(model, {"layout": layout})
    path.write_bytes(model.SerializeToString())
    return path
