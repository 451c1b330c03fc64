"""The teacher cache: always what the teacher says about that very image, whatever the order, the run or the disk."""

import errno
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from tfnoisekd.data import Batches, Split
from tfnoisekd.features import OUTPUTS, Supervised, extractor
from tfnoisekd.teacher_cache import CachedBatches, TeacherCache
from tfnoisekd.teacher_cache.chunks import CHUNK, PROBES
from tfnoisekd.teacher_cache.rows import META, ROWS

COUNT, SHAPE = 50, (6, 5, 2)
AUGMENTED = {"crop_padding": 1, "flip": True}


def make_split(dtype=np.uint8, count=COUNT):
    images = np.random.default_rng(0).integers(0, 256, (count, *SHAPE), dtype=np.uint8)
    return Split(images if dtype == np.uint8 else images.astype(dtype) / dtype(255), np.arange(count))


def make_teacher(seed=0, **kwargs):
    """A network that sees every crop and flip: its outputs depend on where things are."""
    initializer = keras.initializers.GlorotUniform(seed)
    inputs = keras.Input(SHAPE, name="image")
    x = layers.Conv2D(3, 3, strides=2, activation="tanh", kernel_initializer=initializer, name="conv")(inputs)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(4, kernel_initializer=initializer, name="logits", **kwargs)(x)
    return keras.Model(inputs, x, name="teacher")


def make_model(names=("conv",), **kwargs):
    teacher = make_teacher(**kwargs)
    return extractor(teacher, names) if names else teacher


def make_cache(root, split=None, model=None, names=("conv",), **kwargs):
    split, model = split or make_split(), model or make_model(names)
    return TeacherCache(root, model, split.images, **{"identity": "teacher", **AUGMENTED, **kwargs})


def make_batches(split=None, batch_size=16, **kwargs):
    return Batches(split or make_split(), batch_size, **{"shuffle": True, **AUGMENTED, **kwargs})


def ask(cache, batch):
    return cache.outputs(batch.images, batch.positions, batch.variants)


def ask_all(cache, batches):
    return [ask(cache, batches.read(index)) for index in range(len(batches))]


def direct(model, images):
    """What the model says, without any cache."""
    return {name: keras.ops.convert_to_numpy(value) for name, value in model(images, training=False).items()}


def assert_close(outputs, expected):
    assert set(outputs) == set(expected)
    for name, value in expected.items():
        assert outputs[name].dtype == np.float32 and outputs[name].shape == value.shape
        np.testing.assert_allclose(outputs[name], value, rtol=1e-5, atol=1e-6)


def assert_equal(outputs, expected):
    for name, value in expected.items():
        np.testing.assert_array_equal(outputs[name], value)


@pytest.fixture
def no_calls(monkeypatch):
    """Makes a call of a cache's model an error."""

    def forbid(cache):
        def call(images):
            raise AssertionError("the teacher was asked")

        monkeypatch.setattr(cache._chunks, "call", call)

    return forbid


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_outputs_are_the_teachers_on_the_very_augmented_image(tmp_path, dtype):
    split, model = make_split(dtype), make_model()
    cache, batches = make_cache(tmp_path, split, model), make_batches(split)
    known, hits = set(), 0
    for epoch in range(6):
        batches.set_epoch(epoch)
        for index in range(len(batches)):
            batch = batches.read(index)
            rows = list(zip(batch.positions.tolist(), batch.variants.tolist(), strict=True))
            hits += sum(row in known for row in rows)
            known.update(rows)
            assert_close(ask(cache, batch), direct(model, batch.images))
    assert cache.variants == 18
    assert 0 < hits == cache.hits and cache.misses == len(known)


def test_a_reading_by_place_in_the_batch_could_not_pass(tmp_path):
    """The known bug: outputs of an epoch, read in the next as if the order were the same."""
    split, model = make_split(), make_model()
    cache, batches = make_cache(tmp_path, split, model), make_batches(split)
    first = batches.read(0)
    stale = ask(cache, first)
    batches.set_epoch(1)
    second = batches.read(0)
    off = np.abs(stale[OUTPUTS] - direct(model, second.images)[OUTPUTS]).max(axis=1)
    assert (off > 1e-3).all()  # far more than the tolerance of the tests here
    with pytest.raises(ValueError, match="take them from one `Batches.read`"):
        cache.outputs(second.images, first.positions, second.variants)
    with pytest.raises(ValueError, match="the first of which is another image"):
        cache.outputs(second.images, second.positions, first.variants)
    with pytest.raises(ValueError, match="Received: 15 images for 16 positions"):
        cache.outputs(second.images[:15], second.positions, second.variants)


def test_a_warm_cache_never_asks_and_answers_in_the_same_bits(tmp_path, no_calls):
    cold = ask_all(make_cache(tmp_path), make_batches())
    warm = make_cache(tmp_path)
    no_calls(warm)
    # Another batch size reads the same rows.
    batches = make_batches(batch_size=COUNT)
    assert_equal(ask(warm, batches.read(0)), {name: np.concatenate([part[name] for part in cold]) for name in cold[0]})
    assert (warm.hits, warm.misses) == (COUNT, 0)


def test_without_augmentation_an_epoch_fills_it(tmp_path, no_calls):
    plain = {"crop_padding": 0, "flip": False}
    cache, batches = make_cache(tmp_path, **plain), make_batches(**plain)
    assert cache.variants == 1
    ask_all(cache, batches)
    no_calls(cache)
    batches.set_epoch(1)
    ask_all(cache, batches)
    assert (cache.hits, cache.misses) == (COUNT, COUNT)


def test_a_row_does_not_depend_on_what_else_was_missing(tmp_path):
    batch = make_batches(batch_size=COUNT).read(0)
    whole, single = make_cache(tmp_path / "a"), make_cache(tmp_path / "b")
    expected = ask(whole, batch)
    for index in (49, 3, 20):
        part = slice(index, index + 1)
        outputs = single.outputs(batch.images[part], batch.positions[part], batch.variants[part])
        assert_equal(outputs, {name: value[part] for name, value in expected.items()})


def test_the_teacher_sees_chunks_of_one_size(tmp_path, monkeypatch):
    cache, sizes = make_cache(tmp_path), []
    call = cache._chunks.call
    monkeypatch.setattr(cache._chunks, "call", lambda images: sizes.append(len(images)) or call(images))
    ask_all(cache, make_batches(batch_size=48))
    assert sizes == [CHUNK] * (PROBES + 3)  # 32 + 16 of 48, and 2


def test_a_model_of_one_output_has_it_by_its_name(tmp_path):
    model = make_model(names=())
    cache, batch = make_cache(tmp_path, model=model), make_batches().read(1)
    assert cache.names == (OUTPUTS,)
    assert_close(ask(cache, batch), {OUTPUTS: keras.ops.convert_to_numpy(model(batch.images))})


def test_half_precision_is_kept_exactly(tmp_path, no_calls):
    model = make_model(dtype="float16")
    cache, batch = make_cache(tmp_path, model=model), make_batches().read(0)
    outputs = ask(cache, batch)
    np.testing.assert_array_equal(outputs[OUTPUTS], outputs[OUTPUTS].astype(np.float16))
    np.testing.assert_allclose(outputs[OUTPUTS], direct(model, batch.images)[OUTPUTS], rtol=2e-3, atol=2e-3)
    no_calls(cache)
    assert_equal(ask(cache, batch), outputs)


def test_reading_and_writing_by_hand(tmp_path):
    cache = make_cache(tmp_path)
    positions, variants = np.array([7, 3]), np.array([0, 17])
    outputs = {OUTPUTS: np.arange(8.0).reshape(2, 4), "conv": np.arange(24).reshape(2, 2, 2, 3)[..., :3]}
    cache.write(positions, variants, outputs)
    found, present = make_cache(tmp_path).read(np.array([3, 7, 7, 3]), np.array([17, 0, 1, 0]))
    assert present.tolist() == [True, True, False, False]
    assert_equal({name: value[:2] for name, value in found.items()}, {name: v[::-1] for name, v in outputs.items()})
    assert found["conv"].shape == (4, 2, 2, 3) and not found["conv"][2:].any()


@pytest.mark.parametrize(
    ("positions", "variants", "message"),
    [
        ([0, COUNT], [0, 0], "`positions` must be integers of shape .batch,. from 0 to 49. Received: positions=.*50"),
        ([-1], [0], "`positions` must be"),
        ([0], [18], "`variants` must be integers of shape .batch,. from 0 to 17. Received: variants=.18"),
        ([0, 1], [0], "`variants` must be"),
        ([0.5], [0], "`positions` must be"),
    ],
)
def test_rows_that_do_not_exist(tmp_path, positions, variants, message):
    with pytest.raises(ValueError, match=message):
        make_cache(tmp_path).read(np.array(positions), np.array(variants))


def changed(images):
    images = images.copy()
    images[-1, -1, -1, -1] ^= 1
    return Split(images, np.arange(len(images)))


@pytest.mark.parametrize(
    "change",
    [
        {"split": changed(make_split().images)},
        {"split": Split(make_split().images[::-1], np.arange(COUNT))},
        {"split": make_split(np.float32)},
        {"identity": "another"},
        {"crop_padding": 2},
        {"flip": False},
        {"names": ("conv", "flat")},
        {"names": ()},
    ],
    ids=["a pixel", "order", "dtype", "teacher", "padding", "flip", "more layers", "fewer layers"],
)
def test_whatever_changes_gets_a_folder_of_its_own(tmp_path, change):
    cache, batch = make_cache(tmp_path), make_batches().read(0)
    ask(cache, batch)
    other = make_cache(tmp_path, **change)
    assert other.folder != cache.folder
    _, present = other.read(batch.positions, batch.variants % other.variants)
    assert not present.any()
    assert make_cache(tmp_path).folder == cache.folder


@pytest.mark.parametrize("variable", ["TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA"])
def test_other_kernels_get_a_folder_of_their_own(tmp_path, monkeypatch, variable):
    monkeypatch.delenv(variable, raising=False)
    folder = make_cache(tmp_path).folder
    monkeypatch.setenv(variable, "1")
    assert make_cache(tmp_path).folder != folder
    monkeypatch.delenv(variable)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "7")
    assert make_cache(tmp_path).folder == folder


def test_another_processor_gets_a_folder_of_its_own(tmp_path, monkeypatch):
    folder = make_cache(tmp_path).folder
    monkeypatch.setattr("tfnoisekd.provenance.processor", lambda: "another with avx2")
    assert make_cache(tmp_path).folder != folder


def rows_of(cache):
    """The stored rows with their checksums, (rows, bytes), to be meddled with."""
    return np.memmap(cache.folder / ROWS, np.uint8, "r+").reshape(COUNT * cache.variants, -1)


def test_a_damaged_row_is_computed_again(tmp_path):
    cache, batch = make_cache(tmp_path), make_batches().read(0)
    expected = ask(cache, batch)
    stored, numbers = rows_of(cache), batch.positions * cache.variants + batch.variants
    stored[numbers[0], 5] ^= 1  # one bit
    stored[numbers[1], 20:] = 0  # torn: half written
    stored[numbers[2], -4:] = 0  # written, but not its checksum
    stored[[numbers[3], numbers[4]]] = stored[[numbers[4], numbers[3]]]  # whole, but not in their places
    stored.flush()
    again = make_cache(tmp_path)
    assert_equal(ask(again, batch), expected)
    assert (again.misses, again.hits) == (5, 11)
    assert_equal(again.read(batch.positions, batch.variants)[0], expected)


def test_rows_of_another_cache_are_not_believed(tmp_path):
    cache, other, batch = make_cache(tmp_path), make_cache(tmp_path, identity="other"), make_batches().read(0)
    ask(cache, batch)
    (other.folder / ROWS).write_bytes((cache.folder / ROWS).read_bytes())
    assert not make_cache(tmp_path, identity="other").read(batch.positions, batch.variants)[1].any()


def test_a_truncated_file_is_refused_and_harmless_to_who_has_it_open(tmp_path):
    model = make_model()
    cache, batch = make_cache(tmp_path, model=model), make_batches().read(0)
    ask(cache, batch)
    os.truncate(cache.folder / ROWS, 1000)
    assert_close(ask(cache, batch), direct(model, batch.images))
    os.truncate(cache.folder / ROWS, 1000)
    with pytest.raises(ValueError, match=r"1,000 bytes in rows.bin, where 61,200 were expected. Remove the folder"):
        make_cache(tmp_path)


@pytest.mark.parametrize("text", ["", "{", '{"format": 0}', "null"])
def test_a_damaged_description_is_refused(tmp_path, text):
    folder = make_cache(tmp_path).folder
    (folder / META).write_text(text)
    with pytest.raises(ValueError, match=f"{folder.name} is not the cache of teacher outputs that it should be"):
        make_cache(tmp_path)


def test_a_folder_that_was_left_half_made_is_made_anew(tmp_path):
    cache, batch = make_cache(tmp_path), make_batches().read(0)
    ask(cache, batch)
    (cache.folder / META).unlink()
    os.truncate(cache.folder / ROWS, 10)
    again = make_cache(tmp_path)
    assert not again.read(batch.positions, batch.variants)[1].any()
    assert json.loads((again.folder / META).read_text())["crop_padding"] == 1


def test_the_limit(tmp_path):
    size = COUNT * 18 * 16 * 4
    assert make_cache(tmp_path, limit=size).variants == 18
    message = rf"limit={size - 1:,} bytes for {size:,} \(50 images x 18 augmentations x 16 numbers\). Read fewer"
    with pytest.raises(ValueError, match=message):
        make_cache(tmp_path / "other", limit=size - 1)
    assert not (tmp_path / "other").exists()


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def check_goes_on_without(cache, model, batches):
    """Every epoch asks the teacher, rightly and without another warning."""
    for epoch in range(2):
        batches.set_epoch(epoch)
        for index in range(len(batches)):
            batch = batches.read(index)
            assert_close(ask(cache, batch), direct(model, batch.images))


def test_on_a_full_disk_training_goes_on_without(tmp_path, monkeypatch):
    model, batches = make_model(), make_batches(crop_padding=0, flip=False)
    cache = make_cache(tmp_path, model=model, crop_padding=0, flip=False)
    ask(cache, batches.read(0))
    monkeypatch.setattr(os, "pwrite", no_space)
    with pytest.warns(UserWarning, match=r"can't be kept in .* \(No space left on device\): training goes on"):
        ask(cache, batches.read(1))
    check_goes_on_without(cache, model, batches)
    assert cache.hits == 2 * 16  # what was there before is still read


def test_a_row_that_only_half_fits_is_not_believed(tmp_path, monkeypatch):
    cache, batch, write = make_cache(tmp_path), make_batches().read(0), os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: write(file, data[:30], offset))
    with pytest.warns(UserWarning, match=r"only a part of a row could be written"):
        ask(cache, batch)
    assert not cache.read(batch.positions, batch.variants)[1].any()


@pytest.mark.parametrize("step", ["exclusive", "replacing"])
def test_where_no_folder_can_be_made_training_goes_on_without(tmp_path, monkeypatch, step):
    monkeypatch.setattr(f"tfnoisekd.disk.{step}", no_space)
    model = make_model()
    with pytest.warns(UserWarning, match="No space left on device"):
        cache = make_cache(tmp_path, model=model)
    check_goes_on_without(cache, model, make_batches())
    assert cache.hits == 0


def test_a_read_only_cache_is_read(tmp_path, monkeypatch):
    model, batches = make_model(), make_batches()
    ask(make_cache(tmp_path, model=model), batches.read(0))
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.warns(UserWarning, match="rows.bin is read-only"):
        cache = make_cache(tmp_path, model=model)
    monkeypatch.setattr(os, "pwrite", None)
    check_goes_on_without(cache, model, batches)
    assert cache.hits >= 16


def test_a_disk_that_fails_while_reading_is_a_miss(tmp_path, monkeypatch):
    cache, batch = make_cache(tmp_path), make_batches().read(0)
    expected = ask(cache, batch)

    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", fail)
    with pytest.warns(UserWarning, match="Input/output error"):
        assert_equal(ask(cache, batch), expected)


def test_outputs_that_are_no_numbers_are_refused(tmp_path):
    model = make_model()
    model.get_layer("logits").bias.assign([0, 0, np.nan, 0])
    cache, batch = make_cache(tmp_path, model=model), make_batches().read(0)
    where = f"nan in '/outputs' for image {batch.positions[0]} in augmentation {batch.variants[0]}"
    with pytest.raises(ValueError, match=f"`model` must have finite outputs. Received: {where}"):
        ask(cache, batch)
    assert not cache.read(batch.positions, batch.variants)[1].any()


def test_a_model_of_no_fixed_width_is_refused(tmp_path):
    inputs = keras.Input(SHAPE)
    with pytest.raises(ValueError, match="must give a mapping of name -> tensor .*whose output 'sum' is"):
        make_cache(tmp_path, model=keras.Model(inputs, {"sum": keras.ops.sum(inputs)}))


def test_batches_that_do_not_belong_to_the_cache(tmp_path):
    cache = make_cache(tmp_path)
    with pytest.raises(ValueError, match="crop_padding=1 and flip=True. Received: crop_padding=1 and flip=False"):
        CachedBatches(make_batches(flip=False), cache)
    with pytest.raises(ValueError, match="`batches` must be of the images that `cache` was made with"):
        CachedBatches(make_batches(changed(make_split().images)), cache)


def test_cached_batches_are_the_batches(tmp_path):
    batches, model = make_batches(drop_remainder=True), make_model()
    cached = CachedBatches(batches, make_cache(tmp_path, model=model))
    cached.set_epoch(3)
    assert (cached.epoch, batches.epoch, len(cached)) == (3, 3, 3)
    for (images, y), (expected, labels) in zip(cached, batches, strict=True):
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(y.labels, labels)
        assert_close(y.teacher_outputs, direct(model, expected))


class Student(keras.Model):
    """Learns from `Supervised`, and measures how far what it is told is from what the teacher says."""

    def __init__(self, teacher):
        super().__init__()
        self.teacher = teacher  # owned, so that Keras takes its weights away on JAX
        self.teacher.trainable = False
        self.flat, self.dense = layers.Flatten(), layers.Dense(4)
        self.mismatch = keras.metrics.Mean(name="mismatch")

    def call(self, x):
        return self.dense(self.flat(x))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        assert isinstance(y, Supervised)
        said = self.teacher(x, training=False)
        differences = [keras.ops.max(keras.ops.abs(value - said[name])) for name, value in y.teacher_outputs.items()]
        self.mismatch.update_state(sum(differences))
        return keras.ops.mean(keras.ops.square(y_pred - y.teacher_outputs[OUTPUTS]))


@pytest.mark.parametrize("workers", [1, 3])
def test_fit_reads_from_it(tmp_path, workers):
    model = make_model()
    batches = make_batches()
    # Another run was here, so that the model is first needed in the middle of an epoch.
    known = make_cache(tmp_path)
    for index in range(2):
        ask(known, batches.read(index))
    batches.workers = workers
    cached = CachedBatches(batches, make_cache(tmp_path, model=model))
    follow = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: cached.set_epoch(epoch))
    student = Student(model)
    student.compile(keras.optimizers.SGD(0.05))
    history = student.fit(cached, epochs=4, shuffle=False, callbacks=[follow], verbose=0).history
    assert max(history["mismatch"]) < 1e-5
    assert history["loss"][-1] < history["loss"][0]
    assert cached.cache.misses > COUNT  # other crops in each epoch
    assert cached.cache.hits >= 32


def fill(root, seed):
    """Asks for every augmentation of every image, in an order of its own: what each of several processes does."""
    cache = make_cache(root)
    rows = np.random.default_rng(seed).permutation(COUNT * cache.variants)
    rendered = {variant: every_image(variant) for variant in range(cache.variants)}
    for part in np.array_split(rows, 30):
        positions, variants = np.divmod(part, cache.variants)
        images = np.stack([rendered[v][p] for p, v in zip(positions, variants, strict=True)])
        cache.outputs(images, positions, variants)
    return cache


def every_image(variant):
    from tfnoisekd.data.batches import augment

    return augment(make_split().images, np.full(COUNT, variant), **AUGMENTED)


@pytest.mark.slow
def test_two_processes_fill_one_cache(tmp_path):
    paths = [os.path.dirname(__file__), str(pathlib.Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    codes = [f"import test_teacher_cache as t; t.fill({str(tmp_path)!r}, {seed})" for seed in (1, 2)]
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE) for code in codes
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()
    assert len(list(tmp_path.iterdir())) == 1
    cache, model = make_cache(tmp_path), make_model()
    for variant in range(cache.variants):
        images = every_image(variant)
        outputs, present = cache.read(np.arange(COUNT), np.full(COUNT, variant))
        assert present.all()
        assert_close(outputs, direct(model, images))
