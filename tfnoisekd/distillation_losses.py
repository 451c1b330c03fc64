"""Distillation losses as objects for a `Distiller`: each a pure function of `losses` with its weight and layers."""

import math

import keras

from tfnoisekd import losses

GROUPS = ("group1", "group2", "group3")  # of `wide_resnet`


class DistillationLoss(keras.distillation.DistillationLoss):
    """Base of the losses here: what a `Distiller` asks of one. Subclass it for a loss of your own.

    Attributes:
        name: Under which it is logged, as `<name>_loss`.
        weight: Its factor in the total.
        teacher_layers: What of the teacher it is computed from: `None` for the logits, the name of a layer for one
            tensor, or a tuple of names for a list of tensors.
        student_layers: The same of the student.
        relational: Whether it compares the examples of a batch with each other, so that the replicas of a
            `tf.distribute` strategy must see each other's.
    """

    name = "distillation"
    weight = 1.0
    teacher_layers = None
    student_layers = None
    relational = False

    @property
    def weights(self):
        """Mapping of term name -> weight; most losses have one term."""
        return {self.name: self.weight}

    def compute_terms(self, teacher_outputs, student_outputs, sample_weight=None):
        """Mapping of term name -> unweighted scalar, in the order of `weights`."""
        return {self.name: self.compute_loss(teacher_outputs, student_outputs, sample_weight=sample_weight)}

    def compute_loss(self, teacher_outputs, student_outputs, sample_weight=None, **kwargs):
        """The unweighted loss of what `teacher_layers` and `student_layers` name; also Keras's own distiller calls it.

        Args:
            teacher_outputs: Float tensor, or list of tensors, (batch, ...).
            student_outputs: The same of the student.
            sample_weight: Optional float tensor (batch,) or (batch, 1).

        Returns:
            Scalar.
        """
        raise NotImplementedError

    @property
    def teacher_layer_name(self):
        """The teacher's one layer, for Keras's own distiller."""
        return _single(self.teacher_layers)

    @property
    def student_layer_name(self):
        """The student's one layer, for Keras's own distiller."""
        return _single(self.student_layers)

    def validate_model_compatibility(self, teacher, student):
        """Called by Keras's own distiller, which hands over one pair of tensors and applies weights of its own."""
        if isinstance(self.teacher_layers, tuple) and len(self.teacher_layers) > 1:
            raise ValueError(
                "keras.distillation.Distiller reads one layer of each network for a loss. "
                f"Received: {self!r}. Give it one {type(self).__name__} for each layer, or use tfnoisekd.Distiller."
            )

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def get_config(self):
        return {}

    def __repr__(self):
        settings = ", ".join(f"{key}={value!r}" for key, value in self.get_config().items() if value is not None)
        return f"{type(self).__name__}({settings})"


@keras.saving.register_keras_serializable(package="tfnoisekd")
class Hinton(DistillationLoss):
    """Hinton's distillation loss with its weight alpha, as in Eq. 1: (1 - alpha) * CE + alpha * T^2 * KL.

    Args:
        alpha: Balance in [0, 1]: the weight of this loss; the cross-entropy gets 1 - alpha. The paper uses 0.9.
        temperature: Softmax temperature T > 0. The paper uses 4.

    Raises:
        ValueError: If `alpha` is outside [0, 1] or `temperature` not a positive number.

    Example:

    >>> distiller = Distiller(teacher, student, losses=[Hinton(alpha=0.9, temperature=4.0)])
    """

    name = "hinton"

    def __init__(self, alpha=0.9, temperature=4.0):
        if not _is_number(alpha) or not 0 <= alpha <= 1:
            raise ValueError(f"`alpha` must be between 0 and 1. Received: alpha={alpha!r}")
        if not _is_number(temperature) or not 0 < temperature < math.inf:
            raise ValueError(f"`temperature` must be a positive number. Received: temperature={temperature!r}")
        self.alpha = float(alpha)
        self.temperature = float(temperature)

    @property
    def weight(self):
        """Weight of this loss in the distiller's total."""
        return self.alpha

    @property
    def student_loss_weight(self):
        """Weight that Eq. 1 gives to the cross-entropy beside this loss."""
        return 1.0 - self.alpha

    def compute_loss(self, teacher_outputs, student_outputs, sample_weight=None, **kwargs):
        return losses.hinton(teacher_outputs, student_outputs, self.temperature, sample_weight)

    def get_config(self):
        return {"alpha": self.alpha, "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="tfnoisekd")
class AttentionTransfer(DistillationLoss):
    """Attention transfer (AT): the student attends to where the teacher does; see `losses.attention_transfer`.

    Args:
        weight: Factor of the loss, at least 0. The paper uses 1000.
        layers: Names of the layers whose feature maps (batch, height, width, channels) are compared, in both networks.
        teacher_layers: The teacher's, where they are named otherwise; as many as `layers`.

    Raises:
        ValueError: If `weight` is negative, or the layers are no names or of different number.

    Example:

    >>> distiller = Distiller(teacher, student, losses=[AttentionTransfer(layers=["group3"])])
    """

    name = "attention_transfer"

    def __init__(self, weight=1000.0, layers=GROUPS, teacher_layers=None):
        self.weight = checked_weight("weight", weight)
        self.student_layers = _checked_layers("layers", layers)
        self.teacher_layers = _checked_layers("teacher_layers", layers if teacher_layers is None else teacher_layers)
        if len(self.student_layers) != len(self.teacher_layers):
            raise ValueError(
                "`layers` and `teacher_layers` must have equal length. "
                f"Received: {len(self.student_layers)} and {len(self.teacher_layers)}"
            )

    def compute_loss(self, teacher_outputs, student_outputs, sample_weight=None, **kwargs):
        maps = (each if isinstance(each, (list, tuple)) else [each] for each in (teacher_outputs, student_outputs))
        return losses.attention_transfer(*maps, sample_weight)

    def get_config(self):
        return {"weight": self.weight, **_layers_config(self, "layers", "teacher_layers")}


@keras.saving.register_keras_serializable(package="tfnoisekd")
class SimilarityPreserving(DistillationLoss):
    """Similarity-preserving distillation (SP): images alike for the teacher shall be for the student.

    See `losses.similarity_preserving`.

    Args:
        weight: Factor of the loss, at least 0. The paper uses 3000.
        layer: Name of the layer whose features are compared, in both networks.
        teacher_layer: The teacher's, where it is named otherwise.

    Raises:
        ValueError: If `weight` is negative or a layer no name.

    Example:

    >>> distiller = Distiller(teacher, student, losses=[SimilarityPreserving(layer="group3")])
    """

    name = "similarity_preserving"
    relational = True

    def __init__(self, weight=3000.0, layer="group3", teacher_layer=None):
        self.weight = checked_weight("weight", weight)
        self.student_layers = _checked_layer("layer", layer)
        self.teacher_layers = _checked_layer("teacher_layer", layer if teacher_layer is None else teacher_layer)

    def compute_loss(self, teacher_outputs, student_outputs, sample_weight=None, **kwargs):
        return losses.similarity_preserving(teacher_outputs, student_outputs, sample_weight)

    def get_config(self):
        return {"weight": self.weight, **_layers_config(self, "layer", "teacher_layer")}


@keras.saving.register_keras_serializable(package="tfnoisekd")
class RKD(DistillationLoss):
    """Relational knowledge distillation (RKD): distances and angles between the embeddings of a batch.

    See `losses.rkd_distance` and `losses.rkd_angle`; each is logged by its own name, and not computed at weight 0.

    Args:
        distance_weight: Factor of the distances (RKD-D), at least 0. The paper uses 25.
        angle_weight: Factor of the angles (RKD-A), at least 0. The paper uses 50.
        layer: Name of the layer whose features are compared, in both networks.
        teacher_layer: The teacher's, where it is named otherwise.

    Raises:
        ValueError: If a weight is negative or both are 0, or a layer is no name.

    Example:

    >>> distiller = Distiller(teacher, student, losses=[RKD(angle_weight=0)])
    """

    name = "rkd"
    relational = True

    def __init__(self, distance_weight=25.0, angle_weight=50.0, layer="embedding", teacher_layer=None):
        self.distance_weight = checked_weight("distance_weight", distance_weight)
        self.angle_weight = checked_weight("angle_weight", angle_weight)
        if not self.distance_weight and not self.angle_weight:
            raise ValueError("`distance_weight` or `angle_weight` must be above 0. Received: 0 for both")
        self.student_layers = _checked_layer("layer", layer)
        self.teacher_layers = _checked_layer("teacher_layer", layer if teacher_layer is None else teacher_layer)

    @property
    def weights(self):
        weights = {"rkd_distance": self.distance_weight, "rkd_angle": self.angle_weight}
        return {name: weight for name, weight in weights.items() if weight}

    def compute_terms(self, teacher_outputs, student_outputs, sample_weight=None):
        functions = {"rkd_distance": losses.rkd_distance, "rkd_angle": losses.rkd_angle}
        return {name: functions[name](teacher_outputs, student_outputs, sample_weight) for name in self.weights}

    def compute_loss(self, teacher_outputs, student_outputs, sample_weight=None, **kwargs):
        """The weighted sum of both terms."""
        terms = self.compute_terms(teacher_outputs, student_outputs, sample_weight)
        return sum(weight * terms[name] for name, weight in self.weights.items())

    def get_config(self):
        weights = {"distance_weight": self.distance_weight, "angle_weight": self.angle_weight}
        return {**weights, **_layers_config(self, "layer", "teacher_layer")}


def _layers_config(loss, own, teachers):
    """The layers as constructor arguments; the teacher's only where they differ."""
    differ = loss.teacher_layers != loss.student_layers
    return {own: loss.student_layers, teachers: loss.teacher_layers if differ else None}


def _single(layers):
    """The one layer of a pair, or `None`."""
    if isinstance(layers, tuple):
        return layers[0] if len(layers) == 1 else None
    return layers


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def checked_weight(name, weight):
    if not _is_number(weight) or not 0 <= weight < math.inf:
        raise ValueError(f"`{name}` must be a number of at least 0. Received: {name}={weight!r}")
    return float(weight)


def _checked_layer(name, layer):
    if not isinstance(layer, str) or not layer:
        raise ValueError(f"`{name}` must be the name of a layer. Received: {name}={layer!r}")
    return layer


def _checked_layers(name, layers):
    if isinstance(layers, str) or not isinstance(layers, (list, tuple)) or not layers:
        raise ValueError(f"`{name}` must be a list of names of layers. Received: {name}={layers!r}")
    return tuple(_checked_layer(name, layer) for layer in layers)
