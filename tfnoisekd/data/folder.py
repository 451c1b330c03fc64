"""`folder:PATH`: JPEG and PNG files, one sub-folder for each class."""

import os
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from tfnoisekd.data.image_data import RawData, Split
from tfnoisekd.data.pixels import resize_one

SUFFIXES = {".jpg", ".jpeg", ".png"}
MAX_PIXELS = 2**26  # a small file can claim a huge image, which would fill the memory when decoded
GREY_MODES = {"1", "L", "LA", "I", "I;16", "I;16B"}
ORDER = os.path.join("order", "train.txt")
SHOWN = 5  # how many of many are named in a message


def read(path, *, image_size=None, skip_bad_images=False):
    """Reads every image, in the order of the sorted class and file names.

    Args:
        path: Folder with `train/CLASS/*.jpg` and optionally `test/CLASS/*.jpg`, or with `CLASS/*.jpg` directly. JPEG
            and PNG; hidden files and other kinds of files are passed over. All become RGB unless all are greyscale.
            Beside `train/`, a file `order/train.txt` may number the training images: a line such as
            `train/cat/0001.jpg` for each image of the original training set, in its order.
        image_size: Height and width that every image is resized to; None where all have one size already.
        skip_bad_images: Whether to go on, with a warning, without the files that can't be decoded.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it has another layout, a class without images, images of several sizes, or damaged ones, or an
            order that does not name them all.
    """
    root = Path(path).expanduser()
    class_names, parts = _layout(root)
    positions = _positions([file for file, _ in parts[0]], root)
    files = [file for part in parts for file in part]
    images, sizes = _decode([file for file, _ in files], root, image_size, skip_bad_images)
    _check_sizes(sizes, root)
    channels = 1 if all(image is None or image.shape[2] == 1 for image in images) else 3
    splits, start = [], 0
    for part in parts:
        chosen = images[start : start + len(part)]
        numbers = None if splits else positions
        splits.append(_split(chosen, [label for _, label in part], numbers, channels, root))
        start += len(part)
    return RawData(splits[0], splits[1] if len(splits) > 1 else None, class_names)


def _layout(root):
    """(class names, [training files, test files where there are any]), each file as (path, label)."""
    if root.is_file():
        hint = f"; did you mean 'npz:{root}'?" if root.suffix == ".npz" else ""
        raise ValueError(f"`folder:` needs a folder. Received: the file {root}{hint}")
    if not root.is_dir():
        raise FileNotFoundError(f"`folder:` needs an existing folder. Received: {root}")
    folders = {part: root / part for part in ("train", "test") if _subfolders(root / part)}
    if not folders:
        folders = {"train": root}
    if "train" not in folders:
        raise ValueError(
            f"`folder:` needs a sub-folder for each class in {root / 'train'}, or class sub-folders in {root} itself. "
            f"Received: {root} with test/ but nothing to train on"
        )
    class_names = _subfolders(folders["train"])
    if not class_names:
        raise ValueError(
            f"`folder:` needs a sub-folder for each class, with JPEG or PNG images in it. Received: {root}, which has "
            "no sub-folders"
        )
    return tuple(class_names), [_files(folder, class_names) for folder in folders.values()]


def _subfolders(folder):
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _files(folder, class_names):
    if unknown := sorted(set(_subfolders(folder)) - set(class_names)):
        raise ValueError(
            f"Every class in {folder} must be one of the training classes. "
            f"Received: {_few(unknown)}, not among {_few(class_names)}"
        )
    files = []
    for name in _subfolders(folder):
        found = sorted(
            entry.path
            for entry in os.scandir(folder / name)
            if not entry.name.startswith(".") and Path(entry.name).suffix.lower() in SUFFIXES and entry.is_file()
        )
        if not found:
            raise ValueError(
                f"Every class folder must hold JPEG or PNG images ({', '.join(sorted(SUFFIXES))}). "
                f"Received: {folder / name} without any; add images or remove the folder"
            )
        files += [(file, class_names.index(name)) for file in found]
    return files


def _positions(files, root):
    """The position of each training file in the original order, None where the folder does not tell."""
    order = root / ORDER
    if not (root / "train").is_dir() or not order.is_file():
        return None
    try:
        names = [line.strip() for line in order.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise ValueError(
            f"{order} must be a text file in UTF-8 with a file name a line. Received: other bytes"
        ) from None
    position = {name: i for i, name in enumerate(names)}
    if len(position) < len(names):
        twice = [name for name, count in Counter(names).items() if count > 1]
        raise ValueError(f"{order} must name each file once. Received: {_few(twice)} more than once")
    relative = [Path(os.path.relpath(file, root)).as_posix() for file in files]
    if missing := [name for name in relative if name not in position]:
        raise ValueError(
            f"{order} must name every training image, by a line such as {relative[0]}. Received: {len(names)} names, "
            f"without {_few(missing)}; add them, or remove the file to number the images in sorted order"
        )
    return np.array([position[name] for name in relative], np.int64)


def _decode(files, root, image_size, skip_bad_images):
    """The image of each file, None for one that was skipped, and how many there are of each original size."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results = list(pool.map(partial(_decode_one, image_size=image_size), files))
    bad = [(file, result) for file, result in zip(files, results, strict=True) if isinstance(result, str)]
    if bad:
        shown = _few([f"{os.path.relpath(file, root)} ({reason})" for file, reason in bad])
        found = f"{len(bad)} of {len(files)} images in {root} can't be read: {shown}"
        if not skip_bad_images or len(bad) == len(files):
            raise ValueError(
                f"{found}. Repair or remove them, or leave them out with skip_bad_images (--skip-bad-images)"
            )
        warnings.warn(f"{found}. They are left out.", UserWarning, stacklevel=4)
    images = [None if isinstance(result, str) else result for result in results]
    return images, Counter(image.shape[:2] for image in images if image is not None)


def _decode_one(file, image_size):
    """The image as uint8 (height, width, 1 or 3), or the reason why there is none."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file, formats=("JPEG", "PNG")) as image:
            # Known from the header; nothing is decoded yet.
            if image.width * image.height > MAX_PIXELS:
                return f"{image.width}x{image.height} pixels, more than the {MAX_PIXELS} that are decoded"
            ImageOps.exif_transpose(image, in_place=True)  # cameras note that they were held upright, not the pixels
            pixels = _pixels(image)
    # Whatever damage a decoder trips over is one bad image, not the end of the program; the reason is reported.
    except Exception as error:
        return str(error).replace(f" {file!r}", "").splitlines()[0] if str(error) else type(error).__name__
    return pixels if image_size is None else resize_one(pixels, image_size)


def _pixels(image):
    if image.mode.startswith("I"):
        # 16-bit greyscale: Pillow's own conversion to 8 bits would clip at 255 instead of scaling.
        return np.round(np.asarray(image, np.float64) / 257).clip(0, 255).astype(np.uint8)[..., np.newaxis]
    if image.mode in GREY_MODES:
        return np.asarray(image.convert("L"))[..., np.newaxis]
    if image.mode == "P":
        image = image.convert("RGBA")  # a palette with transparency has no direct way to RGB
    return np.asarray(image.convert("RGB"))


def _check_sizes(sizes, root):
    if len(sizes) > 1:
        listed = _few([f"{height}x{width} ({count} images)" for (height, width), count in sizes.most_common()])
        raise ValueError(
            f"All images must have one size. Received: {root} with {len(sizes)} sizes (height x width): {listed}; "
            "choose a size to resize them to with image_size (for example --image-size 32)"
        )


def _split(images, labels, positions, channels, root):
    kept = [i for i, image in enumerate(images) if image is not None]
    if not kept:
        raise ValueError(f"A part of {root} has no image that can be read")
    pixels = np.empty((len(kept), *images[kept[0]].shape[:2], channels), np.uint8)
    for target, i in zip(pixels, kept, strict=True):
        target[:] = images[i]  # greyscale among colour images is repeated over the three channels
    return Split(pixels, np.array(labels, np.int64)[kept], None if positions is None else positions[kept])


def _few(names):
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
