"""Textures of frost: drawn by this file, or photographs from a folder.

CIFAR-10-C laid crops of five photographs over its images. They are shipped with its code, but no licence or origin of
the pictures themselves is stated there, so they are not part of this package. By default, five textures are drawn
instead: ice needles and grains over clouds, each with the mean colour, the standard deviations and about the shares of
coarse and fine structure of one of the photographs, at the size at which CIFAR-10-C used them. They are a likeness, not
the same pictures: an accuracy under drawn frost is near to the one under the photographs, but it is not it. With the
photographs in a folder, `frost=FOLDER` uses them.
"""

import functools
from pathlib import Path

import cv2
import numpy as np

PHOTOGRAPHS = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")  # a sixth was never drawn
PHOTOGRAPH_SCALE = 0.2  # at which CIFAR-10-C uses them
SIDE = 128  # of a drawn texture, pixels
NEEDLES = 3000
# Measured on the photographs at that scale: means and standard deviations of red, green and blue in 0..255, and the
# standard deviations of the parts of their brightness that 1, 2, 4, 8, 16 and 32 pixels are wide (differences between
# the means of blocks). The second and the third are one picture.
DRAWN = (
    ((78, 149, 166), (27, 16, 15), (9, 5, 5, 5, 7, 11)),
    ((201, 205, 215), (21, 22, 23), (13, 8, 7, 7, 11, 6)),
    ((201, 205, 215), (21, 22, 23), (13, 8, 7, 7, 11, 6)),
    ((138, 153, 166), (29, 29, 30), (19, 11, 6, 9, 9, 14)),
    ((112, 123, 135), (44, 43, 42), (25, 16, 14, 10, 12, 23)),
)


@functools.cache
def textures(folder=None):
    """The five textures, each (height, width, 3) float64 in [0, 1].

    Args:
        folder: None for the drawn ones; otherwise a folder that holds the files `PHOTOGRAPHS`.

    Raises:
        FileNotFoundError: If one of the files is missing.
        ValueError: If one of them is no image.
    """
    if folder is None:
        return tuple(_draw(number, *numbers) for number, numbers in enumerate(DRAWN))
    return tuple(_read(Path(folder).expanduser() / name) for name in PHOTOGRAPHS)


def _read(path):
    if not path.is_file():
        raise FileNotFoundError(
            f"`frost` must be a folder that holds {', '.join(PHOTOGRAPHS)}, as in the folder ImageNet-C/create_c of "
            f"github.com/hendrycks/robustness, or None for drawn textures. Received: no file {path}"
        )
    photograph = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if photograph is None:
        raise ValueError(f"`frost` must be a folder of images. Received: {path}, which can't be read as one")
    small = cv2.resize(photograph, (0, 0), fx=PHOTOGRAPH_SCALE, fy=PHOTOGRAPH_SCALE)
    return small[..., ::-1] / 255  # OpenCV reads blue first


def _draw(number, mean, stddev, parts):
    random = np.random.RandomState(number)
    layers = [_grains(random, 1), _needles(random), *(_grains(random, 2**octave) for octave in range(2, len(parts)))]
    field = _standard(sum(part * _standard(layer) for part, layer in zip(parts, layers, strict=True)))
    return np.clip(np.array(mean) + field[..., np.newaxis] * np.array(stddev), 0, 255) / 255


def _grains(random, width):
    """Smooth noise whose grains are `width` pixels wide."""
    coarse = random.normal(size=(SIDE // width + 1,) * 2)
    return cv2.resize(coarse, None, fx=width, fy=width, interpolation=cv2.INTER_CUBIC)[:SIDE, :SIDE]


def _needles(random):
    """Short strokes in all directions, half of them bright, half dark."""
    drawing = np.zeros((SIDE, SIDE), np.float32)
    starts, turns = random.uniform(0, SIDE, (NEEDLES, 2)), random.uniform(0, 2 * np.pi, NEEDLES)
    steps = random.uniform(2, 8, (NEEDLES, 1)) * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    for start, end in zip(starts.astype(int).tolist(), (starts + steps).astype(int).tolist(), strict=True):
        cv2.line(drawing, start, end, random.choice((-1.0, 1.0)))
    return drawing


def _standard(field):
    return (field - field.mean()) / field.std()
