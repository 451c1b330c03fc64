"""Where corrupted images come from: made on the fly, the published files, or TensorFlow Datasets.

A source has

- `chunks(sets, size)`, which yields the images of each (corruption, severity) of `sets`, set after set, in parts of
  `size` and a shorter last one: uint8 (part, height, width, channels), in the order of the evaluated examples;
- `settings`, a dict that tells its images from others', ready for JSON;
- `versions`, a dict of the libraries that made the images.
"""

from tfnoisekd.evaluation.corruptions.archives import Files, Prepared
from tfnoisekd.evaluation.corruptions.generated import Generated
from tfnoisekd.evaluation.corruptions.published import Published


def open_source(source, split, positions, sets, *, seed, frost, workers, data_dir):
    """The source that the argument `source` of `evaluate` names.

    Args:
        source: None, "folder:PATH" or "tfds".
        split: The clean `data.Split`.
        positions: (n,) integers, the examples of the split that are evaluated.
        sets: The pairs (corruption, severity) that will be asked for.
        seed: Of the draws.
        frost: Folder of photographs, or None for drawn textures.
        workers: Number of processes that make images, or None.
        data_dir: Folder of prepared data sets, or None for TFDS's own.

    Raises:
        ValueError: If `source` is none of these, or `frost` or `data_dir` is given to a source that has no use for it.
    """
    kind, path = _parsed(source)
    for argument, value, owner in (("frost", frost, "generated"), ("data_dir", data_dir, "tfds")):
        if value is not None and kind != owner:
            wanted = {"generated": "None", "tfds": "'tfds'"}[owner]
            raise ValueError(f"`{argument}` has a use for source={wanted} only. Received: {value!r} for {source!r}")
    if kind == "generated":
        return Generated(split.images[positions], positions, seed, frost, workers)
    archive = Files(path, sets) if kind == "folder" else Prepared(data_dir, sets)
    return Published(archive, split, positions)


def _parsed(source):
    if source is None:
        return "generated", None
    if source == "tfds":
        return "tfds", None
    if isinstance(source, str) and source.startswith("folder:") and len(source) > len("folder:"):
        return "folder", source.removeprefix("folder:")
    raise ValueError(
        "`source` must be None (images made on the fly), 'folder:PATH' (the .npy files of CIFAR-10-C) or 'tfds' "
        f"(cifar10_corrupted of TensorFlow Datasets). Received: {source!r}"
    )
