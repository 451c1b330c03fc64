"""What a folder of a grid holds, collected: every number with the run that it is of, and where that came from."""

import json

import collections_made as made
import pytest
import sweeps
from click.testing import CliRunner

from tfnoisekd.evaluation import adversarial
from tfnoisekd.experiments import questions
from tfnoisekd.report import measurements
from tfnoisekd.report.collect import collect


@pytest.fixture(scope="module")
def folder(scans, tmp_path_factory):
    """A grid of which one seed is trained, in this process."""
    from tfnoisekd.experiments import grid
    from tfnoisekd.experiments.store import Store
    from tfnoisekd.experiments.sweep import Sweep
    from tfnoisekd.experiments.work import Worker

    root = tmp_path_factory.mktemp("collected")
    file = sweeps.write_grid(
        root,
        scans,
        stands_for="cifar10",
        note="tiny",
        evaluations=[
            sweeps.QUESTION,
            {"ood": scans, "teachers": True},
            {"corruptions": {"corruptions": ["fog"], "severities": [1], "limit": 10}, "where": {"method": "mc"}},
            {"smoothing": {"sigma": 0.1, "n": 20, "n0": 5, "limit": 3, "alpha": 0.1}, "where": {"method": "mc"}},
        ],
    )
    sweep = Sweep([grid.load(file, {"epochs": 2, "label_corruption": 0.2})])
    store = Store(root / "grid", create=True)
    sweep.note(store, "tfnoisekd sweep small.yaml")
    worker = Worker(store.path, command="tfnoisekd sweep small.yaml")
    for job in sweep.jobs.values():
        if job.seed == 0:
            assert worker.do(job.payload())["status"] == "finished"
    return store.path


@pytest.fixture(scope="module")
def collection(folder):
    return collect([folder])


def runs_of(collection, method):
    return [key for key in collection["runs"] if key.startswith(f"{method}-")]


def value(collection, key, metric, **settings):
    found = [each for each in collection["measurements"] if each["run"] == key and each["metric"] == metric]
    found = [each for each in found if all(each["settings"].get(name) == wanted for name, wanted in settings.items())]
    assert len(found) == 1, found
    return found[0]


def test_the_grid_names_its_cells_and_what_is_missing(collection):
    (grid,) = collection["grids"]
    (mc,) = runs_of(collection, "mc")
    (baseline,) = runs_of(collection, "baseline")
    assert (grid["name"], grid["title"], grid["note"], grid["stands_for"]) == ("small", "small", "tiny", "cifar10")
    assert grid["axes"] == ["method"] and grid["seeds"] == [0, 1]
    assert grid["cells"] == [
        {"axes": {"method": "baseline"}, "runs": {"0": baseline, "1": None}},
        {"axes": {"method": "mc"}, "runs": {"0": mc, "1": None}},
    ]
    assert [each["metric"] for each in grid["metrics"]] == [
        *("test_accuracy", "teacher_accuracy", "wrong_label_accuracy", "robust_accuracy", "robust_accuracy"),
        *("ood_accuracy", "natural_robustness", "corruption_accuracy", "smoothed_accuracy", "average_certified_radius"),
        "teacher_ood_accuracy",
    ]


def test_every_number_is_that_of_the_files(folder, collection):
    (mc,) = runs_of(collection, "mc")
    path = folder / "students" / mc
    record = json.loads((path / "run.json").read_text())
    assert value(collection, mc, "test_accuracy")["value"] == record["results"]["accuracy"]
    assert value(collection, mc, "test_accuracy")["n"] == record["results"]["n"]
    assert value(collection, mc, "teacher_accuracy")["value"] == record["results"]["teacher_accuracy"]
    wrong = record["results"]["memorization"]["student"]
    assert value(collection, mc, "wrong_label_accuracy")["value"] == wrong["wrong_label_accuracy"]
    answers = {}
    for file in (path / "evaluation").glob("[!.]*.json"):
        answer = json.loads(file.read_text())
        answers[answer["question"]] = answer["results"]
    for row in answers["pgd"]:
        found = value(collection, mc, "robust_accuracy", steps=row["steps"])
        assert found["value"] == row["robust_accuracy"] and found["n"] == 20
        assert found["settings"] == {
            "attack": "pgd",
            "norm": "linf",
            "epsilon": 2 / 255,
            "steps": row["steps"],
            "restarts": 2,
            "step_size": adversarial.STEP_SIZE,
        }
    assert value(collection, mc, "ood_accuracy")["value"] == answers["ood"]["accuracy"]
    fog = value(collection, mc, "corruption_accuracy", corruption="fog")
    assert fog["value"] == answers["corruptions"]["corruptions"]["fog"]["accuracy"] and fog["n"] == 10
    assert value(collection, mc, "natural_robustness")["value"] == answers["corruptions"]["natural_robustness"]
    assert not [each for each in collection["measurements"] if each["metric"] == "mca"]  # one of 95 sets is no mean
    smoothed = value(collection, mc, "smoothed_accuracy", sigma=0.1)
    assert smoothed["value"] == answers["smoothing"]["smoothed_accuracy"] and smoothed["n"] == 3


def test_a_column_is_the_measurement_it_asks_for(collection):
    (mc,) = runs_of(collection, "mc")
    (grid,) = collection["grids"]
    measured = [(each["metric"], each["settings"]) for each in collection["measurements"] if each["run"] == mc]
    for column in grid["metrics"]:
        assert (column["metric"], column["settings"]) in measured
    limited = [each["metric"] for each in grid["metrics"] if each.get("where") == {"method": "mc"}]
    assert limited == [
        *("robust_accuracy", "robust_accuracy", "natural_robustness", "corruption_accuracy"),
        *("smoothed_accuracy", "average_certified_radius"),
    ]


def test_columns_of_corruptions_are_those_that_can_be_had():
    def names(**options):
        questions = [{"asked": ["corruptions", options], "where": {}}]
        return [each["metric"] for each in measurements.asked(questions, False, False)][1:]

    assert names(limit=10) == ["mca", "mca_15", "natural_robustness"]
    assert names(severities=[1, 2, 3, 4, 5]) == ["mca", "mca_15", "natural_robustness"]
    assert names(severities=[3]) == ["natural_robustness", *["corruption_accuracy"] * 19]
    assert names(corruptions=["fog", "snow"]) == ["natural_robustness", *["corruption_accuracy"] * 2]


def test_what_is_asked_of_two_groups_is_one_column():
    questions = [{"asked": ["ood", {"source": "npz:a"}], "where": {"method": name}} for name in ("sr", "ga")]
    (_, column) = measurements.asked(questions, False, False)
    assert column == {"metric": "ood_accuracy", "settings": {"source": "npz:a"}}


def test_a_teacher_is_asked_once_and_its_answer_is_each_students(collection):
    (mc,) = runs_of(collection, "mc")
    teacher = collection["runs"][mc]["teacher"]["run"]
    assert teacher in runs_of(collection, "teacher")
    own = value(collection, teacher, "ood_accuracy")
    assert value(collection, mc, "teacher_ood_accuracy")["value"] == own["value"]
    assert value(collection, mc, "teacher_accuracy")["value"] == value(collection, teacher, "test_accuracy")["value"]


def test_every_run_carries_where_it_came_from(folder, collection):
    for key, run in collection["runs"].items():
        record = json.loads((folder / "students" / key / "run.json").read_text()) if "teacher-" not in key else None
        assert run["status"] == "finished" and run["error"] is None and run["attempts"] == 1
        assert run["provenance"]["command"] == "tfnoisekd sweep small.yaml" and run["provenance"]["device"]
        assert {"python", "tensorflow", "keras", "numpy"} <= set(run["provenance"]["versions"])
        assert len(run["data"]["fingerprint"]) == 64 and run["data"]["train"] == 160 and run["data"]["test"] == 40
        assert run["seconds"] > 0 and run["evaluation_seconds"] >= 0
        assert (
            run["curves"]["epoch"] == [1, 2] and len(run["curves"]["loss"]) == 2 and "val_accuracy" not in run["curves"]
        )
        assert all(each["provenance"]["device"] for each in run["evaluations"])
        if record:
            assert run["config"] == record["config"]
            assert run["student_weights_sha256"] == record["student_weights_sha256"]


def test_the_work_is_counted_by_the_networks(collection):
    from tfnoisekd.architectures import macs

    each = macs("wrn-10-1", 10, (16, 16, 1))
    (mc,) = runs_of(collection, "mc")
    (baseline,) = runs_of(collection, "baseline")
    assert collection["runs"][mc]["macs"] == {"student": each, "teacher": each}
    assert collection["runs"][mc]["training_flops"] == 2 * 2 * 160 * 4 * each  # epochs, images, three passes and one
    assert collection["runs"][baseline]["training_flops"] == 2 * 2 * 160 * 3 * each


def test_a_file_of_a_collection_says_the_same_without_paths(collection, tmp_path):
    file = tmp_path / "results.json"
    file.write_text(json.dumps(collection))
    again = collect([file])
    assert all(run["path"] is None for run in again["runs"].values())
    for run in again["runs"].values():
        run["path"] = None
    without = json.loads(json.dumps(collection))
    for run in without["runs"].values():
        run["path"] = None
    assert again == without


def test_seeds_from_two_machines_are_joined(collection, tmp_path):
    (mc,) = runs_of(collection, "mc")
    other = json.loads(json.dumps(collection))
    other["runs"]["mc-other"] = {**other["runs"].pop(mc), "student_weights_sha256": "ff" * 32}
    for each in other["measurements"]:
        each["run"] = "mc-other" if each["run"] == mc else each["run"]
    other["grids"][0]["cells"][1]["runs"] = {"1": "mc-other"}
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file, content in zip(files, (collection, other), strict=True):
        file.write_text(json.dumps(content))
    joined = collect(files)
    assert joined["grids"][0]["cells"][1]["runs"] == {"0": mc, "1": "mc-other"}
    assert len(joined["runs"]) == len(collection["runs"]) + 1
    assert len(joined["measurements"]) == len({json.dumps(each, sort_keys=True) for each in joined["measurements"]})
    other["runs"][mc] = {**other["runs"]["mc-other"]}
    files[1].write_text(json.dumps(other))
    with pytest.raises(ValueError, match=f"b.json has another outcome of {mc}"):
        collect(files)


def test_methods_of_two_machines_are_one_table_and_compared(tmp_path):
    """Each machine knows the axes and comparisons of its own part alone."""
    whole = made.made("figure4")
    (grid,) = whole["grids"]
    parts = []
    for methods in (["baseline"], ["hinton", "mc"]):
        part = json.loads(json.dumps(whole))
        (own,) = part["grids"]
        own["cells"] = [cell for cell in own["cells"] if cell["axes"]["method"] in methods]
        own["axes"] = list(dict.fromkeys(name for cell in own["cells"] for name in cell["axes"]))
        own["comparisons"] = [each for each in own["comparisons"] if {*each["of"].values()} <= {*methods}]
        own["comparisons"] = [each for each in own["comparisons"] if {*each["against"].values()} <= {*methods}]
        kept = {key for cell in own["cells"] for key in cell["runs"].values()}
        part["runs"] = {key: run for key, run in part["runs"].items() if key in kept}
        part["measurements"] = [each for each in part["measurements"] if each["run"] in kept]
        parts.append(tmp_path / f"{methods[0]}.json")
        parts[-1].write_text(json.dumps(part))
    (joined,) = collect(parts)["grids"]
    assert {*grid["axes"]} == {*joined["axes"]} > {*json.loads(parts[0].read_text())["grids"][0]["axes"]}
    assert len(joined["cells"]) == len(grid["cells"]) and joined["seeds"] == grid["seeds"]
    assert joined["comparisons"] == grid["comparisons"] != []


@pytest.mark.parametrize(("kind", "shown"), [("worse", True), ("clean", False)])
def test_what_a_student_made_of_the_mistakes_of_people_is_a_column(kind, shown, scans, tmp_path):
    from tfnoisekd.experiments import grid
    from tfnoisekd.experiments.store import Store
    from tfnoisekd.experiments.sweep import Sweep
    from tfnoisekd.experiments.work import Worker

    people = {"corruption_kind": f"cifar10n:{kind}", "corruption_file": sweeps.mislabelled(scans)}
    file = sweeps.write_grid(tmp_path, scans, blocks=[{"method": "baseline"}], evaluations=[], comparisons=[])
    sweep = Sweep([grid.load(file, {"epochs": 1, "seed": [0], **people})])
    sweep.note(Store(tmp_path / "grid", create=True), "tfnoisekd sweep small.yaml")
    (job,) = sweep.jobs.values()
    assert Worker(tmp_path / "grid").do(job.payload())["status"] == "finished"
    found = collect([tmp_path / "grid"])
    columns = [each["metric"] for each in found["grids"][0]["metrics"]]
    assert columns == ["test_accuracy", *["wrong_label_accuracy"] * shown]
    if shown:
        record = json.loads(next((tmp_path / "grid").glob("students/*/run.json")).read_text())
        wrong = record["results"]["memorization"]["student"]
        assert value(found, job.key, "wrong_label_accuracy")["value"] == wrong["wrong_label_accuracy"]


def test_of_two_answers_that_on_more_images_counts():
    from tfnoisekd.report.collect import _measured

    numbers = [("mca", {}, 0.5, 100), ("mca", {}, 0.6, 1000), ("mca", {}, 0.7, 10)]
    assert _measured("k", numbers) == [{"run": "k", "metric": "mca", "settings": {}, "value": 0.6, "n": 1000}]


def test_failed_and_cut_off_runs_are_there_with_their_errors(folder, tmp_path):
    import shutil

    from tfnoisekd.experiments.store import Store

    copy = tmp_path / "grid"
    shutil.copytree(folder, copy)
    (mc,) = [path.name for path in (copy / "students").glob("mc-*")]
    Store(copy).note(mc, status="failed", error="ValueError: no")
    Store(copy).note("sr-never-made", status="failed", error="OSError: gone")
    found = collect([copy])
    assert (found["runs"][mc]["status"], found["runs"][mc]["error"]) == ("failed", "ValueError: no")
    assert found["runs"]["sr-never-made"]["error"] == "OSError: gone"
    assert not [each for each in found["measurements"] if each["run"] == mc]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no collection"),
        ("[]", "is no collection"),
        ('{"format": 7}', "must be of format 1. Received: format 7"),
    ],
)
def test_other_files_are_refused(content, message, tmp_path):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        collect([tmp_path / "x.json"])


def test_a_folder_that_is_no_grid_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a grid folder"):
        collect([tmp_path])


def test_the_defaults_of_columns_are_those_of_the_evaluations():
    import inspect

    from tfnoisekd.evaluation import ensemble

    sweep = inspect.signature(adversarial.sweep).parameters
    for name, default in questions.PGD.items():
        expected = sweep[name].default
        assert default == (list(expected) if isinstance(expected, tuple) else expected)
    strong = inspect.signature(ensemble.evaluate).parameters
    assert {name: strong[name].default for name in questions.STRONG} == questions.STRONG


def test_info_shows_how_far_a_grid_is(folder):
    from tfnoisekd.cli.info import command

    said = CliRunner().invoke(command, [str(folder)]).output
    row = next(line for line in said.splitlines() if line.startswith("│ small"))
    assert row.replace("│", " ").split() == ["small", "4", "2", "0", "0", "0", "2"]
    assert "tfnoisekd sweep small.yaml" in said
    every = json.loads(CliRunner().invoke(command, [str(folder), "--json"]).output)
    assert (
        set(every["grids"]) == {"small"} and sum(job.get("status") == "finished" for job in every["jobs"].values()) == 3
    )
