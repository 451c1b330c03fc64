"""A distiller as a Keras model: repeatable, saved and resumed, with callbacks, and in every mode of execution."""

import csv

import keras
import numpy as np
import pytest
from keras import layers
from tiny_models import CLASSES, FEATURES, deep, linear

from tfnoisekd.distillation_losses import Hinton
from tfnoisekd.distiller import Distiller
from tfnoisekd.noise import InputNoise, LabelNoise, TeacherDropout

NOISES = {
    "none": lambda: (),
    "input": lambda: InputNoise(0.3),
    "label": lambda: LabelNoise(0.5),
    "teacher": lambda: TeacherDropout(),
    # Half-precision dropout draws other numbers than float32's, so that only these can be compared.
    "student": lambda: [InputNoise(0.3), LabelNoise(0.5)],
    "all": lambda: [InputNoise(0.3), LabelNoise(0.5), TeacherDropout()],
}


@pytest.fixture
def data(rng):
    return rng.normal(size=(12, FEATURES)).astype("float32"), rng.integers(0, CLASSES, 12).astype("int32")


def make(noise=(), seed=0, optimizer=None, dropout=0.5, **kwargs):
    distiller = Distiller(deep(1, dropout=dropout), linear(2), noise=noise, seed=seed)
    distiller.compile(optimizer or keras.optimizers.SGD(0.1, momentum=0.9), **kwargs)
    return distiller


def fit(distiller, data, epochs=2, **kwargs):
    return distiller.fit(*data, batch_size=4, epochs=epochs, shuffle=False, verbose=0, **kwargs).history


def assert_equal_weights(first, second, **tolerance):
    for one, other in zip(first.student.get_weights(), second.student.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, **(tolerance or {"rtol": 1e-6, "atol": 1e-7}))


@pytest.mark.parametrize("kind", ["input", "label", "all"])
def test_the_seed_decides(data, kind):
    runs = [make(NOISES[kind](), seed=seed) for seed in (3, 3, 4)]
    for run in runs:
        fit(run, data)
    assert_equal_weights(runs[0], runs[1])
    assert not np.allclose(runs[0].student.get_weights()[0], runs[2].student.get_weights()[0], atol=1e-4)


def test_the_seed_decides_over_the_teachers_own_dropout_seeds(data):
    runs = []
    for dropout_seed in (5, 6):
        teacher = keras.Sequential([keras.Input((FEATURES,)), layers.Dropout(0.5, seed=dropout_seed), linear(1)])
        runs.append(Distiller(teacher, linear(2), noise=TeacherDropout(), seed=3))
        runs[-1].compile(keras.optimizers.SGD(0.1))
        fit(runs[-1], data)
    assert_equal_weights(*runs)


def test_a_reseeded_epoch_does_not_depend_on_how_it_was_reached(data):
    def start_of_epoch(distiller):
        return keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: distiller.reseed(epoch))

    whole, resumed = (make(NOISES["all"](), optimizer=keras.optimizers.SGD(0.1)) for _ in range(2))
    losses = fit(whole, data, epochs=3, callbacks=[start_of_epoch(whole)])["loss"]
    fit(resumed, data, epochs=2, callbacks=[start_of_epoch(resumed)])
    resumed.evaluate(*data, verbose=0)
    resumed.teacher_variance(data[0])  # draws, as someone who looks between the epochs
    last = fit(resumed, data, epochs=3, initial_epoch=2, callbacks=[start_of_epoch(resumed)])["loss"]
    assert last == losses[2:]
    assert_equal_weights(whole, resumed)
    with pytest.raises(ValueError, match="`reseed` needs a distiller with a seed"):
        Distiller(None, linear(0)).reseed()


@pytest.mark.slow
def test_the_seed_decides_under_jit_too(data):
    runs = [make(NOISES["all"](), seed=3, jit_compile=True) for _ in range(2)]
    histories = [fit(run, data) for run in runs]
    assert_equal_weights(*runs)
    assert histories[0] == histories[1]
    for measured, expected, margin in (("input_noise_stddev", 0.3, 0.1), ("label_noise_share", 0.5 * 2 / 3, 0.34)):
        assert np.mean(histories[0][measured]) == pytest.approx(expected, abs=margin)


def test_without_a_seed_the_noise_follows_keras(data):
    runs = []
    for seed in (7, 7, 8):
        keras.utils.set_random_seed(seed)
        runs.append(make(InputNoise(0.3), seed=None))
        fit(runs[-1], data)
    assert_equal_weights(runs[0], runs[1])
    assert not np.allclose(runs[0].student.get_weights()[0], runs[2].student.get_weights()[0], atol=1e-4)


@pytest.mark.parametrize("kind", ["input", "teacher"])
def test_noise_is_fresh_in_every_batch_and_epoch(data, kind):
    # One example over and over, and a student that stands still: only fresh noise changes the loss.
    distiller = make(NOISES[kind](), optimizer=keras.optimizers.SGD(0.0))
    one = data[0][:1].repeat(12, axis=0), data[1][:1].repeat(12)
    steps = []
    record = keras.callbacks.LambdaCallback(on_batch_end=lambda batch, logs: steps.append(logs["loss"] * (batch + 1)))
    fit(distiller, one, callbacks=[record])
    assert len({round(float(total), 7) for total in np.diff([0, *steps[:3]])}) == 3
    assert not np.allclose(steps[:3], steps[3:], rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("kind", ["none", "all"])
def test_a_saved_distiller_goes_on_where_it_stopped(data, tmp_path, kind, optimizer):
    def fresh():
        optimizers = {"momentum": keras.optimizers.SGD(0.1, momentum=0.9), "adam": keras.optimizers.Adam(0.01)}
        return make(NOISES[kind](), optimizer=optimizers[optimizer])

    straight, broken = fresh(), fresh()
    fit(straight, data, epochs=4)
    fit(broken, data, epochs=2)
    broken.save(tmp_path / "distiller.keras")
    resumed = keras.saving.load_model(tmp_path / "distiller.keras")
    assert int(resumed.optimizer.iterations) == 6
    np.testing.assert_allclose(resumed.predict(data[0], verbose=0), broken.predict(data[0], verbose=0), rtol=1e-6)
    history = fit(resumed, data, epochs=2)
    assert_equal_weights(resumed, straight, rtol=1e-5, atol=1e-6)
    assert set(history) == set(straight.history.history)


def test_a_saved_distiller_keeps_its_settings(data, tmp_path):
    distiller = Distiller(
        deep(1, dropout=0.5),
        linear(2),
        losses=Hinton(0.4, 2.0),
        noise=[InputNoise(0.3), LabelNoise(0.5), TeacherDropout()],
        student_loss_weight=0.7,
        seed=11,
        name="mine",
    )
    distiller.compile("sgd")
    distiller.save(tmp_path / "distiller.keras")
    again = keras.saving.load_model(tmp_path / "distiller.keras")
    assert (repr(again.distillation_losses), repr(again.noise)) == (
        "(Hinton(alpha=0.4, temperature=2.0),)",
        "(InputNoise(stddev=0.3), LabelNoise(rate=0.5, num_classes=None), TeacherDropout())",
    )
    assert (again.student_loss_weight, again.seed, again.name, again.from_logits) == (0.7, 11, "mine", True)
    assert not again.teacher.trainable
    for old, new in zip(distiller.teacher.get_weights(), again.teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_distiller_without_a_teacher_is_saved_too(data, tmp_path):
    distiller = Distiller(None, linear(2), noise=InputNoise(0.1))
    distiller.compile("sgd")
    distiller.save(tmp_path / "distiller.keras")
    again = keras.saving.load_model(tmp_path / "distiller.keras")
    assert again.teacher is None
    assert set(fit(again, data)) == {"loss", "student_loss", "accuracy", "input_noise_stddev"}


@pytest.mark.slow
def test_the_student_needs_nothing_of_this_package(data, tmp_path, load_without_package):
    distiller = make(NOISES["all"]())
    fit(distiller, data)
    distiller.student.save(tmp_path / "student.keras")
    np.testing.assert_allclose(
        load_without_package(tmp_path / "student.keras", data[0], tmp_path),
        distiller.predict(data[0], verbose=0),
        rtol=1e-5,
        atol=1e-6,
    )


def test_callbacks_see_every_measure(data, tmp_path):
    distiller = make(NOISES["all"]())
    fit(
        distiller,
        data,
        epochs=3,
        callbacks=[
            keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1)),
            keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
            keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.keras")),
        ],
        validation_data=data,
    )
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    parts = {"loss", "student_loss", "hinton_loss", "accuracy"}
    noises = {"input_noise_stddev", "label_noise_share", "teacher_variance"}
    assert {"epoch", "val_loss", "val_accuracy", "learning_rate"} | parts | noises == set(rows[0])
    assert len(rows) == 3 and all(float(row["teacher_variance"]) > 0 for row in rows)
    assert all(0.15 < float(row["input_noise_stddev"]) < 0.45 for row in rows)
    last = keras.saving.load_model(tmp_path / "3.keras")
    assert_equal_weights(last, distiller)


def test_a_callback_need_not_be_in_a_list(data):
    distiller = make(TeacherDropout(), optimizer=keras.optimizers.SGD(0.0))
    stop = keras.callbacks.EarlyStopping(monitor="student_loss", min_delta=1.0, mode="min")
    assert len(fit(distiller, data, epochs=9, callbacks=stop)["loss"]) == 2


def test_early_stopping_can_watch_the_teachers_variance(data):
    distiller = make(TeacherDropout())
    stop = keras.callbacks.EarlyStopping(monitor="teacher_variance", min_delta=1e9, mode="min")
    assert len(fit(distiller, data, epochs=9, callbacks=[stop])["loss"]) == 2


def test_compiled_metrics_are_the_students(data):
    distiller = make(metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(CLASSES, name="top")])
    history = fit(distiller, data)
    assert history["top"] == [1.0, 1.0] and set(history) == {"loss", "student_loss", "hinton_loss", "accuracy", "top"}


def test_train_on_batch_is_a_step_of_fit(data):
    by_fit, by_hand = make(NOISES["all"]()), make(NOISES["all"]())
    fit(by_fit, data, epochs=1)
    for start in (0, 4, 8):
        logs = by_hand.train_on_batch(data[0][start : start + 4], data[1][start : start + 4], return_dict=True)
    assert_equal_weights(by_fit, by_hand)
    assert {"loss", "student_loss", "hinton_loss", "input_noise_stddev", "label_noise_share"} <= set(logs)


MODES = {
    "eager": ("all", {"run_eagerly": True}),
    "jit": ("none", {"jit_compile": True}),  # TensorFlow's XLA draws other numbers from the same seed
    "several steps at once": ("all", {"jit_compile": False, "steps_per_execution": 3}),
}


@pytest.mark.parametrize(("kind", "mode"), MODES.values(), ids=MODES)
def test_every_mode_of_execution_gives_the_same_training(data, kind, mode):
    plain, other = make(NOISES[kind](), jit_compile=False), make(NOISES[kind](), **mode)
    expected, history = fit(plain, data), fit(other, data)
    assert_equal_weights(plain, other, rtol=1e-4, atol=1e-5)
    assert set(history) == set(expected)
    for name, values in history.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, err_msg=name)


@pytest.fixture
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"], indirect=True)
@pytest.mark.parametrize("kind", ["none", "student"])
def test_mixed_precision_trains_as_float32(data, policy, kind):
    teacher, student = deep(1, dropout=0.5), linear(2)
    keras.config.set_dtype_policy("float32")
    mixed = Distiller(teacher, student, noise=NOISES[kind](), seed=0)
    mixed.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    history = fit(mixed, data)
    full = make(NOISES[kind]())
    expected = fit(full, data)
    assert mixed.student.layers[-1].compute_dtype == policy.removeprefix("mixed_")
    # The student's policy decides about loss scaling, also where the global one has changed since.
    assert isinstance(mixed.optimizer, keras.optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
    assert_equal_weights(mixed, full, rtol=0.05, atol=0.02)
    assert set(history) == set(expected)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=0.05)
    if kind == "student":
        np.testing.assert_allclose(history["input_noise_stddev"], expected["input_noise_stddev"], rtol=0.01)


def multiply_inputs():
    inputs = {name: keras.Input((FEATURES,), name=name) for name in ("left", "right")}
    product = keras.layers.Multiply()([inputs["left"], inputs["right"]])
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(product))


def test_models_of_several_inputs_train_without_input_noise(data):
    x = {"left": data[0], "right": data[0]}
    distiller = Distiller(multiply_inputs(), multiply_inputs(), noise=LabelNoise(0.5))
    distiller.compile("sgd")
    assert 0 <= fit(distiller, (x, data[1]))["label_noise_share"][0] <= 1


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data and tf.distribute are TensorFlow's")
def test_trains_from_a_data_set_and_under_a_strategy(data):
    import tensorflow as tf

    plain = make(NOISES["input"]())
    fit(plain, data)
    with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
        distributed = make(NOISES["input"]())
    distributed.fit(tf.data.Dataset.from_tensor_slices(data).batch(4), epochs=2, shuffle=False, verbose=0)
    assert_equal_weights(plain, distributed)


def test_a_loss_in_a_list_is_the_loss(data):
    histories = []
    for loss in ("sparse_categorical_crossentropy", ["sparse_categorical_crossentropy"]):
        distiller = Distiller(deep(1), linear(2))
        distiller.compile(keras.optimizers.SGD(0.1), loss=loss)
        histories.append(fit(distiller, data))
    assert histories[0] == histories[1]


def test_a_ready_made_callback_list_sees_the_teachers_variance(data):
    seen = []
    record = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["teacher_variance"]))
    distiller = make(TeacherDropout())
    callbacks = keras.callbacks.CallbackList([record], add_history=True, model=distiller)
    fit(distiller, data, callbacks=callbacks)
    assert len(seen) == 2 and min(seen) > 0


def open_ended(rate):
    """A model of sequences of any length, with dropout."""
    inputs = keras.Input((None, FEATURES))
    hidden = layers.GlobalAveragePooling1D()(layers.Dropout(rate)(inputs))
    return keras.Model(inputs, layers.Dense(CLASSES)(hidden))


def test_a_teacher_of_open_shape_is_measured_in_every_step(data):
    sequences = data[0][:, None].repeat(2, axis=1), data[1]
    distiller = Distiller(open_ended(0.5), open_ended(0.0), noise=TeacherDropout(), seed=0)
    distiller.compile("sgd")
    assert min(fit(distiller, sequences)["teacher_variance"]) > 0
    assert distiller.evaluate(*sequences, verbose=0, return_dict=True).keys() == {"loss", "accuracy"}
    idle = Distiller(open_ended(1e-12), open_ended(0.0), noise=TeacherDropout(), seed=0)
    idle.compile("sgd")
    with pytest.raises(ValueError, match="`TeacherDropout` does nothing"):
        fit(idle, sequences)


def test_a_subclassed_student_takes_label_noise_with_its_classes_named(data):
    class Student(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(CLASSES)

        def call(self, inputs):
            return self.dense(inputs)

    student = Student()
    student(data[0])
    distiller = Distiller(linear(1), student, noise=LabelNoise(1.0, num_classes=CLASSES), seed=0)
    distiller.compile("sgd")
    assert fit(distiller, data)["label_noise_share"][0] > 0.2
