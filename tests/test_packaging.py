"""The wheel works where the repository is not, and the README tells the truth."""

import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    names = ("tfnoisekd", "cli", "export", "configs", "setup.py", "pyproject.toml", "README.md", "LICENSE")
    # A copy, so that building leaves nothing in the repository.
    subprocess.run(["mkdir", str(source)], check=True)
    subprocess.run(["cp", "-r", *(str(REPOSITORY / name) for name in names), str(source)], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*command, str(source)], check=True, capture_output=True, timeout=300)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A clean environment that holds the wheel, and sees the dependencies of this one."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True, timeout=300)
    site = Path(next((folder / "lib").glob("python*"))) / "site-packages"
    # A path in a .pth file comes after the environment's own packages, and its own .pth files are not read, so an
    # editable install of the repository stays out of sight.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder


def call(installed, *words, **options):
    return subprocess.run(
        [str(word) for word in words],
        env={"PATH": f"{installed / 'bin'}:/usr/bin:/bin", "HOME": str(installed), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        **options,
    ).stdout


def test_the_wheel_holds_the_package_and_nothing_beside_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"tfnoisekd", "tfnoisekd-0.1.0.dist-info"}
    for name in ("py.typed", "cli/main.py", "export/tflite.py", "configs/cifar10.yaml", "data/folder.py"):
        assert f"tfnoisekd/{name}" in names
    assert any(name.endswith("LICENSE") for name in names)
    assert len([name for name in names if name.endswith(".py")]) == len(
        [p for part in ("tfnoisekd", "cli", "export", "configs") for p in (REPOSITORY / part).rglob("*.py")]
    )


@pytest.mark.slow
def test_the_installed_program_helps_configures_and_trains(installed, tmp_path):
    program = installed / "bin" / "tfnoisekd"
    assert "Commands:" in call(installed, program, "--help", cwd=tmp_path)
    code = "import tfnoisekd.config as c; print(c.__file__, c.load('cifar10').teacher, c.shipped())"
    shown = call(installed, installed / "bin" / "python", "-c", code, cwd=tmp_path)
    assert shown.startswith(str(installed)) and "wrn-40-2 ['cifar10', 'digits', 'svhn']" in shown
    words = ["train", "--method", "baseline", "--student", "wrn-10-1", "--epochs", "1", "--data", "digits"]
    assert "accuracy" in call(installed, program, *words, cwd=tmp_path)
    assert (tmp_path / "runs" / "baseline-digits-1" / "student.keras").stat().st_size > 100_000


def test_ci_calls_exactly_the_readmes_test_command():
    command = block("<!-- test command -->", "sh")
    assert command.startswith("python3 -m venv") and "[test]" in command and command.endswith("pytest")
    script = (REPOSITORY / ".ci" / "run").read_text()
    # Run with a shell that only shows what it would run.
    script = script.replace('bash -euo pipefail -c "$command"', "exit 0").replace("rm -rf .venv-test", "")
    shown = subprocess.run(["bash", "-c", script, str(REPOSITORY / ".ci" / "run")], capture_output=True, text=True)
    assert shown.stdout.strip() == f"+ {command}"


def test_the_readmes_main_command_is_the_main_job():
    command = block("<!-- main command -->", "sh")
    assert "tfnoisekd train --method mc --rate 0.1 " in command and command.endswith("tfnoisekd export --tflite")


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")  # Keras, of every fit on a tf.data.Dataset
def test_the_readmes_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = block("## In an existing codebase", "python")
    assert len(code.splitlines()) <= 15
    inputs = keras.Input((32, 32, 3))
    keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs))).save("teacher.keras")
    rng = np.random.default_rng(0)
    import tensorflow as tf

    from tfnoisekd import wide_resnet

    pairs = rng.random((16, 32, 32, 3), "float32"), rng.integers(0, 10, 16)
    names = {f"{part}_data": tf.data.Dataset.from_tensor_slices(pairs).batch(8) for part in ("train", "validation")}
    exec(code.replace("epochs=20", "epochs=1"), names)
    assert keras.models.load_model("student.keras").count_params() == wide_resnet(10, 1).count_params()


def test_the_readmes_methods_are_those_there_are():
    from tfnoisekd import methods

    table = README[README.index("## Methods") : README.index("## The command line")]
    assert re.findall(r"^\| `([a-z][a-z-]*)`", table, re.M) == [row.name for row in (*methods.BASIC, *methods.COMPARED)]
    assert all(f"`+{suffix}`" in table for suffix in {name.partition("+")[2] for name in methods.TABLE} - {""})


def block(heading, language):
    """The first code block of a language after a heading of the README."""
    after = README[README.index(heading) :]
    return re.search(rf"```{language}\n(.*?)\n```", after, re.S).group(1)
