"""Batches: the order and augmentation of every epoch, decided by a seed and the number of the epoch alone."""

from numbers import Integral
from typing import NamedTuple

import keras
import numpy as np


class Batches(keras.utils.PyDataset):
    """Batches of a split, shuffled and augmented anew in each epoch, yet reproducible from any epoch on.

    Order, crops and flips depend on (`seed`, epoch, position in the split) and nothing else: not on what was read
    before, nor on the batch size or a number of threads. A training that was killed goes on at epoch k with exactly
    the batches it would have had. Keras does not tell a data set the number of its epoch, so a callback must:

    >>> batches = Batches(data.train, 128, shuffle=True, crop_padding=4, flip=True)
    >>> follow = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.set_epoch(epoch))
    >>> model.fit(batches, shuffle=False, callbacks=[follow], epochs=200)

    Give `fit` neither `steps_per_epoch`, under which Keras reads ahead across epochs, nor `shuffle=True`, under which
    it reorders batches from a random state of its own.

    Args:
        split: The `Split` to read.
        batch_size: Examples a batch; the last may be smaller.
        shuffle: Whether each epoch has an order of its own; otherwise it is that of the split.
        crop_padding: Pixels of zero padding on each side before a random crop to the original size; 0 for none.
        flip: Whether to flip each image horizontally with probability 1/2.
        seed: Non-negative integer.
        epoch: The epoch to start with, from 0.
        drop_remainder: Whether to leave out a last batch that is smaller.

    Returns:
        By index or iteration, (images, labels): float32 (batch, height, width, channels) in [0, 1], int32 (batch,).

    Raises:
        ValueError: If an argument is not of this kind, or no batch is left.
    """

    def __init__(
        self,
        split,
        batch_size,
        *,
        shuffle=False,
        crop_padding=0,
        flip=False,
        seed=0,
        epoch=0,
        drop_remainder=False,
    ):
        super().__init__()
        _check_integer("batch_size", batch_size, 1)
        _check_integer("crop_padding", crop_padding, 0)
        _check_integer("seed", seed, 0)
        if len(split) < (batch_size if drop_remainder else 1):
            raise ValueError(
                f"`split` must fill at least one batch. Received: {len(split)} examples for batch_size={batch_size} "
                f"and drop_remainder={drop_remainder}"
            )
        self.split = split
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.crop_padding = crop_padding
        self.flip = flip
        self.seed = seed
        self.drop_remainder = drop_remainder
        self._labels = split.labels.astype(np.int32)
        self.set_epoch(epoch)

    @property
    def epoch(self):
        """The epoch that batches belong to; `set_epoch` changes it."""
        return self._plan.epoch

    def set_epoch(self, epoch):
        """From now on, batches are those of `epoch` (from 0)."""
        _check_integer("epoch", epoch, 0)
        # Replaced in one assignment: a thread that reads ahead sees the old plan or the new one, never a mixture.
        self._plan = self._make_plan(int(epoch))

    def __len__(self):
        whole, rest = divmod(len(self.split), self.batch_size)
        return whole if self.drop_remainder or not rest else whole + 1

    def __getitem__(self, index):
        batch = self.read(index)
        return batch.images, batch.labels

    def read(self, index):
        """The batch at `index` together with which example and which augmentation each of its images is.

        Returns:
            `Batch`. All of it belongs to one epoch, even if another thread calls `set_epoch` meanwhile.

        Raises:
            IndexError: If there is no such batch.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"`index` must be from 0 to {len(self) - 1}. Received: index={index}")
        plan = self._plan
        positions = plan.order[index * self.batch_size : (index + 1) * self.batch_size]
        variants = plan.variants[positions]
        images = augment(self.split.images[positions], variants, self.crop_padding, self.flip)
        return Batch(images, self._labels[positions], positions, variants)

    def _make_plan(self, epoch):
        """All random choices of an epoch. One stream for each kind, so that switching one off moves no other."""
        count, side = len(self.split), 2 * self.crop_padding + 1
        streams = [np.random.default_rng([self.seed, epoch, kind]) for kind in range(3)]
        order = streams[0].permutation(count) if self.shuffle else np.arange(count)
        variants = np.zeros(count, np.int64)
        if self.crop_padding:
            variants = streams[1].integers(0, side, (count, 2)) @ [side, 1]
        if self.flip:
            variants = 2 * variants + (streams[2].random(count) < 0.5)
        return _Plan(epoch, order, variants)


class Batch(NamedTuple):
    """A batch, and where it comes from; made by `Batches.read`.

    Args:
        images: float32 (B, height, width, channels) in [0, 1], augmented.
        labels: int32 (B,).
        positions: int64 (B,): the position in the split of each image's example, whatever the order of the epoch.
        variants: int64 (B,): which of the `count_variants` augmentations each image is; see `augment`.
    """

    images: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    variants: np.ndarray


class _Plan(NamedTuple):
    epoch: int
    order: np.ndarray  # (N,) positions in the split
    variants: np.ndarray  # (N,) augmentation in this epoch, for each position in the split


def count_variants(crop_padding, flip):
    """How many augmentations of one image there are: every crop, flipped and not."""
    return (2 * crop_padding + 1) ** 2 * (2 if flip else 1)


def augment(images, variants, crop_padding=0, flip=False):
    """Some augmentations of some images: each is a pure function of the image and of its variant's number.

    Args:
        images: (B, height, width, channels), uint8 in 0..255 or float32 in [0, 1].
        variants: (B,) integers in [0, count_variants(crop_padding, flip)): top * (2 * crop_padding + 1) + left of the
            crop in the padded image; with `flip` twice that, plus 1 for a flipped image.
        crop_padding: Pixels of zero padding on each side; 0 for no crop.
        flip: Whether images may be flipped.

    Returns:
        A new float32 array in [0, 1], of the shape of `images`.
    """
    crops, flips = np.divmod(variants, 2) if flip else (variants, None)
    if crop_padding:
        images = crop(images, np.stack(np.divmod(crops, 2 * crop_padding + 1), axis=1), crop_padding)
    else:
        images = images.copy()
    if flip:
        flips = flips.astype(bool)
        images[flips] = images[flips, :, ::-1]
    return np.divide(images, 255, dtype=np.float32) if images.dtype == np.uint8 else images


def crop(images, offsets, padding):
    """Crops images to their own size out of a border of zeros.

    Args:
        images: (B, height, width, channels).
        offsets: (B, 2) integers in [0, 2 * padding]: top and left corner within the padded image.
        padding: Pixels of border on each side.

    Returns:
        A new array of the shape and type of `images`.
    """
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    # A view (B, top, left, channels, height, width) of every possible crop, of which one for each image is copied.
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    windows = np.moveaxis(windows, 3, -1)
    return windows[np.arange(len(images)), offsets[:, 0], offsets[:, 1]]


def _check_integer(name, value, least):
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"`{name}` must be an integer of at least {least}. Received: {name}={value!r}")
