"""`npz:PATH`: what it reads, and that everything it does not take is refused with the reason and the way out."""

import numpy as np
import pytest

from tfnoisekd.data import load

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 4, 5, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


def save(path, **arrays):
    np.savez(path, **({"images": PIXELS, "labels": LABELS} | arrays))
    return f"npz:{path}"


def joined(data):
    """Training and test examples together, in the order of their first pixels, for comparison."""
    images = np.concatenate([data.train.images, data.test.images])
    labels = np.concatenate([data.train.labels, data.test.labels])
    order = np.lexsort(images.reshape(len(images), -1).T)
    return images[order], labels[order]


def in_order(images, labels):
    order = np.lexsort(images.reshape(len(images), -1).T)
    return images[order], labels[order]


def test_a_file_with_a_test_part(tmp_path):
    name = save(
        tmp_path / "a.npz",
        images_test=PIXELS[:4],
        labels_test=LABELS[:4],
        class_names=["ant", "bee", "cow"],
        other=np.zeros(3),
    )
    data = load(name, validation_size=0)
    np.testing.assert_array_equal(data.train.images, PIXELS)
    np.testing.assert_array_equal(data.train.labels, LABELS)
    np.testing.assert_array_equal(data.test.images, PIXELS[:4])
    np.testing.assert_array_equal(data.test.labels, LABELS[:4])
    assert (data.name, data.class_names, data.num_classes) == (name, ("ant", "bee", "cow"), 3)
    assert (data.train.images.dtype, data.train.labels.dtype) == (np.uint8, np.int64)


def test_without_a_test_part_one_is_held_out(tmp_path):
    data = load(save(tmp_path / "a.npz"), validation_size=0, test_size=3)
    assert (len(data.train), len(data.test), data.class_names) == (9, 3, ("0", "1", "2"))
    for got, wanted in zip(joined(data), in_order(PIXELS, LABELS), strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(
    "arrays",
    [
        {"labels": LABELS[:, np.newaxis]},
        {"labels": LABELS.astype(np.float32)},
        {"labels": LABELS.astype(np.uint8)},
        {"images": PIXELS.astype(np.int64)},
    ],
)
def test_other_ways_to_store_the_same(arrays, tmp_path):
    same = load(save(tmp_path / "a.npz", **arrays))
    assert same.fingerprint == load(save(tmp_path / "b.npz")).fingerprint


def test_greyscale_without_a_channel_axis_gets_one(tmp_path):
    data = load(save(tmp_path / "a.npz", images=PIXELS[..., 0]), validation_size=0, test_size=3)
    assert data.input_shape == (4, 5, 1)
    np.testing.assert_array_equal(joined(data)[0], in_order(PIXELS[..., :1], LABELS)[0])


def test_floats_stay_floats(tmp_path):
    images = PIXELS / 255.0
    data = load(save(tmp_path / "a.npz", images=images), validation_size=0, test_size=3)
    assert data.train.images.dtype == np.float32
    np.testing.assert_array_equal(joined(data)[0], in_order(images.astype(np.float32), LABELS)[0])


NAN = np.where(np.arange(12 * 60).reshape(PIXELS.shape) == 7, np.nan, 0.5)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": PIXELS[:11]}, "one label for each image. Received: 11 images and 12 labels"),
        ({"images": PIXELS[:0], "labels": LABELS[:0]}, r"hold at least one image. Received: shape \(0, 4, 5, 3\)"),
        ({"images": PIXELS[0, 0]}, r"must have shape \(N, height, width\).*Received: shape \(5, 3\)"),
        ({"images": np.zeros((12, 3, 8, 8))}, r"channels last.*np.moveaxis\(images, 1, -1\)"),
        ({"images": NAN}, "must be finite. Received: 1 NaN"),
        ({"images": NAN - np.inf}, "must be finite"),
        ({"images": PIXELS.astype(float)}, "look like 0..255 stored as floats: divide by 255"),
        ({"images": PIXELS / 127.5 - 1}, r"must lie in \[0, 1\]. Received: values from -1.0 to 1.0; scale them"),
        ({"images": PIXELS.astype(int) + 1}, "must lie in 0..255. Received: values from 1 to 256"),
        ({"images": PIXELS > 9}, "Received: dtype bool"),
        (
            {"labels": LABELS - 1},
            "must be 0 or more. Received: 4 outside, the first of them -1 at p",
        ),
        ({"labels": LABELS + 0.5}, "must be whole numbers. Received: dtype float64 with fractions"),
        ({"labels": np.array(list("abc" * 4))}, "whole numbers from 0. Received: dtype <U1; number the classes"),
        ({"labels": np.eye(3)[LABELS]}, r"Received: shape \(12, 3\); labels=labels.argmax\(axis=1\)"),
        ({"labels": LABELS * 2}, r"none in 2 of 5 classes: 1 \(1\), 3 \(3\); number the classes without gaps"),
        ({"labels": LABELS * 0}, "at least two classes. Received: .* with 1"),
        ({"class_names": ["a", "b"]}, "must lie in 0..1. Received: 4 outside, the first of them 2 at position 2"),
        ({"class_names": ["a", "b", "c", "d"]}, r"none in 1 of 4 classes: 3 \(d\)"),
        ({"class_names": ["a", "b", "a"]}, "Class names must differ. Received: .* with a more than once"),
        ({"class_names": [1, 2, 3]}, "`class_names` of .* must be a list of strings. Received: shape .3,. and dtype"),
        ({"images_test": PIXELS}, "without `labels_test`; it has `images`, `labels`, `images_test`"),
        ({"images_test": PIXELS[:, 1:], "labels_test": LABELS}, r"Received: \(4, 5, 3\) uint8 and \(3, 5, 3\) uint8"),
        ({"images_test": PIXELS / 255, "labels_test": LABELS}, "same height, width, channels and kind of values"),
        (
            {"images_test": PIXELS, "labels_test": LABELS + 1},
            "`labels_test` of .* must lie in 0..2. Received: 4 outside, the first of them 3 at position 2",
        ),
    ],
)
def test_what_is_wrong_is_refused(arrays, message, tmp_path):
    with pytest.raises(ValueError, match=message) as raised:
        load(save(tmp_path / "a.npz", **arrays))
    assert "\n" not in str(raised.value)


def test_missing_arrays_are_named_with_those_found(tmp_path):
    np.savez(tmp_path / "a.npz", x=PIXELS, labels=LABELS)
    with pytest.raises(ValueError, match="without `images`; it has `x`, `labels`"):
        load(f"npz:{tmp_path / 'a.npz'}")


@pytest.mark.parametrize(
    "arrays", [{"images": PIXELS.astype(object)}, {"class_names": np.array(["a", 1, "c"], object)}]
)
def test_pickled_arrays_are_refused(arrays, tmp_path):
    with pytest.raises(
        ValueError, match=r"need unpickling, which can run code.*with a numeric or string dtype, or, .*`--unsafe`"
    ):
        load(save(tmp_path / "a.npz", **arrays))


def test_a_trusted_file_may_hold_objects(tmp_path):
    objects = {"images": PIXELS.astype(object), "labels": LABELS.astype(object), "class_names": list("abc")}
    trusted = load(save(tmp_path / "a.npz", **objects), unsafe=True)
    plain = load(save(tmp_path / "b.npz", class_names=list("abc")))
    assert trusted.fingerprint == plain.fingerprint


def test_a_pickle_is_never_run(tmp_path):
    import pickle

    class Trap:
        def __reduce__(self):
            return open, (str(tmp_path / "sprung"), "w")

    (tmp_path / "a.npz").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="a pickle, which can run code when it is read and is refused"):
        load(f"npz:{tmp_path / 'a.npz'}")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("keep", [0, 3, 100, 700, -30])
def test_a_truncated_file_says_so(keep, tmp_path):
    name = save(tmp_path / "a.npz")
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[:keep])
    with pytest.raises(ValueError, match=r"`npz:` needs a complete file.*copied or downloaded, do that again"):
        load(name)


def test_flipped_bits_are_noticed(tmp_path):
    name = save(tmp_path / "a.npz")
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[400] ^= 255
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"can't be read .Bad CRC-32"):
        load(name)


def test_other_kinds_of_files(tmp_path):
    np.save(tmp_path / "a.npy", PIXELS)
    with pytest.raises(ValueError, match=r"a single array \(.npy\)"):
        load(f"npz:{tmp_path / 'a.npy'}")
    with pytest.raises(ValueError, match=r"needs a file. Received: the folder .*; did you mean 'folder:"):
        load(f"npz:{tmp_path}")
    with pytest.raises(FileNotFoundError, match=r"needs an existing file written by np.savez. Received: .*none.npz"):
        load(f"npz:{tmp_path / 'none.npz'}")
