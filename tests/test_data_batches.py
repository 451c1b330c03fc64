"""`Batches`: the right pixels, and the same ones again whenever an epoch is repeated or resumed."""

import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest

from tfnoisekd.data import Batches, Split
from tfnoisekd.data.batches import augment, count_variants, crop


def make_split(count=23, shape=(6, 5, 2), dtype=np.uint8, seed=0):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, *shape), dtype=np.uint8)
    if dtype == np.float32:
        images = images.astype(np.float32) / 255
    # The labels number the examples, so that a batch tells which ones it holds.
    return Split(images, np.arange(count, dtype=np.int64))


def everything(batches):
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def slow_crop(image, top, left, padding):
    """One image, one pixel after the other."""
    height, width, channels = image.shape
    result = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                source_y, source_x = y + top - padding, x + left - padding
                if 0 <= source_y < height and 0 <= source_x < width:
                    result[y, x, c] = image[source_y, source_x, c]
    return result


def test_plain_batches_are_the_split_in_order_scaled_to_one():
    split = make_split()
    batches = Batches(split, 10)
    assert len(batches) == 3
    assert [len(labels) for _, labels in batches] == [10, 10, 3]
    images, labels = everything(batches)
    assert (images.dtype, labels.dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(images, split.images.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(labels, split.labels)


def test_float_images_keep_their_values():
    split = make_split(dtype=np.float32)
    images, _ = everything(Batches(split, 10))
    np.testing.assert_array_equal(images, split.images)


def test_drop_remainder_leaves_out_the_smaller_batch_only():
    assert [len(labels) for _, labels in Batches(make_split(), 10, drop_remainder=True)] == [10, 10]
    assert len(Batches(make_split(20), 10, drop_remainder=True)) == 2


def test_every_epoch_shuffles_all_examples_anew():
    split = make_split(200)
    orders = []
    for epoch in range(3):
        images, labels = everything(Batches(split, 32, shuffle=True, epoch=epoch))
        np.testing.assert_array_equal(np.sort(labels), np.arange(200))
        np.testing.assert_array_equal(images, split.images[labels].astype(np.float32) / np.float32(255))
        orders.append(labels)
    assert all(np.mean(first == second) < 0.1 for first, second in [orders[:2], orders[1:], orders[::2]])


@pytest.mark.parametrize("padding", [1, 2, 4])
def test_crop_equals_the_slow_reference_at_every_offset(padding):
    grid = [(top, left) for top in range(2 * padding + 1) for left in range(2 * padding + 1)]
    images = make_split(len(grid)).images
    expected = [slow_crop(image, top, left, padding) for image, (top, left) in zip(images, grid, strict=True)]
    np.testing.assert_array_equal(crop(images, np.array(grid), padding), expected)


def test_every_augmented_image_is_one_of_the_possible_crops_and_flips():
    split = make_split(300)
    images, labels = everything(Batches(split, 64, shuffle=True, crop_padding=1, flip=True, seed=3))
    seen = set()
    for image, label in zip(images, labels, strict=True):
        matches = []
        for top in range(3):
            for left in range(3):
                cropped = slow_crop(split.images[label], top, left, 1)
                for flipped in (False, True):
                    candidate = cropped[:, ::-1] if flipped else cropped
                    if np.array_equal(np.float32(candidate) / np.float32(255), image):
                        matches.append((top, left, flipped))
        assert len(matches) == 1
        seen.update(matches)
    assert len(seen) == 18  # every crop, flipped and not


def test_flips_are_fair_and_crops_uniform():
    split = make_split(4000, (1, 2, 1))
    split.images[:] = [[[0], [255]]]
    images, _ = everything(Batches(split, 500, flip=True))
    assert 0.46 < images[:, 0, 0, 0].mean() < 0.54  # four standard deviations around 1/2
    batches = Batches(make_split(9000), 500, crop_padding=1)
    counts = np.bincount(np.concatenate([batches.read(index).variants for index in range(len(batches))]))
    np.testing.assert_allclose(counts, 1000, atol=120)


@pytest.mark.parametrize(("padding", "flip", "count"), [(0, False, 1), (0, True, 2), (1, False, 9), (2, True, 50)])
def test_the_number_of_a_variant_says_which_crop_and_flip(padding, flip, count):
    assert count_variants(padding, flip) == count
    image = make_split(1).images[0]
    results = augment(np.stack([image] * count), np.arange(count), padding, flip)
    for variant, result in enumerate(results):
        place, flipped = divmod(variant, 2) if flip else (variant, False)
        expected = slow_crop(image, *divmod(place, 2 * padding + 1), padding)
        np.testing.assert_array_equal(result, np.float32(expected[:, ::-1] if flipped else expected) / np.float32(255))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_augmenting_leaves_its_arguments_alone(dtype):
    images, variants = make_split(2, dtype=dtype).images, np.array([1, 1])
    before = images.copy()
    result = augment(images, variants, flip=True)
    np.testing.assert_array_equal(images, before)
    assert result.dtype == np.float32 and not np.shares_memory(result, images)
    assert not np.shares_memory(augment(images, np.array([0, 0])), images)


@pytest.mark.parametrize("options", [{}, {"shuffle": True, "crop_padding": 2, "flip": True}])
def test_a_batch_says_which_examples_and_variants_its_images_are(options):
    split = make_split()
    batches = Batches(split, 5, seed=4, **options)
    for epoch in range(3):
        batches.set_epoch(epoch)
        read = [batches.read(index) for index in range(len(batches))]
        for batch, (images, labels) in zip(read, batches, strict=True):
            np.testing.assert_array_equal(batch.images, images)
            np.testing.assert_array_equal(batch.labels, labels)
            np.testing.assert_array_equal(batch.positions, labels)  # which number the examples here
            expected = augment(split.images[labels], batch.variants, batches.crop_padding, batches.flip)
            np.testing.assert_array_equal(images, expected)
        assert sorted(np.concatenate([batch.positions for batch in read])) == list(range(23))


def test_a_batch_is_of_one_epoch_though_another_begins_meanwhile():
    split = make_split()
    options = {"shuffle": True, "crop_padding": 2, "flip": True}
    expected = Batches(split, 5, **options).read(1)

    class Interrupting:
        """Images during whose reading another thread begins the next epoch."""

        labels = split.labels

        def __len__(self):
            return len(split)

        @property
        def images(self):
            batches.set_epoch(1)
            return split.images

    batches = Batches(Interrupting(), 5, **options)
    for value, wanted in zip(batches.read(1), expected, strict=True):
        np.testing.assert_array_equal(value, wanted)
    assert batches.epoch == 1


def test_the_split_itself_never_changes():
    split = make_split()
    before = split.images.copy()
    everything(Batches(split, 10, shuffle=True, crop_padding=2, flip=True))
    everything(Batches(split, 10, flip=True))
    np.testing.assert_array_equal(split.images, before)


def test_batches_depend_on_seed_and_epoch_alone():
    options = {"shuffle": True, "crop_padding": 2, "flip": True}
    straight = Batches(make_split(), 5, seed=7, **options)
    straight.set_epoch(4)
    expected = [straight[i] for i in range(len(straight))]
    other = Batches(make_split(), 5, seed=7, epoch=1, **options)
    everything(other)
    other.set_epoch(9)
    _ = other[2]
    other.set_epoch(4)
    assert other.epoch == 4
    for index in (3, 0, 4, 1, 2, 0):
        np.testing.assert_array_equal(other[index][0], expected[index][0])
        np.testing.assert_array_equal(other[index][1], expected[index][1])
    assert not np.array_equal(everything(Batches(make_split(), 5, seed=8, epoch=4, **options))[1], everything(other)[1])


def test_augmentation_does_not_depend_on_batch_size_or_order():
    split = make_split()
    shuffled, labels = everything(Batches(split, 5, shuffle=True, crop_padding=2, flip=True, epoch=2))
    ordered, _ = everything(Batches(split, 7, crop_padding=2, flip=True, epoch=2))
    np.testing.assert_array_equal(shuffled, ordered[labels])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1. Received: batch_size=0"),
        ({"batch_size": 2.5}, "Received: batch_size=2.5"),
        ({"batch_size": 5, "crop_padding": -1}, "`crop_padding` must be an integer of at least 0"),
        ({"batch_size": 5, "seed": -1}, "`seed` must be an integer of at least 0"),
        ({"batch_size": 5, "epoch": True}, "`epoch` must be an integer of at least 0"),
        ({"batch_size": 24, "drop_remainder": True}, "Received: 23 examples for batch_size=24"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Batches(make_split(), **arguments)


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_outside_is_an_error(index):
    with pytest.raises(IndexError, match=f"from 0 to 2. Received: index={index}"):
        Batches(make_split(), 10)[index]


class Recorder(keras.Model):
    """A model that notes what each training step was given."""

    def __init__(self):
        super().__init__()
        self.pool = keras.layers.GlobalAveragePooling2D()
        self.dense = keras.layers.Dense(23)
        self.seen = []

    def call(self, x):
        return self.dense(self.pool(x))

    def train_step(self, *args):
        x, y = args[-1]
        self.seen.append((np.array(x), np.array(y)))
        return super().train_step(*args)


def recorded(initial_epoch, epochs, built=False):
    """What `fit` reads: [(images, labels), ...] of every step of the epochs."""
    batches = Batches(make_split(), 5, shuffle=True, crop_padding=2, flip=True, seed=1)
    follow = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: batches.set_epoch(epoch))
    model = Recorder()
    if built:
        model(batches[0][0])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, run_eagerly=True)  # eager, so that the step sees the values
    model.fit(
        batches,
        validation_data=Batches(make_split(), 5),
        shuffle=False,
        initial_epoch=initial_epoch,
        epochs=epochs,
        callbacks=[follow],
        verbose=0,
    )
    return model.seen


def check_fit():
    """Every epoch of a fit has its own batches, and a resumed fit those of the epochs it resumes."""
    seen = recorded(0, 3)
    expected = [
        batch
        for epoch in range(3)
        for batch in Batches(make_split(), 5, shuffle=True, crop_padding=2, flip=True, seed=1, epoch=epoch)
    ]
    assert len(seen) == 15
    for resumed, wanted in ((seen, expected), (recorded(1, 3), seen[5:]), (recorded(2, 3, built=True), seen[10:])):
        assert len(resumed) == len(wanted)
        for (images, labels), (wanted_images, wanted_labels) in zip(resumed, wanted, strict=True):
            np.testing.assert_array_equal(images, wanted_images)
            np.testing.assert_array_equal(labels, wanted_labels)
    assert not np.array_equal(seen[0][1], seen[5][1])


def test_a_resumed_fit_reads_the_batches_it_would_have_read():
    check_fit()


@pytest.mark.slow
def test_on_jax_without_tensorflow():
    code = """
        import sys
        sys.modules["tensorflow"] = None  # any import of it fails
        import test_data_batches
        from tfnoisekd.data import load
        test_data_batches.check_fit()
        assert len(load("digits").test) == 360
        try:
            load("cifar10")
        except ImportError as error:
            assert "`tfds:cifar10` needs TensorFlow" in str(error), error
        else:
            raise AssertionError("TFDS was read without TensorFlow")
    """
    paths = [os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__)), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }
    pytest.importorskip("jax")
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environment, check=True, timeout=120)
