"""The losses of `keras.distillation` in our distiller: with a weight, a name, and without their pitfalls."""

import re
import warnings

import keras

from tfnoisekd.distillation_losses import DistillationLoss, Hinton, checked_weight

# Called with raw logits / T: neither takes the softmax nor multiplies by T^2, though the name of the loss says so.
_NEED_PROBABILITIES = ("kl_divergence", "categorical_crossentropy", "KLDivergence", "CategoricalCrossentropy")


@keras.saving.register_keras_serializable(package="tfnoisekd")
class Weighted(DistillationLoss):
    """Any `keras.distillation.DistillationLoss` with a weight and a name, among the losses of a `Distiller`.

    A Keras loss that is given bare has the weight 1. Sample weights do not reach the losses of `keras.distillation`,
    whose interface has none: a warning says so.

    Args:
        loss: `keras.distillation.DistillationLoss`. A `LogitsDistillation` made with the name of a loss, or with a
            cross-entropy, is replaced by Hinton's loss at its temperature, with a warning: Keras applies such a loss
            to the raw logits, without softmax and without T^2.
        weight: Factor of the loss, at least 0.
        name: Under which it is logged; default: its class's, such as `feature_distillation`.

    Raises:
        ValueError: If `loss` is no distillation loss or `weight` negative.

    Example:

    >>> hint = keras.distillation.FeatureDistillation("mse", teacher_layer_name="conv5", student_layer_name="conv2")
    >>> distiller = Distiller(teacher, student, losses=[Hinton(), Weighted(hint, 0.5)])
    """

    def __init__(self, loss, weight=1.0, name=None):
        if not isinstance(loss, keras.distillation.DistillationLoss):
            raise ValueError(f"`loss` must be a distillation loss such as `Hinton()`. Received: {loss!r}")
        self.loss = _repaired(loss)
        self.weight = checked_weight("weight", weight)
        self.name = name or getattr(self.loss, "name", None) or _snake_case(type(self.loss).__name__)
        self.relational = getattr(self.loss, "relational", False)
        ours = isinstance(self.loss, DistillationLoss)
        layers = ("teacher_layers", "student_layers") if ours else ("teacher_layer_name", "student_layer_name")
        self.teacher_layers, self.student_layers = (getattr(self.loss, each, None) for each in layers)

    def compute_loss(self, teacher_outputs, student_outputs, sample_weight=None, **kwargs):
        if isinstance(self.loss, DistillationLoss):
            return self.loss.compute_loss(teacher_outputs, student_outputs, sample_weight=sample_weight)
        if sample_weight is not None:
            warnings.warn(f"Sample weights do not reach {self.name}, a loss of keras.distillation", stacklevel=2)
        self.loss.validate_outputs(teacher_outputs, student_outputs)
        return self.loss.compute_loss(teacher_outputs, student_outputs)

    def get_config(self):
        loss = keras.saving.serialize_keras_object(self.loss)
        return {"loss": loss, "weight": self.weight, "name": self.name}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})

    def __repr__(self):
        return f"Weighted({type(self.loss).__name__}, weight={self.weight}, name={self.name!r})"


def _repaired(loss):
    """Hinton's loss in the place of a `LogitsDistillation` that would compute something else than it says."""
    if not isinstance(loss, keras.distillation.LogitsDistillation):
        return loss
    inner = loss.loss
    name = getattr(inner, "__name__", type(inner).__name__)
    # Keras treats this class, and only it, as is right.
    if isinstance(inner, keras.losses.KLDivergence) or name not in _NEED_PROBABILITIES:
        return loss
    warnings.warn(
        f"LogitsDistillation(loss={name}) applies that loss to raw logits, without softmax and without T^2: Hinton's "
        f"loss at temperature {loss.temperature} takes its place. Write `Hinton(temperature={loss.temperature})`, or "
        "`LogitsDistillation(loss=keras.losses.KLDivergence())`.",
        stacklevel=4,
    )
    return Hinton(temperature=loss.temperature)


def _snake_case(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
