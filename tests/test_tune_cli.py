"""`tfnoisekd tune`: what it asks for, does, prints and leaves; and what it says to wrong input."""

import importlib.util
import json
import re
import sys

import numpy as np
import pytest
import yaml

from tfnoisekd import config, runs
from tfnoisekd.experiments import resources
from tfnoisekd.experiments.tuning import crew, roles, search
from tfnoisekd.experiments.tuning.folder import Folder
from tfnoisekd.experiments.tuning.trial import Trainer

SMALL = ("--teacher=wrn-10-1", "--student=wrn-10-1", "--epochs=1", "--batch-size=40", "--validation-size=40")


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in (*roles.VARIABLES, *resources.THREAD_VARIABLES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def tune(run, scans, tmp_path):
    """Runs `tfnoisekd tune` on small data, in a folder of runs of its own."""

    def call(*words):
        return run("tune", "--data", scans, "--runs", tmp_path, *SMALL, *words)

    return call


@pytest.fixture
def pretended(monkeypatch):
    """Trials without training, of which those with a rate below 0.1 fail; the accuracy of others is 1 - rate."""

    def train(self, trial, chosen, data):
        if chosen.rate < 0.1:
            raise ValueError("The rate is too low")
        found = {"accuracy": 1 - chosen.rate, "accuracy_interval": [0.25, 0.75], "n": 40}
        return runs.Run(self.folder.run_path(trial), {"results": found})

    monkeypatch.setattr(Trainer, "_data", None)
    monkeypatch.setattr(Trainer, "_run", train)


@pytest.mark.slow
def test_a_search_ends_in_a_configuration_that_train_takes(tune, run, untrained, scans, tmp_path):
    code, out, err = tune("--method", "mc", "--search", "rate=0:0.3,temperature=1:8:log", "--trials", 2, "--alpha", 0.8)
    assert code == 0, err
    folder = Folder(tmp_path / "tune-mc-scans")
    assert "Searching rate 0:0.3, temperature 1:8:log" in out
    assert f"2 trials of mc in {folder.path}, 2 epochs in all" in out
    entries = folder.entries()
    for number, entry in enumerate(entries, 1):
        line = f"[{number}/2] trial {entry['trial']}  validation accuracy {entry['accuracy']:.2%}"
        assert line in out and f"rate {entry['values']['rate']:g}  temperature" in out
    best = max(entries, key=lambda entry: entry["accuracy"])
    settings = yaml.safe_load((folder.path / "best.yaml").read_text())
    assert {name: settings[name] for name in best["values"]} == best["values"] and settings["alpha"] == 0.8
    low, high = best["interval"]
    assert (
        f"Best:    trial {best['trial']}, {best['accuracy']:.2%}  (95% interval {low:.2%} to {high:.2%}, n = 40)" in out
    )
    assert "Chosen among 2 for its accuracy on these 40 images, it looks better than it is. Others within" in out
    error = np.sqrt(best["accuracy"] * (1 - best["accuracy"]) / 40)
    assert re.search(f"│ {best['trial']} +│ +{best['accuracy']:.2%} │ +{error:.2%} │", out)
    words = re.search(r"Next:    tfnoisekd (train --config .*)", out)[1].split()
    assert words == [
        "train",
        "--config",
        f"{folder.path}/best.yaml",
        "--seeds",
        "0,10,20,30,40",
        "--runs",
        str(tmp_path),
    ]
    before = len(untrained)
    assert [each[0] for each in untrained] == ["baseline", "mc", "mc"]
    assert run(*words[:4], "3", *words[5:])[0] == 0
    assert [each[0] for each in untrained[before:]] == ["mc"]  # under the teacher that is there
    record = runs.Run.open(tmp_path / "mc-scans-seeds-1" / "seed-3").record
    assert record["split"] == "test" and record["config"]["rate"] == best["values"]["rate"]


def test_the_same_command_goes_on_and_another_one_is_told(tune, pretended, tmp_path):
    words = ("--method=mc", "--search=rate", "--tuner=random", "--trials=3")
    assert tune(*words)[0] == 0
    code, out, _ = tune(*words[:3], "--trials=5")
    assert code == 0 and "[4/5]" in out and "[5/5]" in out and "[3/5]" not in out
    code, _, err = tune(*words, "--sigma=0.2")
    assert code == 2 and "tune-mc-scans holds another search. Received: sigma=0.2, and there it is None" in err
    code, _, err = tune("--method=mc", "--search=rate=0:0.2", "--tuner=random", "--trials=3")
    assert code == 2 and "Received: search rate=0:0.2, and there it is 0:0.3; name another folder" in err
    assert len(Folder(tmp_path / "tune-mc-scans").entries()) == 5


def test_failed_trials_stand_below_the_best(tune, pretended):
    code, out, _ = tune("--search=rate=0:0.2", "--tuner=random", "--trials=6", "--seed=1")
    assert code == 0
    shown = re.findall(r"^Failed:  trial (\d): ValueError: The rate is too low$", out, re.M)
    ranked = re.findall(r"^│ (\d) +│ +(\d+\.\d+)% │", out, re.M)
    assert shown and len(shown) + len(ranked) == 6 and not set(shown) & {trial for trial, _ in ranked}
    shares = [float(share) for _, share in ranked]
    assert shares == sorted(shares, reverse=True) and "The best of" in out


def test_a_search_in_which_everything_fails_says_so(tune, pretended):
    code, out, err = tune("--search=rate=0:0.09", "--tuner=random", "--trials=7")
    assert code == 1 and "given up after 5 failed trials in a row" in err and out.count("Failed:  trial") == 5
    code, out, err = tune("--search=rate=0:0.09", "--tuner=random", "--trials=2", "--output", "DIR")
    assert code == 1 and "No trial has finished, so there is nothing to choose from" in err


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_hyperband_shows_the_epochs_of_its_trials(tune, pretended, tmp_path):
    code, out, _ = tune("--method=ga", "--search=rate=0.1:0.3", "--tuner=hyperband", "--max-epochs=4", "--factor=2")
    planned = search.hyperband(4, 2)
    trials = sum(count for bracket in planned for count, _ in bracket)
    assert code == 0 and f"{trials} trials of ga" in out and f"[{trials}/{trials}]" in out
    heading = " ".join(re.search(r"┏.*\n(┃.*\n)+", out)[0].split())
    assert re.search(r"trial ┃ accuracy ┃ (standard )?error ┃ epochs ┃ rate ┃ time", heading)
    assert re.search(r"^│ \d+ +│ +[\d.]+% │ +[\d.]+% │ +4 │", out, re.M)
    best = yaml.safe_load((tmp_path / "tune-ga-scans" / "best.yaml").read_text())
    assert best["epochs"] == 4 and "teacher_epochs" not in best


def test_without_data_the_embedded_digits_are_searched_in_what_suits_the_method(run, pretended, tmp_path):
    code, out, _ = run("tune", "--method", "ga", "--trials", 1, "--sigma", 0.1, "--output", "DIR", "--tuner", "random")
    assert code in (0, 1) and "Searching rate 0:0.3\n" in out  # what is given stays
    assert Folder("DIR").search.config == config.load("digits", {"method": "ga", "sigma": 0.1})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--validation-size=0",), "`validation_size` must be above 0"),
        (("--method=ga", "--search=alpha"), "alpha, but the method ga has no Hinton loss"),
        (("--rate=0.1", "--search=rate"), "`rate` is given and searched"),
        (("--search=rate=0:2",), "`rate` must be less than or equal to 1"),
        (("--tuner=hyperband", "--trials=3"), "`trials` is for the other tuners"),
        (("--max-epochs=3",), "`max_epochs` is for Hyperband"),
        (("--address=auto",), "`--address` has a use only with `--executor ray`"),
        (("--gpus=0", "--executor=ray"), "`--gpus` has a use only with `--executor local`"),
        (
            ("--executor=ray", "--address=ray://head:1"),
            "`address` must be that of a cluster that this machine is part of",
        ),
        (("--method=mcc",), "`method` must be one of"),
        (("--teacher=nowhere.keras",), "`teacher` must be"),
    ],
)
def test_wrong_input_is_one_line_and_trains_nothing(tune, words, message):
    code, _, err = tune(*words)
    assert code == 2 and message in err and len(err.splitlines()) == 1


def test_keras_tuners_variables_make_a_chief_or_worker(tune, monkeypatch):
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker-1")
    code, _, err = tune()
    assert code == 2 and "`KERASTUNER_ORACLE_IP` must be set where others" in err
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "80")
    code, _, err = tune("--workers=2")
    assert code == 2 and "make this process a worker, which has no workers of its own" in err
    seen = []
    monkeypatch.setattr("tfnoisekd.experiments.tuning.tuner.search", lambda folder, **options: seen.append(options))
    code, out, err = tune("--threads=1")
    assert code == 0, err
    assert "This is a worker of the search whose chief is at 127.0.0.1:80." in out and "Best" not in out
    assert len(seen) == 1


def test_workers_share_the_cores(tune, pretended, monkeypatch, tmp_path):
    seen = []

    def carry_out(folder, workers, count, options, watch):
        seen.append((workers.threads, workers.gpus, count, options))
        folder.note("0", status="finished", accuracy=0.5, interval=[0, 1], n=40, epochs=None, values={"rate": 0.1})
        folder.note("0", seconds=1, finished_at="now")

    monkeypatch.setattr(crew, "carry_out", carry_out)
    monkeypatch.setattr(resources, "cores", lambda: 8)
    code, _, err = tune("--search=rate", "--trials=1", "--workers=4", "--output=DIR")
    assert code == 0, err
    assert tune("--search=rate", "--trials=1", "--gpus=0,2", "--threads=3", "--output=DIR", "--retry-failed")[0] == 0
    (first, second) = seen
    assert first[:3] == (2, None, 4) and second[:3] == (3, ["0", "2"], 2)
    assert (first[3]["folder"], first[3]["root"]) == (str(tmp_path / "DIR"), str(tmp_path))
    assert first[3]["command"].startswith("tfnoisekd tune --data") and [each[3]["again"] for each in seen] == [
        False,
        True,
    ]
    json.dumps(first[3])


def test_what_is_not_installed_is_named(tune, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name))
    code, _, err = tune()
    assert code == 2 and "Tuning needs tensorboard: pip install tensorboard" in err
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = tune("--executor=ray")
    assert code == 2 and 'pip install "tfnoisekd[ray]"' in err


def test_help_does_not_load_keras(run_python):
    run_python(
        "import sys; from tfnoisekd.cli import tune; import tfnoisekd.experiments.tuning.search\n"
        "assert not {'keras', 'tensorflow', 'keras_tuner', 'ray'} & set(sys.modules)\n"
    )
