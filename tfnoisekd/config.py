"""Typed, strict configuration of one run: YAML files plus overrides; unknown keys are errors."""

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tfnoisekd.names import nearest

Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=0)]


class Config(BaseModel):
    """Everything that decides what a run computes. The defaults are the paper's recipe on CIFAR-10.

    `None` means "as the method or the data set says"; `methods.resolve` fills it in before training.

    Raises:
        pydantic.ValidationError: From the constructor, on a wrong type or range; `load` and `build` turn it into a
            one-line `ValueError`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    method: str = Field("hinton", description="method by name: see `tfnoisekd methods`")
    data: str = Field("cifar10", description="data set by name: see `tfnoisekd datasets`")
    data_dir: str | None = Field(None, description="folder of prepared TFDS data sets")
    image_size: Annotated[int, Field(ge=8)] | None = Field(None, description="resize images to this side")
    validation_size: Share | Count = Field(0.1, description="share or number of training images held out")
    test_size: Share | Count = Field(0.2, description="share or number of test images, where the source has none")
    split_seed: int = Field(0, ge=0, description="seed of the held-out splits")
    skip_bad_images: bool = Field(False, description="leave unreadable images out instead of refusing the folder")
    crop_padding: int | None = Field(None, ge=0, description="zero padding before the random crop, in pixels")
    flip: bool | None = Field(None, description="random horizontal flips")
    label_corruption: float | None = Field(
        None, ge=0, le=1, description="share of training labels replaced by wrong ones, once, before training"
    )
    corruption_kind: str = Field(
        "symmetric",
        description="how: symmetric (any class), pair (the next class), or labels of people, cifar10n:KIND with KIND "
        "one of clean, aggre, worse, random1, random2, random3",
    )
    corruption_seed: int = Field(0, ge=0, lt=2**32, description="seed of the wrong labels, one for all models")
    corruption_file: str | None = Field(None, description="npz file of human labels (CIFAR-10N), for cifar10n:KIND")

    teacher: str = Field("wrn-40-2", description="wrn-DEPTH-WIDTH, a .keras file, a run folder or pretrained:NAME")
    student: str = Field("wrn-16-2", pattern=r"^wrn-\d+-\d+$", description="wrn-DEPTH-WIDTH")
    teacher_seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(
        (0,), min_length=1, description="seeds of teachers, of which the best on the validation images is taken"
    )
    dropout: float | None = Field(
        None, ge=0, lt=1, description="dropout rate of the teacher (where there is none, of the network itself)"
    )
    sigma: float | None = Field(None, ge=0, allow_inf_nan=False, description="Gaussian noise on the student's input")
    rate: float | None = Field(None, ge=0, le=1, description="share of labels resampled in each batch")
    alpha: float = Field(0.9, ge=0, le=1, description="weight of Hinton's term; cross-entropy gets 1 - alpha")
    temperature: float = Field(4.0, gt=0, allow_inf_nan=False, description="softmax temperature")

    at_weight: float = Field(1000.0, ge=0, allow_inf_nan=False, description="weight of attention transfer")
    sp_weight: float = Field(3000.0, ge=0, allow_inf_nan=False, description="weight of similarity preserving")
    rkd_distance_weight: float = Field(25.0, ge=0, allow_inf_nan=False, description="weight of RKD's distances")
    rkd_angle_weight: float = Field(50.0, ge=0, allow_inf_nan=False, description="weight of RKD's angles")
    layers: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="layers that at, sp and rkd compare; default: group1,group2,group3 (at), "
        "group3 (sp), embedding (rkd)",
    )
    teacher_layers: tuple[str, ...] | None = Field(
        None, min_length=1, description="the teacher's, where they are named otherwise"
    )

    epochs: int | None = Field(None, ge=1, description="epochs of the student")
    teacher_epochs: int | None = Field(None, ge=1, description="epochs of the teacher; default: as `epochs`, or 200")
    batch_size: int = Field(128, ge=1)
    learning_rate: float = Field(0.1, gt=0, allow_inf_nan=False)
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] | None = Field(
        None, description="shares of the epochs after which the learning rate falls"
    )
    teacher_milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] | None = Field(
        None, description="the same for the teacher"
    )
    decay: float = Field(0.2, gt=0, le=1, description="factor of the learning rate at each milestone")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0, allow_inf_nan=False, description="coupled L2 on every trainable weight")
    seed: int = Field(0, ge=0, lt=2**31, description="fixes weights, batches, augmentation and noise")
    teacher_cache: bool = Field(False, description="keep what the teacher says on disk, for all runs that ask the same")
    precision: Literal["float32", "bfloat16", "float16"] = Field("float32", description="of the training's arithmetic")
    xla: bool = Field(False, description="compile the step with XLA (JAX always does)")
    steps_per_execution: int = Field(1, ge=1, description="steps between two returns to Python")
    devices: int = Field(1, ge=1, description="devices that share each batch")
    unsafe: Literal[False, True] = Field(False, description="load files that can run code")

    @field_validator("teacher_seeds")
    @classmethod
    def _different(cls, seeds):
        if len(set(seeds)) < len(seeds):
            raise ValueError("must differ from each other")
        return seeds

    @field_validator("milestones", "teacher_milestones")
    @classmethod
    def _rising(cls, shares):
        if shares is not None and list(shares) != sorted(set(shares)):
            raise ValueError("must rise from one to the next")
        return shares

    def canonical(self):
        """A copy that equal runs have alike: `label_corruption` is None where no label is replaced, and never 0."""
        default = type(self).model_fields["corruption_kind"].default
        replaced = self.label_corruption or self.corruption_kind != default
        return self if replaced else self.model_copy(update={"label_corruption": None})

    def digest(self):
        """Hash of every setting: equal configurations, equal 12 hexadecimal digits."""
        settings = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(settings.encode()).hexdigest()[:12]


def build(settings, overrides=None):
    """A `Config` from a mapping of settings, and overrides that win over it.

    Raises:
        ValueError: On an unknown key (the nearest one named) or a value of the wrong type or range.
    """
    merged = {**settings, **(overrides or {})}
    for key in merged:
        if key not in Config.model_fields:
            raise ValueError(f"Unknown setting `{key}`.{nearest(str(key), Config.model_fields)}")
    try:
        return Config(**merged)
    except ValidationError as error:
        raise ValueError("; ".join(dict.fromkeys(_message(problem) for problem in error.errors()))) from None


def load(source, overrides=None):
    """A `Config` from a YAML file, or from one shipped with the package, by name.

    Args:
        source: Path of a YAML file, or a shipped name such as "digits" or "cifar10".
        overrides: Mapping of settings that win over the file's.

    Raises:
        FileNotFoundError: If there is neither such a file nor such a name.
        ValueError: If the file is not a YAML mapping of known settings.
    """
    return build(read_yaml(source, shipped()), overrides)


def read_yaml(source, names):
    """The mapping in a YAML file, or in one that is shipped with the package.

    Args:
        source: Path of a file, or one of `names`.
        names: Shipped names that are possible, without suffix; a slash leads into a folder.

    Raises:
        FileNotFoundError: If there is neither such a file nor such a name.
        ValueError: If the file holds no YAML mapping.
    """
    path = Path(source)
    if path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{source} is not a YAML file: it is not text in UTF-8") from None
    elif str(source) in names:
        text = resources.files("tfnoisekd.configs").joinpath(*f"{source}.yaml".split("/")).read_text(encoding="utf-8")
    else:
        raise FileNotFoundError(
            f"`config` must be a YAML file or one of {', '.join(names)}. Received: {source}."
            f"{nearest(str(source), names)}"
        )
    try:
        settings = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{source} is not plain YAML (no tags or objects): {_one_line(error)}") from None
    if not isinstance(settings, dict):
        raise ValueError(f"{source} must hold `key: value` lines. Received: a {type(settings).__name__}")
    return settings


def shipped():
    """Names of the configurations that come with the package."""
    files = resources.files("tfnoisekd.configs").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def _message(problem):
    key = problem["loc"][0]
    message = problem["msg"].removeprefix("Input ").removeprefix("Value error, ").rstrip(".")
    message = message.replace("should", "must", 1)
    if problem["type"] == "string_pattern_mismatch":
        message = "must look like wrn-16-2"
    return f"`{key}` {message}. Received: {key}={problem['input']!r}"


def _one_line(error):
    return " ".join(str(error).split())
