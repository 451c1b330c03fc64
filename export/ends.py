"""Ends: what a file takes and what it gives, read off the file itself."""

import dataclasses

import numpy as np

from tfnoisekd.export import runtimes

RANGES = {"float32": (0, 1), "uint8": (0, 255), "int8": (-128, 127)}


@dataclasses.dataclass(frozen=True)
class Input:
    """The image that a file takes.

    Args:
        name: Name of the input.
        dtype: "float32", "uint8" or "int8".
        layout: "NHWC" (channels last) or "NCHW" (channels first).
        batch: The batch size that the file is fixed to, or None for any.
        height: In pixels.
        width: In pixels.
        channels: 1 for grey; 3 for colours in the order of the training images, which is red, green, blue.
        minimum: Black, in the file's own type.
        maximum: White, in the file's own type.
        scale: For int8: a pixel in [0, 1] is scale * (value - zero_point); None where the file is not quantised so.
        zero_point: See `scale`.
        prepare: What a caller does with the bytes of an image, in words.
    """

    name: str
    dtype: str
    layout: str
    batch: int | None
    height: int
    width: int
    channels: int
    minimum: float
    maximum: float
    scale: float | None
    zero_point: int | None
    prepare: str


@dataclasses.dataclass(frozen=True)
class Output:
    """What a file gives.

    Args:
        name: "logits" or "probabilities".
        dtype: "float32", "uint8" or "int8".
        num_classes: Number of values for each image, in the order of the class names.
        scale: For an integer type: the number meant is scale * (value - zero_point); None for float32.
        zero_point: See `scale`.
    """

    name: str
    dtype: str
    num_classes: int
    scale: float | None
    zero_point: int | None


def of_file(format, path):
    """The `Input` and the `Output` of a file.

    Args:
        format: "tflite", "onnx" or "saved_model".
        path: The file, or the folder of a SavedModel.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ImportError: If the runtime is not installed.
        ValueError: If there is no such format.

    Example:

    >>> image, output = of_file("tflite", "student.tflite")
    >>> image.dtype, image.prepare, output.num_classes
    """
    runtime = runtimes.open_file(format, path)
    num_classes = runtime.run_single(np.zeros(runtime.image_shape, np.uint8)).shape[1]
    details = ({}, {"dtype": np.float32})
    if format == "tflite":
        file = runtimes.interpreter(path, threads=1)
        details = (*file.get_input_details(), *file.get_output_details())
    scale, zero_point = quantization(details[0])
    if runtime.input_dtype == "uint8":
        scale = zero_point = None  # the bytes themselves, whatever the file makes of them
    height, width, channels = runtime.image_shape
    minimum, maximum = RANGES[runtime.input_dtype]
    image = Input(
        name="image",
        dtype=runtime.input_dtype,
        layout="NCHW" if runtime.channels_first else "NHWC",
        batch=runtime.batch,
        height=height,
        width=width,
        channels=channels,
        minimum=minimum,
        maximum=maximum,
        scale=scale,
        zero_point=zero_point,
        prepare=_prepare(runtime.input_dtype, scale, zero_point),
    )
    dtype = np.dtype(details[1]["dtype"]).name
    return image, Output(runtime.output_kind, dtype, num_classes, *quantization(details[1]))


def quantization(detail):
    """(scale, zero point) of a tensor of an interpreter, (None, None) where it has none."""
    scale, zero_point = detail.get("quantization", (0.0, 0))
    return (float(scale), int(zero_point)) if scale else (None, None)


def _prepare(dtype, scale, zero_point):
    if dtype == "float32":
        return "divide each byte of the image (0 to 255) by 255"
    if dtype == "uint8":
        return "nothing: the file takes the bytes of the image (0 to 255) as they are"
    if is_shifted(scale, zero_point):
        return "subtract 128 from each byte of the image (0 to 255), as a number, and store it as a signed byte"
    return f"divide each byte by 255, then by {scale!r}, round, add {zero_point}, clip to -128..127"


def is_shifted(scale, zero_point):
    """Whether an int8 input is just byte - 128, which holds for every file of this package."""
    return zero_point == -128 and abs(scale * 255 - 1) < 1e-4
