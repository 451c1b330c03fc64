"""One table: method name -> losses, noise, defaults and schedule. Adding a method is one row and one function.

Losses and noises are imported where they are made, so that a wrong method is an error at once, before TensorFlow loads.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tfnoisekd.config import Config
from tfnoisekd.names import nearest

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
        terms: The total loss in terms of settings: CE is the cross-entropy, KL Hinton's divergence times T^2.
        defaults: Settings that make the method, where the user gives none.
        layers: Default names of the layers that its loss compares; empty for losses of the logits.
        fickle_teacher: Whether the teacher's dropout stays on while it supervises.
    """

    name: str
    summary: str
    section: str
    losses: Callable
    terms: str
    defaults: dict = field(default_factory=dict)
    layers: tuple = ()
    fickle_teacher: bool = False

    @property
    def formula(self):
        """The total loss with the default weights, such as "0.1 CE + 0.9 KL"."""
        defaults = {key: setting.default for key, setting in Config.model_fields.items()}
        return self.terms.format(**defaults, rest=1 - defaults["alpha"])

    @property
    def distils(self):
        """Whether there is a teacher."""
        return self.losses is not _alone

    @property
    def cacheable(self):
        """Whether the teacher's outputs can be kept: the same in every epoch, and small (logits or embeddings).

        Whole feature maps of a data set are hundreds of gigabytes.
        """
        return self.distils and not self.fickle_teacher and self.layers in ((), EMBEDDING)


def _alone(config):
    return []


def _hinton(config):
    from tfnoisekd.distillation_losses import Hinton

    return [Hinton(config.alpha, config.temperature)]


def _attention(config):
    from tfnoisekd.distillation_losses import AttentionTransfer

    return [AttentionTransfer(config.at_weight, config.layers, config.teacher_layers)]


def _similarity(config):
    from tfnoisekd.distillation_losses import SimilarityPreserving

    return [SimilarityPreserving(config.sp_weight, *_layer_pair(config))]


def _relations(distance, angle):
    def losses(config):
        from tfnoisekd.distillation_losses import RKD

        weights = (config.rkd_distance_weight * distance, config.rkd_angle_weight * angle)
        return [RKD(*weights, *_layer_pair(config))]

    return losses


def _layer_pair(config):
    """(student's layer, teacher's layer or `None` where it is the same)."""
    for key in ("layers", "teacher_layers"):
        layers = getattr(config, key)
        if layers is not None and len(layers) != 1:
            raise ValueError(
                f"`{key}` must name one layer for the method {config.method}. Received: {key}={','.join(layers)}"
            )
    return config.layers[0], config.teacher_layers and config.teacher_layers[0]


def _joined(*parts):
    return lambda config: [loss for part in parts for loss in part(config)]


HINTON = "{rest:.2g} CE + {alpha:g} KL"
RKD_D, RKD_A = "{rkd_distance_weight:g} RKD-D", "{rkd_angle_weight:g} RKD-A"
DROPOUT = {"dropout": 0.4}  # of the fickle teacher
GROUPS, EMBEDDING = ("group1", "group2", "group3"), ("embedding",)

BASIC = (
    Method("baseline", "the student alone, cross-entropy", "3", _alone, "CE"),
    Method("hinton", "knowledge distillation, Eq. 1", "2.1", _hinton, HINTON),
    Method("ft", "Fickle Teacher: its dropout stays on", "4.1", _hinton, HINTON, DROPOUT, fickle_teacher=True),
    Method("sr", "Soft Randomization: noise on the student's input, Eq. 2", "4.2", _hinton, HINTON, {"sigma": 0.05}),
    Method("ga", "Gaussian augmentation: the same noise, no teacher", "4.2", _alone, "CE", {"sigma": 0.05}),
    Method("mc", "Messy Collaboration: labels resampled in each batch", "4.3", _hinton, HINTON, {"rate": 0.1}),
)
# The methods that the paper compares with; each is also had with Hinton's loss (+h) and with the fickle teacher (+ft).
COMPARED = (
    Method("at", "attention transfer", "4.1", _attention, "CE + {at_weight:g} AT", layers=GROUPS),
    Method("sp", "similarity preserving", "4.1", _similarity, "CE + {sp_weight:g} SP", layers=("group3",)),
    Method("rkd-d", "relational, distances", "4.1", _relations(1, 0), f"CE + {RKD_D}", layers=EMBEDDING),
    Method("rkd-a", "relational, angles", "4.1", _relations(0, 1), f"CE + {RKD_A}", layers=EMBEDDING),
    Method("rkd-da", "relational, both", "4.1", _relations(1, 1), f"CE + {RKD_D} + {RKD_A}", layers=EMBEDDING),
)


def _with_hinton(row):
    return replace(
        row,
        name=f"{row.name}+h",
        summary=f"{row.summary}, and Hinton's loss",
        section="4.1",
        losses=_joined(row.losses, _hinton),
        terms=row.terms.replace("CE", HINTON),
    )


def _with_fickle_teacher(row):
    summary = f"{row.summary}, and Fickle Teacher"
    return replace(_with_hinton(row), name=f"{row.name}+ft", summary=summary, defaults=DROPOUT, fickle_teacher=True)


TABLE = {
    row.name: row
    for row in (*BASIC, *(each for row in COMPARED for each in (row, _with_hinton(row), _with_fickle_teacher(row))))
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
    if method.layers and config.layers is None:
        filled["layers"] = method.layers
    resolved = config.model_copy(update=filled)
    _check_layers(method, config, resolved)
    _check_teacher(method, resolved)
    if config.batch_size % config.devices:
        raise ValueError(
            "`batch_size` must be a multiple of `devices`, which share each batch. "
            f"Received: batch_size={config.batch_size} and devices={config.devices}"
        )
    return resolved


def _check_teacher(method, config):
    if config.teacher_cache and (method.fickle_teacher or not method.distils):
        reason = "which changes its mind in every step" if method.fickle_teacher else "of which there is none"
        raise ValueError(
            f"`teacher_cache` keeps what a teacher says, {reason} in the method {method.name}: leave it out"
        )
    if len(config.teacher_seeds) > 1 and not config.validation_size:
        raise ValueError(
            "`teacher_seeds` needs validation images to choose by. Received: "
            f"teacher_seeds={','.join(map(str, config.teacher_seeds))} and validation_size=0"
        )


def _check_layers(method, config, resolved):
    """Refuses layers where there is nothing to compare, and too many or too few of them."""
    given = [key for key in ("layers", "teacher_layers") if getattr(config, key) is not None]
    if given and not method.layers:
        compared = ", ".join(row.name for row in COMPARED)
        raise ValueError(f"`{given[0]}` is for methods that compare layers: {compared}. Received: method={method.name}")
    weights = ("at_weight", "sp_weight", "rkd_distance_weight", "rkd_angle_weight")
    if given or any(getattr(config, key) != Config.model_fields[key].default for key in weights):
        method.losses(resolved)  # which imports Keras; the defaults are known to fit


def teacher_config(config, seed):
    """The resolved configuration of the run that trains a teacher of a resolved configuration: a plain baseline.

    It holds nothing that only concerns the student, so that students of all methods and seeds share one teacher.
    """
    shared = ("data", "data_dir", "image_size", "validation_size", "test_size", "split_seed", "skip_bad_images")
    shared += ("label_corruption", "corruption_kind", "corruption_seed", "corruption_file")
    shared += ("crop_padding", "flip", "dropout", "batch_size", "learning_rate", "decay", "momentum", "weight_decay")
    shared += ("precision", "xla", "steps_per_execution", "devices")
    return resolve(
        type(config)(
            method="baseline",
            student=config.teacher,
            epochs=config.teacher_epochs,
            milestones=config.teacher_milestones,
            seed=seed,
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
