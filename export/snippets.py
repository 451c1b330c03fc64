"""Snippets: the few lines of Python that call a file, with the right preprocessing for that very file."""

import json

from tfnoisekd.export import ends

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def litert(name, image, output):
    """Lines that classify photo.png with a TFLite file, by numpy, Pillow and ai-edge-litert only.

    Args:
        name: Name of the file.
        image: Its `ends.Input`.
        output: Its `ends.Output`.
    """
    return (
        "import numpy as np\n"
        "from ai_edge_litert.interpreter import Interpreter\n"
        f"{_load(image)}"
        f"classify = Interpreter({_quoted(name)}).get_signature_runner()\n"
        f"outputs = classify({image.name}={_encode(image)})[{_quoted(output.name)}]\n"
        f"{_answer()}"
    )


def onnxruntime(name, image, output):
    """As `litert`, of an ONNX file, by numpy, Pillow and onnxruntime only."""
    return (
        "import numpy as np\n"
        "import onnxruntime\n"
        f"{_load(image)}"
        f'session = onnxruntime.InferenceSession({_quoted(name)}, providers=["CPUExecutionProvider"])\n'
        f"outputs = session.run([{_quoted(output.name)}], {{{_quoted(image.name)}: {_encode(image)}}})[0]\n"
        f"{_answer()}"
    )


def _load(image):
    """Lines that make `pixels`, uint8 (1, height, width, channels)."""
    shape = (1, image.height, image.width, image.channels)
    if image.channels not in MODES:
        return f'\npixels = np.load("image.npy").reshape{shape}  # uint8, 0 to 255\n'
    size = (image.width, image.height)
    return (
        "from PIL import Image\n\n"
        f'photo = Image.open("photo.png").convert("{MODES[image.channels]}")'
        f".resize({size}, Image.Resampling.BILINEAR)\n"
        f"pixels = np.asarray(photo).reshape{shape}\n"
    )


def _encode(image):
    pixels = "pixels.transpose(0, 3, 1, 2)" if image.layout == "NCHW" else "pixels"
    if image.dtype == "uint8":
        return pixels
    if image.dtype == "float32":
        return f"{pixels} / np.float32(255)"
    if ends.is_shifted(image.scale, image.zero_point):
        return f"({pixels}.astype(np.int16) - 128).astype(np.int8)"
    return f"np.clip(np.rint({pixels} / 255 / {image.scale!r}) + {image.zero_point}, -128, 127).astype(np.int8)"


def _quoted(text):
    return json.dumps(text, ensure_ascii=False)


def _answer():
    return 'print(open("labels.txt", encoding="utf-8").read().splitlines()[outputs.argmax()])\n'


WRITERS = {"tflite": litert, "onnx": onnxruntime}
