"""More than one device: the update of one, and noise of its own on each. In processes of their own, since devices are
made before anything else.
"""

import keras
import pytest

MODELS = """
import numpy as np
rng = np.random.default_rng(0)
x, y = rng.random((32, 8)).astype("float32"), rng.integers(0, 4, 32)

def make_models():
    keras.utils.set_random_seed(1)
    dense = lambda width, name, **options: layers.Dense(width, name=name, **options)
    teacher = keras.Sequential([keras.Input((8,)), dense(6, "embedding"), dense(4, "logits")])
    inputs = keras.Input((8,))
    maps = layers.Reshape((2, 2, 2), name="maps")(dense(8, "first", kernel_regularizer="l2")(inputs))
    student = keras.Model(inputs, dense(4, "logits")(dense(3, "embedding")(layers.Flatten()(maps))))
    return teacher, student

def losses():
    return [
        Hinton(),
        SimilarityPreserving(20.0, "embedding"),
        RKD(2.0, 3.0),
    ]

LOSSES = ("loss", "student_loss", "hinton_loss", "regularization_loss", "similarity_preserving_loss")
LOSSES += ("rkd_distance_loss", "rkd_angle_loss")
"""
TENSORFLOW = (
    """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from keras import layers
from tfnoisekd import Distiller, Hinton, InputNoise, LabelNoise, RKD, SimilarityPreserving, TeacherDropout
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
"""
    + MODELS
)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute is TensorFlow's")
def test_two_replicas_make_the_update_of_one(run_python):
    run_python(
        TENSORFLOW
        + """
def train(strategy, weights=None):
    with strategy.scope():
        distiller = Distiller(*make_models(), losses(), seed=0)
        distiller.compile(keras.optimizers.SGD(0.1))
    batch = (x, y) if weights is None else (x, y, weights)
    data = tf.data.Dataset.from_tensor_slices(batch).batch(16)
    return distiller.fit(data, epochs=2, shuffle=False, verbose=0).history, distiller.student.get_weights()

for weights in (None, rng.uniform(0, 2, 32).astype("float32")):
    (history, one), (history_2, two) = train(tf.distribute.get_strategy(), weights), train(mirrored, weights)
    for a, b in zip(one, two):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for name in LOSSES:
        np.testing.assert_allclose(history[name], history_2[name], rtol=1e-4, err_msg=name)
"""
    )


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute is TensorFlow's")
def test_noise_differs_between_replicas(run_python):
    run_python(
        TENSORFLOW
        + """
with mirrored.scope():
    inputs = keras.Input((8,))
    teacher = keras.Model(inputs, layers.Dense(4)(layers.Dropout(0.5)(inputs)))
    student = keras.Sequential([keras.Input((8,)), layers.Dropout(0.5), layers.Dense(4)])
    distiller = Distiller(teacher, student, noise=[LabelNoise(1.0), TeacherDropout()], seed=0)

def on_both(draw):
    return [value.numpy() for value in mirrored.experimental_local_results(mirrored.run(tf.function(draw)))]

labels = tf.zeros(64, tf.int32)
one, two = on_both(lambda: LabelNoise(1.0).perturb_labels(labels, 4, distiller.noise_seed)[0])
assert 0.1 < np.mean(one == two) < 0.45, np.mean(one == two)
one, two = on_both(lambda: InputNoise(1.0).perturb_inputs(tf.zeros((64, 8)), distiller.noise_seed)[0])
assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.2
for model in (teacher, student):
    dropout = next(layer for layer in model.layers if isinstance(layer, layers.Dropout))
    one, two = on_both(lambda: dropout(tf.ones((64, 8)), training=True))
    assert 0.4 < np.mean(one == two) < 0.6, np.mean(one == two)  # masks of rate 0.5, drawn twice

# One seed, one training: the masks of each replica follow from it.
def train():
    with mirrored.scope():
        keras.utils.set_random_seed(1)
        inputs = keras.Input((8,))
        teacher = keras.Model(inputs, layers.Dense(4)(layers.Dropout(0.5)(inputs)))
        student = keras.Sequential([keras.Input((8,)), layers.Dense(4)])
        distiller = Distiller(teacher, student, noise=[InputNoise(0.3), TeacherDropout()], seed=3)
        distiller.compile(keras.optimizers.SGD(0.1))
    distiller.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(16), epochs=2, shuffle=False, verbose=0)
    return student.get_weights()

for a, b in zip(train(), train()):
    np.testing.assert_allclose(a, b, rtol=1e-6)
"""
    )


@pytest.mark.slow
def test_data_parallel_on_jax_makes_the_update_of_one(run_python):
    run_python(
        """
import keras
from keras import layers
import jax
assert len(jax.devices()) == 2
from tfnoisekd import Distiller, Hinton, InputNoise, LabelNoise, RKD, SimilarityPreserving
"""
        + MODELS
        + """
from keras.distribution import DataParallel, list_devices, set_distribution

def train(distribution, noise):
    set_distribution(distribution)
    distiller = Distiller(*make_models(), losses(), noise, seed=0)
    distiller.compile(keras.optimizers.SGD(0.1))
    logs = distiller.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0).history
    return logs, distiller.student.get_weights(), distiller

for noise in ((), [InputNoise(0.3), LabelNoise(0.5)]):
    history, one, _ = train(None, noise)
    history_2, two, distiller = train(DataParallel(devices=list_devices()), noise)
    for a, b in zip(one, two):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for name in LOSSES:
        np.testing.assert_allclose(history[name], history_2[name], rtol=1e-4, err_msg=name)

# One program over the whole batch: its noise has no repetition where the devices meet.
noisy, _ = InputNoise(1.0).perturb_inputs(keras.ops.zeros((64, 8)), distiller.noise_seed)
first, second = np.split(np.asarray(noisy), 2)
assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.2
""",
        KERAS_BACKEND="jax",
        JAX_PLATFORMS="cpu",
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
    )
