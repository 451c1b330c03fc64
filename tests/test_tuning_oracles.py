"""keras-tuner's search as it is kept: over kills, over failures, over scores that are none, and from a seed alone."""

import itertools
import json
import math
import os

import pytest

from tfnoisekd import config, runs
from tfnoisekd.experiments.tuning import oracles, results, roles, search
from tfnoisekd.experiments.tuning.folder import FAILURES, Folder
from tfnoisekd.experiments.tuning.space import Range
from tfnoisekd.experiments.tuning.trial import CannotGoOn, Trainer
from tfnoisekd.experiments.tuning.tuner import Tuner
from tfnoisekd.experiments.tuning.tuner import search as carry_out

SPACE = {"rate": Range(low=0, high=0.3), "temperature": Range(low=1, high=8, log=True)}
SETTINGS = {"method": "mc", "data": "digits", "teacher": "wrn-10-1", "student": "wrn-10-1", "epochs": 9}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in roles.VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def make(tmp_path):
    """Makes a folder for a search: (tuner, number of trials, name, settings) -> `Folder`."""

    def make(tuner="random", trials=6, name="search", spaces=SPACE, **settings):
        trials = None if tuner == "hyperband" else trials
        return Folder.prepare(
            tmp_path / name, search.build(config.build({**SETTINGS, **settings}), spaces, tuner, trials)
        )

    return make


@pytest.fixture
def trained(monkeypatch):
    """Trials without training, whose accuracy falls with their rate."""
    pretended = Pretended()
    monkeypatch.setattr(Trainer, "_data", None)
    monkeypatch.setattr(Trainer, "_run", lambda self, trial, chosen, data: pretended(chosen))
    return pretended


class Pretended:
    """What was trained, as (rate, epochs), and what happens then: a function of how many there were."""

    def __init__(self):
        self.done, self.happens = [], lambda number: None

    def __call__(self, chosen):
        self.done.append((chosen.rate, chosen.epochs))
        self.happens(len(self.done))
        return runs.Run("nowhere", {"results": {"accuracy": 1 - chosen.rate, "accuracy_interval": [0, 1], "n": 144}})


def values_of(folder):
    return [(entry["trial"], entry["values"], entry["epochs"], entry["status"]) for entry in folder.entries()]


def oracle_of(folder):
    """The oracle of a folder as a new process finds it."""
    oracle = oracles.make(folder.search)
    oracle._set_project_dir(str(folder.path), "oracle")
    oracles.restore(oracle, folder)
    return oracle


def end(oracle, trial, status="COMPLETED", score=None):
    if score is not None:
        oracle.update_trial(trial.trial_id, {"val_accuracy": score})
    trial.status = status
    oracle.end_trial(trial)
    return oracle.trials[trial.trial_id]


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_a_search_that_was_cut_off_ends_as_if_it_had_not_been(make, trained, tuner):
    # The Gaussian process has its say from the seventh trial on.
    whole, cut = make(tuner, trials=9, name="whole"), make(tuner, trials=9, name="cut")
    told = []
    carry_out(whole, watch=told.append)
    assert [entry["trial"] for entry in told] == [entry["trial"] for entry in whole.entries()]
    trained.done.clear()

    def interrupt(number):
        if number in (2, 9):
            raise KeyboardInterrupt

    trained.happens = interrupt
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            carry_out(cut)
    assert sum(entry["status"] == "running" for entry in cut.entries()) == 1
    carry_out(cut)
    assert values_of(cut) == values_of(whole) and len(trained.done) == whole.search.wanted + 2
    assert all(entry["status"] == "finished" for entry in cut.entries())
    before = len(trained.done)
    carry_out(cut)
    assert len(trained.done) == before  # a search that is over trains nothing
    rates = [each[0] for each in trained.done]
    assert len(set(rates)) > 3 and all(0 <= rate <= 0.3 for rate in rates)


def test_the_seed_0_is_a_seed(make, trained):
    folders = [make(name="a"), make(name="b"), make(name="c", seed=1)]
    for folder in folders:
        carry_out(folder)
    first, second, other = (values_of(folder) for folder in folders)
    assert first == second != other


def test_more_trials_go_on_where_fewer_ended(make, trained):
    carry_out(make(trials=3))
    folder = make(trials=12)  # whose names are longer
    carry_out(folder)
    carry_out(whole := make(trials=12, name="whole"))
    assert [each["values"] for each in folder.entries()] == [each["values"] for each in whole.entries()]
    assert [each["trial"] for each in folder.entries()] == [
        "0",
        "1",
        "2",
        *(f"{number:02d}" for number in range(3, 12)),
    ]
    assert results.outcome(folder).missing == 0


def test_hyperband_trains_its_better_trials_again_for_longer(make, trained):
    folder = make("hyperband")
    carry_out(folder)
    entries = {entry["trial"]: entry for entry in folder.entries()}
    rounds = itertools.groupby(entries.values(), key=lambda entry: entry["epochs"])
    assert [(epochs, len(list(group))) for epochs, group in rounds] == [(1, 9), (3, 3), (9, 1), (3, 5), (9, 2 + 3)]
    rates = [entry["values"]["rate"] for entry in entries.values()]
    assert sorted(rates[9:12]) == sorted(rates[:9])[:3] and rates[12] == min(rates[:9])
    best = results.outcome(folder).ranked[0]
    nines = [entry["values"]["rate"] for entry in entries.values() if entry["epochs"] == 9]
    assert best["epochs"] == 9 and best["values"]["rate"] == min(nines)


def test_a_failed_trial_is_the_worst_of_its_round_and_does_not_hold_it_up(make, trained):
    def fail_some(number):
        if number in (1, 4, 5, 8):
            raise ValueError("no luck")

    trained.happens = fail_some
    folder = make("hyperband")
    carry_out(folder)
    entries = folder.entries()
    assert len(entries) == folder.search.wanted
    finished = sorted(entry["values"]["rate"] for entry in entries[:9] if entry["status"] == "finished")
    assert len(finished) == 5 and sorted(entry["values"]["rate"] for entry in entries[9:12]) == finished[:3]


def test_what_was_promoted_from_a_failed_trial_is_not_trained(make, trained, monkeypatch):
    def fail_all_but_one(number):
        if number < 9 and number != 3:
            raise ValueError("no luck")

    trained.happens = fail_all_but_one
    folder = make("hyperband")
    monkeypatch.setattr(oracles, "FAILURES", 100)
    carry_out(folder)
    promoted = folder.entries()[9:12]
    assert sorted(entry["status"] for entry in promoted) == ["failed", "finished", "finished"]
    error = next(entry["error"] for entry in promoted if entry["status"] == "failed")
    assert error.endswith("which it would go on from, has failed")
    assert sum(epochs == 3 for _, epochs in trained.done[:11]) == 2


def test_a_search_is_given_up_after_failures_in_a_row_and_goes_on_when_asked(make, trained):
    def fail(number):
        raise ValueError("no luck")

    trained.happens = fail
    folder = make(trials=8)
    carry_out(folder)
    assert len(trained.done) == FAILURES and results.outcome(folder).gave_up
    assert json.loads((folder.path / "oracle" / "trial_0" / "trial.json").read_text())["status"] == "FAILED"
    trained.happens = lambda number: None
    carry_out(folder)
    assert [entry["status"] for entry in folder.entries()] == ["failed"] * 5 + ["finished"] * 3
    folder.note("0", given_up="it died")
    carry_out(folder, again=True)
    assert [entry["status"] for entry in folder.entries()] == ["finished"] * 8
    assert len(trained.done) == 8 + FAILURES and not results.outcome(folder).failed


def test_what_is_no_trials_fault_ends_the_search_at_once(make, trained):
    def fill(number):
        raise OSError(28, "No space left on device")

    trained.happens = fill
    folder = make()
    with pytest.raises(CannotGoOn, match="No space left") as raised:
        carry_out(folder)
    assert isinstance(raised.value.__cause__, OSError) and len(trained.done) == 1
    trained.happens = lambda number: None
    carry_out(folder)
    assert len(trained.done) == 7 and all(entry["status"] == "finished" for entry in folder.entries())


@pytest.mark.filterwarnings("ignore:All-NaN")  # keras-tuner looks for the best of the reported numbers
@pytest.mark.parametrize("score", [None, math.nan, math.inf])
def test_a_reported_success_without_a_score_has_failed(make, score):
    oracle = oracle_of(make())
    trial = end(oracle, oracle.create_trial("a"), score=score)
    assert trial.status == "FAILED" and not oracle.ongoing_trials
    good = end(oracle, oracle.create_trial("a"), score=0.5)
    assert (good.status, good.score) == ("COMPLETED", 0.5)
    assert [each.trial_id for each in oracle.get_best_trials()] == [good.trial_id]


def test_values_are_written_down_as_they_are_trained_and_survive_the_way_to_a_worker(make):
    oracle = oracle_of(make())
    values = dict((trial := oracle.create_trial("a")).hyperparameters.values)
    away = type(trial).from_proto(trial.to_proto())
    assert values == away.hyperparameters.values == {name: float(f"{value:.4g}") for name, value in values.items()}
    assert end(oracle, away, score=0.5).hyperparameters.values == values


def test_a_worker_that_comes_back_gets_its_trial_back_with_nothing_reported(make):
    oracle = oracle_of(make())
    trial = oracle.create_trial("a")
    oracle.update_trial(trial.trial_id, {"val_accuracy": 0.1})
    assert oracle.create_trial("b").trial_id != trial.trial_id
    again = oracle.create_trial("a")
    assert again.trial_id == trial.trial_id
    assert end(oracle, again, score=0.7).score == 0.7


def test_a_new_chief_hands_out_what_was_not_ended_and_nothing_else(make):
    folder = make()
    oracle = oracle_of(folder)
    ended, cut = oracle.create_trial("a"), oracle.create_trial("b")
    end(oracle, ended, score=0.5)  # the files still call it ongoing
    assert json.loads((folder.path / "oracle" / "oracle.json").read_text())["ongoing_trials"]["a"] == ended.trial_id
    oracle = oracle_of(folder)
    begun = [oracle.create_trial(name).trial_id for name in ("a", "b")]
    assert begun[0] == cut.trial_id and begun[1] not in (cut.trial_id, ended.trial_id)


def test_a_trial_that_outlives_its_chief_is_ended_once(make):
    folder, told = make(), []
    cut = oracle_of(folder).create_trial("a")
    oracle = oracle_of(folder)
    end(oracle, cut, score=0.5)  # before another process asks
    assert oracle.create_trial("b").trial_id != cut.trial_id
    second = oracle.create_trial("c")
    oracle = oracle_of(folder)
    oracle.watch = told.append
    names = [oracle.create_trial(name).trial_id for name in ("d", "e")]  # other processes have them now
    assert second.trial_id in names
    for _ in range(2):
        end(oracle, second, score=0.7)
    assert told == [second.trial_id] and oracle.end_order == [cut.trial_id, second.trial_id]
    assert oracle.trials[second.trial_id].score == 0.7 and len(oracle.ongoing_trials) == 1


def test_a_kill_between_the_two_files_of_a_new_trial_costs_nothing(make, monkeypatch):
    folder = make()
    oracle = oracle_of(folder)
    oracle.save()
    monkeypatch.setattr(type(oracle), "save", killed)
    with pytest.raises(KeyboardInterrupt):
        oracle.create_trial("a")
    monkeypatch.undo()
    assert (folder.path / "oracle" / "trial_0" / "trial.json").exists()
    again, fresh = oracle_of(folder).create_trial("a"), oracle_of(make(name="fresh")).create_trial("a")
    assert again.trial_id == "0" and again.hyperparameters.values == fresh.hyperparameters.values


def killed(*arguments, **options):
    raise KeyboardInterrupt


def test_files_are_written_whole_or_not_at_all(make, monkeypatch):
    folder = make()
    oracle = oracle_of(folder)
    trial = oracle.create_trial("a")
    files = [folder.path / "oracle" / name for name in ("oracle.json", "trial_0/trial.json")]
    before = [file.read_text() for file in files]
    monkeypatch.setattr(os, "fsync", killed)
    for write in (oracle.save, lambda: oracle._save_trial(trial)):
        trial.status = "FAILED"
        with pytest.raises(KeyboardInterrupt):
            write()
    assert [file.read_text() for file in files] == before
    assert not list((folder.path / "oracle").rglob("*.tmp*"))


def test_damaged_files_are_told(make):
    folder = make()
    oracle_of(folder).create_trial("a")
    (folder.path / "oracle" / "oracle.json").write_text('{"ongoing_tri')
    with pytest.raises(ValueError, match="oracle holds damaged files \\(JSONDecodeError\\): put them back"):
        oracle_of(folder)


@pytest.mark.parametrize("tuner", ["random", "bayesian"])
def test_a_small_space_is_searched_to_its_end(make, trained, tuner):
    folder = make(tuner, trials=30, spaces={"rate": Range(low=0, high=0.3, step=0.02)})
    carry_out(folder)
    assert sorted(rate for rate, _ in trained.done) == [round(0.02 * number, 2) for number in range(16)]
    assert results.outcome(folder).missing == 14 and not results.outcome(folder).gave_up


def test_bayesian_search_goes_where_it_is_good_and_trains_nothing_twice(make, trained):
    folder = make("bayesian", trials=12, spaces={"rate": Range(low=0, high=0.3)})
    carry_out(folder)
    rates = [rate for rate, _ in trained.done]
    assert len(set(rates)) == 12 and min(rates[:3]) > 0.01 and min(rates) == 0


def test_a_worker_without_a_trial_waits_before_it_asks_again(make, monkeypatch):
    slept = []
    monkeypatch.setattr("tfnoisekd.experiments.tuning.tuner.time.sleep", slept.append)
    tuner = Tuner(make())
    tuner.pre_create_trial()
    tuner.on_trial_begin(None)
    tuner.pre_create_trial()
    assert slept == []
    tuner.pre_create_trial()
    assert slept == [1.0]
