"""`tfds:NAME`: prepared data sets are read offline; what isn't prepared fails fast, with the ways out."""

import json
import socket
import time

import numpy as np
import pytest

from tfnoisekd.data import load, tfds

tensorflow_datasets = pytest.importorskip("tensorflow_datasets")

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def some_images(count, shape, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def store(data_dir, name, version, features, parts):
    """Writes a data set with TFDS's own writer; `parts` holds lists of example dictionaries by split."""
    import tensorflow as tf

    signature = {key: tf.TensorSpec(feature.shape, feature.dtype) for key, feature in features.items()}
    datasets = {
        part: tf.data.Dataset.from_generator(lambda examples=examples: iter(examples), output_signature=signature)
        for part, examples in parts.items()
    }
    tensorflow_datasets.dataset_builders.store_as_tfds_dataset(
        name=name,
        version=version,
        features=features,
        split_datasets=datasets,
        data_dir=data_dir,
        disable_shuffling=True,
    )


def image_features(shape, names):
    return tensorflow_datasets.features.FeaturesDict(
        {
            "image": tensorflow_datasets.features.Image(shape=shape),
            "label": tensorflow_datasets.features.ClassLabel(names=names),
        }
    )


@pytest.fixture(scope="module")
def cifar10_dir(tmp_path_factory):
    """CIFAR-10 as published: the builder's name, version and features, but 40 and 20 random images."""
    data_dir = tmp_path_factory.mktemp("tfds")
    builder = tensorflow_datasets.builder("cifar10", data_dir=data_dir)
    features = tensorflow_datasets.features.FeaturesDict(
        {
            "id": tensorflow_datasets.features.Text(),
            "image": tensorflow_datasets.features.Image(shape=(32, 32, 3)),
            "label": tensorflow_datasets.features.ClassLabel(names=CLASSES),
        }
    )
    assert {key: type(value) for key, value in features.items()} == {
        key: type(value) for key, value in builder.info.features.items()
    }
    parts = {
        part: [
            {"id": f"{part}_{i:05d}", "image": image, "label": i % 10}
            for i, image in enumerate(some_images(count, (32, 32, 3), seed))
        ]
        for part, count, seed in (("train", 40, 0), ("test", 20, 1))
    }
    store(data_dir, "cifar10", str(builder.version), features, parts)
    return data_dir


@pytest.mark.parametrize("name", ["cifar10", "tfds:cifar10"])
def test_a_prepared_data_set_is_read_as_it_is(name, cifar10_dir):
    data = load(name, data_dir=cifar10_dir, validation_size=0)
    np.testing.assert_array_equal(data.train.images, some_images(40, (32, 32, 3), 0))
    np.testing.assert_array_equal(data.test.images, some_images(20, (32, 32, 3), 1))
    np.testing.assert_array_equal(data.train.labels, np.arange(40) % 10)
    np.testing.assert_array_equal(data.test.labels, np.arange(20) % 10)
    assert data.class_names == tuple(CLASSES)
    assert (data.name, data.validation, data.crop_padding, data.flip) == (name, None, 4, True)


def test_validation_is_cut_from_the_training_part(cifar10_dir):
    data = load("cifar10", data_dir=str(cifar10_dir), validation_size=10)
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 10, 20)
    np.testing.assert_array_equal(np.bincount(data.validation.labels), np.ones(10))
    np.testing.assert_array_equal(data.test.images, some_images(20, (32, 32, 3), 1))


def test_declared_supervised_keys_are_followed(cifar10_dir, tmp_path):
    import shutil

    shutil.copytree(cifar10_dir / "cifar10", tmp_path / "cifar10")
    info_file = next(tmp_path.rglob("dataset_info.json"))
    info = json.loads(info_file.read_text())
    info["supervisedKeys"] = {"tuple": {"items": [{"featureKey": "image"}, {"featureKey": "id"}]}}
    info_file.write_text(json.dumps(info))
    with pytest.raises(ValueError, match=r"one image and one class label for each example. Received: Image and Text"):
        load("cifar10", data_dir=tmp_path)


def test_svhn_is_street_view_house_numbers_without_crops_and_flips(tmp_path):
    features = image_features((32, 32, 3), [str(i) for i in range(10)])
    examples = [{"image": image, "label": i % 10} for i, image in enumerate(some_images(20, (32, 32, 3), 0))]
    store(tmp_path, "svhn_cropped", "3.1.0", features, {"train": examples, "test": examples, "extra": examples})
    data = load("svhn", data_dir=tmp_path, validation_size=0)
    assert (len(data.train), len(data.test), data.crop_padding, data.flip) == (20, 20, 0, False)


def test_several_sizes_need_an_image_size_and_a_missing_test_part_is_held_out(tmp_path):
    features = image_features((None, None, 1), ["dark", "light"])
    examples = [{"image": np.full((4 + i, 6, 1), 200 * (i % 2), np.uint8), "label": i % 2} for i in range(10)]
    store(tmp_path, "my_photos", "1.0.0", features, {"train": examples})
    with pytest.raises(ValueError, match=r"`tfds:my_photos` has images of several sizes.*--image-size 32"):
        load("tfds:my_photos", data_dir=tmp_path)
    data = load("tfds:my_photos", data_dir=tmp_path, image_size=8, validation_size=0, test_size=4)
    assert (data.input_shape, len(data.train), len(data.test)) == ((8, 8, 1), 6, 4)
    for split in (data.train, data.test):
        np.testing.assert_array_equal(
            split.images, np.broadcast_to(200 * split.labels[:, None, None, None], split.images.shape)
        )


def test_ids_number_the_examples_whatever_their_order_on_disk(tmp_path):
    features = tensorflow_datasets.features.FeaturesDict(
        {"id": tensorflow_datasets.features.Text(), **image_features((4, 4, 1), ["even", "odd"])}
    )
    order = np.random.default_rng(0).permutation(20)
    examples = [{"id": f"train_{i:05d}", "image": np.full((4, 4, 1), i, np.uint8), "label": i % 2} for i in order]
    tests = [{**example, "id": example["id"].replace("train", "test")} for example in examples]
    store(tmp_path, "my_cifar", "1.0.0", features, {"train": examples, "test": tests})
    np.savez(tmp_path / "human.npz", clean_label=np.arange(20) % 2, worse_label=np.arange(20) // 10)
    data = load(
        "tfds:my_cifar", data_dir=tmp_path, corruption_kind="cifar10n:worse", corruption_file=tmp_path / "human.npz"
    )
    np.testing.assert_array_equal(data.train.indices, data.train.images[:, 0, 0, 0])
    np.testing.assert_array_equal(data.train.labels, data.train.indices // 10)
    np.testing.assert_array_equal(data.test.labels, data.test.images[:, 0, 0, 0] % 2)
    assert data.test.indices is None


@pytest.mark.parametrize(
    "ids", [[], [b"train_00001", b"train_1"], [b"train_0", b"1"], [b"a/train_0"], [b"train_123456789"], [b"train_-1"]]
)
def test_other_ids_leave_the_order_on_disk(ids):
    assert tfds._positions(ids) is None


def test_other_kinds_of_data_sets_are_refused(tmp_path):
    features = tensorflow_datasets.features.FeaturesDict(
        {"text": tensorflow_datasets.features.Text(), "label": tensorflow_datasets.features.ClassLabel(num_classes=2)}
    )
    store(tmp_path, "my_reviews", "1.0.0", features, {"train": [{"text": "fine", "label": 1}]})
    with pytest.raises(ValueError, match="must have one image and one class label"):
        load("tfds:my_reviews", data_dir=tmp_path)
    features = image_features((4, 4, 1), ["a", "b"])
    store(tmp_path, "my_tests", "1.0.0", features, {"test": [{"image": np.zeros((4, 4, 1), np.uint8), "label": 1}]})
    with pytest.raises(ValueError, match=r"must have a `train` split. Received: test"):
        load("tfds:my_tests", data_dir=tmp_path)
    example = {"image": np.zeros((4, 4, 1), np.uint8), "label": -1}
    store(tmp_path, "my_contest", "1.0.0", features, {"train": [example]})
    with pytest.raises(ValueError, match="`train` split of `tfds:my_contest` has 1 examples without a label"):
        load("tfds:my_contest", data_dir=tmp_path)


def test_a_damaged_data_set_says_so(cifar10_dir, tmp_path):
    import shutil

    shutil.copytree(cifar10_dir / "cifar10", tmp_path / "cifar10")
    records = next(tmp_path.rglob("cifar10-train*"))
    records.write_bytes(records.read_bytes()[:-100])
    with pytest.raises(OSError, match=r"damaged or incomplete .DataLossError.*prepare it again"):
        load("cifar10", data_dir=tmp_path)


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(ValueError, match=r"Received: tfds:cifar12; did you mean tfds:cifar10"):
        load("tfds:cifar12")


def test_without_a_network_it_fails_at_once_with_three_ways_out(tmp_path, monkeypatch):
    # A proxy at which nobody listens: the network of this test, whatever the machine has.
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, nobody)
    start = time.monotonic()
    with pytest.raises(ConnectionError) as raised:
        load("cifar10", data_dir=tmp_path)
    assert time.monotonic() - start < 10
    message = str(raised.value)
    assert "\n" not in message
    assert f"not prepared in {tmp_path}" in message
    assert "(1) pass `data_dir` (--data-dir)" in message
    assert "download https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz" in message
    assert f"put it in {tmp_path}/downloads/manual and run `tfds build cifar10 --data_dir {tmp_path}`" in message
    assert "(3) use your own copy with folder:PATH or npz:PATH" in message


def test_a_site_that_never_answers_is_given_up_on(monkeypatch):
    monkeypatch.setattr(tfds, "NETWORK_SECONDS", 0.2)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        start = time.monotonic()
        reason = tfds._unreachable(f"http://127.0.0.1:{mute.getsockname()[1]}/data.tar.gz")
    assert time.monotonic() - start < 3
    assert "data.tar.gz" in reason


class TinyNoisyShapes(tensorflow_datasets.core.GeneratorBasedBuilder):
    """A data set whose one download is `shapes.txt`: pixel values, a line each."""

    VERSION = tensorflow_datasets.core.Version("1.0.0")
    URL = "https://unreachable.invalid/shapes.txt"
    CONTENT = b"10\n20\n30\n40\n"
    url_infos = {  # noqa: RUF012 (TFDS declares it so)
        URL: tensorflow_datasets.download.checksums.UrlInfo(
            size=len(CONTENT),
            checksum="67e8ba86ec778722e889099990eb376a27888194234cc0690f8bf810cda1ddf7",
            filename="shapes.txt",
        )
    }

    def _info(self):
        features = image_features((4, 4, 1), ["even", "odd"])
        return tensorflow_datasets.core.DatasetInfo(builder=self, features=features, supervised_keys=("image", "label"))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(dl_manager.download(self.URL))}

    def _generate_examples(self, path):
        for i, line in enumerate(path.read_text().split()):
            yield i, {"image": np.full((4, 4, 1), int(line), np.uint8), "label": i % 2}


def test_a_file_downloaded_by_hand_is_prepared_without_the_network(tmp_path):
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    (manual / "shapes.txt").write_bytes(TinyNoisyShapes.CONTENT)
    data = load("tfds:tiny_noisy_shapes", data_dir=tmp_path, validation_size=0, test_size=2)
    pixels = {
        int(image[0, 0, 0]): int(label)
        for s in (data.train, data.test)
        for image, label in zip(s.images, s.labels, strict=True)
    }
    assert pixels == {10: 0, 20: 1, 30: 0, 40: 1}
    (manual / "shapes.txt").unlink()
    assert (
        load("tfds:tiny_noisy_shapes", data_dir=tmp_path, validation_size=0, test_size=2).fingerprint
        == data.fingerprint
    )


def test_a_preparation_that_fails_says_why_and_what_to_do(tmp_path):
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    (manual / "shapes.txt").write_bytes(b"something else")
    with pytest.raises(OSError, match=r"NonMatchingChecksumError.*Ways out"):
        load("tfds:tiny_noisy_shapes", data_dir=tmp_path)
