"""Classifies an image with a .tflite file: numpy and ai-edge-litert, and Pillow unless the image is an .npy file.

    pip install ai-edge-litert numpy pillow
    python classify_litert.py student.tflite photo.png
    python classify_litert.py student.tflite pixels.npy    # (height, width, channels), uint8 or float in [0, 1]

Labels are those inside the file, or else those of labels.txt beside it. Whether the file takes float32, uint8 or int8,
and what it gives, is read off the file.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter


def load_image(path, height, width, channels):
    """An image as uint8 in 0..255 or float32 in [0, 1], (height, width, channels)."""
    if Path(path).suffix == ".npy":
        return np.load(path).reshape(height, width, channels)
    from PIL import Image

    photo = Image.open(path).convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
    return np.asarray(photo.resize((width, height), Image.Resampling.BILINEAR)).reshape(height, width, channels)


def load_labels(path):
    """Names of the classes, from the file's metadata or from labels.txt beside it."""
    model = schema.Model.GetRootAsModel(Path(path).read_bytes(), 0)
    for entry in map(model.Metadata, range(model.MetadataLength())):
        if entry.Name() == b"tfnoisekd.json":
            return json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())["class_names"]
    return Path(path).with_name("labels.txt").read_text(encoding="utf-8").splitlines()


def encode(image, detail):
    """One image, uint8 or float in [0, 1], as a batch of what an input takes."""
    unit = image / np.float32(255) if image.dtype == np.uint8 else image.astype(np.float32)
    if detail["dtype"] == np.float32:
        return unit[None]
    if detail["dtype"] == np.uint8:
        return np.rint(unit * 255).astype(np.uint8)[None]
    scale, zero_point = detail["quantization"]
    return np.clip(np.rint(unit / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)[None]


def classify(interpreter, image):
    """The probability of each class, float32 (num_classes,), of an image (height, width, channels)."""
    (image_detail,), (output_detail,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(image_detail["index"], encode(image, image_detail))
    interpreter.invoke()
    outputs = interpreter.get_tensor(output_detail["index"])[0].astype(np.float32)
    scale, zero_point = output_detail["quantization"]
    if scale:  # integers: what they stand for
        outputs = (outputs - zero_point) * np.float32(scale)
    (signature,) = interpreter.get_signature_list().values()
    if signature["outputs"] == ["probabilities"]:
        return outputs
    exponentials = np.exp(outputs - outputs.max())
    return exponentials / exponentials.sum()


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Classify an image with a .tflite file.")
    parser.add_argument("model", help=".tflite file")
    parser.add_argument("image", help="image file, or .npy")
    parser.add_argument("--top", type=int, default=3, help="how many classes to print (default: 3)")
    options = parser.parse_args(arguments)
    interpreter = Interpreter(options.model)
    interpreter.allocate_tensors()
    _, *shape = interpreter.get_input_details()[0]["shape"].tolist()
    probabilities = classify(interpreter, load_image(options.image, *shape))
    labels = load_labels(options.model)
    for index in probabilities.argsort()[::-1][: options.top]:
        print(f"{probabilities[index]:.3f}  {labels[index]}")


if __name__ == "__main__":
    main()
