"""Data sets by name, and the batches that training reads: the only place that fixes the value range of images.

`load("digits")` needs no download; `sources()` lists what else there is. One concept a file: `image_data` (what a
loaded data set is), `digits`, `npz`, `folder` and `tfds` (where data comes from), `splits` (held-out parts),
`corruption` and `human_labels` (wrong labels), `pixels` (value range and resizing), `arrays` (safe reading of files),
`catalog` (names), `batches` (order and augmentation of every epoch).
"""

from tfnoisekd.data.catalog import Source, load, sources
from tfnoisekd.data.image_data import ImageData, Split

__all__ = ["Batches", "ImageData", "Source", "Split", "load", "sources"]


def __getattr__(name):
    # Batches extends a Keras class; everything else here reads data without importing Keras and its backend.
    if name == "Batches":
        from tfnoisekd.data.batches import Batches

        return Batches
    raise AttributeError(f"module 'tfnoisekd.data' has no attribute {name!r}")
