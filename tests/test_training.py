"""The main path: one seed fixes everything, a killed run goes on, a bad one says why. Real scans, tiny networks."""

import contextlib
import csv
import errno
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tfnoisekd import config, disk, fitting, inspection, models, runs, teachers, training
from tfnoisekd.optimizers import CoupledSGD

SETTINGS = {"teacher": "wrn-10-1", "student": "wrn-10-1", "batch_size": 40, "epochs": 3, "learning_rate": 0.05}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder of runs, so that all tests share one cached teacher."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def settings(scans):
    """Real scans, and a short recipe."""
    return {**SETTINGS, "data": scans}


@pytest.fixture(scope="module")
def trained(root, settings):
    """A finished Messy Collaboration run, with everything that can be random switched on."""
    chosen = config.build(settings, {"method": "mc", "rate": 0.3, "sigma": 0.05, "seed": 3})
    return training.run(chosen, root=root, command="the test")


def weights(run):
    return [np.array(w) for w in models.load(run.student_path).weights]


def assert_same_weights(run, other):
    for one, two in zip(weights(run), weights(other), strict=True):
        np.testing.assert_array_equal(one, two)


def rows(run):
    with open(run.path / "history.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


class Stop(keras.callbacks.Callback):
    """Dies in the middle of an epoch, as a killed process does."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.at = (epoch, batch)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise KeyboardInterrupt


def test_a_run_leaves_what_a_person_needs(trained):
    assert trained.finished
    assert {"run.json", "history.csv", "student.keras", "tensorboard"} <= {p.name for p in trained.path.iterdir()}
    record = json.loads((trained.path / "run.json").read_text())
    assert record["provenance"]["command"] == "the test"
    assert record["config"]["rate"] == 0.3 and record["config"]["weight_decay"] == 5e-4
    assert record["data"]["train"] + record["data"]["validation"] + record["data"]["test"] == 200
    assert record["student_weights_sha256"] == inspection.weights_digest(models.load(trained.student_path))
    assert record["teacher"]["weights_sha256"] == inspection.weights_digest(models.load(trained.teacher_path()))
    assert any((trained.path / "tensorboard").rglob("events.*"))


def test_the_history_says_what_the_noise_did(trained):
    history = rows(trained)
    assert [row["epoch"] for row in history] == [0, 1, 2]
    for row in history:
        # Of the resampled share r, 1/C come out as they were.
        assert row["label_noise_share"] == pytest.approx(0.3 * 0.9, abs=0.12)
        assert row["input_noise_stddev"] == pytest.approx(0.05, rel=0.02)
        assert row["loss"] == pytest.approx(0.1 * row["student_loss"] + 0.9 * row["hinton_loss"], rel=1e-5)
        assert 0 <= row["val_accuracy"] <= 1


def test_the_results_are_those_of_the_saved_student(trained):
    data = training.load_data(config.build(trained.record["config"]))
    logits = models.load(trained.student_path).predict(data.test.images / np.float32(255), verbose=0)
    results = trained.record["results"]
    assert results["n"] == len(data.test) == 40
    assert results["accuracy"] == np.mean(logits.argmax(1) == data.test.labels)
    teacher = models.load(trained.teacher_path())
    teacher_logits = teacher.predict(data.test.images / np.float32(255), verbose=0)
    assert results["agreement"] == np.mean(logits.argmax(1) == teacher_logits.argmax(1))


def test_a_killed_run_goes_on_to_the_same_weights_and_reuses_the_teacher(trained, root):
    roles = []

    def die(role, chosen):
        roles.append(role)
        return Stop(epoch=1, batch=1)

    chosen = config.build(trained.record["config"])
    with pytest.raises(KeyboardInterrupt):
        training.run(chosen, root / "killed", root=root, progress=die)
    assert roles == ["student"]
    assert runs.Run.open(root / "killed").record["status"] == "interrupted"
    resumed = training.resume(root / "killed", root=root)
    assert_same_weights(resumed, trained)
    assert rows(resumed) == rows(trained)
    assert resumed.record["results"] == trained.record["results"]
    # A finished run has nothing left to do.
    assert training.resume(root / "killed", root=root).record["finished_at"] == resumed.record["finished_at"]


@pytest.mark.slow
def test_a_run_keeps_where_each_part_of_it_was_trained(trained, root, monkeypatch):
    """Other threads round otherwise: the record tells those that a run went on with from those it was begun with."""
    chosen = config.build(trained.record["config"])
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    with pytest.raises(KeyboardInterrupt):
        training.run(chosen, root / "threads", root=root, progress=lambda *_: Stop(epoch=1, batch=1), command="first")
    assert "resumed" not in runs.Run.open(root / "threads").record
    for threads, epoch in (("2", 2), ("3", 9)):
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", threads)
        with contextlib.suppress(KeyboardInterrupt):
            training.resume(
                root / "threads",
                root=root,
                command=f"with {threads}",
                progress=lambda *_, epoch=epoch: Stop(epoch=epoch, batch=0),
            )
    record = runs.Run.open(root / "threads").record
    assert record["status"] == "finished" and record["provenance"]["command"] == "first"
    assert [each["command"] for each in record["resumed"]] == ["with 2", "with 3"]
    starts = [record["provenance"], *record["resumed"]]
    assert all(f"TF_NUM_INTRAOP_THREADS={count})" in each["device"] for count, each in enumerate(starts, 1))
    assert starts == sorted(starts, key=lambda each: each["started_at"])
    assert all(each["versions"] == record["provenance"]["versions"] for each in starts)


def test_two_runs_of_one_configuration_are_the_same_and_another_seed_is_not(trained, root):
    # The teacher is trained anew too: nothing may depend on what was trained before in the process.
    chosen = config.build(trained.record["config"])
    again = training.run(chosen, root=root / "elsewhere")
    assert_same_weights(again, trained)
    assert again.record["teacher"]["weights_sha256"] == trained.record["teacher"]["weights_sha256"]
    other = training.run(chosen.model_copy(update={"seed": 4, "epochs": 1}), root=root)
    assert any((one != two).any() for one, two in zip(weights(other), weights(trained), strict=True))


@pytest.mark.slow
def test_a_truncated_checkpoint_costs_an_epoch_not_the_run(trained, root):
    chosen = config.build(trained.record["config"])
    with pytest.raises(KeyboardInterrupt):
        training.run(chosen, root / "truncated", root=root, progress=lambda role, chosen: Stop(epoch=2, batch=0))
    latest = root / "truncated" / "checkpoint.npz"
    latest.write_bytes(latest.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="going on after epoch 1"):
        resumed = training.resume(root / "truncated", root=root)
    assert_same_weights(resumed, trained)
    assert rows(resumed) == rows(trained)


@pytest.mark.slow
def test_a_full_disk_stops_with_the_way_out_and_the_last_checkpoint(settings, root, monkeypatch):
    savez, calls = np.savez, []

    def full_at_second(path, **arrays):
        calls.append(path)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        savez(path, **arrays)

    monkeypatch.setattr(np, "savez", full_at_second)
    chosen = config.build(settings, {"method": "baseline"})
    with pytest.raises(OSError, match=r"checkpoint of epoch 2 could not be written .*--resume .*full"):
        training.run(chosen, root / "full", root=root)
    assert "No space left" in runs.Run.open(root / "full").record["error"]
    monkeypatch.undo()
    resumed = training.resume(root / "full", root=root)
    assert resumed.finished and resumed.record["error"] is None
    assert [row["epoch"] for row in rows(resumed)] == [0, 1, 2]


@pytest.mark.slow
def test_a_fickle_teacher_is_trained_with_dropout_and_varies(settings, root):
    run = training.run(config.build(settings, {"method": "ft", "dropout": 0.3, "epochs": 2}), root=root)
    teacher = models.load(run.teacher_path())
    rates = {layer.rate for layer in teacher.layers if isinstance(layer, keras.layers.Dropout)}
    assert rates == {0.3}
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in models.load(run.student_path).layers)
    assert all(row["teacher_variance"] > 0 for row in rows(run))


@pytest.mark.slow
def test_a_teacher_can_be_a_file_or_a_run(trained, settings, root):
    short = {"method": "hinton", "epochs": 1}
    by_file = training.run(config.build(settings, {**short, "teacher": str(trained.student_path)}), root=root)
    by_run = training.run(config.build(settings, {**short, "teacher": str(trained.path)}), root=root)
    assert by_file.record["teacher"]["weights_sha256"] == trained.record["student_weights_sha256"]
    assert_same_weights(by_file, by_run)


def test_a_teacher_of_other_classes_is_refused(settings, root, tmp_path):
    models.wide_resnet(10, 1, 7, (16, 16, 1)).save(tmp_path / "seven.keras")
    chosen = config.build(settings, {"teacher": str(tmp_path / "seven.keras")})
    with pytest.raises(ValueError, match=r"`teacher` must have 10 outputs, one for each class. Received: .*\(7,\)"):
        training.run(chosen, root=root)
    models.wide_resnet(10, 1, 10, (32, 32, 3)).save(tmp_path / "large.keras")
    chosen = config.build(settings, {"teacher": str(tmp_path / "large.keras")})
    with pytest.raises(ValueError, match=r"`teacher` must take images of shape \(16, 16, 1\)"):
        training.run(chosen, root=root)


def test_a_run_that_another_process_trains_is_left_alone(trained, root):
    chosen = config.build(trained.record["config"])
    with pytest.raises(KeyboardInterrupt):
        training.run(chosen, root / "busy", root=root, progress=lambda role, chosen: Stop(epoch=1, batch=0))
    with (
        disk.exclusive(root / "busy" / disk.LOCK, wait=False),
        pytest.raises(BlockingIOError, match="busy is being trained by another process"),
    ):
        training.resume(root / "busy", root=root)


def test_a_loss_that_is_no_number_stops_with_advice(settings, root):
    chosen = config.build(settings, {"method": "baseline", "learning_rate": 1e20})
    with pytest.raises(fitting.NonFiniteLossError, match=r"loss became .* in epoch \d, .*smaller `--learning-rate`"):
        training.run(chosen, root / "nan", root=root)
    assert runs.Run.open(root / "nan").record["status"] == "failed"


def test_a_run_folder_is_never_overwritten(trained, settings, root):
    before = (trained.path / "run.json").read_bytes()
    with pytest.raises(FileExistsError, match="holds another run"):
        training.run(config.build(settings), trained.path, root=root)
    assert (trained.path / "run.json").read_bytes() == before


@pytest.mark.slow
def test_a_run_is_found_from_another_folder(trained, root, tmp_path, monkeypatch):
    folder = tmp_path / "project"
    shutil.copytree(root, folder / "runs")
    place = trained.record["config"]["data"].removeprefix("npz:")
    shutil.copy(place, folder / "scans.npz")
    monkeypatch.chdir(folder)
    chosen = config.build(trained.record["config"], {"data": "npz:scans.npz", "epochs": 2})
    with pytest.raises(KeyboardInterrupt):
        training.run(chosen, "runs/moved", progress=lambda role, chosen: Stop(epoch=1, batch=0))
    teachers = set(Path("runs/teachers").iterdir())
    # The whole project is moved, and the run resumed from somewhere else, without naming its folder of runs.
    monkeypatch.chdir(tmp_path)
    folder.rename(tmp_path / "renamed")
    resumed = training.resume("renamed/runs/moved")
    assert resumed.finished and not Path("runs").exists()
    assert {path.name for path in Path("renamed/runs/teachers").iterdir()} == {path.name for path in teachers}


def test_another_teacher_in_the_first_ones_place_is_not_resumed(trained, settings, root, tmp_path):
    shutil.copy(trained.student_path, tmp_path / "teacher.keras")
    chosen = config.build(settings, {"method": "hinton", "teacher": str(tmp_path / "teacher.keras")})
    with pytest.raises(KeyboardInterrupt):
        training.run(chosen, root / "swapped", root=root, progress=lambda role, chosen: Stop(epoch=1, batch=0))
    shutil.copy(trained.teacher_path(), tmp_path / "teacher.keras")
    with pytest.raises(ValueError, match="is another teacher now than .*swapped started with"):
        training.resume(root / "swapped", root=root)


def test_an_update_that_diverges_is_no_good_checkpoint(settings, root):
    # One step an epoch: the loss of the first epoch is fine, and the weights after it are not.
    chosen = config.build(settings, {"method": "baseline", "batch_size": 200, "learning_rate": 1e30})
    with pytest.raises(fitting.NonFiniteLossError, match="in epoch 1, by its"):
        training.run(chosen, root / "diverged", root=root)
    assert not (root / "diverged" / "checkpoint.npz").exists()


def test_changed_data_is_not_resumed(trained, settings, root, tmp_path):
    with np.load(settings["data"].removeprefix("npz:")) as file:
        np.savez(tmp_path / "scans.npz", images=255 - file["images"], labels=file["labels"])
    chosen = config.build(settings, {"method": "baseline", "data": f"npz:{tmp_path / 'scans.npz'}"})
    with pytest.raises(KeyboardInterrupt):
        training.run(chosen, root / "changed", root=root, progress=lambda role, chosen: Stop(epoch=1, batch=0))
    with np.load(settings["data"].removeprefix("npz:")) as file:
        np.savez(tmp_path / "scans.npz", images=file["images"], labels=file["labels"])
    with pytest.raises(ValueError, match="belongs to another configuration"):
        training.resume(root / "changed", root=root)


def rates(epochs, milestones, steps):
    chosen = config.build({"epochs": epochs, "learning_rate": 0.1, "milestones": milestones, "decay": 0.2})
    schedule = fitting._schedule(chosen, steps_per_epoch=steps)
    return [round(float(schedule(step) if callable(schedule) else schedule), 7) for step in range(epochs * steps)]


def test_the_learning_rate_falls_at_the_first_step_of_its_epoch():
    assert rates(10, [0.3, 0.6], steps=7) == [0.1] * 21 + [0.02] * 21 + [0.004] * 28


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (1, [0.1]),
        (2, [0.1, 0.004]),  # 0.6 and 1.2 are nearest to epoch 1; 1.5 to epoch 2, which is past the end
        (3, [0.1, 0.02, 0.0008]),
        (5, [0.1, 0.1, 0.02, 0.004, 0.0008]),
    ],
)
def test_a_schedule_of_few_epochs_starts_at_the_full_rate(epochs, expected):
    assert rates(epochs, [0.3, 0.6, 0.75], steps=1) == expected


def test_milestones_must_rise():
    with pytest.raises(
        ValueError, match=r"`milestones` must rise from one to the next. Received: milestones=\[0.6, 0.3\]"
    ):
        config.build({"milestones": [0.6, 0.3]})


def test_coupled_sgd_equals_its_formula():
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=5), rng.normal(size=(4, 5))
    variable = keras.Variable(start, dtype="float32")
    optimizer = CoupledSGD(0.1, momentum=0.9, coupled_weight_decay=0.05)
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
    expected, velocity = start.copy(), np.zeros(5)
    for gradient in gradients:
        velocity = 0.9 * velocity + (gradient + 0.05 * expected)
        expected = expected - 0.1 * velocity
    np.testing.assert_allclose(np.array(variable), expected, rtol=1e-6)
    # The decoupled one of Keras is another rule.
    decoupled, other = (
        keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.05),
        keras.Variable(start, dtype="float32"),
    )
    for gradient in gradients:
        decoupled.apply([keras.ops.convert_to_tensor(gradient, "float32")], [other])
    assert np.abs(np.array(other) - expected).max() > 1e-3


def test_unsafe_model_files_are_refused_with_the_flag(tmp_path):
    inputs = keras.Input((16, 16, 1))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: x[:, 0, :10, 0])(inputs))
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(ValueError, match=r"carries Python code.*`--unsafe`"):
        models.load(tmp_path / "lambda.keras")
    images = np.random.default_rng(0).random((2, 16, 16, 1), "float32")
    np.testing.assert_allclose(models.load(tmp_path / "lambda.keras", unsafe=True)(images), images[:, 0, :10, 0])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a zip", b"no model at all"])
def test_damaged_model_files_are_named(content, tmp_path):
    (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(ValueError, match=r"model.keras is not a Keras model that can be read"):
        models.load(tmp_path / "model.keras")
    with pytest.raises(FileNotFoundError, match="There is no model file"):
        models.load(tmp_path / "other.keras")


def test_teacher_student_and_baseline_see_the_same_wrong_labels(settings, untrained, tmp_path):
    wrong = {**settings, "label_corruption": 0.5, "corruption_seed": 3, "teacher": "wrn-10-2"}
    announced = []
    run = training.run(config.build(wrong, {"method": "hinton", "seed": 1}), root=tmp_path, announce=announced.append)
    alone = training.run(config.build(wrong, {"method": "baseline"}), root=tmp_path)
    assert [each[:2] for each in untrained] == [
        ("baseline", "wrn-10-2"),
        ("hinton", "wrn-10-1"),
        ("baseline", "wrn-10-1"),
    ]
    clean, (data,) = training.load_data(config.build(settings)), announced
    changed = data.train.labels != clean.train.labels
    assert 50 < changed.sum() < 80 and data.test.labels.tolist() == clean.test.labels.tolist()
    for _, _, labels in untrained:
        np.testing.assert_array_equal(labels, data.train.labels)

    teacher = runs.Run.open(run.teacher_path().parent)
    for each, roles in ((run, ["student", "teacher"]), (alone, ["student"]), (teacher, ["student"])):
        summary = {"kind": "symmetric", "rate": 0.5, "seed": 3, "true_rate": changed.mean(), "n": changed.sum()}
        assert each.record["data"]["corruption"] == summary
        assert list(each.record["results"]["memorization"]) == roles
        with np.load(each.path / "corruption.npz") as kept:
            np.testing.assert_array_equal(kept["indices"], data.train.indices[changed])
            np.testing.assert_array_equal(kept["true_labels"], clean.train.labels[changed])
            np.testing.assert_array_equal(kept["given_labels"], data.train.labels[changed])
    expected = (
        models.load(run.teacher_path()).predict(data.train.images[changed] / np.float32(255), verbose=0).argmax(1)
    )
    entry = run.record["results"]["memorization"]["teacher"]
    assert entry["n"] == changed.sum()
    assert entry["wrong_label_accuracy"] == np.mean(expected == data.train.labels[changed])
    assert entry["true_label_accuracy"] == np.mean(expected == clean.train.labels[changed])


def test_where_no_label_is_replaced_is_one_teacher(settings):
    def digest(**changes):
        return teachers.digest(config.build(settings, changes), SimpleNamespace(fingerprint="f"))

    assert digest() == digest(label_corruption=None) == digest(label_corruption=0.0)
    of_people = {"corruption_kind": "cifar10n:worse", "corruption_file": "cifar10n.npz"}
    assert len({digest(), digest(label_corruption=0.2), digest(label_corruption=0.3), digest(**of_people)}) == 4


@pytest.mark.slow
def test_each_corruption_has_a_teacher_of_its_own(settings, untrained, tmp_path):
    for rate in (None, 0.0, 0.3, 0.3, 0.6):
        training.run(config.build(settings, {"label_corruption": rate, "method": "hinton"}), root=tmp_path)
    assert [method for method, *_ in untrained].count("baseline") == 3
    assert len(list((tmp_path / "teachers").glob("*/student.keras"))) == 3


def test_a_run_without_a_wrong_label_has_no_memorization(settings, untrained, tmp_path):
    for rate, n in ((None, None), (0, 0)):
        chosen = config.build(settings, {"method": "baseline", "label_corruption": rate})
        record = training.run(chosen, root=tmp_path).record
        assert "memorization" not in record["results"]
        assert (record["data"]["corruption"] or {}).get("n") == n


def human_labels(settings, path, shift=1):
    """Writes labels for the scans in CIFAR-10N's layout: two of five are wrong."""
    with np.load(settings["data"].removeprefix("npz:")) as file:
        clean = file["labels"]
    worse = np.where(np.arange(len(clean)) % 5 < 2, (clean + shift) % 10, clean)
    np.savez(path, clean_label=clean, worse_label=worse)


@pytest.mark.slow
def test_a_run_on_human_labels_is_resumed_from_a_moved_folder(settings, tmp_path, monkeypatch):
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(settings["data"].removeprefix("npz:"), folder / "scans.npz")
    human_labels(settings, folder / "human.npz")
    monkeypatch.chdir(folder)
    wrong = {"data": "npz:scans.npz", "corruption_kind": "cifar10n:worse", "corruption_file": "human.npz"}
    chosen = config.build(settings, {**wrong, "method": "hinton", "epochs": 2, "teacher_epochs": 1})
    options = {"progress": lambda role, chosen: Stop(epoch=1 if role == "student" else 9, batch=0)}
    with pytest.raises(KeyboardInterrupt):
        training.run(chosen, "runs/moved", **options)
    before = Path("runs/moved/corruption.npz").read_bytes()
    monkeypatch.chdir(tmp_path)
    folder.rename(tmp_path / "renamed")
    resumed = training.resume("renamed/runs/moved")
    assert resumed.finished and not Path("runs").exists() and len(rows(resumed)) == 2
    assert Path("renamed/runs/moved/corruption.npz").read_bytes() == before
    summary = resumed.record["data"]["corruption"]
    assert (summary["kind"], summary["rate"], summary["seed"]) == ("cifar10n:worse", None, None)
    assert set(resumed.record["results"]["memorization"]) == {"student", "teacher"}
    # Where the file lies does not matter: the teacher of the moved run serves a new one.
    moved = {**wrong, "data": "npz:renamed/scans.npz", "corruption_file": str(tmp_path / "elsewhere.npz")}
    shutil.copy("renamed/human.npz", "elsewhere.npz")
    other = training.load_data(chosen.model_copy(update=moved))
    assert teachers.digest(chosen, other) == teachers.digest(chosen.model_copy(update=moved), other)


def test_a_run_does_not_go_on_with_other_wrong_labels(settings, monkeypatch, tmp_path):
    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", die)
    human_labels(settings, tmp_path / "human.npz")
    wrong = {"corruption_kind": "cifar10n:worse", "corruption_file": str(tmp_path / "human.npz"), "method": "baseline"}
    with pytest.raises(KeyboardInterrupt):  # before the first checkpoint, which would tell too
        training.run(config.build(settings, wrong), tmp_path / "run")
    before = (tmp_path / "run" / "corruption.npz").read_bytes()
    human_labels(settings, tmp_path / "human.npz", shift=2)
    with pytest.raises(
        ValueError, match=r"corruption.npz must hold the wrong labels that the run goes on with.*train anew"
    ):
        training.resume(tmp_path / "run")
    assert (tmp_path / "run" / "corruption.npz").read_bytes() == before
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.endswith(".tmp.npz")]
