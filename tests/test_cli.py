"""The command line as a person uses it, mistakes included: one line, the right exit code, no traceback."""

import functools
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from short_runs import SHORT

# As a user has it: the tests' own setting makes TensorFlow slower.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}


def console(*words, **options):
    """Runs the installed program in a process of its own."""
    code = "from tfnoisekd.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        **options,
    )


def test_help_names_every_command_and_imports_no_backend():
    code = "import sys; from tfnoisekd.cli.main import main\ntry: main(['--help'])\nfinally: print(sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False).stdout
    text, _, modules = shown.rpartition("\n['")
    for command in ("train", "evaluate", "export", "methods", "datasets", "info"):
        assert f"\n  {command}" in text
    assert not {"'tensorflow'", "'keras'", "'numpy'", "'pydantic'"} & set(modules.replace(",", "").split())


def test_no_command_shows_the_help(run):
    code, _, error = run()
    assert code == 2 and error.startswith("Usage: tfnoisekd") and "Commands:" in error


def test_a_data_set_out_of_reach_names_the_ways_out(run, tmp_path):
    code, _, error = run("train", "--data", "tfds:cifar10", "--data-dir", tmp_path)
    assert code == 2 and error.count("\n") == 1
    assert all(way in error for way in ("--data-dir", "manual", "folder:PATH"))


def test_version(run):
    assert run("--version")[1] == "tfnoisekd, version 0.1.0\n"


def test_methods_and_datasets_are_listed(run):
    code, out, _ = run("methods")
    assert code == 0 and all(name in out for name in ("baseline", "hinton", "ft", "sr", "ga", "mc", "--rate 0.1"))
    code, out, _ = run("datasets")
    assert code == 0 and all(name in out for name in ("digits", "cifar10", "svhn", "tfds:NAME", "folder:PATH"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "trian",
            "There is no command `trian`: there are train, evaluate, sweep, tune, report, export, methods, datasets, "
            "info. Did you mean `train`?",
        ),
        ("train --metod mc", "No such option"),
        ("train --method mcc", "Received: mcc. Did you mean `mc`?"),
        ("train --rate 1.4", "`rate` must be less than or equal to 1. Received: rate=1.4"),
        ("train --sigma -0.1", "`sigma` must be greater than or equal to 0. Received: sigma=-0.1"),
        ("train --epochs few", "`epochs` must be a valid integer"),
        ("train --milestones 0.5,2", "`milestones` must be less than 1. Received: milestones=2"),
        ("train --student wrn", "`student` must look like wrn-16-2. Received: student='wrn'"),
        ("train --student wrn-12-1", "the nearest possible depth is 10"),
        ("train --config none", "`config` must be a YAML file or one of cifar10, digits, svhn. Received: none"),
        ("train --label-corruption 1.4", "`label_corruption` must be less than or equal to 1"),
        ("train --corruption-kind pair", "`label_corruption` (--label-corruption 0.4, the share of training labels"),
        ("train --label-corruption 0.4 --corruption-kind pairs", "Received: pairs. Did you mean `pair`?"),
        ("train --corruption-kind cifar10n:worse", "needs `corruption_file` (--corruption-file PATH)"),
        ("train --label-corruption 0.4 --corruption-file a.npz", "`corruption_file` is read only for human labels"),
        (
            "train --corruption-kind cifar10n:worse --corruption-file a.npz",
            "needs an existing file written by np.savez",
        ),
        ("evaluate --label-corruption 0.4", "No such option"),
        ("train --data digit", "digit"),
        ("train --data npz:nowhere.npz", "nowhere.npz"),
        ("train --data folder:nowhere", "nowhere"),
        ("train --teacher nowhere.keras", "There is no model file nowhere.keras"),
        ("train --resume nowhere", "nowhere is not a run folder"),
        ("train --resume a --rate 0.1", "`--resume` takes a run's own configuration"),
        ("evaluate nowhere", "There is no run or model file nowhere"),
        ("export --tflite --quantize int4", "`quantize` must be among none, float16, dynamic, int8, int8-io"),
        ("export --onnx --quantize int8", "`--quantize` has a use only with `--tflite`"),
        ("export --tflite --include sofmax", "Did you mean `softmax`?"),
        ("export --tflite --web", "`--web` needs `--onnx`"),
        ("export --tflite --epsilon 8/255", "`--epsilon` has a use only with `--robustness`"),
        ("evaluate", "There is no finished run in runs: train one by `tfnoisekd train`"),
        ("export --tflite", "There is no finished run in runs"),
        ("export", "Say at least one format: --tflite, --onnx or --saved-model"),
        ("info", "There is no finished run in runs"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(run, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, error = run(*words.split())
    assert code == 2
    assert error.startswith("Error: ") and error.count("\n") == 1
    assert message in error


def test_a_mistake_leaves_no_run_behind(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("train", "--rate", "1.4")
    run("train", "--data", "npz:nowhere.npz")
    run("train", "--teacher", "nowhere.keras")
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback():
    shown = console("train", "--method", "mcc", "--debug").stderr
    assert "Traceback" in shown and "ValueError: `method` must be one of" in shown


def test_without_data_one_line_says_so_and_how_to_ask_for_more(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, out, _ = run("train", "--method", "mc", "--rate", "0.1", "--teacher", "nowhere.keras")
    assert out == (
        "Training on the embedded digits (1,797 real scans). "
        "For the paper's CIFAR-10 setting: tfnoisekd train --config cifar10 --method mc --rate 0.1\n"
    )


def test_evaluate_a_run_and_its_file_agree(run, trained, scans, tmp_path):
    path = trained / "baseline-scans-1"
    code, out, _ = run("evaluate", path, "--json", "--output", tmp_path / "results.json")
    assert code == 0
    by_run = json.loads(out)
    assert by_run == json.loads((tmp_path / "results.json").read_text())
    record = json.loads((path / "run.json").read_text())
    assert by_run["accuracy"] == record["results"]["accuracy"]
    by_file = json.loads(run("evaluate", path / "student.keras", "--data", scans, "--json")[1])
    assert by_file["accuracy"] == by_run["accuracy"]
    against_itself = json.loads(run("evaluate", path, "--teacher", path / "student.keras", "--json")[1])
    assert against_itself["agreement"] == 1 and against_itself["teacher_accuracy"] == by_run["accuracy"]
    code, out, _ = run("evaluate", path)
    assert code == 0 and f"{by_run['accuracy']:.2%}" in out and "By class" in out


def test_evaluate_a_file_needs_data(run, trained):
    code, _, error = run("evaluate", trained / "baseline-scans-1" / "student.keras")
    assert code == 2 and "`--data` must name the data" in error


def test_evaluate_on_other_images_is_an_error(run, trained):
    code, _, error = run("evaluate", trained / "baseline-scans-1", "--data", "digits", "--teacher", "nowhere.keras")
    assert code == 2 and "There is no model file nowhere.keras" in error


def test_info_shows_where_the_numbers_come_from(run, trained):
    code, out, _ = run("info", "--runs", trained)
    assert code == 0
    for word in ("finished", "tfnoisekd train", "tensorflow", "weight_decay 0.0005", "accuracy"):
        assert word in " ".join(out.replace("│", " ").split())  # long values are wrapped
    record = json.loads(run("info", trained / "baseline-scans-1", "--json")[1])
    assert record["config"]["student"] == "wrn-10-1"


def test_a_finished_run_is_not_overwritten(run, trained, scans):
    path = trained / "baseline-scans-1"
    before = (path / "student.keras").read_bytes()
    code, _, error = run("train", "--data", scans, *SHORT, "--output", path)
    assert code == 2 and "holds another run, which is never overwritten" in error
    assert (path / "student.keras").read_bytes() == before
    assert "already finished" in run("train", "--resume", path)[1]


def test_wrong_labels_are_announced_recorded_and_needed_no_more(run, scans, tmp_path):
    with np.load(scans.removeprefix("npz:")) as file:
        clean = file["labels"]
    worse = np.where(np.arange(len(clean)) % 5 < 2, (clean + 1) % 10, clean)
    np.savez(tmp_path / "human.npz", clean_label=clean, worse_label=worse)
    words = ["--corruption-kind", "cifar10n:worse", "--corruption-file", tmp_path / "human.npz"]
    code, out, _ = run(
        "train", "--data", scans, *SHORT, "--label-corruption", "0.4", *words, "--output", tmp_path / "a"
    )
    assert code == 0
    record = json.loads((tmp_path / "a" / "run.json").read_text())
    found = record["data"]["corruption"]
    line = f"{100 * found['true_rate']:.1f}% of 144 training labels replaced (cifar10n:worse); validation and test"
    assert out.startswith(f"labels: {line}") and found["rate"] == 0.4 and 50 < found["n"] < 65
    heading = f"Memorization of {found['n']} wrong training labels, {100 * found['true_rate']:.1f}% of all"
    share = record["results"]["memorization"]["student"]["wrong_label_accuracy"]
    (tmp_path / "human.npz").unlink()
    info = run("info", tmp_path / "a")[1]
    for shown in (out, info):
        assert heading in shown and "student" in shown and f"{share:.2%}" in shown
    assert "kind cifar10n:worse, rate 0.4" in info
    code, out, _ = run("evaluate", tmp_path / "a", "--json")
    assert code == 0 and json.loads(out)["accuracy"] == record["results"]["accuracy"]
    assert "memorization" not in json.loads(out)


@pytest.mark.slow
def test_export_writes_all_formats_of_the_newest_run(run, trained):
    code, out, error = run("export", "--tflite", "--onnx", "--saved-model", "--runs", trained)
    assert code == 0 and "Using the newest finished run" in error
    folder = trained / "baseline-scans-1" / "export"
    files = {"student.tflite", "student.onnx", "student_saved_model"}
    assert {p.name for p in folder.iterdir()} == files | {"export.json", "MODEL_CARD.md", "labels.txt"}
    report = json.loads((folder / "export.json").read_text())
    assert {each["path"] for each in report["files"]} == files and "tfnoisekd export" in report["provenance"]["command"]
    assert all(each["cost"]["timings"][0]["median_ms"] > 0 for each in report["files"])
    assert out.count("agrees with the Keras student on 100.00% of 40 test images") == 3
    code, _, error = run("export", "--tflite", "--runs", trained)
    assert code == 2 and "--overwrite" in error
    words = ["--tflite", "--quantize", "int8-io", "--include", "preprocessing,softmax", "--robustness", "10"]
    code, out, error = run("export", *words, "--accuracy-drop", "0.2", "--no-costs", "--runs", trained)
    assert code == 0, error
    assert (folder / "student-int8-io.tflite").is_file() and "What they withstand" in out


def test_pixels_out_of_range_and_labels_outside_the_classes(run, tmp_path):
    images, labels = np.zeros((20, 16, 16, 1), "float32"), np.arange(20) % 2
    images[3, 0, 0] = np.nan
    np.savez(tmp_path / "nan.npz", images=images, labels=labels)
    code, _, error = run("train", "--data", f"npz:{tmp_path / 'nan.npz'}")
    assert code == 2 and "NaN" in error
    np.savez(tmp_path / "label.npz", images=np.zeros((20, 16, 16, 1), "uint8"), labels=labels - 1)
    code, _, error = run("train", "--data", f"npz:{tmp_path / 'label.npz'}")
    assert code == 2 and "label" in error


@pytest.mark.slow
def test_the_main_job_verbatim(tmp_path):
    """The two commands of the README, with no other argument, in an empty folder."""
    train = console("train", "--method", "mc", "--rate", "0.1", cwd=tmp_path)
    assert train.returncode == 0, train.stderr
    assert train.stderr == ""
    assert train.stdout.startswith("Training on the embedded digits")
    record = json.loads((tmp_path / "runs" / "mc-digits-1" / "run.json").read_text())
    # Wrong labels in training, clean ones here; chance is 0.1.
    assert record["results"]["accuracy"] > 0.95 and record["results"]["agreement"] > 0.95
    export = console("export", "--tflite", cwd=tmp_path)
    assert export.returncode == 0, export.stderr
    assert (tmp_path / "runs" / "mc-digits-1" / "export" / "student.tflite").stat().st_size < 400_000
    assert "Using the newest finished run, runs/mc-digits-1" in export.stderr


def test_class_names_of_any_kind_are_shown(run, tmp_path):
    rng = np.random.default_rng(0)
    names = ["a[/b]", "[bold]猫[/bold]"]
    images = rng.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "odd.npz", images=images, labels=np.arange(40) % 2, class_names=names)
    code, _, _ = run("train", "--data", f"npz:{tmp_path / 'odd.npz'}", *SHORT, "--output", tmp_path / "run")
    assert code == 0
    code, out, _ = run("evaluate", tmp_path / "run")
    assert code == 0 and all(name in out for name in names)


def test_a_truncated_teacher_is_called_damaged(run, trained, scans, tmp_path):
    whole = (trained / "baseline-scans-1" / "student.keras").read_bytes()
    (tmp_path / "half.keras").write_bytes(whole[: len(whole) // 2])
    code, _, error = run("train", "--data", scans, "--teacher", tmp_path / "half.keras")
    assert code == 2 and "half.keras is not a Keras model that can be read: it is damaged or incomplete" in error


def start(scans, folder, *words):
    code = "from tfnoisekd.cli.main import main; main()"
    command = [sys.executable, "-c", code, "train", "--data", scans, *words, "--output", "run"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A shell that starts the tests in the background has them ignore Ctrl-C, which would be inherited.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, preexec_fn=heed, **streams)


LONG = ["--method", "baseline", "--student", "wrn-10-1", "--epochs", "6", "--batch-size", "40"]


@pytest.mark.slow
def test_kill_9_and_resume_end_as_if_nothing_had_happened(scans, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for folder in (killed, whole):
        folder.mkdir()
    with start(scans, killed, *LONG) as process:
        while "epoch 2/6" not in process.stdout.readline():
            assert process.poll() is None, process.stderr.read()
        process.kill()
    assert json.loads((killed / "run" / "run.json").read_text())["status"] == "running"
    resumed = console("train", "--resume", "run", cwd=killed)
    assert resumed.returncode == 0, resumed.stderr
    assert "epoch 2/6" not in resumed.stdout and "epoch 6/6" in resumed.stdout
    with start(scans, whole, *LONG) as process:
        assert process.wait(300) == 0, process.stderr.read()
    one, two = (json.loads((folder / "run" / "run.json").read_text()) for folder in (killed, whole))
    assert one["student_weights_sha256"] == two["student_weights_sha256"]
    assert one["results"] == two["results"]
    assert (killed / "run" / "history.csv").read_text() == (whole / "run" / "history.csv").read_text()


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(scans, tmp_path):
    with start(scans, tmp_path, *LONG) as process:
        while "epoch 1/6" not in process.stdout.readline():
            assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(100) == 130
        assert "tfnoisekd train --resume RUN" in process.stderr.read()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "interrupted"


def test_a_terminal_gets_a_bar_and_a_log_gets_lines(monkeypatch, capsys):
    from types import SimpleNamespace

    from tfnoisekd.cli.progress import shown_trainings

    def train(show):
        callback = show("student", SimpleNamespace(student="wrn-10-1"))
        callback.set_params({"epochs": 2, "steps": 3})
        callback.on_train_begin()
        for epoch in range(2):
            callback.on_epoch_begin(epoch)
            for batch in range(3):
                callback.on_train_batch_end(batch)
            callback.on_epoch_end(epoch, {"loss": 0.25, "val_accuracy": 0.5})
        callback.on_train_end()

    with shown_trainings() as show:
        train(show)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "student wrn-10-1  epoch 2/2  loss 0.2500  val_accuracy 0.5000  0:00:00 left"
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # Rich's word for a terminal
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with shown_trainings() as show:
        train(show)
    shown = capsys.readouterr().out
    for part in ("student wrn-10-1  epoch 2/2", "6/6", "left", "loss 0.2500  val_accuracy 0.5000"):
        assert part in shown
