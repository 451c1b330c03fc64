"""A distiller whose losses read features: one step against independent gradients, each model run once."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from reference import gradients
from reference import losses as reference
from tiny_models import CLASSES, FEATURES, Watch, convolutional, deep

from tfnoisekd import checks
from tfnoisekd.distillation_losses import RKD, AttentionTransfer, DistillationLoss, Hinton, SimilarityPreserving
from tfnoisekd.distiller import Distiller
from tfnoisekd.features import OUTPUTS, Supervised, extractor
from tfnoisekd.noise import InputNoise, LabelNoise, TeacherDropout

BATCH = 5
MODES = {"eager": {"run_eagerly": True}, "graph": {"jit_compile": False}, "jit": {"jit_compile": True}}
LOSSES = {
    "at": lambda: AttentionTransfer(10.0, ["group1", "group2"]),
    "sp": lambda: SimilarityPreserving(20.0, "group2"),
    "rkd": lambda: RKD(2.0, 3.0),
    "at+h": lambda: [AttentionTransfer(10.0, ["group2"]), Hinton()],
    "all": lambda: [
        Hinton(0.5, 2.0),
        AttentionTransfer(10.0, ["group1"]),
        SimilarityPreserving(20.0, "group2"),
        RKD(2.0, 3.0),
    ],
}


@pytest.fixture
def x(rng):
    return rng.random((BATCH, 6, 6, 1)).astype("float32")


@pytest.fixture
def y(rng):
    return rng.integers(0, CLASSES, BATCH).astype("int32")


def linear(seed, width=4):
    """Named layers without nonlinearity: (batch, 4) -> "first" (batch, width) -> logits, so that gradients are easy."""
    initializer = keras.initializers.RandomNormal(stddev=1.0, seed=seed)
    options = {"use_bias": False, "kernel_initializer": initializer}
    first, second = layers.Dense(width, name="first", **options), layers.Dense(CLASSES, name="second", **options)
    return keras.Sequential([keras.Input((FEATURES,)), first, second])


def fit(distiller, x, y, learning_rate=0.1, mode=None, **kwargs):
    distiller.compile(keras.optimizers.SGD(learning_rate), **(mode or {}))
    history = distiller.fit(x, y, batch_size=len(x), shuffle=False, verbose=0, **kwargs).history
    return {name: values[0] for name, values in history.items()}


REFERENCES = {
    "sp": (lambda: SimilarityPreserving(20.0, "first"), lambda t, s: 20 * reference.similarity_preserving(t, s)),
    "rkd": (
        lambda: RKD(2.0, 3.0, "first"),
        lambda t, s: 2 * reference.rkd_distance(t, s) + 3 * reference.rkd_angle(t, s),
    ),
}


@pytest.mark.parametrize("kind", REFERENCES)
def test_one_step_is_cross_entropy_plus_the_weighted_loss(rng, y, kind):
    make, value = REFERENCES[kind]
    x = rng.normal(size=(BATCH, FEATURES)).astype("float32")
    teacher, student = linear(1, width=6), linear(2)
    features = x.astype("float64") @ teacher.get_weights()[0]
    first, second = (weight.astype("float64") for weight in student.get_weights())

    def loss(kernel):
        hidden = x @ kernel
        return reference.cross_entropy(y, hidden @ second) + value(features, hidden)

    expected = first - 0.1 * gradients.central_differences(loss, first)
    logs = fit(Distiller(teacher, student, losses=make()), x, y)
    np.testing.assert_allclose(student.get_weights()[0], expected, rtol=2e-3, atol=2e-4)
    assert logs["loss"] == pytest.approx(loss(first), rel=1e-4)


@pytest.mark.parametrize("kind", LOSSES)
def test_logs_are_the_references_and_add_up(x, y, kind):
    teacher, student = convolutional(1, channels=4, watch=[Watch(BATCH)]), convolutional(2, stride=2)
    distiller = Distiller(teacher, student, losses=LOSSES[kind]())
    names = checks.layer_names(distiller.distillation_losses, "teacher") - {OUTPUTS}
    copy = keras.models.clone_model(student)
    copy.set_weights(student.get_weights())
    t, s = (
        {name: ops.convert_to_numpy(value) for name, value in extractor(model, names)(x, training=training).items()}
        for model, training in ((teacher, False), (copy, True))
    )
    logs = fit(distiller, x, y)
    maps = {"at": ["group1", "group2"], "at+h": ["group2"], "all": ["group1"]}.get(kind, [])
    terms = {
        "student_loss": (1.0, lambda: reference.cross_entropy(y, s[OUTPUTS])),
        "attention_transfer_loss": (
            10.0,
            lambda: reference.attention_transfer(*[[e[n] for n in maps] for e in (t, s)]),
        ),
        "similarity_preserving_loss": (20.0, lambda: reference.similarity_preserving(t["group2"], s["group2"])),
        "rkd_distance_loss": (2.0, lambda: reference.rkd_distance(t["embedding"], s["embedding"])),
        "rkd_angle_loss": (3.0, lambda: reference.rkd_angle(t["embedding"], s["embedding"])),
    }
    if kind == "at+h":
        terms |= {"student_loss": (0.1, terms["student_loss"][1])}
        terms |= {"hinton_loss": (0.9, lambda: reference.hinton(t[OUTPUTS], s[OUTPUTS], 4.0))}
    if kind == "all":
        terms |= {"student_loss": (0.5, terms["student_loss"][1])}
        terms |= {"hinton_loss": (0.5, lambda: reference.hinton(t[OUTPUTS], s[OUTPUTS], 2.0))}
    total = 0.0
    for name in set(logs) - {"loss", "accuracy"}:
        weight, value = terms[name]
        assert logs[name] == pytest.approx(value(), rel=2e-3, abs=1e-6), name
        total += weight * logs[name]
    assert logs["loss"] == pytest.approx(total, rel=1e-5)
    assert set(logs) - {"loss", "accuracy", "student_loss"} == {
        f"{term}_loss" for loss in distiller.distillation_losses for term in loss.weights
    }


@pytest.mark.parametrize("kind", LOSSES)
def test_each_model_runs_once_a_step_whatever_the_losses(x, y, kind):
    teacher, student = (convolutional(seed, watch=[Watch(BATCH)]) for seed in (1, 2))
    before = teacher.get_weights()
    distiller = Distiller(teacher, student, losses=LOSSES[kind](), noise=InputNoise(0.5), seed=0)
    fit(distiller, x, y, epochs=3)
    assert [float(model.layers[0].calls) for model in (teacher, student)] == [3, 3]
    np.testing.assert_array_equal(ops.convert_to_numpy(teacher.layers[0].seen), x)
    assert (ops.convert_to_numpy(student.layers[0].seen) != x).all()
    for old, new in zip(before[2:], teacher.get_weights()[2:], strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX has one mode; its eager one takes minutes")
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_every_mode_of_execution_takes_the_same_step(x, y, mode):
    students = [convolutional(2), convolutional(2)]
    for student, how in zip(students, (MODES["graph"], mode), strict=True):
        fit(Distiller(convolutional(1, channels=4), student, losses=LOSSES["all"]()), x, y, mode=how)
    for one, two in zip(*(student.get_weights() for student in students), strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-3, atol=1e-5)


def test_evaluation_leaves_batch_norm_alone(x, y):
    student = convolutional(2)
    distiller = Distiller(convolutional(1), student, losses=LOSSES["all"]())
    fit(distiller, x, y)
    before = student.get_weights()
    distiller.evaluate(x, y, verbose=0)
    distiller.predict(x, verbose=0)
    for old, new in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_all_noises_join_all_losses(x, y):
    teacher = keras.Sequential([keras.Input((6, 6, 1)), layers.Dropout(0.5, seed=0), convolutional(1)])
    noises = [InputNoise(0.3), LabelNoise(0.5), TeacherDropout()]
    logs = fit(Distiller(teacher, convolutional(2), losses=LOSSES["all"](), noise=noises, seed=0), x, y)
    assert {"input_noise_stddev", "label_noise_share", "teacher_variance"} <= set(logs)
    assert logs["teacher_variance"] > 0 and all(np.isfinite(value) for value in logs.values())


def test_a_fickle_teachers_features_vary(x, y):
    def make(noise):
        model = convolutional(1)
        teacher = keras.Sequential([keras.Input((6, 6, 1)), layers.Dropout(0.5, seed=0), model])
        return Distiller(teacher, convolutional(2), losses=RKD(), noise=noise, seed=0)

    still, fickle = make(()), make(TeacherDropout())
    for distiller in (still, fickle):
        distiller.compile(keras.optimizers.SGD(0.0))
    values = [
        distiller.fit(x, y, batch_size=BATCH, shuffle=False, epochs=2, verbose=0).history["rkd_distance_loss"]
        for distiller in (still, fickle)
    ]
    assert values[0][0] == pytest.approx(values[0][1], rel=1e-4)
    assert abs(values[1][0] - values[1][1]) > 1e-4


def test_layers_may_be_named_differently_in_the_teacher(rng, y):
    x = rng.normal(size=(BATCH, FEATURES)).astype("float32")
    teacher, student = deep(1), linear(2)
    loss = RKD(2.0, 0.0, "first", teacher_layer="hidden")
    t = np.maximum(x @ teacher.layers[0].get_weights()[0] + teacher.layers[0].get_weights()[1], 0)
    s = x @ student.get_weights()[0]
    logs = fit(Distiller(teacher, student, losses=loss), x, y)
    assert logs["rkd_distance_loss"] == pytest.approx(reference.rkd_distance(t, s), rel=1e-3)


def test_two_losses_of_a_kind_are_numbered(x, y):
    losses = [SimilarityPreserving(1.0, "group1"), SimilarityPreserving(2.0, "group2")]
    logs = fit(Distiller(convolutional(1), convolutional(2), losses=losses), x, y)
    parts = [logs[name] for name in ("student_loss", "similarity_preserving_loss", "similarity_preserving_2_loss")]
    assert logs["loss"] == pytest.approx(np.dot(parts, [1, 1, 2]), rel=1e-5)


def test_what_the_teacher_said_before_spares_its_pass(x, y):
    teachers, students = (
        [convolutional(1, watch=[Watch(BATCH)]) for _ in range(2)],
        [convolutional(2) for _ in range(2)],
    )
    known = extractor(teachers[0], ["embedding"])(x, training=False)
    known = {name: ops.convert_to_numpy(value) for name, value in known.items()}
    distillers = [
        Distiller(teacher, student, losses=[Hinton(), RKD()])
        for teacher, student in zip(teachers, students, strict=True)
    ]
    histories = []
    for distiller, labels in zip(distillers, (y, Supervised(y, known)), strict=True):
        distiller.compile(keras.optimizers.SGD(0.1))
        histories.append(distiller.train_on_batch(x, labels, return_dict=True))
    assert [float(teacher.layers[0].calls) for teacher in teachers] == [2, 0]
    assert histories[0] == pytest.approx(histories[1], rel=1e-5)
    for one, two in zip(*(student.get_weights() for student in students), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def test_a_fickle_teacher_can_not_have_been_asked_before(rng, y):
    x = rng.normal(size=(BATCH, FEATURES)).astype("float32")
    distiller = Distiller(deep(1, dropout=0.5), deep(2), noise=TeacherDropout())
    distiller.compile("sgd", run_eagerly=True)
    with pytest.raises(
        ValueError, match="`TeacherDropout` needs a teacher that runs in every step.*without a teacher c"
    ):
        distiller.train_on_batch(x, Supervised(y, {OUTPUTS: np.zeros((BATCH, CLASSES), "float32")}))


@keras.saving.register_keras_serializable(package="tests")
class Hint(DistillationLoss):
    """A loss of one's own: the mean squared difference of two layers."""

    name = "hint"
    weight = 0.5
    teacher_layers = student_layers = "embedding"

    def compute_loss(self, teacher_outputs, student_outputs, sample_weight=None, **kwargs):
        return ops.mean(ops.square(teacher_outputs - student_outputs))


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="saving is tested there without features, in less time")
def test_a_distiller_with_features_is_saved_and_goes_on(x, y, tmp_path):
    def make():
        losses = [AttentionTransfer(10.0, ["group1"]), Hinton(), Hint()]
        distiller = Distiller(convolutional(1), convolutional(2), losses=losses, noise=InputNoise(0.1), seed=0)
        distiller.compile(keras.optimizers.SGD(0.1, momentum=0.9))
        return distiller

    straight, broken = make(), make()
    straight.fit(x, y, batch_size=2, epochs=2, shuffle=False, verbose=0)
    broken.fit(x, y, batch_size=2, epochs=1, shuffle=False, verbose=0)
    broken.save(tmp_path / "distiller.keras")
    resumed = keras.saving.load_model(tmp_path / "distiller.keras")
    assert len(resumed.weights) == len(straight.weights)
    resumed.fit(x, y, batch_size=2, epochs=1, shuffle=False, verbose=0)
    for one, two in zip(straight.student.get_weights(), resumed.student.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-4)


def test_sample_weights_reach_every_loss(x, y):
    # An example of weight 0 gives no gradient of its own: its label and its own rows don't matter.
    weight = np.array([1, 2, 0.5, 1, 1], "float32")
    logs = [
        fit(Distiller(convolutional(1), convolutional(2), losses=LOSSES["all"]()), x, y, sample_weight=factor * weight)
        for factor in (1, 2)
    ]
    for name in logs[0].keys() - {"accuracy"}:
        assert logs[1][name] == pytest.approx(2 * logs[0][name], rel=1e-4), name
