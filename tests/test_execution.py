"""How a training is executed: teacher cache, precision, XLA, several devices, and every method."""

import csv
import json

import keras
import numpy as np
import pytest

from tfnoisekd import config, inspection, methods, models, runs, training
from tfnoisekd.distiller import Distiller

SETTINGS = {"teacher": "wrn-10-1", "student": "wrn-10-1", "batch_size": 40, "epochs": 2, "learning_rate": 0.05}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def train(scans, root):
    """Trains with some settings, under a teacher that all tests share."""

    def call(**overrides):
        return training.run(config.build({**SETTINGS, "data": scans, "method": "hinton"}, overrides), root=root)

    return call


@pytest.fixture(scope="module")
def plain(train):
    return train()


def history(run):
    with open(run.path / "history.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def assert_same_training(run, other, **tolerance):
    for one, two in zip(history(run), history(other), strict=True):
        assert one.keys() == two.keys()
        for name in one:
            np.testing.assert_allclose(one[name], two[name], err_msg=name, **tolerance)


@pytest.mark.slow
def test_a_cached_teacher_gives_the_same_training(train, plain):
    cold, warm = train(teacher_cache=True), train(teacher_cache=True)
    assert_same_training(cold, plain, rtol=2e-3, atol=2e-3)
    n = 2 * cold.record["data"]["train"]
    counts = [{key: run.record["teacher_cache"][key] for key in ("hits", "misses")} for run in (cold, warm)]
    # Keras also looks at the first batch to learn the shapes.
    assert sum(counts[0].values()) >= n and n / 2 < counts[0]["misses"] <= n
    assert counts[1]["hits"] >= n and counts[1]["misses"] == 0
    assert warm.record["student_weights_sha256"] == cold.record["student_weights_sha256"]
    assert warm.record["teacher_cache"]["folder"].startswith("../teachers/outputs/")
    assert plain.record["teacher_cache"] is None


@pytest.mark.slow
def test_several_steps_at_once_under_xla_give_the_same_training(train, plain):
    assert_same_training(train(xla=True, steps_per_execution=2), plain, rtol=0.02, atol=0.02)


@pytest.mark.slow
def test_half_precision_hands_over_a_float32_student(train, plain):
    run = train(precision="bfloat16")
    student = models.load(run.student_path)
    assert {layer.dtype_policy.name for layer in student.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    assert run.record["student_weights_sha256"] == inspection.weights_digest(student)
    data = training.load_data(config.Config(**run.settings()))
    predicted = student.predict(data.test.images / np.float32(255), verbose=0).argmax(axis=1)
    assert run.record["results"]["accuracy"] == np.mean(predicted == data.test.labels)
    assert history(run)[0]["student_loss"] == pytest.approx(history(plain)[0]["student_loss"], rel=0.2)
    assert history(run)[0]["student_loss"] != history(plain)[0]["student_loss"]
    assert run.record["teacher"]["weights_sha256"] != plain.record["teacher"]["weights_sha256"]


@pytest.mark.slow
def test_two_devices_train_one_student(scans, root, run_python):
    settings = {**SETTINGS, "data": scans, "method": "at+ft", "dropout": 0.2, "sigma": 0.05, "epochs": 1, "devices": 2}
    run_python(
        "from tfnoisekd import config, training\n"
        f"training.run(config.build({settings!r}), {str(root / 'two')!r}, root={str(root)!r})\n"
    )
    run = runs.Run.open(root / "two")
    row = history(run)[0]
    assert row["teacher_variance"] > 0 and row["input_noise_stddev"] == pytest.approx(0.05, rel=0.1)
    total = 0.1 * row["student_loss"] + 0.9 * row["hinton_loss"] + 1000 * row["attention_transfer_loss"]
    assert row["loss"] == pytest.approx(total, rel=1e-3)
    assert inspection.weights_digest(models.load(run.student_path)) == run.record["student_weights_sha256"]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the message is TensorFlow's")
def test_more_devices_than_there_are_is_an_error(train):
    with pytest.raises(ValueError, match="`devices` must be at most the number of devices. Received: devices=64"):
        train(devices=64, batch_size=64, method="baseline")


def test_no_cache_for_a_teacher_that_changes_its_mind(train):
    for method, reason in (("ft", "changes its mind"), ("rkd-a+ft", "changes its mind"), ("ga", "there is none")):
        with pytest.raises(ValueError, match=f"`teacher_cache` keeps what a teacher says.*{reason}.*leave it out"):
            train(method=method, teacher_cache=True)
    with pytest.raises(ValueError, match="`teacher_seeds` needs validation images"):
        train(teacher_seeds=[0, 1], validation_size=0)


def test_features_too_large_to_keep_are_refused_with_the_ways_out(train, monkeypatch):
    from tfnoisekd import teachers

    real = teachers.TeacherCache
    monkeypatch.setattr(teachers, "TeacherCache", lambda *args, **kwargs: real(*args, **kwargs, limit=10_000))
    with pytest.raises(ValueError, match="`limit` must leave room.*train without the cache"):
        train(method="at", teacher_cache=True)


@pytest.fixture
def one_step(monkeypatch):
    """Trains by one eager step in place of all epochs; keeps what it logged."""
    logs = []

    def fit(distiller: Distiller, chosen, data, *rest):
        distiller.compile(keras.optimizers.SGD(1e-3), run_eagerly=True)
        images = data.train.images[:8] / np.float32(255)
        logs.append(distiller.train_on_batch(images, data.train.labels[:8], return_dict=True))

    monkeypatch.setattr(training, "fit", fit)
    return logs


TERMS = {
    "h": ({"hinton_loss"}, 0.1),
    "ft": ({"hinton_loss"}, 0.1),
    "at": ({"attention_transfer_loss"}, 1.0),
    "sp": ({"similarity_preserving_loss"}, 1.0),
    "rkd-d": ({"rkd_distance_loss"}, 1.0),
    "rkd-a": ({"rkd_angle_loss"}, 1.0),
    "rkd-da": ({"rkd_distance_loss", "rkd_angle_loss"}, 1.0),
}
WEIGHTS = {"hinton_loss": 0.9, "attention_transfer_loss": 1000.0, "similarity_preserving_loss": 3000.0}
WEIGHTS |= {"rkd_distance_loss": 25.0, "rkd_angle_loss": 50.0}


@pytest.mark.slow
def test_every_method_by_name_has_its_losses_and_weights(scans, one_step, tmp_path):
    for method in methods.TABLE:
        del one_step[:]
        chosen = config.build({**SETTINGS, "data": scans, "method": method, "dropout": 0.2, "rate": 0.0})
        run = training.run(chosen, tmp_path / method, root=tmp_path)
        logs = one_step[-1]
        parts = [TERMS.get(part, (set(), 1.0)) for part in method.split("+")]
        if method in ("hinton", "sr", "mc"):
            parts = [TERMS["h"]]
        terms, weight = set().union(*(names for names, _ in parts)), min(weight for _, weight in parts)
        assert {name for name in logs if name.endswith("_loss")} - {"student_loss"} == terms, method
        total = weight * logs["student_loss"] + sum(WEIGHTS[name] * logs[name] for name in terms)
        assert logs["loss"] == pytest.approx(total, rel=1e-4), method
        assert ("input_noise_stddev" in logs) == (method in ("sr", "ga"))
        assert ("teacher" in json.loads((run.path / "run.json").read_text())) and run.finished


def test_layers_by_name_from_the_configuration(scans, one_step, tmp_path):
    inputs = keras.Input((16, 16, 1))
    features = keras.layers.Flatten(name="flat")(inputs)
    keras.Model(inputs, keras.layers.Dense(10)(features)).save(tmp_path / "plain.keras")
    settings = {**SETTINGS, "data": scans, "method": "rkd-da", "teacher": str(tmp_path / "plain.keras")}
    with pytest.raises(ValueError, match="`teacher` has no layer 'embedding'. Received: 'functional"):
        training.run(config.build(settings), root=tmp_path)
    assert not list(tmp_path.glob("*/run.json"))  # nothing was begun
    training.run(config.build(settings, {"teacher_layers": ["flat"]}), root=tmp_path)
    assert one_step[-1]["rkd_distance_loss"] > 0
    with pytest.raises(ValueError, match="`student` has no layer 'embeding'.*Did you mean `embedding`"):
        training.run(config.build(settings, {"layers": ["embeding"], "teacher_layers": ["flat"]}), root=tmp_path)
