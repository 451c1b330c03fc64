"""Distillation losses as objects: what they compute, their defaults, and what they refuse."""

import keras
import numpy as np
import pytest

from tfnoisekd import losses
from tfnoisekd.distillation_losses import RKD, AttentionTransfer, DistillationLoss, Hinton, SimilarityPreserving


@pytest.fixture
def logits(rng):
    return rng.normal(0, 3, (2, 6, 5)).astype("float32")


@pytest.fixture
def maps(rng):
    return [rng.normal(size=(4, 6, 6, width)).astype("float32") for width in (3, 5)]


def test_hinton_computes_the_function_unweighted(logits):
    loss = Hinton(alpha=0.3, temperature=2.0)
    assert float(loss.compute_loss(*logits)) == float(losses.hinton(*logits, temperature=2.0))
    weight = np.arange(6, dtype="float32")
    assert float(loss.compute_loss(*logits, sample_weight=weight)) == float(
        losses.hinton(*logits, temperature=2.0, sample_weight=weight)
    )


def test_alpha_weighs_the_two_terms_of_equation_1():
    loss = Hinton(alpha=0.25)
    assert (loss.weight, loss.student_loss_weight, loss.weights) == (0.25, 0.75, {"hinton": 0.25})


@pytest.mark.parametrize("weight", [None, np.array([0.0, 2.0, 1.0, 0.5], "float32")], ids=["plain", "weighted"])
def test_each_object_computes_its_function_unweighted(maps, weight):
    teacher, student = maps
    cases = [
        (AttentionTransfer(7.0, ["a"]), losses.attention_transfer([teacher], [student], weight)),
        (AttentionTransfer(7.0, ["a", "b"]), losses.attention_transfer([teacher] * 2, [student] * 2, weight)),
        (SimilarityPreserving(7.0, "a"), losses.similarity_preserving(teacher, student, weight)),
        (RKD(7.0, 0.0, "a"), 7.0 * losses.rkd_distance(teacher, student, weight)),
        (RKD(0.0, 7.0, "a"), 7.0 * losses.rkd_angle(teacher, student, weight)),
    ]
    for loss, expected in cases:
        several = isinstance(loss, AttentionTransfer) and len(loss.student_layers) == 2
        inputs = [[each] * 2 for each in maps] if several else maps
        assert float(loss.compute_loss(*inputs, sample_weight=weight)) == pytest.approx(float(expected), rel=1e-6)
        assert expected > 0


def test_rkd_has_two_terms_with_a_weight_each(maps):
    terms = RKD(2.0, 3.0).compute_terms(*maps)
    assert list(terms) == ["rkd_distance", "rkd_angle"] == list(RKD().weights)
    assert float(terms["rkd_distance"]) == float(losses.rkd_distance(*maps))
    assert float(terms["rkd_angle"]) == float(losses.rkd_angle(*maps))
    total = 2 * float(terms["rkd_distance"]) + 3 * float(terms["rkd_angle"])
    assert float(RKD(2.0, 3.0).compute_loss(*maps)) == pytest.approx(total, rel=1e-6)
    assert RKD(angle_weight=0).weights == {"rkd_distance": 25.0}
    assert list(RKD(distance_weight=0).compute_terms(*maps)) == ["rkd_angle"]


DEFAULTS = {
    Hinton: {"alpha": 0.9, "temperature": 4.0},
    AttentionTransfer: {"weight": 1000.0, "layers": ("group1", "group2", "group3"), "teacher_layers": None},
    SimilarityPreserving: {"weight": 3000.0, "layer": "group3", "teacher_layer": None},
    RKD: {"distance_weight": 25.0, "angle_weight": 50.0, "layer": "embedding", "teacher_layer": None},
}


@pytest.mark.parametrize("kind", DEFAULTS, ids=lambda kind: kind.__name__)
def test_defaults_are_the_papers(kind):
    assert kind().get_config() == DEFAULTS[kind]
    assert kind().teacher_layers == kind().student_layers


def test_they_say_what_they_are():
    assert repr(Hinton()) == "Hinton(alpha=0.9, temperature=4.0)"
    assert repr(RKD(layer="a")) == "RKD(distance_weight=25.0, angle_weight=50.0, layer='a')"


@pytest.mark.parametrize(
    "loss",
    [
        Hinton(alpha=0.3, temperature=2.5),
        AttentionTransfer(5, ["a", "b"], teacher_layers=["c", "d"]),
        AttentionTransfer(5.0, ("a",)),
        SimilarityPreserving(5, "a", teacher_layer="b"),
        RKD(0, 5, "a", teacher_layer="b"),
    ],
    ids=repr,
)
def test_serialises(loss):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(again) is type(loss) and again.get_config() == loss.get_config()
    assert (again.teacher_layers, again.student_layers) == (loss.teacher_layers, loss.student_layers)


@pytest.mark.parametrize("alpha", [-0.1, 1.4, float("nan"), "0.9", True, None])
def test_refuses_an_impossible_alpha(alpha):
    with pytest.raises(ValueError, match="`alpha` must be between 0 and 1. Received: alpha="):
        Hinton(alpha=alpha)


@pytest.mark.parametrize("temperature", [0, -1.0, float("inf"), float("nan"), "4", True])
def test_refuses_an_impossible_temperature(temperature):
    with pytest.raises(ValueError, match="`temperature` must be a positive number. Received: temperature="):
        Hinton(temperature=temperature)


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), "3000", True, None])
@pytest.mark.parametrize("kind", [AttentionTransfer, SimilarityPreserving, RKD])
def test_refuses_an_impossible_weight(kind, weight):
    with pytest.raises(ValueError, match="weight` must be a number of at least 0. Received: .*weight="):
        kind(weight)


REFUSED = {
    "one name for many": (lambda: AttentionTransfer(layers="group1"), "`layers` must be a list of names.*'group1'"),
    "no layer": (lambda: AttentionTransfer(layers=[]), r"`layers` must be a list of names.*\[\]"),
    "layers as numbers": (lambda: AttentionTransfer(layers=[1]), "`layers` must be the name of a layer.*layers=1"),
    "other number": (
        lambda: AttentionTransfer(layers=["a"], teacher_layers=["b", "c"]),
        "`layers` and `teacher_layers` must have equal length. Received: 1 and 2",
    ),
    "layer as a list": (lambda: SimilarityPreserving(layer=["a"]), r"`layer` must be the name of a layer.*\['a'\]"),
    "no teacher's layer": (lambda: RKD(teacher_layer=""), "`teacher_layer` must be the name of a layer"),
    "two zeros": (lambda: RKD(0, 0), "`distance_weight` or `angle_weight` must be above 0"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refuses(case):
    make, message = case
    with pytest.raises(ValueError, match=message):
        make()


def test_the_base_asks_for_a_computation():
    with pytest.raises(NotImplementedError):
        DistillationLoss().compute_loss(None, None)
