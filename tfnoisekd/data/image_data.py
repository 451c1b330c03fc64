"""What a loaded data set is: images and labels in parts, class names, and the augmentation that suits it."""

import hashlib
from dataclasses import dataclass

import numpy as np

from tfnoisekd.data.corruption import Corruption

MAX_POSITION = 10**8 - 1  # a wrong number must not make random draws for billions of positions


# eq=False: comparing arrays element by element has no single truth value; two splits are equal only if identical.
@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set: images and their labels.

    Args:
        images: (N, height, width, channels), uint8 in 0..255 or float32 in [0, 1].
        labels: (N,) int64, 0..num_classes-1.
        indices: (N,) int64, each example's position in the source's training set (CIFAR-10's original order, say),
            whatever is held out; None where that means nothing, as in a test part that the source came with.

    Raises:
        ValueError: If the shapes or types are not these.
    """

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray | None = None

    def __post_init__(self):
        images, labels, indices = self.images, self.labels, self.indices
        if images.ndim != 4 or images.dtype not in (np.uint8, np.float32):
            raise ValueError(
                "`images` must have shape (N, height, width, channels) and dtype uint8 or float32. "
                f"Received: images of shape {images.shape} and dtype {images.dtype}"
            )
        if labels.shape != images.shape[:1] or labels.dtype != np.int64:
            raise ValueError(
                f"`labels` must have shape ({len(images)},), one for each image, and dtype int64. "
                f"Received: labels of shape {labels.shape} and dtype {labels.dtype}"
            )
        if indices is not None and (indices.shape != labels.shape or indices.dtype != np.int64):
            raise ValueError(
                f"`indices` must have shape ({len(images)},), one for each image, and dtype int64. "
                f"Received: indices of shape {indices.shape} and dtype {indices.dtype}"
            )

    def __len__(self):
        return len(self.labels)

    def take(self, indices):
        """The split of the examples at `indices`, in that order."""
        positions = None if self.indices is None else self.indices[indices]
        return Split(self.images[indices], self.labels[indices], positions)

    @property
    def fingerprint(self):
        """SHA-256 (hex) over images and labels with their types and shapes; positions in the source do not count."""
        digest = hashlib.sha256()
        self.feed(digest)
        return digest.hexdigest()

    def feed(self, digest):
        """Updates a digest of `hashlib` with images and labels."""
        for array in (self.images, self.labels):
            # Little-endian, so that the same data has the same fingerprint on every machine.
            array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"{array.dtype.str}{array.shape};".encode())
            digest.update(array)


@dataclass(frozen=True, eq=False)
class ImageData:
    """A loaded data set. Made by `load`.

    Args:
        name: The name it was loaded by.
        train: What models are fitted to.
        validation: Cut from the training data, never from the test data; None where `validation_size` was 0.
        test: What only final figures are measured on.
        class_names: The name of each class, in the order of the labels.
        crop_padding: Recommended augmentation: pixels of zero padding on each side before a random crop; 0 for none.
        flip: Recommended augmentation: whether a horizontal flip keeps the meaning of an image.
        corruption: Which labels of `train` were replaced by wrong ones; None where `load` was not asked to.
    """

    name: str
    train: Split
    validation: Split | None
    test: Split
    class_names: tuple[str, ...]
    crop_padding: int
    flip: bool
    corruption: Corruption | None = None

    @property
    def num_classes(self):
        return len(self.class_names)

    @property
    def input_shape(self):
        """(height, width, channels) of every image."""
        return self.train.images.shape[1:]

    def augmentation(self, crop_padding=None, flip=None):
        """The augmentation as keyword arguments: what is given, and what is recommended where that is None."""
        return {
            "crop_padding": self.crop_padding if crop_padding is None else crop_padding,
            "flip": self.flip if flip is None else flip,
        }

    @property
    def fingerprint(self):
        """SHA-256 (hex) over class names, images and labels with their types and shapes: equal only for equal data.

        Wrong labels count as they are; positions in the source do not count.
        The images are hashed at every access (about a second per gigabyte): keep the value instead of asking again.
        """
        digest = hashlib.sha256(repr(self.class_names).encode())
        for part in ("train", "validation", "test"):
            split = getattr(self, part)
            digest.update(f"{part}:{split is not None};".encode())
            if split is not None:
                split.feed(digest)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class RawData:
    """What a source delivers before anything is held out.

    `test` is None where it has no test part of its own; `train.indices` is None where the order of the training
    examples is their only numbering.
    """

    train: Split
    test: Split | None
    class_names: tuple[str, ...]
