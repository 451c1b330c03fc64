"""Classifies an image with an .onnx file: numpy and onnxruntime, and Pillow unless the image is an .npy file.

    pip install onnxruntime numpy pillow
    python classify_onnx.py student.onnx photo.png
    python classify_onnx.py student.onnx pixels.npy    # (height, width, channels), uint8 or float in [0, 1]

Labels are those inside the file, or else those of labels.txt beside it. Whether the file takes float32 or uint8, and
where its channels are, is read off the file.
"""

import argparse
from pathlib import Path

import numpy as np
import onnxruntime

# A file of another tool may have integers at its ends; its numbers are then taken as they are.
TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}


def load_image(path, height, width, channels):
    """An image as uint8 in 0..255 or float32 in [0, 1], (height, width, channels)."""
    if Path(path).suffix == ".npy":
        return np.load(path).reshape(height, width, channels)
    from PIL import Image

    photo = Image.open(path).convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
    return np.asarray(photo.resize((width, height), Image.Resampling.BILINEAR)).reshape(height, width, channels)


def metadata(session):
    """What the file says of itself: `class_names`, `layout` (NHWC or NCHW), `prepare` and more, as text."""
    return session.get_modelmeta().custom_metadata_map


def load_labels(session, path):
    """Names of the classes, from the file's metadata or from labels.txt beside it."""
    if "class_names" in metadata(session):
        return metadata(session)["class_names"].splitlines()
    return Path(path).with_name("labels.txt").read_text(encoding="utf-8").splitlines()


def image_shape(session):
    """(height, width, channels) of the images that the file takes, wherever it has its channels."""
    _, *shape = session.get_inputs()[0].shape
    return (*shape[1:], shape[0]) if metadata(session).get("layout") == "NCHW" else tuple(shape)


def encode(image, session):
    """One image, uint8 or float in [0, 1], as a batch of what the file takes."""
    unit = image / np.float32(255) if image.dtype == np.uint8 else image.astype(np.float32)
    dtype = TYPES[session.get_inputs()[0].type]
    if dtype == np.float32:
        batch = unit[None]
    else:  # int8 is taken to be byte - 128, as in the .tflite files
        shift = 128 if dtype == np.int8 else 0
        batch = (np.rint(unit * 255) - shift).astype(dtype)[None]
    return batch.transpose(0, 3, 1, 2) if metadata(session).get("layout") == "NCHW" else batch


def classify(session, image):
    """The probability of each class, float32 (num_classes,), of an image (height, width, channels)."""
    (output,) = session.get_outputs()
    (outputs,) = session.run([output.name], {session.get_inputs()[0].name: encode(image, session)})
    if output.name == "probabilities":
        return outputs[0]
    exponentials = np.exp(outputs[0] - outputs[0].max())
    return exponentials / exponentials.sum()


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Classify an image with an .onnx file.")
    parser.add_argument("model", help=".onnx file")
    parser.add_argument("image", help="image file, or .npy")
    parser.add_argument("--top", type=int, default=3, help="how many classes to print (default: 3)")
    options = parser.parse_args(arguments)
    session = onnxruntime.InferenceSession(options.model, providers=["CPUExecutionProvider"])
    probabilities = classify(session, load_image(options.image, *image_shape(session)))
    labels = load_labels(session, options.model)
    for index in probabilities.argsort()[::-1][: options.top]:
        print(f"{probabilities[index]:.3f}  {labels[index]}")


if __name__ == "__main__":
    main()
