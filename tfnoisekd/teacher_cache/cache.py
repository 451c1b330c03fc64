"""A teacher's outputs, stored by example and augmentation, so that no order of reading can misalign them."""

import hashlib
import json
import math
import os
import threading
from pathlib import Path

import keras
import numpy as np

from tfnoisekd import provenance
from tfnoisekd.data.batches import augment, count_variants
from tfnoisekd.teacher_cache.chunks import CHUNK, PROBES, Chunks, named, to_numpy
from tfnoisekd.teacher_cache.rows import Rows

FORMAT = 2  # of the files, and of how images reach the teacher
DEFAULT_LIMIT = 8 * 10**9


class TeacherCache:
    """What a frozen teacher that does not vary says about every augmentation of every image of a split.

    An output is computed when it is first asked for, and read from disk by every later epoch and run, concurrent ones
    included, that has the same teacher, images and augmentation. A row belongs to an example's position in the split
    and the number of its augmentation (see `data.batches.augment`), never to a place in a batch, and has the same
    bits whatever else was asked with it (see `chunks`). The teacher is called with `training=False`.

    Args:
        root: Folder of caches; this one lives in a folder below, named by a digest of all that it depends on.
        model: Keras model, float32 (batch, height, width, channels) -> mapping of name -> tensor (batch, ...), or one
            tensor, which gets the name `features.OUTPUTS`. Its weights must not change any more.
        images: (N, height, width, channels), uint8 or float32: the split's, not augmented.
        crop_padding: Pixels of zero padding on each side before a crop, as in `Batches`.
        flip: Whether images may be flipped, as in `Batches`.
        identity: String that differs wherever the model might: see `identify`.
        limit: Bytes that all outputs together may take; the file is sparse and grows with what is known.

    Attributes:
        names: Names of the outputs.
        variants: Number of augmentations of each image.
        hits: Outputs read, in rows.
        misses: Outputs computed, in rows.

    Raises:
        ValueError: If the model's outputs have no fixed shapes or take more than `limit` bytes, or the folder is
            damaged.
    """

    def __init__(self, root, model, images, *, crop_padding=0, flip=False, identity, limit=DEFAULT_LIMIT):
        self.images = images
        self.crop_padding = crop_padding
        self.flip = bool(flip)
        self.variants = count_variants(crop_padding, flip)
        self.hits = self.misses = 0
        self._specs = _output_specs(model, images.shape[1:])
        self._sizes = [math.prod(shape) for shape, _ in self._specs.values()]
        self._check_limit(limit)
        meta = self._describe(identity)
        key = hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()[:16]
        count = len(images) * self.variants
        self._rows = Rows(Path(root) / key, meta, count, sum(self._sizes), salt=int(key[:8], 16))
        self._chunks = Chunks(model, self._choose_probes())
        self._lock = threading.Lock()

    @property
    def names(self):
        return tuple(self._specs)

    @property
    def folder(self):
        """Where the outputs are stored."""
        return self._rows.folder

    def read(self, positions, variants):
        """Outputs that are stored.

        Args:
            positions: (B,) integers: positions in the split.
            variants: (B,) integers: numbers of the augmentations.

        Returns:
            (outputs, present): mapping of name -> float32 (B, ...), and bool (B,): whether they are stored; where not,
            the outputs are 0.
        """
        values, present = self._rows.read(self._locate(positions, variants))
        return self._split(values), present

    def write(self, positions, variants, outputs):
        """Stores outputs: mapping of name -> (B, ...).

        Raises:
            ValueError: If an output is not finite.
        """
        rows = self._locate(positions, variants)
        self._store(rows, self._join(outputs, len(rows)))

    def outputs(self, images, positions, variants):
        """What the teacher says about a batch, from disk where it is known.

        Args:
            images: float32 (B, height, width, channels): `augment` of the images at `positions`.
            positions: (B,) integers: positions in the split.
            variants: (B,) integers: numbers of the augmentations.

        Returns:
            Mapping of name -> float32 (B, ...).

        Raises:
            ValueError: If the images are not those, or an output is not finite.
        """
        rows = self._locate(positions, variants)
        self._check_images(images, positions, variants)
        values, present = self._rows.read(rows)
        missing = np.flatnonzero(~present)
        with self._lock:
            if len(missing):
                values[missing] = self._join(self._chunks.ask(images[missing]), len(missing))
                self._store(rows[missing], values[missing])
            self.hits += len(rows) - len(missing)
            self.misses += len(missing)
        return self._split(values)

    def _store(self, rows, values):
        bad = ~np.isfinite(values)
        if bad.any():
            index, column = np.argwhere(bad)[0]
            name = self.names[np.searchsorted(np.cumsum(self._sizes), column, side="right")]
            position, variant = divmod(int(rows[index]), self.variants)
            raise ValueError(
                f"`model` must have finite outputs. Received: {values[index, column]} in '{name}' for image {position} "
                f"in augmentation {variant}. Its weights may be broken, or half precision too narrow for it."
            )
        self._rows.write(rows, values)

    def _locate(self, positions, variants):
        """Numbers of rows, int64 (B,)."""
        positions, variants = np.asarray(positions), np.asarray(variants)
        for name, array, count in (("positions", positions, len(self.images)), ("variants", variants, self.variants)):
            fits = array.shape == positions.shape[:1] and np.issubdtype(array.dtype, np.integer)
            if not fits or (array < 0).any() or (array >= count).any():
                raise ValueError(
                    f"`{name}` must be integers of shape (batch,) from 0 to {count - 1}. Received: {name}={array}"
                )
        return positions.astype(np.int64) * self.variants + variants

    def _check_images(self, images, positions, variants):
        """One image of each batch stands for all: whoever mixes up positions mixes up the first one too."""
        first = augment(self.images[positions[:1]], variants[:1], self.crop_padding, self.flip)
        if len(images) != len(positions) or not np.array_equal(images[:1], first):
            raise ValueError(
                "`images` must be those at `positions` of the cache's images, augmented as `variants` say and nothing "
                f"else. Received: {len(images)} images for {len(positions)} positions, the first of which is another "
                "image; take them from one `Batches.read`."
            )

    def _choose_probes(self):
        """A few images of all the split, as the teacher gets them."""
        positions = np.linspace(0, len(self.images) - 1, min(PROBES, len(self.images))).astype(int)
        return augment(self.images[positions], np.zeros_like(positions), self.crop_padding, self.flip)

    def _join(self, outputs, count):
        return np.concatenate([to_numpy(outputs[name]).reshape(count, -1) for name in self.names], axis=1)

    def _split(self, values):
        parts = np.split(values, np.cumsum(self._sizes)[:-1], axis=1)
        shapes = [shape for shape, _ in self._specs.values()]
        return {
            name: np.ascontiguousarray(part).reshape(-1, *shape)
            for name, part, shape in zip(self.names, parts, shapes, strict=True)
        }

    def _check_limit(self, limit):
        size = len(self.images) * self.variants * sum(self._sizes) * 4
        if size > limit:
            raise ValueError(
                f"`limit` must leave room for the teacher's outputs. Received: limit={limit:,} bytes for {size:,} "
                f"({len(self.images):,} images x {self.variants} augmentations x {sum(self._sizes):,} numbers). Read "
                "fewer or smaller features, switch off crops and flips, raise the limit, or train without the cache."
            )

    def _describe(self, identity):
        images = np.ascontiguousarray(self.images, self.images.dtype.newbyteorder("<"))
        return {
            "format": FORMAT,
            "chunk": CHUNK,
            "identity": identity,
            "images": hashlib.sha256(images).hexdigest(),
            "images_dtype": images.dtype.str,
            "images_shape": list(images.shape),
            "crop_padding": self.crop_padding,
            "flip": self.flip,
            "outputs": [[name, list(shape), dtype] for name, (shape, dtype) in self._specs.items()],
            # A GPU rounds otherwise than a CPU, by default as coarsely as TF32.
            "backend": keras.backend.backend(),
            "devices": sorted({name.partition(":")[0] for name in keras.distribution.list_devices()}),
            # And one CPU otherwise than another, or with other kernels.
            "processor": provenance.processor(),
            "kernels": {name: os.environ.get(name) for name in provenance.KERNELS},
        }


def _output_specs(model, image_shape):
    """Mapping of name -> (shape of one example, dtype) of a model's outputs, sorted by name; nothing is computed."""
    spec = named(model.compute_output_spec(keras.KerasTensor((CHUNK, *image_shape), "float32")))
    for name, output in spec.items():
        shape = tuple(getattr(output, "shape", ()))
        if shape[:1] != (CHUNK,) or None in shape:
            raise ValueError(
                "`model` must give a mapping of name -> tensor (batch, ...) of a fixed shape, or one such tensor. "
                f"Received: '{model.name}', whose output '{name}' is {output}"
            )
    return {name: (tuple(spec[name].shape[1:]), spec[name].dtype) for name in sorted(spec)}
