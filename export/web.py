"""A page that runs an ONNX file in any browser: drop an image, see the classes, their probabilities and the time."""

import hashlib
import json
from pathlib import Path

from tfnoisekd.export import files, web_page
from tfnoisekd.export.web_page import graph, runtime

LICENSE = "onnxruntime-web.LICENSE.txt"
NAMES = {"index.html", "model.onnx", "model.json", LICENSE}


def web(
    onnx_path,
    folder,
    *,
    class_names,
    input_shape=None,
    layout=None,
    value_range=None,
    title=None,
    accuracy=None,
    num_test_images=None,
    summary=None,
    overwrite=False,
):
    """Writes a page that runs an ONNX file in the browser, on images that a person drops, picks or photographs.

    index.html opens by a double click, from any web server or from a mail: the model and ONNX Runtime Web (taken
    through npm now) are inside, and the page's policy allows no connection, so that no image leaves the device.
    Beside it lie model.onnx and model.json, the same model and description for other programs.

    The page prepares an image as `folder:` data does: decoded without colour management, made grey by
    (19595 R + 38470 G + 7471 B) / 65536 where the model takes one channel, and the whole of it resized by Pillow's
    antialiased bilinear filter, bit for bit; an image of the model's size is taken as it is. Unlike there, a photo is
    turned upright by its orientation tag, and a person can ask for the middle of the image in the model's proportions.

    Args:
        onnx_path: An ONNX file that takes one batch of images, float32 or uint8, and gives one output of shape
            (batch, num_classes), logits or probabilities.
        folder: The folder to write.
        class_names: One name for each class, in the order of the output.
        input_shape: (height, width, channels) of the images, in pixels; 1 (grey) or 3 (RGB) channels. None for what
            the file says.
        layout: "NHWC" or "NCHW", how the file takes them; None for its metadata `layout`, or else NHWC.
        value_range: What black and white are at the file's input; None for (0, 1), or (0, 255) if it takes uint8.
        title: Heading of the page; the file's name if None.
        accuracy: Optional accuracy on the test images, from 0 to 1.
        num_test_images: Optional number of images that it was measured on.
        summary: Optional dict of further lines about the model, such as {"Method": "sr"}.
        overwrite: Whether an earlier page at `folder` may be replaced.

    Returns:
        Path of the page, index.html.

    Raises:
        ConnectionError: If npm can't get ONNX Runtime Web.
        FileExistsError: If `folder` exists and `overwrite` is False, or it holds anything else than an earlier page.
        FileNotFoundError: If there is no ONNX file, or no npm.
        ImportError: If onnxruntime is not installed.
        ValueError: If the file and the other arguments do not fit each other.

    Example:

    >>> web("student.onnx", "page", class_names=["cat", "dog"], accuracy=0.91, num_test_images=2000)
    """
    onnx_path, folder, class_names = Path(onnx_path), Path(folder), [str(name) for name in class_names]
    check_free(folder, overwrite)
    check_measured(accuracy, num_test_images)
    onnx = graph.read(onnx_path)
    image, output = graph.describe(onnx, len(class_names), input_shape, layout, value_range)
    description = {
        "title": onnx_path.stem if title is None else str(title),
        "class_names": class_names,
        "input": image,
        "output": output,
        "accuracy": None if accuracy is None else float(accuracy),
        "num_test_images": None if num_test_images is None else int(num_test_images),
        "summary": {str(key): str(value) for key, value in (summary or {}).items()},
        "onnx": {"bytes": len(onnx), "sha256": hashlib.sha256(onnx).hexdigest()},
        "runtime": {"name": runtime.PACKAGE, "version": runtime.VERSION},
    }
    page = web_page.render(description, onnx, runtime.fetch())
    write(folder, page, description, onnx)
    return folder / "index.html"


def write(folder, page, description, onnx):
    """Writes all files beside `folder`, and puts them in its place in one step."""
    contents = {
        "index.html": page.encode("utf-8"),  # as bytes: the policy's hashes hold for these ends of lines
        "model.json": (json.dumps(description, indent=2, ensure_ascii=False) + "\n").encode("utf-8"),
        "model.onnx": onnx,
        LICENSE: web_page.template(LICENSE).encode("utf-8"),
    }
    with files.partial_sibling(folder) as partial:
        partial.mkdir()
        for name, content in contents.items():
            (partial / name).write_bytes(content)
        files.replace(partial, folder)


def check_free(folder, overwrite):
    """Raises a FileExistsError unless `folder` is free, or an earlier page, nothing else, that may be overwritten."""
    if not (folder.exists() or folder.is_symlink()):
        return
    if not overwrite:
        raise FileExistsError(
            f"`folder` must not exist yet. Received: folder={str(folder)!r}; choose another, or pass overwrite=True "
            "(command line: --overwrite)."
        )
    page = folder / "index.html"
    ours = (
        not folder.is_symlink()
        and page.is_file()
        and {entry.name for entry in folder.iterdir()} <= NAMES
        and web_page.GENERATOR.encode() in page.read_bytes()
    )
    if not ours:
        raise FileExistsError(
            "`folder` can be overwritten only where it is an earlier page and holds nothing else. "
            f"Received: folder={str(folder)!r}; choose another."
        )


def check_measured(accuracy, num_test_images):
    """Raises a ValueError unless the accuracy is a share, and the number of images a number of images."""
    if accuracy is not None and not 0 <= accuracy <= 1:
        raise ValueError(f"`accuracy` must be between 0 and 1. Received: accuracy={accuracy!r}")
    if num_test_images is not None and num_test_images < 1:
        raise ValueError(f"`num_test_images` must be at least 1. Received: num_test_images={num_test_images!r}")
