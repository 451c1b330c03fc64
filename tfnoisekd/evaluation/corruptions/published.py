"""The published images of CIFAR-10-C, whichever archive holds them, in the order of the clean examples."""

import numpy as np

from tfnoisekd.evaluation.corruptions.alignment import align


class Published:
    """A source, see `sources`, that reads an archive.

    Args:
        archive: One of `archives`.
        split: The clean `data.Split` that the published images were made from, in any order.
        positions: (n,) integers, the examples of the split that are evaluated.

    Raises:
        ValueError: If the archive was not made from the images of this split.
    """

    def __init__(self, archive, split, positions):
        if archive.image_shape != split.images.shape[1:]:
            raise ValueError(
                f"`split` must have images of the shape of {archive.name}, {archive.image_shape}. "
                f"Received: {split.images.shape[1:]}"
            )
        self._archive, self._order = archive, align(split, archive)[positions]
        self.versions = {}  # nobody noted which libraries made the images
        self.settings = {"source": archive.name, "seed": None, "frost": None}

    def chunks(self, sets, size):
        for name, severity in sets:
            images = self._archive.images(name, severity)
            for start in range(0, len(self._order), size):
                yield np.asarray(images[self._order[start : start + size]])
