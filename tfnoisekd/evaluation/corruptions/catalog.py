"""Which corruptions there are, with CIFAR-10-C's constants of their five severities.

The constants are those of `make_cifar_c.py` in github.com/hendrycks/robustness (Hendrycks and Dietterich, 2019), which
differ from ImageNet-C's in the same repository: a 32x32 image takes less.
"""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral

import numpy as np

from tfnoisekd.evaluation.corruptions import blur, digital, light, noise, spatter, weather
from tfnoisekd.names import nearest

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Corruption:
    """One way to corrupt an image.

    Args:
        name: Its name, and that of its file in CIFAR-10-C.
        function: (image, random, *constants) -> image; see `noise`.
        constants: Five tuples, one for each severity.
        coloured: Whether it needs three channels. An image of one channel is then corrupted as a grey image of three,
            and turned back into one by `luma`.
    """

    name: str
    function: Callable
    constants: tuple
    coloured: bool = False


def _zooms(*ends):
    # NumPy's `arange` with a step that no float is: the first two lists include their ends, the others do not.
    return tuple((tuple(np.arange(1, end, 0.01).tolist()),) for end in ends)


_TABLE = (
    Corruption("gaussian_noise", noise.gaussian_noise, ((0.04,), (0.06,), (0.08,), (0.09,), (0.10,))),
    Corruption("shot_noise", noise.shot_noise, ((500,), (250,), (100,), (75,), (50,))),
    Corruption("impulse_noise", noise.impulse_noise, ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,))),
    Corruption("defocus_blur", blur.defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    Corruption("glass_blur", blur.glass_blur, ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))),
    Corruption("motion_blur", blur.motion_blur, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),
    Corruption("zoom_blur", blur.zoom_blur, _zooms(1.06, 1.11, 1.16, 1.21, 1.26)),
    Corruption(
        "snow",
        weather.snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
    ),
    Corruption("frost", weather.frost, ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)), coloured=True),
    Corruption("fog", weather.fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
    Corruption("brightness", light.brightness, ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,))),
    Corruption("contrast", light.contrast, ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,))),
    Corruption(
        "elastic_transform",
        digital.elastic_transform,
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    ),
    Corruption("pixelate", digital.pixelate, ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,))),
    Corruption("jpeg_compression", digital.jpeg_compression, ((80,), (65,), (58,), (50,), (40,))),
    Corruption("speckle_noise", noise.speckle_noise, ((0.06,), (0.1,), (0.12,), (0.16,), (0.2,))),
    Corruption("gaussian_blur", blur.gaussian_blur, ((0.4,), (0.6,), (0.7,), (0.8,), (1,))),
    Corruption(
        "spatter",
        spatter.spatter,
        (
            (0.62, 0.1, 0.7, 0.7, 0.5, False),
            (0.65, 0.1, 0.8, 0.7, 0.5, False),
            (0.65, 0.3, 1, 0.69, 0.5, False),
            (0.65, 0.1, 0.7, 0.69, 0.6, True),
            (0.65, 0.1, 0.5, 0.68, 0.6, True),
        ),
        coloured=True,
    ),
    Corruption("saturate", light.saturate, ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)), coloured=True),
)
CORRUPTIONS = {corruption.name: corruption for corruption in _TABLE}
NAMES = tuple(CORRUPTIONS)  # all 19
BENCHMARK = NAMES[:15]  # without the four that were meant for validation; RobustBench's corruptions are these


def check_names(names):
    """The names as a tuple; all 19 for None.

    Raises:
        ValueError: If there are none, one is unknown, or one is there twice.
    """
    if names is None:
        return NAMES
    names = (names,) if isinstance(names, str) else tuple(names)
    for name in names:
        if name not in CORRUPTIONS:
            raise ValueError(
                f"`corruptions` must be among {', '.join(NAMES)}. Received: {name!r}.{nearest(str(name), NAMES)}"
            )
    if not names or len(set(names)) < len(names):
        raise ValueError(f"`corruptions` must hold at least one name, and each once. Received: {list(names)}")
    return names


def check_severities(severities):
    """The severities as a tuple of integers.

    Raises:
        ValueError: If there are none, one is no whole number from 1 to 5, or one is there twice.
    """
    severities = (severities,) if isinstance(severities, Integral) else tuple(severities)
    for severity in severities:
        if isinstance(severity, bool) or not isinstance(severity, Integral) or severity not in SEVERITIES:
            raise ValueError(f"`severities` must be whole numbers from 1 to 5. Received: {severity!r}")
    if not severities or len(set(severities)) < len(severities):
        raise ValueError(f"`severities` must hold at least one severity, and each once. Received: {list(severities)}")
    return tuple(int(severity) for severity in severities)
