"""What a distiller refuses, and the words it says it with."""

import keras
import numpy as np
import pytest
from keras import layers
from tiny_models import CLASSES, FEATURES, Subclassed, deep, linear

from tfnoisekd.distillation_losses import RKD, Hinton
from tfnoisekd.distiller import Distiller
from tfnoisekd.noise import InputNoise, LabelNoise, Noise, TeacherDropout


def two_outputs():
    inputs = keras.Input((FEATURES,))
    return keras.Model(inputs, [layers.Dense(CLASSES)(inputs), layers.Dense(CLASSES)(inputs)])


def more_classes():
    return keras.Sequential([keras.Input((FEATURES,)), layers.Dense(CLASSES + 1)])


def unbuilt():
    return keras.Sequential([layers.Dense(CLASSES)])


REFUSED = {
    "no student": (lambda: Distiller(linear(1), None), r"`student` must be a keras.Model. Received: None"),
    "student by name": (lambda: Distiller(linear(1), "wrn-16-2"), r"`student` must be a keras.Model. Received: 'wrn"),
    "teacher's outputs": (lambda: Distiller(np.zeros((2, 3)), linear(1)), r"`teacher` must be a keras.Model"),
    "two outputs": (lambda: Distiller(two_outputs(), linear(1)), r"`teacher` must have one output tensor.*2 outputs"),
    "other classes": (
        lambda: Distiller(linear(1), more_classes()),
        r"must have outputs of the same shape .*teacher \(3,\), student \(4,\)",
    ),
    "unbuilt teacher": (lambda: Distiller(unbuilt(), linear(1)), r"`teacher` must be built.*keras.Input"),
    "unbuilt student": (lambda: Distiller(None, unbuilt()), r"`student` must be built.*keras.Input"),
    "softmax teacher": (
        lambda: Distiller(linear(1, activation="softmax"), linear(2)),
        r"`teacher` must output logits.*ends in a softmax.*from_logits=False",
    ),
    "softmax student": (
        lambda: Distiller(linear(1), linear(2, activation="softmax")),
        r"`student` must output logits.*ends in a softmax",
    ),
    "logits as probabilities": (
        lambda: Distiller(linear(1), linear(2, activation="softmax"), from_logits=False),
        r"`teacher` must end in a softmax, since from_logits=False",
    ),
    "losses without teacher": (
        lambda: Distiller(None, linear(1), losses=Hinton()),
        r"`losses` need a teacher. Received: teacher=None, losses=\[Hinton",
    ),
    "loss by name": (lambda: Distiller(linear(1), linear(2), losses="hinton"), r"`losses` must hold .*'hinton'"),
    "loss of Keras": (
        lambda: Distiller(linear(1), linear(2), losses=[keras.losses.KLDivergence()]),
        r"`losses` must hold distillation losses such as `Hinton\(\)`",
    ),
    "two of Hinton's": (
        lambda: Distiller(linear(1), linear(2), losses=[Hinton(), Hinton(0.1)], student_loss_weight=1.0),
        r"`losses` may hold one `Hinton`.*Hinton\(alpha=0.1, temperature=4.0\)",
    ),
    "a layer that is not there": (
        lambda: Distiller(deep(1), deep(2), losses=[RKD(layer="hiden")]),
        r"`(teacher|student)` has no layer 'hiden'.*Did you mean `hidden`",
    ),
    "features of a subclassed student": (
        lambda: Distiller(deep(1), Subclassed(), losses=[RKD(layer="hidden")]),
        r"`student` must be a functional or Sequential model.*class Subclassed.*Build it that way, or use a loss "
        r"of the outputs only",
    ),
    "noise by name": (lambda: Distiller(linear(1), linear(2), noise="label"), r"`noise` must hold noises.*'label'"),
    "noise as a number": (lambda: Distiller(linear(1), linear(2), noise=[0.1]), r"`noise` must hold noises.*0.1"),
    "noise as a class": (lambda: Distiller(linear(1), linear(2), noise=LabelNoise), r"`noise` must hold noises"),
    "two noises of a kind": (
        lambda: Distiller(linear(1), linear(2), noise=[LabelNoise(0.1), InputNoise(0.1), LabelNoise(0.2)]),
        r"`noise` may hold one noise of each kind. Received: 2 LabelNoise",
    ),
    "label noise of other classes": (
        lambda: Distiller(linear(1), linear(2), noise=LabelNoise(0.1, num_classes=10)),
        r"`num_classes` of LabelNoise\(rate=0.1, num_classes=10\) must equal the student's 3 outputs",
    ),
    "no fickle teacher": (
        lambda: Distiller(None, linear(1), noise=TeacherDropout()),
        r"`TeacherDropout` needs a teacher. Received: teacher=None",
    ),
    "steady teacher": (
        lambda: Distiller(deep(1), linear(2), noise=TeacherDropout()),
        r"`TeacherDropout` needs a teacher with active dropout.*wide_resnet\(40, 2, dropout=0.4\)",
    ),
    "dropout of rate 0": (
        lambda: Distiller(linear(1, [layers.Dropout(0.0)]), linear(2), noise=TeacherDropout()),
        r"`TeacherDropout` needs a teacher with active dropout",
    ),
    "teacher that moves": (
        lambda: Distiller(
            deep(1, 0.5, [layers.SpectralNormalization(layers.Dense(FEATURES))]), linear(2), noise=TeacherDropout()
        ),
        r"`TeacherDropout` must leave the teacher as it is. Received: .*whose .* moves with every forward pass",
    ),
    "text seed": (lambda: Distiller(linear(1), linear(2), seed="0"), r"`seed` must be an integer"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case):
    make, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("weight", [-1, "0.1", True, float("nan"), float("inf")])
def test_refuses_an_impossible_weight(weight):
    with pytest.raises(ValueError, match="`student_loss_weight` must be a number of at least 0. Received: "):
        Distiller(linear(1), linear(2), student_loss_weight=weight)


def test_refuses_shared_weights():
    shared = layers.Dense(8)
    models = [keras.Sequential([keras.Input((FEATURES,)), shared, layers.Dense(CLASSES)]) for _ in range(2)]
    with pytest.raises(ValueError, match="must not share weights. Received: 2 shared variables.*clone_model"):
        Distiller(*models)
    with pytest.raises(ValueError, match="must not share weights"):
        Distiller(models[0], models[0])


def test_refusing_leaves_the_teacher_as_it_was():
    teacher = linear(1)
    with pytest.raises(ValueError, match="`noise` must hold"):
        Distiller(teacher, linear(2), noise="label")
    assert teacher.trainable
    Distiller(teacher, linear(2))
    assert not teacher.trainable


@pytest.mark.parametrize(
    "loss",
    [
        keras.losses.SparseCategoricalCrossentropy(),
        keras.losses.CategoricalCrossentropy(from_logits=False),
        keras.losses.CategoricalFocalCrossentropy(),
        keras.losses.sparse_categorical_crossentropy,
        "categorical_focal_crossentropy",
    ],
    ids=["sparse", "one-hot", "focal", "function", "name"],
)
def test_compile_refuses_a_loss_that_expects_probabilities(loss):
    with pytest.raises(ValueError, match="`loss` must be made with from_logits=True, as the distiller is"):
        Distiller(linear(1), linear(2)).compile("sgd", loss=loss)


def test_compile_refuses_a_loss_that_expects_logits_of_softmax_models():
    distiller = Distiller(linear(1, activation="softmax"), linear(2, activation="softmax"), from_logits=False)
    with pytest.raises(ValueError, match="`loss` must be made with from_logits=False"):
        distiller.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))


@pytest.mark.parametrize("name", ["sparse_categorical_crossentropy", "SparseCategoricalCrossentropy"])
def test_compile_reads_logits_where_the_loss_is_a_name(name):
    distiller = Distiller(linear(1), linear(2))
    distiller.compile("sgd", loss=name)
    assert distiller.loss.get_config()["from_logits"] is True


def test_fit_refuses_to_train_without_labels():
    distiller = Distiller(linear(1), linear(2))
    distiller.compile("sgd")
    with pytest.raises(ValueError, match="`fit` needs labels: pass `y`.*Received: inputs only"):
        distiller.fit(np.zeros((4, FEATURES), "float32"), verbose=0)


def test_fit_refuses_integer_images_for_input_noise():
    distiller = Distiller(linear(1), linear(2), noise=InputNoise(0.1))
    distiller.compile("sgd")
    with pytest.raises(ValueError, match="`InputNoise` needs float inputs"):
        distiller.fit(np.zeros((4, FEATURES), "uint8"), np.zeros(4), verbose=0)


def test_fit_refuses_a_dropout_that_does_nothing():
    distiller = Distiller(linear(1, [layers.Dropout(1e-12)]), linear(2), noise=TeacherDropout())
    distiller.compile("sgd")
    with pytest.raises(ValueError, match="`TeacherDropout` does nothing.*rate too small"):
        distiller.fit(np.ones((4, FEATURES), "float32"), np.zeros(4), verbose=0)


def test_a_noise_of_ones_own_needs_no_measure():
    class Flip(Noise):
        def perturb_inputs(self, inputs, seed):
            return -inputs, None

    distiller = Distiller(linear(1), linear(2), noise=Flip())
    distiller.compile("sgd")
    history = distiller.fit(np.ones((4, FEATURES), "float32"), np.zeros(4), verbose=0).history
    assert set(history) == {"loss", "student_loss", "hinton_loss", "accuracy"}


def test_an_unbuilt_student_takes_the_teachers_input():
    student = unbuilt()
    Distiller(linear(1), student)
    assert student.input_shape == (None, FEATURES)


@pytest.mark.parametrize("loss", [["mse", "mse"], {"student": "mse"}])
def test_one_output_has_one_loss(loss):
    with pytest.raises(ValueError, match="`loss` must be one loss, for the one output of the models"):
        Distiller(linear(1), linear(2)).compile("sgd", loss=loss)


def test_one_hot_labels_need_their_loss():
    distiller = Distiller(linear(1), linear(2))
    distiller.compile("sgd")
    with pytest.raises(ValueError, match="for one-hot labels compile with loss='categorical_crossentropy'"):
        distiller.fit(np.zeros((4, FEATURES), "float32"), np.eye(CLASSES)[[0, 1, 2, 0]], verbose=0)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only tf.data has shapes that are not known")
@pytest.mark.parametrize("shape", [(None, None), None])
def test_label_noise_needs_labels_of_known_shape(shape):
    import tensorflow as tf

    rows = tf.data.Dataset.from_tensor_slices(tf.eye(CLASSES)).batch(3)
    labels = rows.map(lambda row: tf.ensure_shape(tf.py_function(lambda r: r, [row], tf.float32), shape))
    inputs = tf.data.Dataset.from_tensor_slices(tf.zeros((3, FEATURES))).batch(3)
    distiller = Distiller(linear(1), linear(2), noise=LabelNoise(0.5))
    distiller.compile("sgd", loss="categorical_crossentropy")
    with pytest.raises(ValueError, match=r"`tf.ensure_shape\(labels, \(None, 3\)\)` sets it"):
        distiller.fit(tf.data.Dataset.zip(inputs, labels), shuffle=False, verbose=0)
