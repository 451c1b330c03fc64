"""`tfnoisekd evaluate` as a person uses it: every question, kept answers, mistakes."""

import json
import sys

import keras
import numpy as np
import pytest

from tfnoisekd.cli import questions

NONE = dict.fromkeys(name for names in questions.BELONGS.values() for name in names)
NONE |= {"attack": None, "corruptions": None, "smoothing": None, "limit": None, "seed": None, "self_checks": True}
NONE |= {"ood": ()}
RUN = "baseline-scans-1"


def read(**given):
    return questions.read({**NONE, **given})


def test_nothing_asked_is_nothing_to_do():
    assert read() == (None, [], False, None, None, (), [])


def test_an_attack_with_lists_is_a_sweep():
    asked = read(attack="pgd", epsilon="1/255, 8/255", steps="1,20", step_size="2/255", limit="100", seed="0")
    assert asked.pgd == {"limit": 100, "seed": 0, "epsilon": ["1/255", "8/255"], "steps": [1, 20], "step_size": "2/255"}
    assert asked.self_checks and asked.ensembles == []


def test_strong_attacks_are_ensembles_one_for_each_epsilon():
    asked = read(attack="apgd-ce,square", epsilon="1/255,8/255", apgd_steps="7", queries="9", restarts="2")
    common = {"attacks": ["apgd-ce", "square"], "steps": 7, "queries": 9, "restarts": 2}
    assert asked.pgd is None
    assert asked.ensembles == [{**common, "epsilon": "1/255"}, {**common, "epsilon": "8/255"}]
    both = read(attack="pgd,ensemble", self_checks=False)
    assert (both.pgd, both.ensembles, both.self_checks) == ({}, [{}], False)


def test_corruptions_and_smoothing():
    asked = read(corruptions="all", severities="1,5", smoothing="0.12,0.25", draws="100", radii="0,0.5", limit="9")
    assert asked.corruptions == {"limit": 9, "severities": [1, 5]}
    assert asked.smoothing == [{"limit": 9, "n": 100, "radii": [0.0, 0.5], "sigma": sigma} for sigma in (0.12, 0.25)]
    assert read(corruptions="fog,snow", corruption_source="tfds").corruptions == {
        "corruptions": ["fog", "snow"],
        "source": "tfds",
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--epsilon 8/255", "`--epsilon` has a use only with `--attack`"),
        ("--severities 1", "`--severities` has a use only with `--corruptions`"),
        ("--draws 10", "`--draws` has a use only with `--smoothing`"),
        ("--attack pgf", "`attack` must be among pgd, apgd-ce, apgd-dlr, apgd-t, square, ensemble. Received: 'pgf'"),
        ("--attack pgd --steps 0", "`steps` must be a whole number of at least 1. Received: '0'"),
        ("--attack pgd --steps many", "`steps` must be a whole number"),
        ("--attack pgd --epsilon 8/0", '`epsilon` must be a number, or a text such as "8/255"'),
        ("--attack pgd --epsilon 8", "`epsilon` must be at most 1"),
        ("--attack pgd --step-size -1", "`step_size` must be above 0"),
        ("--attack pgd --norm l2", "`--norm l2` needs `--epsilon` in that norm"),
        ("--attack pgd --limit 100000", "`limit` must be at most"),
        ("--corruptions fogg", "Did you mean `fog`"),
        ("--corruptions --severities 6", "`severities` must be whole numbers from 1 to 5"),
        ("--corruptions . ", "`--corruptions .` names a run or file: name it first, or say `--corruptions all`"),
        ("--corruptions fog --corruption-source nowhere", "`source` must be None"),
        ("--corruptions fog --corruption-source folder:nowhere", "no file nowhere/labels.npy"),
        ("--smoothing 0", "`sigma` must be a number above 0"),
        ("--smoothing much", "`smoothing` must be a number. Received: 'much'"),
        ("--ood npz:nowhere.npz", "nowhere.npz"),
        ("--ood nothing", "nothing"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(run, trained, words, message):
    code, _, error = run("evaluate", trained / RUN, *words.split())
    assert (code, error.splitlines()[-1].startswith("Error: ")) == (2, True)
    assert message in error


@pytest.mark.slow
def test_every_question_at_once_and_its_answers_are_kept(run, trained, scans, tmp_path):
    words = [
        "--attack",
        "pgd,square",
        "--steps",
        "1,3",
        "--epsilon",
        "2/255,8/255",
        "--restarts",
        "2",
        "--queries",
        "5",
    ]
    words += [
        "--corruptions",
        "fog,contrast",
        "--severities",
        "1,5",
        "--ood",
        scans,
        "--smoothing",
        "0.1",
        "--draws",
        "60",
    ]
    words += ["--limit", "20", "--figures", tmp_path / "figures"]
    code, out, error = run("evaluate", trained / RUN, *words, "--output", tmp_path / "results.json")
    assert code == 0, error
    for title in ("PGD, linf", "Strong attacks", "Can these attacks be believed?", "corrupted", "origin", "Certified"):
        assert title in out
    results = json.loads((tmp_path / "results.json").read_text())
    assert [(round(row["epsilon"] * 255), row["steps"], row["n"]) for row in results["pgd"]] == [
        (2, 1, 20),
        (2, 3, 20),
        (8, 1, 20),
        (8, 3, 20),
    ]
    assert [row["attacks"][0]["attack"] for row in results["ensemble"]] == ["square", "square"]
    assert {check["status"] for check in results["self_checks"]} <= {"pass", "warn", "not run"}
    assert list(results["corruptions"]["corruptions"]) == ["fog", "contrast"] and results["corruptions"]["n"] == 20
    assert results["ood"][0]["n"] == 200 and results["smoothing"][0]["n_images"] == 20
    assert len(list((tmp_path / "figures").glob("*.png"))) == len(list((tmp_path / "figures").glob("*.svg"))) >= 5
    assert {name.partition("-")[0] for name in results["provenance"]} >= {"accuracy", "pgd", "ensemble", "corruptions"}
    assert all(origin["versions"]["keras"] and origin["command"] for origin in results["provenance"].values())
    kept = {path: path.stat().st_mtime_ns for path in (trained / RUN / "evaluation").glob("*.json")}
    code, again, _ = run("evaluate", trained / RUN, *words, "--json")
    assert json.loads(again) == results
    assert kept == {path: path.stat().st_mtime_ns for path in (trained / RUN / "evaluation").glob("*.json")}


def test_the_results_of_clean_images_have_calibration_and_selective_risk(run, trained):
    results = json.loads(run("evaluate", trained / RUN, "--teacher", trained / RUN, "--json")[1])
    assert results["fidelity"]["agreement"] == 1 and results["fidelity"]["kl_divergence"] == pytest.approx(0, abs=1e-9)
    assert 0 <= results["brier_score"] <= 2 and 0 <= results["adaptive_expected_calibration_error"] <= 1
    assert results["selective"]["curve"]["coverage"][-1] == 1
    assert results["selective"]["curve"]["risk"][-1] == pytest.approx(1 - results["accuracy"])
    assert sum(bin["n"] for bin in results["reliability"]["bins"]) == results["n"]


def test_several_models_are_compared(run, trained, scans, tmp_path):
    copy = tmp_path / "copy.keras"
    copy.write_bytes((trained / RUN / "student.keras").read_bytes())
    code, out, error = run(
        "evaluate",
        trained / RUN,
        copy,
        "--data",
        scans,
        "--attack",
        "pgd",
        "--steps",
        "1",
        "--limit",
        "10",
        "--no-self-checks",
    )
    assert code == 0, error
    table = out[out.index("All models") :]
    assert "PGD-1," in table and "accuracy" in table
    rows = json.loads(next((tmp_path / "copy-evaluation").glob("pgd-*.json")).read_text())["results"]
    assert table.split().count(f"{100 * rows[0]['robust_accuracy']:.1f}") >= 2
    assert (tmp_path / "copy-evaluation").is_dir()
    code, out, _ = run("evaluate", trained / RUN, copy, "--data", scans, "--json")
    assert len(json.loads(out)["models"]) == 2
    assert run("evaluate", trained / RUN, copy, "--folder", tmp_path / "x")[0] == 2


def test_names_that_the_command_line_knows_without_keras_are_those_of_the_library():
    from tfnoisekd import export
    from tfnoisekd.cli import export as command
    from tfnoisekd.evaluation.attacks.worst_case import ATTACKS

    assert set(questions.STRONG) == set(ATTACKS)
    assert command.QUANTIZATIONS == export.QUANTIZATIONS


def test_help_has_a_section_for_each_purpose(run):
    _, out, _ = run("evaluate", "--help")
    sections = [line for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert sections == [
        "Attack:",
        "Common corruptions:",
        "Other data, certified robustness:",
        "How and where:",
        "Data and runs:",
    ]


def test_other_classes_are_an_error(run, trained, tmp_path):
    images = np.zeros((4, 16, 16, 1), "uint8")
    np.savez(tmp_path / "other.npz", images=images, labels=np.array([0, 11, 3, 4]))
    code, _, error = run("evaluate", trained / RUN, "--ood", f"npz:{tmp_path / 'other.npz'}")
    assert code == 2 and "12 classes" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--attack pgd --queries 3", "`--queries` has a use only with the attacks ensemble, square"),
        ("--attack square --steps 7", "`--steps` has a use only with the attacks pgd"),
        ("--attack ensemble --step-size 0.1", "`--step-size` has a use only with the attacks pgd"),
        ("--smoothing=", "`--smoothing` is empty"),
        ("--attack=", "`--attack` is empty"),
        ("--attack pgd --epsilon 1e400", "`epsilon`"),
        # What can be known is known before the attack, of which nothing may be kept:
        ("--attack pgd --seed 5 --corruptions fogg", "Did you mean `fog`"),
        ("--attack pgd --seed 5 --smoothing 2 --alpha 3", "`alpha` must be a number above 0"),
        ("--attack pgd --seed 5 --ood npz:missing.npz", "missing.npz"),
        ("--attack pgd --seed 5 --output nodir/sub/x.json", "`--output` must be in a folder that is there"),
        ("--attack pgd --seed 5 --figures /proc/nothing/at/all", "/proc/nothing/at/all can't be made"),
    ],
)
def test_mistakes_are_found_before_the_work(run, trained, words, message):
    code, _, error = run("evaluate", trained / RUN, *words.split())
    assert code == 2 and message in error.splitlines()[-1]
    kept = [json.loads(path.read_text()) for path in (trained / RUN / "evaluation").glob("pgd-*.json")]
    assert not [record for record in kept if record["settings"]["seed"] == 5]


def test_a_missing_toolbox_is_told_before_the_work(run, trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "art", None)
    monkeypatch.setitem(sys.modules, "art.attacks.evasion.auto_projected_gradient_descent", None)
    code, _, error = run("evaluate", trained / RUN, "--attack", "pgd,ensemble", "--limit", "5", "--seed", "6")
    assert code == 2 and 'pip install "tfnoisekd[robust]"' in error


def test_published_files_that_change_are_read_again(run, trained, tmp_path):
    from tfnoisekd import config, training

    record = json.loads((trained / RUN / "run.json").read_text())["config"]
    test = training.load_data(config.build(record)).test
    folder = tmp_path / "c10c"
    folder.mkdir()
    np.save(folder / "labels.npy", np.tile(test.labels, 5))
    np.save(folder / "contrast.npy", np.tile(test.images, (5, 1, 1, 1)))
    words = ["--corruptions", "contrast", "--severities", "1", "--corruption-source", f"folder:{folder}", "--json"]
    first = json.loads(run("evaluate", trained / RUN, *words)[1])["corruptions"]
    assert first["mean_accuracy"] == first["clean_accuracy"]
    blank = np.tile(test.images, (5, 1, 1, 1))
    blank[: len(test)] = 255 - blank[: len(test)]
    np.save(folder / "contrast.npy", blank)
    again = json.loads(run("evaluate", trained / RUN, *words)[1])["corruptions"]
    assert again["natural_robustness"] < 1


def test_an_attack_that_cannot_be_run_does_not_cost_the_other_answers(run, scans, tmp_path):
    blind = keras.Sequential(
        [keras.Input((16, 16, 1)), keras.layers.Flatten(), keras.layers.Dense(10), Step(), keras.layers.Dense(10)]
    )
    blind.layers[-1].set_weights([np.zeros((10, 10), "float32"), 2 * np.eye(10, dtype="float32")[0]])  # always class 0
    blind.save(tmp_path / "blind.keras")
    words = ["--data", scans, "--attack", "pgd", "--limit", "20", "--corruptions", "fog", "--severities", "1"]
    code, out, error = run("evaluate", tmp_path / "blind.keras", *words, "--unsafe")
    assert code == 2 and "pgd: `model` must have gradients" in error and "--attack square" in error
    assert "fog" in out and "pgd: not answered" in out


@keras.saving.register_keras_serializable("test_evaluate_cli")
class Step(keras.layers.Layer):
    def call(self, x):
        return keras.ops.sign(x)


def test_a_model_for_bytes_is_recognised(run, scans, tmp_path):
    with np.load(scans.removeprefix("npz:")) as file:
        images, labels = file["images"], file["labels"]
    matrix = np.linalg.pinv(images.reshape(len(images), -1).astype(float)) @ (np.eye(10)[labels] - 0.1)
    dense = keras.layers.Dense(10)
    model = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Flatten(), dense])
    bias = np.full(10, 0.0)
    bias[3] = 0.3  # which decides where pixels are as small as in [0, 1]
    dense.set_weights([matrix.astype("float32"), bias.astype("float32")])
    model.save(tmp_path / "bytes.keras")
    code, _, error = run("evaluate", tmp_path / "bytes.keras", "--data", scans)
    assert code == 0 and "images with pixels in 0..255" in error and "keras.layers.Rescaling(255)" in error
    upright = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Rescaling(255), model])
    upright.save(tmp_path / "unit.keras")
    code, _, error = run("evaluate", tmp_path / "unit.keras", "--data", scans)
    assert code == 0 and "0..255" not in error


def test_checks_of_strong_attacks_alone_take_steps_that_reach_the_whole_ball(run, trained):
    words = ["--attack", "square", "--queries", "3", "--epsilon", "0.3", "--limit", "10", "--json"]
    results = json.loads(run("evaluate", trained / RUN, *words)[1])
    checks = {check["check"]: check for check in results["self_checks"]}
    assert checks["single-step-stronger"]["status"] in ("pass", "not run")
    kept = [json.loads(path.read_text()) for path in (trained / RUN / "evaluation").glob("self-checks-*.json")]
    (settings,) = [record["settings"] for record in kept if record["settings"]["epsilon"] == 0.3]
    assert settings["step_size"] == pytest.approx(2.5 * 0.3 / 20) and settings["steps"] == 20


def test_runs_with_several_sigma_get_the_figure_over_sigma(run, trained, tmp_path):
    from tfnoisekd.cli.figures import draw

    words = ["--attack", "pgd", "--steps", "1", "--limit", "10", "--no-self-checks", "--json"]
    results = json.loads(run("evaluate", trained / RUN, *words)[1])
    assessed = [
        {**results, "run": {**results["run"], "method": method, "sigma": sigma}}
        for method, sigma in (("sr", 0.05), ("sr", 0.02), ("ga", 0.05), ("ga", 0.05))
    ]
    draw(assessed, tmp_path)  # of several seeds, means and ranges
    assert "range over runs" in (tmp_path / "sigma.svg").read_text()
    names = {path.name for path in draw(assessed[:3], tmp_path)}
    assert "95% Wilson interval" in (tmp_path / "sigma.svg").read_text()
    assert "sigma.png" in names and "epsilon.png" not in names
    assert (tmp_path / "sigma.svg").is_file()
    assert "sr sigma 0.05" in (tmp_path / "reliability.svg").read_text()
