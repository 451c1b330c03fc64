"""The ONNX file of a page: what it takes and gives, read from the file, and whether it fits what a caller says."""

import math
import numbers

import numpy as np

from tfnoisekd.export import checks

DTYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}
RANGES = {"float32": [0, 1], "uint8": [0, 255]}
LAYOUTS = {"NHWC": ("height", "width", "channels"), "NCHW": ("channels", "height", "width")}
CHANNELS = (1, 3)
MAX_BYTES = 2**28  # 256 MiB: a page is a text, and browsers hold no text much longer than this


def read(onnx_path):
    """The ONNX file's bytes."""
    if not onnx_path.is_file():
        raise FileNotFoundError(f"`onnx_path` must be a file. Received: {onnx_path}, which is none; export it first.")
    size = onnx_path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(
            f"`onnx_path` must have at most {MAX_BYTES:,} bytes for a page. Received: {onnx_path} with {size:,} bytes; "
            "take a smaller student."
        )
    return onnx_path.read_bytes()


def describe(onnx, num_classes, input_shape=None, layout=None, value_range=None):
    """Input and output of the file, which is run once.

    Args:
        onnx: The file, as bytes.
        num_classes: How many classes there must be.
        input_shape, layout, value_range: As of `tfnoisekd.export.web`; None for what the file says.

    Returns:
        Two dicts: `name`, `dtype`, `height`, `width`, `channels`, `layout`, `value_range`, `preprocessing_in_graph` of
        the input; `name` and `softmax_in_graph` of the output.

    Raises:
        ValueError: If ONNX Runtime can't run the file, or it has another input or output than the arguments say.
    """
    session = open_session(onnx)
    image, answer = only(session.get_inputs(), "input"), only(session.get_outputs(), "output")
    if image.type not in DTYPES or len(image.shape) != 4:
        raise ValueError(
            "The ONNX file must take one batch of images, float32 or uint8. "
            f"Received: {image.name}, {image.type} of shape {image.shape}"
        )
    dtype = DTYPES[image.type]
    # Files that this package writes say their layout.
    layout = check_layout(layout or session.get_modelmeta().custom_metadata_map.get("layout", "NHWC"))
    sides = check_shape(input_shape, image.shape, layout)
    value_range = check_range(value_range, dtype)
    shape = [sides[side] for side in LAYOUTS[layout]]
    images = [np.full((1, *shape), value, dtype) for value in value_range]
    outputs = np.concatenate([session.run([answer.name], {image.name: batch})[0] for batch in images])
    described = {"name": image.name, "dtype": dtype, **sides, "layout": layout, "value_range": value_range}
    described["preprocessing_in_graph"] = value_range == [0, 255]
    return described, {"name": answer.name, "softmax_in_graph": check_outputs(outputs, len(images), num_classes)}


def open_session(onnx):
    """The file in ONNX Runtime."""
    ort = checks.require("onnxruntime", "web", "onnxruntime")
    try:
        return ort.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    except Exception as error:  # of many types, none of them public
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"`onnx_path` must be a file that ONNX Runtime can open. Received: {reason}") from error


def only(values, kind):
    """The one input or output of a file."""
    if len(values) != 1:
        names = ", ".join(value.name for value in values)
        raise ValueError(f"The ONNX file must have one {kind}. Received: {len(values)}, {names}")
    return values[0]


def check_layout(layout):
    """`layout`, one of the known ones."""
    if layout not in LAYOUTS:
        raise ValueError(f"`layout` must be one of {', '.join(LAYOUTS)}. Received: layout={layout!r}")
    return layout


def check_shape(input_shape, file_shape, layout):
    """Height, width and channels as a dict, of the caller and the file, whose own shape may leave sides open."""
    file_sides = dict(zip(LAYOUTS[layout], file_shape[1:], strict=True))
    shape = [file_sides[side] for side in LAYOUTS["NHWC"]] if input_shape is None else list(input_shape)
    whole = all(isinstance(side, numbers.Integral) and side > 0 for side in shape)
    if len(shape) != 3 or not whole or shape[2] not in CHANNELS:
        raise ValueError(
            "`input_shape` must be (height, width, channels) in pixels, with 1 (grey) or 3 (RGB) channels. Received: "
            f"input_shape={input_shape!r} for a file that takes {file_shape} ({layout})"
        )
    sides = {name: int(side) for name, side in zip(LAYOUTS["NHWC"], shape, strict=True)}
    batch = file_shape[0]
    if batch not in (1, None) and not isinstance(batch, str):
        raise ValueError(f"The ONNX file must take one image at a time. Received: a fixed batch of {batch}")
    if any(isinstance(file_sides[name], int) and file_sides[name] != side for name, side in sides.items()):
        raise ValueError(
            f"`input_shape` and `layout` must fit the ONNX file, which takes {file_shape}. "
            f"Received: input_shape={tuple(shape)} and {layout}"
        )
    return sides


def check_range(value_range, dtype):
    """`value_range` as a list of two numbers."""
    value_range = RANGES[dtype] if value_range is None else list(value_range)
    finite = len(value_range) == 2 and all(math.isfinite(value) for value in value_range)
    if not finite or value_range[0] >= value_range[1] or (dtype == "uint8" and value_range != RANGES[dtype]):
        raise ValueError(
            "`value_range` must be what black and white are at the input of the ONNX file: (0, 1), or (0, 255) where "
            f"the preprocessing is in it or it takes uint8. Received: value_range={value_range} for {dtype}"
        )
    return value_range


def check_outputs(outputs, num_images, num_classes):
    """Whether the outputs are probabilities; a ValueError if there is not one finite number for each class."""
    if outputs.shape != (num_images, num_classes):
        raise ValueError(
            "`class_names` must have a name for each class of the ONNX file. "
            f"Received: {num_classes} names for outputs of shape {outputs.shape} on {num_images} images"
        )
    if not np.isfinite(outputs).all():
        raise ValueError("The ONNX file must give finite numbers. Received: NaN or infinity for a black or white image")
    # By their values, because a file from elsewhere may call them anything; a second softmax would flatten them.
    return bool((outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=1e-3))
