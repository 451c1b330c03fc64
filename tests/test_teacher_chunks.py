"""Asking a teacher in chunks: what it says about an image has the same bits wherever in a chunk the image lies."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from tfnoisekd.features import OUTPUTS
from tfnoisekd.teacher_cache.chunks import CHUNK, Chunks

COUNT, WIDTH = 50, 64


class Uneven(layers.Layer):
    """Rounds otherwise at some places of a batch, as a matrix product may: here so coarsely that it can't be missed."""

    def __init__(self, places, **kwargs):
        super().__init__(**kwargs)
        self.places = places

    def call(self, x):
        odd = np.isin(np.arange(CHUNK), self.places).astype("float32")
        return x * (1 + keras.ops.reshape(odd, (CHUNK, 1)))


def make_model(odd=()):
    inputs = keras.Input((WIDTH,))
    dense = layers.Dense(10, kernel_initializer=keras.initializers.GlorotUniform(0))
    return keras.Model(inputs, {OUTPUTS: Uneven(odd)(dense(inputs))}), dense


def make_images(count=COUNT):
    return np.random.default_rng(0).normal(size=(count, WIDTH)).astype(np.float32)


def count_changed(chunks, images):
    """How many images have other outputs when they are asked about in another order."""
    order = np.random.default_rng(1).permutation(len(images))
    return int((chunks.ask(images[order])[OUTPUTS] != chunks.ask(images)[OUTPUTS][order]).any(axis=1).sum())


@pytest.mark.parametrize(
    ("odd", "used", "factor"),
    [
        ([], range(32), 1),
        ([30, 31], range(30), 1),
        ([0, 1, 17], [*range(2, 17), *range(18, 32)], 1),
        (range(8, 32), range(8, 32), 2),
        (range(1, 32, 2), range(0, 32, 2), 1),  # no majority: those with the first place
    ],
)
@pytest.mark.parametrize("count", [1, 30, 31, 32, COUNT])
def test_only_places_that_agree_are_used(odd, used, factor, count):
    model, dense = make_model(list(odd))
    images = make_images(count)
    chunks = Chunks(model, images[:2])
    assert chunks.places().tolist() == list(used)
    outputs = chunks.ask(images)
    assert set(outputs) == {OUTPUTS} and outputs[OUTPUTS].dtype == np.float32
    expected = images @ keras.ops.convert_to_numpy(dense.kernel) * factor
    np.testing.assert_allclose(outputs[OUTPUTS], expected, rtol=1e-5, atol=1e-5)
    assert count_changed(chunks, images) == 0


def test_every_call_has_one_size_and_the_places_are_tried_once():
    chunks, sizes = Chunks(make_model([31])[0], make_images(3)), []
    call = chunks.call
    chunks.call = lambda images: sizes.append(len(images)) or call(images)
    chunks.ask(make_images(62))
    chunks.ask(make_images(1))
    assert sizes == [CHUNK] * (3 + 2 + 1)


def test_outputs_that_are_no_numbers_find_places_too():
    model, dense = make_model()
    dense.bias.assign(np.full(10, np.nan))
    assert np.isnan(Chunks(model, make_images(2)).ask(make_images())[OUTPUTS]).all()


CODE = """
import test_teacher_chunks as t
model, _ = t.make_model()
print(t.count_changed(t.Chunks(model, t.make_images(4)), t.make_images(2048)))
"""


@pytest.mark.parametrize("kernels", ["AVX2", "DEFAULT"])
def test_the_kernels_of_this_processor(kernels):
    here = os.path.dirname(__file__)
    paths = os.pathsep.join([here, os.path.dirname(here), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, "ONEDNN_MAX_CPU_ISA": kernels, "TF_ENABLE_ONEDNN_OPTS": "1"}
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "0"
