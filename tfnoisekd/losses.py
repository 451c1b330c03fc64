"""Distillation losses: pure functions that return an unweighted scalar, and the objects that give them a weight."""

import math

import keras
from keras import ops


def hinton(teacher_logits, student_logits, temperature=4.0, sample_weight=None):
    """Knowledge distillation loss of Hinton et al. (2015): the second term of Eq. 1 of the paper, without alpha.

    T^2 * mean over the batch of KL(softmax(teacher / T) || softmax(student / T)), computed in log space in float32
    and without clipping, so that it is exact for large logits and exactly 0 for equal ones.

    Args:
        teacher_logits: Float tensor, shape (batch, classes).
        student_logits: Float tensor, shape (batch, classes).
        temperature: Softmax temperature T > 0.
        sample_weight: Optional float tensor, shape (batch,) or (batch, 1); as in Keras, each example's loss is
            multiplied by its weight and the sum divided by the batch size.

    Returns:
        Scalar float32, at least 0.

    Raises:
        ValueError: If the shapes differ.
    """
    if tuple(teacher_logits.shape[1:]) != tuple(student_logits.shape[1:]):
        raise ValueError(
            "`teacher_logits` and `student_logits` must have equal shapes. "
            f"Received: {tuple(teacher_logits.shape)} and {tuple(student_logits.shape)}"
        )
    teacher_log = ops.log_softmax(ops.cast(teacher_logits, "float32") / temperature, axis=-1)
    student_log = ops.log_softmax(ops.cast(student_logits, "float32") / temperature, axis=-1)
    divergence = ops.sum(ops.exp(teacher_log) * (teacher_log - student_log), axis=-1)
    if sample_weight is not None:
        divergence = divergence * ops.cast(ops.reshape(sample_weight, (-1,)), "float32")
    return temperature**2 * ops.mean(divergence)


@keras.saving.register_keras_serializable(package="tfnoisekd")
class Hinton(keras.distillation.DistillationLoss):
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
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 <= alpha <= 1:
            raise ValueError(f"`alpha` must be between 0 and 1. Received: alpha={alpha!r}")
        number = isinstance(temperature, (int, float)) and not isinstance(temperature, bool)
        if not number or not 0 < temperature < math.inf:
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
        """The unweighted loss of logits, shape (batch, classes): see `hinton`."""
        return hinton(teacher_outputs, student_outputs, self.temperature, sample_weight)

    def get_config(self):
        return {"alpha": self.alpha, "temperature": self.temperature}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __repr__(self):
        return f"Hinton(alpha={self.alpha}, temperature={self.temperature})"
