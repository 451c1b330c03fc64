"""CINIC-10: our TFDS builder, on a small archive in the published layout."""

import hashlib
import io
import json
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from tfnoisekd.data import catalog, load, tfds

tensorflow_datasets = pytest.importorskip("tensorflow_datasets")

from tfnoisekd.data import cinic10  # noqa: E402 (needs TFDS)

PARTS = ("train", "valid", "test")
IMAGENET, CIFAR = 5, 2  # how many a class and part are from each


def pixels(part, label, i):
    """An image whose first pixel tells part, class and number."""
    image = np.random.default_rng([part, label, i]).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    image[0, 0] = part, label, i
    return image


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def files():
    """The files of an archive like CINIC-10's by name: 2 CIFAR-10 and 5 ImageNet images a class and part."""
    contents = {}
    for part, folder in enumerate(PARTS):
        for label, name in enumerate(cinic10.CLASSES):
            for i in range(IMAGENET + CIFAR):
                file = (
                    f"n{label:08d}_{100 * part + i}" if i < IMAGENET else f"cifar10-{'train' if part else 'test'}-{i}"
                )
                contents[f"{folder}/{name}/{file}.png"] = png(pixels(part, label, i))
    return contents


def write_archive(path, files, prefix=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"README.md": b"CINIC-10", "train/cat/._n1_1.png": b"of a Mac", **files}.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def tiny(monkeypatch):
    """The builder expects the counts of the small archive, and samples 3 a class."""
    monkeypatch.setattr(cinic10, "IMAGES_PER_CLASS", IMAGENET + CIFAR)
    sample = next(config for config in cinic10.Cinic10.BUILDER_CONFIGS if config.name == "imagenet_sample")
    monkeypatch.setattr(sample, "images_per_class", 3)
    return monkeypatch


@pytest.fixture
def manual(tmp_path):
    return tmp_path / "downloads" / "manual"


def test_the_published_selections():
    configs = {config.name: config for config in cinic10.Cinic10.BUILDER_CONFIGS}
    assert list(configs) == ["imagenet", "imagenet_sample", "all"]
    assert [configs[name].images_per_class for name in configs] == [None, 2100, None]
    assert [configs[name].cifar10 for name in configs] == [False, False, True]
    assert (configs["imagenet_sample"].seed, cinic10.IMAGES_PER_CLASS) == (0, 9000)
    assert pickle.loads(pickle.dumps(configs["imagenet_sample"])).images_per_class == 2100


def test_the_archive_is_read_with_its_parts_classes_and_pixels(tiny, manual, tmp_path, files):
    tiny.setattr(cinic10, "ARCHIVE_MD5", write_archive(manual / "CINIC-10.tar.gz", files, prefix="./"))
    data = load("tfds:cinic10/imagenet", data_dir=tmp_path, validation_size=0)
    assert (len(data.train), len(data.test), data.class_names) == (50, 50, cinic10.CLASSES)
    assert (data.crop_padding, data.flip) == (4, True)
    for part, split in ((0, data.train), (2, data.test)):
        assert {tuple(image[0, 0]) for image in split.images} == {
            (part, label, i) for label in range(10) for i in range(IMAGENET)
        }
        for image, label in zip(split.images, split.labels, strict=True):
            np.testing.assert_array_equal(image, pixels(part, label, image[0, 0, 2]))
    everything = load("tfds:cinic10/all", data_dir=tmp_path, validation_size=0)
    assert (len(everything.train), len(everything.test)) == (70, 70)
    # Prepared, it needs neither the archive nor the builder; its validation part is there too.
    (manual / "CINIC-10.tar.gz").unlink()
    builder = tensorflow_datasets.builder_from_directory(tmp_path / "cinic10" / "imagenet" / "1.0.0")
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == {
        "train": 50,
        "validation": 50,
        "test": 50,
    }
    assert load("tfds:cinic10/imagenet", data_dir=tmp_path, validation_size=0).fingerprint == data.fingerprint


def test_the_sample_is_decided_by_its_seed_not_by_the_order_of_the_files(tiny, tmp_path, files):
    sampled = {}
    for name, order in (("forward", list(files)), ("backward", list(files)[::-1])):
        archive = tmp_path / name / "downloads" / "manual" / "CINIC-10.tar.gz"
        tiny.setattr(cinic10, "ARCHIVE_MD5", write_archive(archive, {file: files[file] for file in order}))
        sampled[name] = load("tfds:cinic10/imagenet_sample", data_dir=tmp_path / name, validation_size=0)
    data = sampled["forward"]
    assert sampled["backward"].fingerprint == data.fingerprint
    np.testing.assert_array_equal(np.bincount(data.test.labels), np.full(10, 3))
    assert len({tuple(image[0, 0]) for image in data.test.images}) == 30
    assert data.test.images[:, 0, 0, 2].max() < IMAGENET  # none from CIFAR-10
    split, class_names, part = catalog.load_for_testing("tfds:cinic10/imagenet_sample", data_dir=tmp_path / "forward")
    np.testing.assert_array_equal(split.images, data.test.images)
    assert (class_names, part) == (cinic10.CLASSES, "test")


def test_the_chosen_ones_by_hand(files):
    names = [name for name in files if name.startswith("test/cat/")]
    ranked = sorted(
        (name for name in names if "cifar" not in name), key=lambda name: hashlib.sha256(f"7:{name}".encode()).digest()
    )
    config = cinic10.Cinic10Config(name="two", images_per_class=2, seed=7)
    assert config.choose(names) == config.choose(names[::-1]) == set(ranked[:2])
    others = {
        frozenset(cinic10.Cinic10Config(name="n", images_per_class=2, seed=seed).choose(names)) for seed in range(20)
    }
    assert len(others) > 5
    assert cinic10.Cinic10Config(name="n", cifar10=True).choose(names) == set(names)
    with pytest.raises(ValueError, match=r"Received: images_per_class=6 with test/cat \(5\)"):
        cinic10.Cinic10Config(name="n", images_per_class=6).choose(names)


def test_an_unpacked_archive_does_too_and_grey_files_become_rgb(tiny, manual, tmp_path, files):
    grey = "test/bird/n00000002_200.png"
    for name, content in {**files, grey: png(pixels(2, 2, 0)[..., 0])}.items():
        path = manual / "CINIC-10" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    data = load("tfds:cinic10/imagenet", data_dir=tmp_path, validation_size=0)
    expected = np.repeat(pixels(2, 2, 0)[..., :1], 3, axis=2)
    assert (len(data.test), sum(bool((image == expected).all()) for image in data.test.images)) == (50, 1)


def test_the_download_manager_is_asked_for_what_is_not_there(tiny, tmp_path, files):
    archive = tmp_path / "elsewhere" / "CINIC-10.tar.gz"
    tiny.setattr(cinic10, "ARCHIVE_MD5", write_archive(archive, files))
    asked = []
    tiny.setattr(tfds, "_unreachable", asked.append)
    manager = tensorflow_datasets.download.DownloadManager
    tiny.setattr(manager, "download", lambda self, url: asked.append(url) or archive)
    assert len(load("tfds:cinic10", data_dir=tmp_path, validation_size=0).test) == 50
    assert asked == [cinic10.URL, cinic10.URL]
    info = json.loads((tmp_path / "cinic10" / "imagenet" / "1.0.0" / "dataset_info.json").read_text())
    assert "1810.03505" in info["citation"]


def test_another_or_an_incomplete_archive_is_refused(tiny, manual, tmp_path, files):
    lacking = {name: content for name, content in files.items() if name != "valid/frog/n00000006_104.png"}
    md5 = write_archive(manual / "CINIC-10.tar.gz", lacking)
    with pytest.raises(OSError, match=f"must be the published archive, of MD5 6ee4d0c.*Received: MD5 {md5}.*Ways out"):
        load("tfds:cinic10/imagenet", data_dir=tmp_path)
    tiny.setattr(cinic10, "ARCHIVE_MD5", md5)
    with pytest.raises(OSError, match="must hold 7 images in each class.*Received: valid/frog with 6; unpack"):
        load("tfds:cinic10/imagenet", data_dir=tmp_path)


def test_without_a_network_it_says_where_to_put_the_archive(monkeypatch, manual, tmp_path):
    monkeypatch.setattr(tfds, "_unreachable", lambda url: f"{url} can't be reached")
    with pytest.raises(ConnectionError) as raised:
        load("tfds:cinic10/imagenet_sample", data_dir=tmp_path)
    assert f"download {cinic10.URL}, put it in {manual} and run this again; (3)" in str(raised.value)


def test_a_misspelt_name_is_told_of_it():
    with pytest.raises(ValueError, match="did you mean tfds:cinic10"):
        load("tfds:cinic_10")
