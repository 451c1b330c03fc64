"""The batches of a training whose teacher is read from the cache."""

import keras
import numpy as np

from tfnoisekd.features import Supervised


class CachedBatches(keras.utils.PyDataset):
    """`Batches` together with what the teacher says about each image; order, epochs and images are the same.

    Args:
        batches: `data.Batches` of the split that the cache is of.
        cache: `TeacherCache` of the same images and augmentation.

    Returns:
        By index or iteration, (images, `features.Supervised(labels, teacher_outputs)`): float32 (batch, height, width,
        channels) in [0, 1], int32 (batch,), and a mapping of name -> float32 (batch, ...).

    Raises:
        ValueError: If the cache is one of other images or of another augmentation.
    """

    def __init__(self, batches, cache):
        # Threads may share the cache's model, processes can't.
        super().__init__(workers=batches.workers, max_queue_size=batches.max_queue_size)
        expected = (cache.crop_padding, cache.flip)
        if (batches.crop_padding, bool(batches.flip)) != expected:
            raise ValueError(
                f"`batches` must have the cache's crop_padding={expected[0]} and flip={expected[1]}. "
                f"Received: crop_padding={batches.crop_padding} and flip={batches.flip}"
            )
        images = batches.split.images
        if images is not cache.images and not np.array_equal(images, cache.images):
            raise ValueError(
                "`batches` must be of the images that `cache` was made with. Received: other ones, of shape "
                f"{images.shape} and dtype {images.dtype}; make a cache for them."
            )
        self.batches = batches
        self.cache = cache

    @property
    def epoch(self):
        """The epoch that batches belong to; `set_epoch` changes it."""
        return self.batches.epoch

    def set_epoch(self, epoch):
        """From now on, batches are those of `epoch` (from 0)."""
        self.batches.set_epoch(epoch)

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        batch = self.batches.read(index)
        teacher_outputs = self.cache.outputs(batch.images, batch.positions, batch.variants)
        return batch.images, Supervised(batch.labels, teacher_outputs)
