"""One table: method name -> losses, noise, defaults and schedule. Adding a method is one row and one function.

Losses and noises are imported where they are made, so that a wrong method is an error at once, before TensorFlow loads.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tfnoisekd.config import nearest

EPOCHS = 200
MILESTONES = (0.3, 0.6, 0.75)  # epochs 60, 120 and 150 of 200


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Attributes:
        name: As given to `--method`.
        summary: One line for people.
        section: Where the paper describes it.
        losses: config -> list of distillation losses; empty where the student learns alone.
        defaults: Settings of the noise that makes the method, where the user gives none.
        fickle_teacher: Whether the teacher's dropout stays on while it supervises.
    """

    name: str
    summary: str
    section: str
    losses: Callable
    defaults: dict = field(default_factory=dict)
    fickle_teacher: bool = False

    @property
    def distils(self):
        """Whether there is a teacher."""
        return self.losses is not _alone


def _alone(config):
    return []


def _hinton(config):
    from tfnoisekd.losses import Hinton

    return [Hinton(config.alpha, config.temperature)]


TABLE = {
    row.name: row
    for row in (
        Method("baseline", "the student alone, cross-entropy", "3", _alone),
        Method("hinton", "knowledge distillation, Eq. 1", "2.1", _hinton),
        Method("ft", "Fickle Teacher: its dropout stays on", "4.1", _hinton, {"dropout": 0.4}, fickle_teacher=True),
        Method("sr", "Soft Randomization: noise on the student's input, Eq. 2", "4.2", _hinton, {"sigma": 0.05}),
        Method("ga", "Gaussian augmentation: the same noise, no teacher", "4.2", _alone, {"sigma": 0.05}),
        Method("mc", "Messy Collaboration: labels resampled in each batch", "4.3", _hinton, {"rate": 0.1}),
    )
}


def get(name):
    """The row of a method.

    Raises:
        ValueError: If there is no such method; the nearest name is given.
    """
    if name not in TABLE:
        raise ValueError(f"`method` must be one of {', '.join(TABLE)}. Received: {name}.{nearest(name, TABLE)}")
    return TABLE[name]


def resolve(config):
    """The configuration with every `None` that the method decides filled in.

    A fickle teacher varies, so its student needs more epochs (section 4.1): 250 up to dropout 0.2, 300 up to 0.3, 350
    above. Milestones are shares of the epochs, so that a schedule scales when `epochs` is given.
    """
    method = get(config.method)
    settings = {"dropout": 0.0, "sigma": 0.0, "rate": 0.0, **method.defaults}
    filled = {key: value for key, value in settings.items() if getattr(config, key) is None}
    epochs, milestones = EPOCHS, MILESTONES
    if method.fickle_teacher:
        dropout = filled.get("dropout", config.dropout)
        epochs, milestones = (250 if dropout <= 0.2 else 300 if dropout <= 0.3 else 350), (0.3, 0.6, 0.8)
    schedule = {
        "epochs": epochs,
        "milestones": milestones,
        "teacher_epochs": config.epochs or EPOCHS,
        "teacher_milestones": MILESTONES,
    }
    filled.update({key: value for key, value in schedule.items() if getattr(config, key) is None})
    return config.model_copy(update=filled)


def teacher_config(config):
    """The resolved configuration of the run that trains the teacher of a resolved configuration: a plain baseline.

    It holds nothing that only concerns the student, so that students of all methods and seeds share one teacher.
    """
    shared = ("data", "data_dir", "image_size", "validation_size", "test_size", "split_seed", "skip_bad_images")
    shared += ("crop_padding", "flip", "dropout", "batch_size", "learning_rate", "decay", "momentum", "weight_decay")
    return resolve(
        type(config)(
            method="baseline",
            student=config.teacher,
            epochs=config.teacher_epochs,
            milestones=config.teacher_milestones,
            seed=config.teacher_seed,
            **{key: getattr(config, key) for key in shared},
        )
    )


def noises(config):
    """The noises of a resolved configuration: the method's own, and any other whose setting is above 0."""
    from tfnoisekd.noise import InputNoise, LabelNoise, TeacherDropout

    found = []
    if config.sigma:
        found.append(InputNoise(config.sigma))
    if config.rate:
        found.append(LabelNoise(config.rate))
    if get(config.method).fickle_teacher:
        found.append(TeacherDropout())
    return found
