"""What a distiller computes: one step against NumPy, what it logs, and what it leaves alone."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from reference import losses as reference
from tiny_models import CLASSES, FEATURES, Watch, deep, linear

from tfnoisekd.distillation_losses import Hinton
from tfnoisekd.distiller import Distiller
from tfnoisekd.noise import InputNoise, LabelNoise, TeacherDropout

BATCH = 6
MODES = {"eager": {"run_eagerly": True}, "graph": {"jit_compile": False}, "jit": {"jit_compile": True}}
TOLERANCE = {"rtol": 1e-4, "atol": 1e-6}


@pytest.fixture
def x(rng):
    return rng.normal(size=(BATCH, FEATURES)).astype("float32")


@pytest.fixture
def y(rng):
    return rng.integers(0, CLASSES, BATCH).astype("int32")


def logits(model, x):
    """Logits of a linear model, in float64."""
    kernel, bias = (np.asarray(w, "float64") for w in model.get_weights()[-2:])
    return x.astype("float64") @ kernel + bias


def after_step(student, x, logits_gradient, learning_rate=1.0):
    """Weights of a linear model after one step of gradient descent."""
    kernel, bias = (np.asarray(w, "float64") for w in student.get_weights()[-2:])
    return [
        kernel - learning_rate * x.astype("float64").T @ logits_gradient,
        bias - learning_rate * logits_gradient.sum(axis=0),
    ]


def equation_1(teacher_logits, student_logits, y, alpha=0.9, temperature=4.0, **kwargs):
    """Gradient of (1 - alpha) * CE + alpha * T^2 * KL with respect to the student's logits."""
    return (1 - alpha) * reference.cross_entropy_gradient(y, student_logits, **kwargs) + alpha * (
        reference.hinton_gradient(teacher_logits, student_logits, temperature, **kwargs)
    )


def step(distiller, x, y, learning_rate=1.0, loss=None, mode=None, **kwargs):
    """One step of plain gradient descent on one batch; returns the epoch's logs."""
    distiller.compile(keras.optimizers.SGD(learning_rate), loss=loss, **(mode or {}))
    history = distiller.fit(x, y, batch_size=len(x), verbose=0, shuffle=False, **kwargs)
    return {name: values[0] for name, values in history.history.items()}


def assert_weights(model, expected):
    for weight, value in zip(model.get_weights()[-len(expected) :], expected, strict=True):
        np.testing.assert_allclose(weight, value, **TOLERANCE)


def snapshot(model):
    """Every variable: weights, statistics and the states of its seeds."""
    return {variable.path: ops.convert_to_numpy(variable) for variable in model.variables}


def assert_unchanged(model, before):
    for path, value in snapshot(model).items():
        np.testing.assert_array_equal(value, before[path], err_msg=path)


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_one_step_is_equation_1(x, y, mode):
    teacher, student = linear(1), linear(2)
    expected = after_step(student, x, equation_1(logits(teacher, x), logits(student, x), y))
    step(Distiller(teacher, student), x, y, mode=mode)
    assert_weights(student, expected)


def test_one_step_with_other_weights(x, y):
    teacher, student = linear(1), linear(2)
    gradient = equation_1(logits(teacher, x), logits(student, x), y, alpha=0.3, temperature=2.0)
    expected = after_step(student, x, gradient, learning_rate=0.5)
    step(Distiller(teacher, student, losses=Hinton(alpha=0.3, temperature=2.0)), x, y, learning_rate=0.5)
    assert_weights(student, expected)


def test_one_step_is_equation_2_on_what_the_student_saw(x, y):
    teacher, student = linear(1, [Watch(BATCH)]), linear(2, [Watch(BATCH)])
    initial = [logits(model, x) for model in (teacher, student)]
    kernel, bias = student.get_weights()[-2:]
    logs = step(Distiller(teacher, student, noise=InputNoise(0.3), seed=5), x, y)
    seen = ops.convert_to_numpy(student.layers[0].seen)
    np.testing.assert_array_equal(ops.convert_to_numpy(teacher.layers[0].seen), x)
    noise = seen - x
    assert (noise != 0).all() and 0.15 < noise.std() < 0.45
    np.testing.assert_allclose(logs["input_noise_stddev"], np.sqrt(np.mean(noise**2)), rtol=1e-4)
    gradient = equation_1(initial[0], seen.astype("float64") @ kernel + bias, y)
    assert_weights(student, [kernel - seen.astype("float64").T @ gradient, bias - gradient.sum(axis=0)])


def noisy_labels(student, teacher_logits=None, alpha=0.0):
    """Labels that one step saw: of a student at zero, fed with the rows of the identity matrix, at learning rate 1."""
    change = -student.get_weights()[0]  # row i is the gradient of example i
    if teacher_logits is not None:
        change = change - alpha * reference.hinton_gradient(teacher_logits, np.zeros((FEATURES, CLASSES)))
    one_hot = 1 / CLASSES - change * FEATURES / (1 - alpha)
    np.testing.assert_allclose(np.sort(one_hot, axis=1), [[0, 0, 1]] * FEATURES, atol=1e-4)
    return one_hot.argmax(axis=1)


def test_label_noise_reaches_the_cross_entropy_and_not_the_teachers_targets():
    x, y = np.eye(FEATURES, dtype="float32"), np.zeros(FEATURES, "int32")
    teacher, student = linear(1), linear(2)
    distiller = Distiller(teacher, student, noise=LabelNoise(1.0), seed=0)
    distiller.compile(keras.optimizers.SGD(1.0))
    draws = []
    for _ in range(5):
        student.set_weights([np.zeros_like(w) for w in student.get_weights()])
        history = distiller.fit(x, y, verbose=0, shuffle=False).history
        draws.append(noisy_labels(student, logits(teacher, x), alpha=0.9))
        np.testing.assert_allclose(history["label_noise_share"], np.mean(draws[-1] != 0), rtol=1e-6)
    assert set(np.concatenate(draws)) == {0, 1, 2}


@pytest.mark.parametrize("noise", [InputNoise(0.0), LabelNoise(0.0), [InputNoise(0.0), LabelNoise(0.0)]], ids=str)
def test_noise_of_no_amount_is_no_noise(x, y, noise):
    teacher, student = linear(1), linear(2)
    expected = after_step(student, x, equation_1(logits(teacher, x), logits(student, x), y))
    logs = step(Distiller(teacher, student, noise=noise), x, y)
    assert_weights(student, expected)
    assert {logs[name] for name in logs if "noise" in name} == {0.0}


def test_the_weight_of_the_cross_entropy_can_be_given(x, y):
    teacher, student = linear(1), linear(2)
    student_logits = logits(student, x)
    gradient = 0.5 * reference.cross_entropy_gradient(y, student_logits) + 0.9 * reference.hinton_gradient(
        logits(teacher, x), student_logits
    )
    expected = after_step(student, x, gradient)
    step(Distiller(teacher, student, student_loss_weight=0.5), x, y)
    assert_weights(student, expected)


@pytest.mark.parametrize("teacher", [None, 1], ids=["no teacher", "no losses"])
def test_without_distillation_losses_it_is_plain_cross_entropy(x, y, teacher):
    student = linear(2)
    expected = after_step(student, x, reference.cross_entropy_gradient(y, logits(student, x)))
    loss = reference.cross_entropy(y, logits(student, x))
    distiller = Distiller(teacher and linear(teacher), student, losses=())
    logs = step(distiller, x, y)
    assert distiller.student_loss_weight == 1.0
    assert_weights(student, expected)
    np.testing.assert_allclose([logs["loss"], logs["student_loss"]], loss, rtol=1e-5)
    assert "hinton_loss" not in logs


def test_a_student_alone_trains_under_the_same_noises(x, y):
    student = linear(2, [Watch(BATCH)])
    kernel, bias = student.get_weights()[-2:]
    step(Distiller(None, student, noise=[InputNoise(0.3)], seed=5), x, y)
    seen = ops.convert_to_numpy(student.layers[0].seen).astype("float64")
    assert (seen != x).all()
    gradient = reference.cross_entropy_gradient(y, seen @ kernel + bias)
    assert_weights(student, [kernel - seen.T @ gradient, bias - gradient.sum(axis=0)])
    x, student = np.eye(FEATURES, dtype="float32"), linear(2)
    student.set_weights([np.zeros_like(w) for w in student.get_weights()])
    logs = step(Distiller(None, student, noise=LabelNoise(1.0), seed=5), x, np.zeros(FEATURES, "int32"))
    np.testing.assert_allclose(logs["label_noise_share"], np.mean(noisy_labels(student) != 0), rtol=1e-6)


@pytest.mark.parametrize("kind", ["column", "one-hot", "float", "loss by name"])
def test_labels_of_every_kind_give_the_same_step(x, y, kind):
    teacher, student = linear(1), linear(2)
    expected = after_step(student, x, equation_1(logits(teacher, x), logits(student, x), y))
    labels, loss = {
        "column": (y[:, None], None),
        "one-hot": (np.eye(CLASSES)[y], keras.losses.CategoricalCrossentropy(from_logits=True)),
        "float": (y.astype("float32"), None),
        "loss by name": (np.eye(CLASSES)[y], "categorical_crossentropy"),
    }[kind]
    logs = step(Distiller(teacher, student), x, labels, loss=loss)
    assert_weights(student, expected)
    assert 0 <= logs["accuracy"] <= 1


def test_softmax_models_give_the_step_of_their_logits(x, y):
    teacher, student = linear(1, activation="softmax"), linear(2, activation="softmax")
    expected = after_step(student, x, equation_1(logits(teacher, x), logits(student, x), y))
    step(Distiller(teacher, student, from_logits=False), x, y)
    assert_weights(student, expected)


def test_sample_weights_scale_both_terms(x, y, rng):
    weight = rng.uniform(0, 2, BATCH).astype("float32")
    weight[:2] = 0
    teacher, student = linear(1), linear(2)
    teacher_logits, student_logits = logits(teacher, x), logits(student, x)
    expected = after_step(student, x, equation_1(teacher_logits, student_logits, y, sample_weight=weight))
    logs = step(Distiller(teacher, student), x, y, sample_weight=weight)
    assert_weights(student, expected)
    np.testing.assert_allclose(logs["student_loss"], reference.cross_entropy(y, student_logits, weight), rtol=1e-4)
    hinton = reference.hinton(teacher_logits, student_logits, sample_weight=weight)
    np.testing.assert_allclose(logs["hinton_loss"], hinton, rtol=1e-4)


def test_an_example_of_weight_zero_is_absent(x, y):
    weighted, without = linear(2), linear(2)
    step(Distiller(linear(1), weighted), x, y, sample_weight=np.array([1, 1, 1, 0, 0, 0], "float32"))
    # Keras divides by the batch size, zeros included.
    step(Distiller(linear(1), without), x[:3], y[:3], learning_rate=0.5)
    assert_weights(weighted, without.get_weights())


def test_class_weights_are_sample_weights(x, y):
    class_weight = {0: 0.0, 1: 2.0, 2: 0.5}
    teacher, student = linear(1), linear(2)
    weight = [class_weight[label] for label in y]
    expected = after_step(student, x, equation_1(logits(teacher, x), logits(student, x), y, sample_weight=weight))
    step(Distiller(teacher, student), x, y, class_weight=class_weight)
    assert_weights(student, expected)


def test_weight_decay_of_the_student_counts_and_the_teachers_does_not(x, y):
    teacher, student = linear(1, kernel_regularizer="l2"), linear(2, kernel_regularizer=keras.regularizers.L2(0.1))
    kernel = student.get_weights()[0].astype("float64")
    expected = after_step(student, x, equation_1(logits(teacher, x), logits(student, x), y))
    logs = step(Distiller(teacher, student), x, y)
    assert_weights(student, [expected[0] - 0.2 * kernel, expected[1]])
    np.testing.assert_allclose(logs["regularization_loss"], 0.1 * np.sum(kernel**2), rtol=1e-5)


@keras.saving.register_keras_serializable(package="tests")
class Penalty(layers.Layer):
    def call(self, inputs):
        self.add_loss(0.1 * ops.mean(ops.square(inputs)))
        return inputs


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_losses_added_in_the_forward_pass_count_once_a_step(x, y, mode):
    teacher, student = linear(1, [Penalty()]), linear(2, [Penalty()])
    distiller = Distiller(teacher, student)
    distiller.compile("sgd", **mode)
    history = distiller.fit(x, y, batch_size=2, epochs=2, verbose=0).history
    np.testing.assert_allclose(history["regularization_loss"], [0.1 * np.mean(x**2)] * 2, rtol=1e-5)


def test_no_regularization_is_logged_where_there_is_none(x, y):
    logs = step(Distiller(linear(1, kernel_regularizer="l2"), linear(2)), x, y)
    assert set(logs) == {"loss", "student_loss", "hinton_loss", "accuracy"}


def test_logs_are_means_over_examples_and_add_up(x, y):
    teacher, student = linear(1), linear(2, kernel_regularizer="l2")
    distiller = Distiller(teacher, student, losses=Hinton(0.7, 2.0), noise=LabelNoise(0.0))
    distiller.compile(keras.optimizers.SGD(0.0))
    # Batches of 4 and 2: a mean over batches would be another number.
    history = distiller.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history
    logs = {name: values[1] for name, values in history.items()}
    teacher_logits, student_logits = logits(teacher, x), logits(student, x)
    np.testing.assert_allclose(logs["student_loss"], reference.cross_entropy(y, student_logits), rtol=1e-5)
    np.testing.assert_allclose(logs["hinton_loss"], reference.hinton(teacher_logits, student_logits, 2.0), rtol=1e-5)
    assert logs["accuracy"] == pytest.approx(np.mean(student_logits.argmax(axis=1) == y))
    total = 0.3 * logs["student_loss"] + 0.7 * logs["hinton_loss"] + logs["regularization_loss"]
    assert logs["loss"] == pytest.approx(total, rel=1e-5)


def test_accuracy_is_measured_against_the_labels_as_given(x):
    student = linear(2)
    y = logits(student, x).argmax(axis=1)
    logs = step(Distiller(linear(1), student, noise=LabelNoise(1.0), seed=0), x, y)
    assert logs["accuracy"] == 1 and logs["label_noise_share"] > 0.2


def test_each_model_runs_once_a_step(x, y):
    teacher, student = deep(1, 0.5, [Watch(2)]), deep(2, watch=[Watch(2)])
    distiller = Distiller(teacher, student, noise=[InputNoise(0.1), LabelNoise(0.1)])
    distiller.compile("sgd")
    distiller.fit(x, y, batch_size=2, epochs=2, verbose=0)
    assert [float(model.layers[0].calls) for model in (teacher, student)] == [6, 6]


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_a_fickle_teacher_varies_and_does_not_learn(x, y, mode):
    teacher, student = deep(1, dropout=0.5), deep(2)
    before, student_before = teacher.get_weights(), student.get_weights()
    distiller = Distiller(teacher, student, noise=TeacherDropout())
    distiller.compile("sgd", **mode)
    history = distiller.fit(x, y, batch_size=2, epochs=2, verbose=0).history
    for old, new in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert all((old != new).any() for old, new in zip(student_before, student.get_weights(), strict=True))
    first, second = (ops.convert_to_numpy(teacher(x, training=True)) for _ in range(2))
    assert (first != second).any()
    assert len(history["teacher_variance"]) == 2 and min(history["teacher_variance"]) > 0
    assert history["teacher_variance"][0] != history["teacher_variance"][1]


def test_only_a_fickle_teachers_dropout_is_on(x, y):
    # A student at the teacher's own weights: the divergence is 0 unless dropout moves the teacher.
    for noise, moved in (((), False), (TeacherDropout(), True)):
        teacher, student = deep(1, dropout=0.5), deep(1)
        student.layers[1].trainable = False  # inference mode, as in the teacher
        student.set_weights(teacher.get_weights())
        logs = step(Distiller(teacher, student, noise=noise), x, y, learning_rate=0.0)
        assert (logs["hinton_loss"] > 1e-3) is moved


def test_teacher_variance_is_that_of_dropout():
    teacher = keras.Sequential([linear(1), layers.Dropout(0.5, seed=0)])
    teacher.build((None, FEATURES))
    teacher.set_weights([np.zeros((FEATURES, CLASSES)), np.full(CLASSES, 2.0)])
    x = np.zeros((4000, FEATURES), "float32")
    # Each logit is 0 or 4 with equal chances: variance 4.
    assert Distiller(teacher, linear(2), noise=TeacherDropout()).teacher_variance(x) == pytest.approx(4, rel=0.05)
    assert Distiller(teacher, linear(2)).teacher_variance(x) == 0


def test_evaluation_is_the_bare_students_and_changes_nothing(x, y):
    teacher, student = deep(1, dropout=0.5), deep(2, dropout=0.5, kernel_regularizer="l2")
    distiller = Distiller(teacher, student, noise=[InputNoise(5.0), LabelNoise(1.0), TeacherDropout()])
    distiller.compile("sgd")
    distiller.fit(x, y, verbose=0)
    before = {id(model): snapshot(model) for model in (teacher, student)}
    seed = ops.convert_to_numpy(distiller.noise_seed.state)
    ours = distiller.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)
    outputs = distiller.predict(x, verbose=0)
    as_list = distiller.evaluate(x, y, batch_size=4, verbose=0)
    for model in (teacher, student):
        assert_unchanged(model, before[id(model)])
    np.testing.assert_array_equal(ops.convert_to_numpy(distiller.noise_seed.state), seed)
    np.testing.assert_allclose(outputs, student.predict(x, verbose=0), rtol=1e-6)
    student.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    theirs = student.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)
    assert ours == pytest.approx(theirs, rel=1e-6) and set(ours) == {"loss", "accuracy"}
    assert as_list == pytest.approx([theirs["loss"], theirs["accuracy"]], rel=1e-6)


def test_validation_during_fit_is_the_bare_students(x, y):
    student = deep(2)
    distiller = Distiller(deep(1, 0.5), student, noise=[InputNoise(1.0), LabelNoise(0.5), TeacherDropout()])
    distiller.compile("sgd")
    history = distiller.fit(x, y, validation_data=(x, y), verbose=0).history
    assert {name for name in history if name.startswith("val_")} == {"val_loss", "val_accuracy"}
    assert history["val_loss"][0] == pytest.approx(distiller.evaluate(x, y, verbose=0)[0], rel=1e-6)
