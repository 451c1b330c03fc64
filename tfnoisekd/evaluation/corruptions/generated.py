"""Corrupted images made on the fly, in several processes and never many at once."""

import cv2
import numpy as np
import PIL
import scipy
from PIL import features

from tfnoisekd.evaluation.corruptions.generation import as_levels, check_frost, corrupt_levels
from tfnoisekd.evaluation.corruptions.parallel import check_workers, cores, in_order

ENOUGH = 4000  # images for which starting a process is worth its time


class Generated:
    """A source, see `sources`, that corrupts clean images.

    Args:
        images: (n, height, width, channels), uint8 or float in [0, 1].
        positions: (n,) integers, where each is in its data set.
        seed: Integer in [0, 2**32).
        frost: Folder of the photographs of frost; None for drawn textures.
        workers: Number of processes; None for one a core, or none for few images.

    Raises:
        ValueError: If images or settings are not these.
    """

    def __init__(self, images, positions, seed, frost, workers):
        check_workers(workers)
        check_frost(frost)
        self._images, self._positions, self._workers = as_levels(images), positions, workers
        self._seed, self._frost = int(seed), None if frost is None else str(frost)
        self.settings = {"source": "generated", "seed": self._seed, "frost": self._frost or "drawn"}
        self.versions = {
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "opencv": cv2.__version__,
            "pillow": PIL.__version__,
            "libjpeg": features.version("libjpeg_turbo") or features.version("jpg"),
        }

    def chunks(self, sets, size):
        workers = self._workers or min(cores(), 1 + len(sets) * len(self._images) // ENOUGH)
        return in_order(corrupt_levels, self._tasks(sets, size), workers)

    def _tasks(self, sets, size):
        for name, severity in sets:
            for start in range(0, len(self._images), size):
                part = slice(start, start + size)
                yield self._images[part], name, severity, self._seed, self._positions[part], self._frost
