"""What a search is, what may vary in it, what is kept of it, and how one trial is trained and judged."""

import errno
import json
import math

import keras_tuner
import numpy as np
import pytest

from tfnoisekd import config, models, runs, training
from tfnoisekd.evaluation import accuracy
from tfnoisekd.experiments.tuning import folder as folders
from tfnoisekd.experiments.tuning import results, roles, search, space
from tfnoisekd.experiments.tuning.folder import Folder
from tfnoisekd.experiments.tuning.space import Range
from tfnoisekd.experiments.tuning.trial import CannotGoOn, Trainer, TrialFailed
from tfnoisekd.fitting import NonFiniteLossError

SETTINGS = {"method": "mc", "teacher": "wrn-10-1", "student": "wrn-10-1", "epochs": 1, "batch_size": 40}
RATE = {"rate": Range(low=0, high=0.3)}


@pytest.fixture
def chosen(scans):
    return config.build({**SETTINGS, "data": scans, "validation_size": 40})


@pytest.fixture
def folder(chosen, tmp_path):
    return Folder.prepare(tmp_path / "search", search.build(chosen, RATE, "random", 4))


def config_of(**settings):
    return config.build({**SETTINGS, **settings})


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"method": "mc"}, ["rate", "sigma", "alpha", "temperature"]),
        ({"method": "ga"}, ["rate", "sigma"]),
        ({"method": "ft"}, ["rate", "sigma", "dropout", "alpha", "temperature"]),
        ({"method": "ft", "teacher": "there.keras"}, ["rate", "sigma", "alpha", "temperature"]),
        ({"method": "sp"}, ["rate", "sigma", "sp_weight"]),
        ({"method": "rkd-da+h"}, ["rate", "sigma", "alpha", "temperature", "rkd_distance_weight", "rkd_angle_weight"]),
    ],
)
def test_by_default_a_search_has_what_does_something_for_the_method(settings, names):
    assert list(space.default(config_of(**settings))) == names
    assert "rate" not in space.default(config_of(**settings), fixed={"rate": 0.1})


def test_a_space_is_read_from_text():
    found = space.parse(
        "rate=0:0.3, dropout=0.1:0.3:0.1,temperature=1:8:log,alpha,at-weight=1:2", config_of(method="at+ft")
    )
    assert found == {
        "rate": Range(low=0, high=0.3),
        "dropout": Range(low=0.1, high=0.3, step=0.1),
        "temperature": Range(low=1, high=8, log=True),
        "alpha": space.RANGES["alpha"],
        "at_weight": Range(low=1, high=2),
    }
    assert [str(each) for each in found.values()][:3] == ["0:0.3", "0.1:0.3:0.1", "1:8:log"]


@pytest.mark.parametrize(
    ("text", "method", "message"),
    [
        ("rat=0:1", "mc", "Received: 'rat'. Did you mean `rate`"),
        ("epochs=1:10", "mc", "must name settings among rate, sigma.*Received: 'epochs'"),
        ("", "mc", "must name settings among"),
        ("rate=0:0.3,rate", "mc", "Received: rate twice"),
        ("alpha=0.1:0.9", "ga", "Received: alpha, but the method ga has no Hinton loss \\(CE\\)"),
        ("at_weight=1:9", "sp", "Received: at_weight, but the method sp has no such term"),
        ("rate=0.1", "mc", "must give each range as LOW:HIGH, such as rate=0:0.3. Received: rate=0.1"),
        ("rate=a:b", "mc", "LOW:HIGH"),
        ("rate=0:nan", "mc", "LOW:HIGH"),
        ("rate=0:0.3:lg", "mc", "must end a range in log or a step"),
        ("rate=0.3:0.3", "mc", "LOW below HIGH. Received: rate=0.3:0.3; --rate 0.3 sets one value"),
        ("rate=0:0.3:log", "mc", "LOW above 0"),
        ("rate=0:0.3:0.4", "mc", "a step above 0 and inside the range"),
        ("rate=0:1.5", "mc", "`rate` must be less than or equal to 1. Received: rate=1.5"),
        ("dropout=0:1", "ft", "`dropout` must be less than 1"),
    ],
)
def test_a_wrong_space_says_what_is_wrong(text, method, message):
    with pytest.raises(ValueError, match=message):
        space.parse(text, config_of(method=method))


def test_the_dropout_of_a_teacher_that_is_there_already_can_not_be_searched():
    with pytest.raises(ValueError, match="Received: dropout, but the teacher t.keras is trained already"):
        space.parse("dropout", config_of(method="ft", teacher="t.keras"))


def test_steps_reach_the_upper_end():
    assert Range(low=0, high=0.3, step=0.1).values() == [0, 0.1, 0.2, 0.3]
    assert Range(low=0.1, high=0.5, step=0.15).values() == [0.1, 0.25, 0.4]
    assert space.size({"a": Range(low=0, high=0.3, step=0.1), "b": Range(low=1, high=2, step=1)}) == 8
    assert space.size(RATE) == math.inf


def test_values_are_short_and_stay_in_their_range():
    each = Range(low=0.33337, high=0.66661)
    assert each.rounded(0.123456) == 0.33337 and each.rounded(0.5123456) == 0.5123 and each.rounded(0.66668) == 0.66661
    assert each.rounded(float(np.float32(0.5123))) == 0.5123  # as it comes back from another process


@pytest.mark.parametrize(("max_epochs", "factor"), [(1, 3), (2, 2), (9, 3), (10, 3), (27, 3), (30, 4), (200, 3)])
def test_the_rounds_of_hyperband_are_those_of_keras_tuner(max_epochs, factor):
    oracle = keras_tuner.oracles.HyperbandOracle("val_accuracy", max_epochs, factor)
    expected = [
        [
            (oracle._get_size(bracket, number), oracle._get_epochs(bracket, number))
            for number in range(oracle._get_num_rounds(bracket))
        ]
        for bracket in reversed(range(oracle._get_num_brackets()))
    ]
    assert search.hyperband(max_epochs, factor) == expected


def test_a_search_counts_its_trials_and_epochs():
    random = search.build(config_of(epochs=5), RATE, "random", 7)
    assert (random.wanted, random.epochs) == (7, 35)
    assert search.build(config_of(), RATE).trials == search.TRIALS
    bold = search.build(config_of(epochs=9), RATE, "hyperband")
    assert (bold.max_epochs, bold.factor, bold.trials) == (9, 3, None)
    # Brackets of 9, 5 and 3 trials that are begun, by 3 epochs at the most: 9x1 + 3x3 + 1x9, 5x3 + 2x9, 3x9.
    assert search.hyperband(9, 3) == [[(9, 1), (3, 3), (1, 9)], [(5, 3), (2, 9)], [(3, 9)]]
    assert (bold.wanted, bold.epochs) == (9 + 3 + 1 + 5 + 2 + 3, 9 + 9 + 9 + 15 + 18 + 27)
    assert search.Search(**json.loads(json.dumps(bold.model_dump(mode="json")))) == bold


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"validation_size": 0}, {}, "`validation_size` must be above 0: a search chooses by the validation images"),
        ({}, {"space": {}}, "nothing is left to search"),
        ({}, {"tuner": "hyperband", "trials": 3}, "`trials` is for the other tuners.*Received: trials=3"),
        ({}, {"max_epochs": 3}, "`max_epochs` is for Hyperband. Received: max_epochs=3 and tuner=bayesian"),
        ({}, {"factor": 3, "tuner": "random"}, "`factor` is for Hyperband"),
        (
            {"epochs": 27},
            {"tuner": "hyperband", "space": {"rate": Range(low=0, high=0.3, step=0.1)}},
            "at least 49 combinations for Hyperband over 27 epochs. Received: 4",
        ),
    ],
)
def test_an_impossible_search_says_why(settings, options, message):
    with pytest.raises(ValueError, match=message):
        search.build(config_of(**settings), **{"space": RATE, **options})


def test_what_every_trial_needs_must_be_there(monkeypatch):
    with pytest.raises(FileNotFoundError, match="`teacher` must be .* Received: nowhere.keras"):
        search.build(config_of(teacher="nowhere.keras"), RATE)
    monkeypatch.setitem(search.NEEDED, "no_such_module", "tensorboard")
    with pytest.raises(ImportError, match="pip install tensorboard"):
        search.build(config_of(), RATE)


def test_short_trials_have_the_same_teacher_as_long_ones():
    bold = search.build(config_of(epochs=9), RATE, "hyperband")
    short = bold.trial_config({"rate": 0.123456, "tuner/epochs": 1}, 1)
    assert (short.rate, short.epochs, short.teacher_epochs) == (0.1235, 1, 9)
    assert bold.trial_config({"rate": 0.2}).epochs == 9
    alone = search.build(config_of(method="ga"), {"sigma": Range(low=0, high=0.1)}, "random", 1)
    assert alone.trial_config({"sigma": 0.05}).model_dump(exclude_unset=True) == {
        **SETTINGS,
        "method": "ga",
        "sigma": 0.05,
    }


def test_a_folder_takes_the_same_search_again_and_no_other(chosen, tmp_path):
    planned = search.build(chosen, RATE, "random", 4)
    assert Folder.prepare(tmp_path / "search", planned).search == planned
    more = search.build(chosen, RATE, "random", 9)
    assert Folder.prepare(tmp_path / "search", more).search.trials == 9
    moved = search.build(chosen.model_copy(update={"data_dir": "elsewhere"}), RATE, "random", 9)
    assert Folder.prepare(tmp_path / "search", moved).search.wanted == 9
    others = {
        "alpha=0.5, and there it is 0.9": search.build(
            config.build(space.given(chosen), {"alpha": 0.5}), RATE, "random", 4
        ),
        "search rate=0:0.2, and there it is 0:0.3": search.build(chosen, {"rate": Range(low=0, high=0.2)}, "random", 4),
        "search sigma=0:0.1, and there it is None": search.build(chosen, space.default(chosen), "random", 4),
        "tuner=bayesian, and there it is random": search.build(chosen, RATE, "bayesian", 4),
    }
    for message, other in others.items():
        with pytest.raises(ValueError, match=f"holds another search. Received: {message}; name another folder"):
            Folder.prepare(tmp_path / "search", other)


def test_a_folder_of_something_else_stays_as_it_is(chosen, tmp_path):
    planned = search.build(chosen, RATE)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("text")
    with pytest.raises(FileExistsError, match="neither the folder of a search nor empty"):
        Folder.prepare(tmp_path / "full", planned)
    assert [each.name for each in (tmp_path / "full").iterdir()] == ["thesis.tex"]
    with pytest.raises(FileNotFoundError, match="it has no tuning.json"):
        Folder(tmp_path / "full")
    path = Folder.prepare(tmp_path / "search", planned).path / "tuning.json"
    path.write_text('{"format": 2, "search": {}}')
    with pytest.raises(ValueError, match="must be of format 1. Received: format 2"):
        Folder(path.parent)
    path.write_text('{"format": 1, "sea')
    with pytest.raises(ValueError, match="tuning.json is damaged"):
        Folder(path.parent)


def test_only_one_process_hands_out_trials(folder):
    with folder.alone(), pytest.raises(BlockingIOError, match="is being searched by another process"), folder.alone():
        pass


def test_trials_stand_in_their_order_and_half_a_note_is_none(folder):
    for trial in ("10", "9", "011"):
        folder.note(trial, status="running")
    (folder.path / "trials" / "12.json").write_text('{"status": "fin')
    assert [entry["trial"] for entry in folder.entries()] == ["9", "10", "011"] and folder.entry("12") == {}


def test_a_trial_is_judged_on_the_validation_images_alone(folder, untrained, tmp_path, monkeypatch):
    judged = []

    def evaluate(model, split, *rest, **options):
        judged.append((model.count_params(), split))
        return original(model, split, *rest, **options)

    original = accuracy.evaluate
    monkeypatch.setattr(accuracy, "evaluate", evaluate)
    trainer = Trainer(folder, root=tmp_path, command="the test")
    found = trainer.train("0", {"rate": 0.123456})
    data, path = trainer._data, folder.run_path("0")
    student = models.load(path / "student.keras")
    logits = student.predict(data.validation.images / np.float32(255), verbose=0)
    assert found == np.mean(logits.argmax(axis=1) == data.validation.labels)
    # The teacher, which other runs share, is judged as any run; the student saw no test image.
    assert [split is data.test for _, split in judged] == [True, False] and judged[1][1] is data.validation
    run = runs.Run.open(path)
    assert run.record["split"] == "validation" and run.record["results"]["n"] == len(data.validation) == 40
    assert (run.record["config"]["rate"], run.record["provenance"]["command"]) == (0.1235, "the test")
    entry = folder.entry("0")
    assert (entry["status"], entry["accuracy"], entry["n"]) == ("finished", found, 40)
    assert entry["interval"] == run.record["results"]["accuracy_interval"] and entry["values"] == {"rate": 0.1235}
    assert [each[0] for each in untrained] == ["baseline", "mc"]
    assert trainer.train("0", {"rate": 0.123456}) == found and len(untrained) == 2  # it is not trained again
    assert runs.Run.open(run.teacher_path().parent).record["split"] == "test"


def test_a_split_that_is_not_there_judges_nobody(chosen, tmp_path):
    for settings, split in (({"validation_size": 0}, "validation"), ({}, "train")):
        with pytest.raises(ValueError, match=f'`split` must be "test" or.* Received: split={split!r}'):
            training.run(config.build(space.given(chosen), settings), tmp_path / "run", root=tmp_path, split=split)
    assert not (tmp_path / "run").exists()


def test_checkpoints_of_a_finished_trial_are_no_more(folder, untrained, tmp_path, monkeypatch):
    def fit(distiller, chosen, data, path, checkpoint, *rest):
        checkpoint.save(1, {"student": distiller.student.weights})

    monkeypatch.setattr(training, "fit", fit)
    Trainer(folder, root=tmp_path).train("0", {"rate": 0})
    assert sorted(each.name for each in folder.run_path("0").iterdir() if each.name != ".lock") == [
        "run.json",
        "student.keras",
    ]


@pytest.mark.parametrize("score", [None, math.nan, math.inf])
def test_a_trial_without_a_score_has_failed(folder, monkeypatch, score):
    trainer = prepared(folder, monkeypatch, lambda: {"accuracy": score, "accuracy_interval": [0, 1], "n": 3})
    with pytest.raises(TrialFailed, match=f"no accuracy on the validation images. Received: {score}"):
        trainer.train("0", {"rate": 0.1})
    entry = folder.entry("0")
    assert entry["status"] == "failed" and "no accuracy" in entry["error"] and entry["values"] == {"rate": 0.1}


def test_a_trial_that_raises_has_failed_and_says_why(folder, monkeypatch):
    def diverge():
        raise NonFiniteLossError("The loss became nan in epoch 1")

    with pytest.raises(TrialFailed, match="NonFiniteLossError: The loss became nan in epoch 1"):
        prepared(folder, monkeypatch, diverge).train("0", {"rate": 0.1})
    assert "in diverge" in folder.entry("0")["traceback"]


@pytest.mark.parametrize("chained", [False, True])
def test_a_full_disk_is_no_trials_fault(folder, monkeypatch, chained):
    def fill():
        full = OSError(errno.ENOSPC, "No space left on device")
        if chained:
            raise OSError("The checkpoint could not be written") from full
        raise full

    with pytest.raises(CannotGoOn, match="OSError"):
        prepared(folder, monkeypatch, fill).train("0", {"rate": 0.1})
    assert folder.entry("0")["status"] == "running"  # it goes on when there is room


def test_other_images_under_the_same_name_end_the_search(folder, tmp_path):
    folder.check_data("scans", "0" * 64)
    with pytest.raises(CannotGoOn, match="holds other images or labels than when"):
        Trainer(folder, root=tmp_path).train("0", {"rate": 0.1})


def test_data_that_is_gone_ends_the_search(chosen, tmp_path):
    gone = config.build(space.given(chosen), {"data": f"npz:{tmp_path}/gone.npz"})
    folder = Folder.prepare(tmp_path / "search", search.build(gone, RATE))
    with pytest.raises(CannotGoOn, match="FileNotFoundError"):
        Trainer(folder, root=tmp_path).train("0", {"rate": 0.1})


def test_a_trial_that_was_given_up_is_not_trained(folder):
    folder.note("3", status="running", given_up="The process that trained it died 3 times", values={"rate": 0.1})
    with pytest.raises(TrialFailed, match="died 3 times"):
        Trainer(folder).train("3", {"rate": 0.1})
    assert folder.entry("3")["status"] == "failed" and folder.entry("3")["error"].startswith("The process")


def test_results_rank_trials_and_tell_what_else_became_of_them(folder):
    for trial, share in (("0", 0.5), ("1", 0.9), ("2", 0.7)):
        folder.note(
            trial, status="finished", accuracy=share, n=40, epochs=None, values={"rate": 0.1}, finished_at=trial
        )
    folder.note("3", status="failed", error="nan", finished_at="3")
    outcome = results.outcome(folder)
    assert [each["trial"] for each in outcome.ranked] == ["1", "2", "0"]
    assert ([each["trial"] for each in outcome.failed], outcome.missing, outcome.gave_up) == (["3"], 0, False)
    assert results.standard_error(0.9, 40) == pytest.approx(np.sqrt(0.9 * 0.1 / 40))
    assert results.close_to_best(outcome.ranked) == 0
    folder.note("2", accuracy=0.9 - np.sqrt(0.9 * 0.1 / 40) + 1e-9)
    assert results.close_to_best(results.outcome(folder).ranked) == 1
    folder.note("1", accuracy=math.nan)
    assert [each["trial"] for each in results.outcome(folder).failed] == ["1", "3"]


def test_trials_of_more_epochs_rank_before_better_short_ones(folder):
    for trial, epochs, share in (("0", 1, 0.9), ("1", 9, 0.7), ("2", 9, 0.8)):
        folder.note(
            trial, status="finished", accuracy=share, n=40, epochs=epochs, values={"rate": 0.1}, finished_at=trial
        )
    ranked = results.outcome(folder).ranked
    assert [each["trial"] for each in ranked] == ["2", "1", "0"]
    assert results.close_to_best(ranked) == 0  # 0.1 is more than the 0.063 of 0.8 on 40 images


def test_a_search_is_given_up_only_where_the_latest_trials_failed(chosen, tmp_path):
    folder = Folder.prepare(tmp_path / "search", search.build(chosen, RATE, "random", 9))
    for trial in range(folders.FAILURES):
        folder.note(str(trial), status="failed", error="nan", finished_at=str(trial))
    assert results.outcome(folder).gave_up and results.outcome(folder).missing == 9 - folders.FAILURES
    folder.note("7", status="finished", accuracy=0.5, n=40, epochs=None, values={}, finished_at="7")
    assert not results.outcome(folder).gave_up


def test_the_best_trial_is_a_configuration_that_train_reads(chosen, folder):
    ranked = [{"trial": "1", "accuracy": 0.9, "n": 40, "epochs": None, "values": {"rate": 0.1235}}]
    path = results.write_best(folder, ranked)
    assert config.load(path) == config.build(space.given(chosen), {"rate": 0.1235, "teacher_epochs": 1})
    assert path.read_text().startswith("# The best of 1 trials: 90.00% of 40 validation images.\n")


def test_the_environment_says_who_a_process_is(monkeypatch):
    for name in roles.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert roles.role() is None
    for name, value in roles.variables("chief-1", "10.0.0.1", 80).items():
        monkeypatch.setenv(name, value)
    assert roles.role() == roles.CHIEF and roles.place() == "10.0.0.1:80"
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker-1")
    assert roles.role() == roles.WORKER
    monkeypatch.delenv("KERASTUNER_ORACLE_PORT")
    with pytest.raises(ValueError, match="`KERASTUNER_ORACLE_PORT` must be set where others"):
        roles.role()


def prepared(folder, monkeypatch, outcome):
    """A trainer whose runs end in `outcome()`, a dict of results, or in what it raises."""
    trainer = Trainer(folder)
    monkeypatch.setattr(Trainer, "_data", None)
    monkeypatch.setattr(Trainer, "_run", lambda *_: runs.Run(folder.run_path("0"), {"results": outcome()}))
    return trainer
