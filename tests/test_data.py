"""`load`: names, splits and what every data set promises. The sources have test files of their own."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tfnoisekd.data import ImageData, Split, load, sources
from tfnoisekd.data.pixels import resize


def first_scans(count):
    return load_digits().images[:count]


def slow_doubled(scan):
    """An 8x8 scan at twice the size: each new pixel by its distance to the four scanned ones around it."""
    result = np.zeros((16, 16))
    for y in range(16):
        for x in range(16):
            source_y, source_x = (y + 0.5) / 2 - 0.5, (x + 0.5) / 2 - 0.5
            for j in (int(np.floor(source_y)), int(np.floor(source_y)) + 1):
                for i in (int(np.floor(source_x)), int(np.floor(source_x)) + 1):
                    weight = (1 - abs(source_y - j)) * (1 - abs(source_x - i))
                    result[y, x] += weight * scan[min(max(j, 0), 7), min(max(i, 0), 7)]
    return np.round(result * 255 / 16).astype(np.uint8)


def rows(*splits):
    """The images as a sorted list, to compare sets of examples."""
    return sorted(
        image.tobytes() + bytes([label]) for s in splits for image, label in zip(s.images, s.labels, strict=True)
    )


def test_digits_are_the_doubled_scans_of_scikit_learn():
    data = load("digits")
    assert (len(data.train), len(data.validation), len(data.test)) == (1293, 144, 360)
    assert (data.input_shape, data.num_classes, data.class_names) == ((16, 16, 1), 10, tuple("0123456789"))
    assert (data.name, data.crop_padding, data.flip) == ("digits", 1, False)
    assert (data.train.images.dtype, data.train.labels.dtype) == (np.uint8, np.int64)
    by_image = {
        image.tobytes(): label
        for s in (data.train, data.validation, data.test)
        for image, label in zip(s.images, s.labels, strict=True)
    }
    for scan, label in zip(first_scans(20), load_digits().target, strict=False):
        assert by_image[slow_doubled(scan).tobytes()] == label


def test_the_test_part_of_digits_is_fixed():
    first, second = load("digits", split_seed=0), load("digits", split_seed=1, test_size=0.5)
    np.testing.assert_array_equal(first.test.images, second.test.images)
    assert rows(first.validation) != rows(second.validation)
    assert rows(first.train, first.validation) == rows(second.train, second.validation)


def test_parts_are_disjoint_complete_and_stratified():
    data = load("digits", validation_size=300)
    everything = load("digits", validation_size=0)
    assert everything.validation is None
    assert rows(data.train, data.validation) == rows(everything.train)
    shares = [np.bincount(s.labels) / len(s) for s in (data.train, data.validation, data.test)]
    np.testing.assert_allclose(shares[0], shares[1], atol=1 / 300)
    np.testing.assert_allclose(shares[0], shares[2], atol=1 / 300)


def make_npz(path, labels):
    """One file whose image i is filled with the number i."""
    labels = np.asarray(labels)
    images = np.broadcast_to(np.arange(len(labels))[:, None, None, None], (len(labels), 4, 4, 1))
    np.savez(path, images=images, labels=labels)
    return f"npz:{path}"


def held(split):
    return split.images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(("test_size", "validation_size"), [(0.2, 0.1), (7, 3), (0.5, 0), (np.int64(11), 0.25)])
def test_sizes_are_exact(test_size, validation_size, tmp_path):
    data = load(make_npz(tmp_path / "a.npz", np.arange(60) % 3), test_size=test_size, validation_size=validation_size)
    test = test_size if test_size >= 1 else test_size * 60
    validation = validation_size if validation_size >= 1 else round(validation_size * (60 - test))
    assert len(data.test) == test
    assert (len(data.validation) if data.validation else 0) == validation
    parts = [s for s in (data.train, data.validation, data.test) if s]
    assert sorted(number for s in parts for number in held(s)) == list(range(60))
    for split in parts:
        assert held(split) == sorted(held(split))  # the order of the source
        np.testing.assert_array_equal(split.labels, np.array(held(split)) % 3)


def test_an_uneven_size_is_spread_by_largest_remainder(tmp_path):
    # Of 50, 30 and 20 examples, 13 of 100 are 6.5, 3.9 and 2.6: rounded down 6, 3 and 2; two places are left.
    name = make_npz(tmp_path / "a.npz", np.repeat([0, 1, 2], [50, 30, 20]))
    data = load(name, test_size=13, validation_size=0)
    np.testing.assert_array_equal(np.bincount(data.test.labels), [6, 4, 3])


def test_a_class_keeps_its_last_training_example(tmp_path):
    name = make_npz(tmp_path / "a.npz", [0] * 20 + [1, 2, 2])
    data = load(name, test_size=20, validation_size=0)
    np.testing.assert_array_equal(np.bincount(data.train.labels), [1, 1, 1])
    with pytest.raises(ValueError, match=r"`test_size` must leave at least one training.*at most 20 of these 23.*=21"):
        load(name, test_size=21)
    with pytest.raises(ValueError, match=r"`validation_size` must leave.*at most 2 of these 5.*validation_size=4"):
        load(name, test_size=18, validation_size=4)


def test_splits_depend_on_split_seed_alone(tmp_path):
    name = make_npz(tmp_path / "a.npz", np.arange(60) % 3)
    np.random.seed(1)
    first = load(name, split_seed=5)
    np.random.seed(2)
    second = load(name, split_seed=5)
    assert first.fingerprint == second.fingerprint
    other = load(name, split_seed=6)
    assert held(other.test) != held(first.test)
    assert held(other.validation) != held(first.validation)


def test_splits_are_the_same_on_every_machine(tmp_path):
    """Pinned: whoever repeats an experiment must hold out the same examples."""
    data = load(make_npz(tmp_path / "a.npz", np.arange(30) % 3), test_size=6, validation_size=3)
    assert held(data.test) == PINNED_TEST
    assert held(data.validation) == PINNED_VALIDATION


PINNED_TEST = [12, 14, 22, 25, 26, 27]
PINNED_VALIDATION = [6, 7, 20]


def test_fingerprint_tells_data_apart(tmp_path):
    labels = np.arange(30) % 3
    data = load(make_npz(tmp_path / "a.npz", labels))
    assert len(data.fingerprint) == 64
    assert data.fingerprint == load(make_npz(tmp_path / "b.npz", labels)).fingerprint  # the name does not matter
    seen = {data.fingerprint}
    for part in ("train", "validation", "test"):
        split = getattr(data, part)
        for images, others in ((split.images ^ 1, split.labels), (split.images, (split.labels + 1) % 3)):
            seen.add(dataclasses.replace(data, **{part: Split(images, others)}).fingerprint)
    seen.add(dataclasses.replace(data, class_names=("a", "b", "c")).fingerprint)
    seen.add(dataclasses.replace(data, validation=None).fingerprint)
    wide = Split(data.train.images.reshape(-1, 2, 8, 1), data.train.labels)
    seen.add(dataclasses.replace(data, train=wide).fingerprint)
    assert len(seen) == 10


def test_image_size_resizes_any_source(tmp_path):
    data = load("digits", image_size=32, validation_size=0)
    assert (data.input_shape, data.crop_padding) == ((32, 32, 1), 2)
    small = load("digits", image_size=8, validation_size=0)
    original = load("digits", validation_size=0)
    # Halving with an antialiased triangle: weights 1, 3, 3, 1 (eighths) along each axis, inside the border.
    weights = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
    expected = np.sum(original.train.images[5, 3:7, 5:9, 0] * weights)
    assert abs(int(small.train.images[5, 2, 3, 0]) - expected) <= 1


def test_resized_floats_stay_in_range():
    images = np.random.default_rng(0).random((3, 6, 5, 2)).astype(np.float32)
    resized = resize(images, 4)
    assert (resized.shape, resized.dtype) == ((3, 4, 4, 2), np.float32)
    np.testing.assert_allclose(resize(np.ones((1, 3, 3, 1), np.float32), 7), 1, rtol=1e-6)
    assert images.min() <= resized.min() and resized.max() <= images.max()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cifar", "did you mean 'cifar10' or 'tfds:cifar'"),
        ("Digits", r"did you mean 'digits'\?$"),
        ("digits:8", "did you mean 'digits'"),
        ("cifar100", "did you mean 'cifar10' or 'tfds:cifar100'"),
        ("mnist", "did you mean 'tfds:mnist'"),
        ("tfds", "did you mean 'tfds:NAME'"),
        ("npz:", "did you mean 'npz:PATH'"),
        ("fodler:photos", "did you mean 'folder:photos'"),
        ("photos/all.npz", "did you mean 'npz:photos/all.npz'"),
        ("", "''$"),
        (None, "None$"),
    ],
)
def test_an_unknown_name_lists_what_there_is_and_the_nearest(name, hint):
    message = f"must be one of digits, cifar10, svhn, tfds:NAME, folder:PATH, npz:PATH. Received: .*{hint}"
    with pytest.raises(ValueError, match=message):
        load(name)


def test_the_path_of_a_folder_is_recognised(tmp_path):
    with pytest.raises(ValueError, match=f"did you mean 'folder:{tmp_path}'"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    "options",
    [
        {"validation_size": 1.0},
        {"validation_size": -1},
        {"validation_size": True},
        {"validation_size": "0.1"},
        {"validation_size": float("nan")},
        {"test_size": 0},
        {"test_size": 1.5},
        {"split_seed": -1},
        {"split_seed": 0.5},
        {"split_seed": 2**32},
        {"image_size": 0},
        {"image_size": 32.0},
    ],
)
def test_wrong_options(options):
    ((argument, value),) = options.items()
    with pytest.raises(ValueError, match=f"`{argument}` must be .* Received: {argument}={value}|{argument}='{value}'"):
        load("digits", **options)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 4, 4), np.uint8), np.zeros(2, np.int64), r"`images` must have shape .* shape \(2, 4, 4\)"),
        (np.zeros((2, 4, 4, 1)), np.zeros(2, np.int64), "`images` must .* dtype float64"),
        (np.zeros((2, 4, 4, 1), np.uint8), np.zeros(3, np.int64), r"`labels` must have shape \(2,\)"),
        (np.zeros((2, 4, 4, 1), np.uint8), np.zeros(2, np.int32), "`labels` must .* dtype int32"),
    ],
)
def test_a_split_checks_its_arrays(images, labels, message):
    with pytest.raises(ValueError, match=message):
        Split(images, labels)


def test_sources_are_rows_to_print():
    table = {source.pattern: source for source in sources()}
    assert list(table) == ["digits", "cifar10", "svhn", "tfds:NAME", "folder:PATH", "npz:PATH"]
    assert [source.download for source in table.values()] == [False, True, True, True, False, False]
    assert all(source.description and source.example for source in table.values())


def test_image_data_is_frozen():
    data = load("digits")
    assert isinstance(data, ImageData)
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "other"


def test_reading_data_imports_neither_keras_nor_tensorflow():
    code = "import sys, tfnoisekd.data as d; d.load('digits'); assert not {'keras', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
