"""What `evaluate` and `export` work on: a run or a model file, with the data that goes with it."""

import functools
from pathlib import Path

import click

from tfnoisekd import config, inspection, models, pretrained, runs, training
from tfnoisekd.cli.options import CORRUPTION_SETTINGS, DATA_SETTINGS


class Subject:
    """A model, where it came from and its data.

    Attributes:
        model_path: The `.keras` file.
        run: The `Run` it belongs to, or `None`.
        config: Settings of its data.
        home: Where results go that no option sends elsewhere; None for beside the model.
    """

    def __init__(self, model_path, run, settings, home=None):
        self.model_path = model_path
        self.run = run
        self.config = settings
        self.home = home

    @functools.cached_property
    def data(self):
        return training.load_data(self.config)

    def load_model(self):
        return self.load_fitting(self.model_path, "model")

    def find_teacher(self, path=None):
        """The file of the teacher at `path`, a run, a file or a `pretrained:` name; else the run's own, or None."""
        if path is not None:
            return runs.Run.open(path).student_path if Path(path).is_dir() else pretrained.resolved(path)
        own = self.run and self.run.teacher_path()
        if own and not own.exists():
            click.echo(f"The run's teacher {own} is gone: no comparison with it.", err=True)
            return None
        return own

    def load_fitting(self, path, role):
        """The model at `path`, which must take the images and give the classes of the data."""
        model = models.load(path, unsafe=self.config.unsafe)
        inspection.check_fits(model, role, self.data.num_classes, self.data.input_shape)
        return model


def find_subject(path, root, overrides):
    """A run or model file by path, or by a `pretrained:` name; the newest finished run of `root` where it is `None`.

    Raises:
        FileNotFoundError: If there is no such run or file, or the run has not finished.
        ValueError: If a model file comes without `data`, or there is no pretrained network of that name.
    """
    if path is None:
        run = runs.newest_finished(root)
        click.echo(f"Using the newest finished run, {run.path}", err=True)
    elif Path(path).is_dir():
        run = runs.Run.open(path)
    elif pretrained.is_name(path) or Path(path).is_file():
        file = pretrained.resolved(path)
        if "data" not in overrides:
            raise ValueError(f"`--data` must name the data that {path} is tested on: see `tfnoisekd datasets`")
        home = Path(root) / path.replace(":", "-") if pretrained.is_name(path) else None
        return Subject(file, None, config.build(overrides), home)
    else:
        raise FileNotFoundError(f"There is no run or model file {path}")
    # A run is judged on test images, whose labels are never replaced: the file of wrong ones may be gone.
    dropped = CORRUPTION_SETTINGS + (DATA_SETTINGS if "data" in overrides else ())
    settings = {key: value for key, value in run.settings().items() if key not in dropped}
    return Subject(run.student_path, run, config.build(settings, overrides))
