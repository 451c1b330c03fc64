"""`tfds:NAME`: any image classification set of TensorFlow Datasets, read offline wherever it is prepared already."""

import contextlib
import difflib
import importlib
import os
import re
import threading

import numpy as np

from tfnoisekd.data.image_data import RawData, Split
from tfnoisekd.data.pixels import resize, resize_one

NETWORK_SECONDS = 5  # how long a download site may take to answer; TFDS itself would retry for minutes
READ_BATCH = 1024
TEST_SPLITS = ("test", "validation", "train")  # from the most to the least meant for testing
OWN = {"cinic10": "tfnoisekd.data.cinic10"}  # data sets whose builder is ours; importing the module registers it


def read(name, *, data_dir=None, image_size=None):
    """Reads the train part, and the test part where there is one, of a data set with one label for each image.

    What is prepared under `data_dir` is read as it is, without the network and without the code that made it. What
    isn't is downloaded and prepared there, once. Ids such as `train_16399`, which CIFAR-10 and CIFAR-100 have, number
    the training examples.

    Args:
        name: TFDS name, with a configuration or version where needed: `cifar10`, `cifar10_corrupted/fog_3`.
        data_dir: Folder of prepared data sets, `NAME/VERSION/` inside; None for TFDS's own default.
        image_size: Height and width that every image is resized to; None where all have one size already.

    Raises:
        ValueError: If the name is unknown, or the data set is not of single labels and 8-bit images.
        ConnectionError: If it isn't prepared, and can't be downloaded because the network is not there.
        OSError: If downloading, preparing or reading it fails.
        ImportError: If TensorFlow or TensorFlow Datasets is missing.
    """
    tf, tfds, builder, keys = _open(name, data_dir, image_size)
    if "train" not in builder.info.splits:
        raise ValueError(
            f"`tfds:{name}` must have a `train` split. Received: {', '.join(builder.info.splits) or 'none'}"
        )
    train, test = (
        _split(tf, tfds, builder, part, keys, image_size) if part in builder.info.splits else None
        for part in ("train", "test")
    )
    return RawData(train, test, tuple(builder.info.features[keys[1]].names))


def read_for_testing(name, *, data_dir=None, image_size=None):
    """Reads only the split that tests: the first there is of `test`, `validation` and `train`.

    Args and errors are those of `read`, but that no `train` split is needed.

    Returns:
        (split, class names, what the split is called).
    """
    tf, tfds, builder, keys = _open(name, data_dir, image_size)
    parts = [part for part in TEST_SPLITS if part in builder.info.splits]
    if not parts:
        raise ValueError(
            f"`tfds:{name}` must have one of the splits {', '.join(TEST_SPLITS)}. "
            f"Received: {', '.join(builder.info.splits) or 'none'}"
        )
    return _split(tf, tfds, builder, parts[0], keys, image_size), tuple(builder.info.features[keys[1]].names), parts[0]


def _open(name, data_dir, image_size):
    tf, tfds = _import(name)
    builder = _builder(tfds, name, data_dir)
    image_key, label_key = _keys(tfds, name, builder.info, image_size)
    id_key = "id" if isinstance(dict(builder.info.features.items()).get("id"), tfds.features.Text) else None
    return tf, tfds, builder, (image_key, label_key, id_key)


def _import(name):
    try:
        import keras
        import tensorflow as tf
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            f"`tfds:{name}` needs TensorFlow and TensorFlow Datasets, whichever backend trains ({error}); "
            "pip install tensorflow tensorflow-datasets, or use folder:PATH or npz:PATH"
        ) from error
    if keras.config.backend() != "tensorflow":
        # TensorFlow only decodes here; it would reserve the GPU memory that the other backend trains in. Where it is in
        # use already, it has what it wanted and refuses.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
    return tf, tfds


def _builder(tfds, name, data_dir):
    from tensorflow_datasets.core.read_only_builder import builder_from_files

    data_dir = os.path.expanduser(data_dir or tfds.core.constants.DATA_DIR)
    with contextlib.suppress(tfds.core.DatasetNotFoundError):
        return builder_from_files(name, data_dir=data_dir)
    base = re.split("[:/]", name)[0]
    if base in OWN:
        importlib.import_module(OWN[base])
    known = tfds.list_builders(with_community_datasets=False)
    if base not in known:
        nearest = difflib.get_close_matches(base.lower(), {*known, *OWN}, n=3)
        hint = (
            f"did you mean {' or '.join(f'tfds:{other}' for other in nearest)}?"
            if nearest
            else "see tfds.list_builders()"
        )
        raise ValueError(
            f"`tfds:` needs a name that TensorFlow Datasets knows, or that is prepared in {data_dir}. "
            f"Received: tfds:{name}; {hint}"
        )
    return _prepare(tfds, name, base, data_dir)


def _prepare(tfds, name, base, data_dir):
    if base in OWN:
        files = importlib.import_module(OWN[base]).FILES
    else:
        files = {url: (info.filename,) for url, info in (tfds.builder_cls(base).url_infos or {}).items()}
    manual = os.path.join(data_dir, "downloads", "manual")
    missing = [
        url for url, names in files.items() if not any(os.path.exists(os.path.join(manual, name)) for name in names)
    ]
    if (missing or not files) and (reason := _unreachable(next(iter(missing), "https://www.tensorflow.org/datasets"))):
        raise ConnectionError(_not_prepared(name, data_dir, missing, f"no network: {reason}"))
    try:
        builder = tfds.builder(name, data_dir=data_dir)
        config = tfds.download.DownloadConfig(manual_dir=manual, try_download_gcs=False)
        builder.download_and_prepare(download_config=config)
    # Each of several hundred builders fails in its own way; all of them leave the user the same ways out.
    except Exception as error:
        raise OSError(_not_prepared(name, data_dir, missing, _first_line(error))) from error
    return builder


def _not_prepared(name, data_dir, missing, reason):
    urls = " and ".join(missing) or "its files (see its page in the TFDS catalogue)"
    manual = os.path.join(data_dir, "downloads", "manual")
    # TFDS's own command line does not know our builders.
    own = re.split("[:/]", name)[0] in OWN
    build = "this again" if own else f"`tfds build {name} --data_dir {data_dir}`"
    return (
        f"`tfds:{name}` is not prepared in {data_dir}, and downloading it failed ({reason}). Ways out: (1) pass "
        f"`data_dir` (--data-dir), a folder that holds it prepared, as NAME/VERSION/; (2) on a machine with a network "
        f"download {urls}, put {'it' if len(missing) == 1 else 'them'} in {manual} and run {build}; "
        "(3) use your own copy with folder:PATH or npz:PATH"
    )


def _unreachable(url):
    """Why `url` can't be reached, through the proxies of the environment; None where it can."""
    import requests  # comes with TFDS, and is what it downloads with

    outcome = [f"{url} gave no answer within {NETWORK_SECONDS} seconds"]

    def ask():
        try:
            with requests.head(url, timeout=NETWORK_SECONDS, allow_redirects=True) as response:
                # 405 and 501: the site is there, and only declines to be asked this way.
                fine = response.ok or response.status_code in (405, 501)
                outcome[0] = None if fine else f"{url} answers {response.status_code} {response.reason}"
        except requests.RequestException as error:
            outcome[0] = f"{url} can't be reached, {type(error).__name__}"

    # In a thread, because no timeout of requests covers the look-up of the host name.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(NETWORK_SECONDS)
    return outcome[0]


def _keys(tfds, name, info, image_size):
    """The names of the image and of the label among the features."""
    features = dict(info.features.items()) if isinstance(info.features, tfds.features.FeaturesDict) else {}
    keys = info.supervised_keys
    if keys is None:
        # Data sets written without builder code declare no supervised keys; one image and one label leave no doubt.
        images = [key for key, feature in features.items() if type(feature) is tfds.features.Image]
        labels = [key for key, feature in features.items() if type(feature) is tfds.features.ClassLabel]
        keys = (images[0], labels[0]) if len(images) == len(labels) == 1 else None
    kinds = [type(features.get(key)).__name__ if isinstance(key, str) else "a structure" for key in keys or ()]
    if kinds != ["Image", "ClassLabel"]:
        raise ValueError(
            f"`tfds:{name}` must have one image and one class label for each example. "
            f"Received: {' and '.join(kinds) or 'no supervised image and label'}; convert it to npz:PATH or folder:PATH"
        )
    image = features[keys[0]]
    if np.dtype(image.np_dtype) != np.uint8 or image.shape[-1] is None:
        raise ValueError(
            f"`tfds:{name}` must have 8-bit images with a fixed number of channels. Received: shape {image.shape} and "
            f"dtype {np.dtype(image.np_dtype)}; convert it to npz:PATH or folder:PATH"
        )
    if None in image.shape and image_size is None:
        raise ValueError(
            f"`tfds:{name}` has images of several sizes. Received: image_size=None; choose a size to resize them to "
            "with image_size (for example --image-size 32)"
        )
    return keys


def _split(tf, tfds, builder, part, keys, image_size):
    try:
        return _read_split(tfds, builder, part, keys, image_size)
    except tf.errors.OpError as error:
        raise OSError(
            f"The prepared data set in {builder.data_dir} is damaged or incomplete ({_first_line(error)}); "
            "remove that folder and prepare it again"
        ) from error


def _read_split(tfds, builder, part, keys, image_size):
    image_key, label_key, id_key = keys
    dataset = builder.as_dataset(
        split=part,
        shuffle_files=False,
        # Only what is used is decoded, in the order on disk, and not a second time into a cache.
        decoders=tfds.decode.PartialDecoding({key: True for key in keys if key}),
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )
    fixed = None not in builder.info.features[image_key].shape
    images, labels, ids = [], [], []
    for example in tfds.as_numpy(dataset.batch(READ_BATCH) if fixed else dataset):
        image = example[image_key]
        images.append(resize(image, image_size) if fixed else resize_one(image, image_size)[np.newaxis])
        labels.append(np.atleast_1d(example[label_key]))
        ids += np.atleast_1d(example[id_key]).tolist() if id_key else []
    labels = np.concatenate(labels).astype(np.int64)
    if labels.min() < 0:
        raise ValueError(
            f"The `{part}` split of `tfds:{builder.name}` has {(labels < 0).sum()} examples without a label"
        )
    return Split(np.concatenate(images), labels, _positions(ids) if part == "train" else None)


def _positions(ids):
    """Positions in the original order, which TFDS shuffles, from ids such as b"train_16399"; None for other ids."""
    matches = [re.fullmatch(rb"train_(\d{1,8})", each) for each in ids]
    positions = np.array([int(match[1]) if match else -1 for match in matches], np.int64)
    return positions if len(ids) and positions.min() >= 0 and len(np.unique(positions)) == len(ids) else None


def _first_line(error):
    return f"{type(error).__name__}: {str(error).splitlines()[0]}" if str(error) else type(error).__name__
