"""`keras.distillation` and this package: its losses in our distiller, ours in its, and where it computes otherwise."""

import keras
import numpy as np
import pytest
from keras import ops
from reference import losses as reference
from tiny_models import CLASSES, FEATURES, Watch, convolutional, deep, linear

from tfnoisekd.distillation_losses import RKD, AttentionTransfer, Hinton, SimilarityPreserving
from tfnoisekd.distiller import Distiller
from tfnoisekd.keras_losses import Weighted

LogitsDistillation = keras.distillation.LogitsDistillation
FeatureDistillation = keras.distillation.FeatureDistillation
BATCH = 6


@pytest.fixture
def x(rng):
    return rng.normal(size=(BATCH, FEATURES)).astype("float32")


@pytest.fixture
def y(rng):
    return rng.integers(0, CLASSES, BATCH).astype("int32")


def logs_of(distiller, x, y, **kwargs):
    distiller.compile(keras.optimizers.SGD(0.1))
    history = distiller.fit(x, y, batch_size=len(x), shuffle=False, verbose=0, **kwargs).history
    return {name: values[0] for name, values in history.items()}


def test_a_right_logits_loss_of_keras_is_hintons(x, y):
    loss = LogitsDistillation(temperature=2.0, loss=keras.losses.KLDivergence())
    students = linear(2), linear(2)
    logs = logs_of(Distiller(linear(1), students[0], losses=loss), x, y)
    ours = logs_of(Distiller(linear(1), students[1], losses=Weighted(Hinton(temperature=2.0))), x, y)
    assert logs["logits_distillation_loss"] == pytest.approx(ours["hinton_loss"], rel=1e-4)
    assert logs["loss"] == pytest.approx(logs["student_loss"] + logs["logits_distillation_loss"], rel=1e-5)
    for one, two in zip(*(student.get_weights() for student in students), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


STRINGS = {
    "default": lambda: LogitsDistillation(temperature=2.0),
    "KL by name": lambda: LogitsDistillation(2.0, "kl_divergence"),
    "cross-entropy by name": lambda: LogitsDistillation(2.0, "categorical_crossentropy"),
    "cross-entropy": lambda: LogitsDistillation(2.0, keras.losses.CategoricalCrossentropy(from_logits=True)),
}


@pytest.mark.parametrize("make", STRINGS.values(), ids=STRINGS)
def test_a_logits_loss_without_softmax_is_replaced_with_a_warning(x, y, make):
    teacher, student = linear(1), linear(2)
    logits = [ops.convert_to_numpy(model(x)) for model in (teacher, student)]
    with pytest.warns(UserWarning, match="without softmax and without T.2.*Write `Hinton.temperature=2.0.`"):
        distiller = Distiller(teacher, student, losses=[make()])
    logs = logs_of(distiller, x, y)
    assert logs["hinton_loss"] == pytest.approx(reference.hinton(*logits, 2.0), rel=1e-4)
    assert logs["loss"] == pytest.approx(logs["student_loss"] + logs["hinton_loss"], rel=1e-5)


def test_a_loss_that_needs_no_softmax_stays(x, y):
    teacher, student = linear(1), linear(2)
    logits = [ops.convert_to_numpy(model(x)) for model in (teacher, student)]
    logs = logs_of(Distiller(teacher, student, losses=LogitsDistillation(2.0, "mse")), x, y)
    assert logs["logits_distillation_loss"] == pytest.approx(np.mean((logits[0] - logits[1]) ** 2) / 4, rel=1e-4)


def test_keras_as_of_today_takes_neither_softmax_nor_temperature_squared():
    # When this fails, Keras has mended it: the replacement above and its warning can go.
    teacher, student = np.array([[2.0, 4.0, 8.0]], "float32"), np.array([[4.0, 4.0, 2.0]], "float32")
    value = float(LogitsDistillation(temperature=2.0).compute_loss(teacher, student))
    t, s = np.clip(teacher / 2, 1e-7, 1), np.clip(student / 2, 1e-7, 1)  # logits, as if they were probabilities
    assert value == pytest.approx(float(np.sum(t * np.log(t / s))), abs=1e-6)
    assert abs(value - reference.hinton(teacher, student, 2.0)) > 1


def test_keras_as_of_today_runs_the_student_twice_and_evaluation_moves_its_statistics(rng, y):
    # Pinned for the benchmark and the documentation, which say so.
    images = rng.random((BATCH, 6, 6, 1)).astype("float32")
    student = convolutional(2, watch=[Watch(BATCH)])
    loss = FeatureDistillation("mse", teacher_layer_name="embedding", student_layer_name="embedding")
    theirs = keras.distillation.Distiller(convolutional(1), student, loss)
    theirs.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    theirs.fit(images, y, batch_size=BATCH, verbose=0)
    assert float(student.layers[0].calls) == 2
    before = student.get_weights()[-4]
    theirs.evaluate(images, y, batch_size=BATCH, verbose=0)
    assert (student.get_weights()[-4] != before).any()


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_a_feature_loss_of_keras_reads_the_named_layers(x, y, weight):
    teacher, student = deep(1), deep(2)
    hidden = [
        np.maximum(x @ model.get_layer("hidden").get_weights()[0] + model.get_layer("hidden").get_weights()[1], 0)
        for model in (teacher, student)
    ]
    loss = FeatureDistillation("mse", teacher_layer_name="hidden", student_layer_name="hidden")
    logs = logs_of(Distiller(teacher, student, losses=[Weighted(loss, weight, name="hint")]), x, y)
    assert logs["hint_loss"] == pytest.approx(np.mean((hidden[0] - hidden[1]) ** 2), rel=1e-4)
    assert logs["loss"] == pytest.approx(logs["student_loss"] + weight * logs["hint_loss"], rel=1e-5)


def test_a_feature_loss_without_layers_reads_the_outputs(x, y):
    teacher, student = linear(1), linear(2)
    logits = [ops.convert_to_numpy(model(x)) for model in (teacher, student)]
    logs = logs_of(Distiller(teacher, student, losses=FeatureDistillation("mse")), x, y)
    assert logs["feature_distillation_loss"] == pytest.approx(np.mean((logits[0] - logits[1]) ** 2), rel=1e-4)


OURS = {
    "hinton": (lambda: Hinton(temperature=2.0), None),
    "at": (lambda: AttentionTransfer(layers=["group2"]), "group2"),
    "sp": (lambda: SimilarityPreserving(layer="group2"), "group2"),
    "rkd": (lambda: RKD(2.0, 3.0), "embedding"),
}


@pytest.mark.parametrize("kind", OURS)
def test_ours_work_in_the_distiller_of_keras(rng, y, kind):
    make, layer = OURS[kind]
    images = rng.random((BATCH, 6, 6, 1)).astype("float32")
    values = []
    for own in (True, False):
        loss = make()
        teacher, student = convolutional(1), convolutional(2)
        if own:
            distiller = Distiller(teacher, student, losses=Weighted(loss, 1.0, name="mine"))
            values.append(logs_of(distiller, images, y)["mine_loss"])
            continue
        theirs = keras.distillation.Distiller(teacher, student, loss, student_loss_weight=0.5)
        theirs.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        history = theirs.fit(images, y, batch_size=BATCH, shuffle=False, verbose=0).history
        values.append(history["distillation_loss"][0])
        assert loss.teacher_layer_name == layer
    assert values[0] == pytest.approx(values[1], rel=1e-3) and values[0] > 1e-6


def test_several_layers_are_too_much_for_keras_and_it_says_so():
    with pytest.raises(ValueError, match="reads one layer of each network.*one AttentionTransfer for each layer"):
        keras.distillation.Distiller(convolutional(1), convolutional(2), AttentionTransfer(layers=["group1", "group2"]))


def test_sample_weights_do_not_reach_a_loss_of_keras_and_it_is_said(x, y):
    distiller = Distiller(linear(1), linear(2), losses=FeatureDistillation("mse"))
    with pytest.warns(UserWarning, match="Sample weights do not reach feature_distillation"):
        logs_of(distiller, x, y, sample_weight=np.ones(BATCH, "float32"))


@pytest.mark.parametrize(
    "loss",
    [
        LogitsDistillation(2.0, keras.losses.KLDivergence()),
        FeatureDistillation("mse", teacher_layer_name="hidden", student_layer_name="hidden"),
        Hinton(0.5, 2.0),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_weighted_is_saved_with_its_distiller(x, y, tmp_path, loss):
    distiller = Distiller(deep(1), deep(2), losses=Weighted(loss, 0.3, "mine"), seed=0)
    logs = logs_of(distiller, x, y)
    distiller.save(tmp_path / "distiller.keras")
    again = keras.saving.load_model(tmp_path / "distiller.keras")
    assert repr(again.distillation_losses) == repr(distiller.distillation_losses)
    first, second = (each.fit(x, y, batch_size=BATCH, verbose=0).history for each in (distiller, again))
    assert first["mine_loss"] == pytest.approx(second["mine_loss"], rel=1e-4)
    assert first["mine_loss"][0] != logs["mine_loss"]


@pytest.mark.parametrize(("loss", "weight"), [("mse", 1.0), (keras.losses.KLDivergence(), 1.0), (Hinton(), -1.0)])
def test_weighted_refuses_what_it_can_not_weigh(loss, weight):
    with pytest.raises(ValueError, match="`loss` must be a distillation loss|`weight` must be a number of at least 0"):
        Weighted(loss, weight)
