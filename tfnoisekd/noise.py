"""The three noises of the paper, as small objects that a `Distiller` asks at three places.

Each noise overrides one hook of `Noise`: the student's input (Soft Randomization), the labels (Messy Collaboration)
or the teacher's forward pass (Fickle Teacher). They hold settings only; randomness comes from the distiller's seed.
"""

import math

import keras
from keras import ops

from tfnoisekd import replicas


class NoiseSeed(keras.random.SeedGenerator):
    """Seeds that differ between the replicas of a `tf.distribute` strategy; Keras's own give all of them one noise."""

    def next(self, ordered=True):
        return replicas.vary_seed(super().next(ordered))


class Noise:
    """Base of all noises: three hooks, each the identity unless a subclass overrides it.

    Attributes:
        measure: Name under which the distiller logs what the noise really did, averaged over the epoch.
        fickle_teacher: Whether the teacher's dropout stays on while it supervises.
    """

    measure = None
    fickle_teacher = False

    def perturb_inputs(self, inputs, seed):
        """Returns (inputs for the student, measured amount of noise or None)."""
        return inputs, None

    def perturb_labels(self, labels, num_classes, seed):
        """Returns (labels for the student, measured amount of noise or None)."""
        return labels, None

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __repr__(self):
        settings = ", ".join(f"{key}={value!r}" for key, value in self.get_config().items())
        return f"{type(self).__name__}({settings})"


@keras.saving.register_keras_serializable(package="tfnoisekd")
class InputNoise(Noise):
    """Gaussian noise on the student's input: Soft Randomization (SR), section 4.2, Eq. 2.

    The student sees x + d with d ~ N(0, stddev^2), fresh for every batch and not clipped; the teacher sees the clean x.
    Without a teacher it is the paper's Gaussian augmentation (GA). Logged as `input_noise_stddev`, the standard
    deviation of what was really added.

    Args:
        stddev: Standard deviation sigma >= 0 in the units of the input. Images in [0, 1] are meant; the paper's
            range is 0.01 to 0.2.

    Raises:
        ValueError: If `stddev` is negative or not finite; at the first batch, if the inputs are integers (sigma would
            have other units there).

    Example:

    >>> distiller = Distiller(teacher, student, noise=[InputNoise(0.05)])
    """

    measure = "input_noise_stddev"

    def __init__(self, stddev):
        if isinstance(stddev, bool) or not isinstance(stddev, (int, float)) or not 0 <= stddev < math.inf:
            raise ValueError(f"`stddev` must be a finite number of at least 0. Received: stddev={stddev!r}")
        self.stddev = float(stddev)

    def perturb_inputs(self, inputs, seed):
        if isinstance(inputs, (dict, list, tuple)):
            raise ValueError(f"`InputNoise` needs models with one input. Received: {len(inputs)} inputs")
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        if "float" not in dtype:
            raise ValueError(
                f"`InputNoise` needs float inputs, so that `stddev` has their unit. Received: inputs of dtype {dtype}. "
                "Scale the images to [0, 1] as float32 before `fit`, or keep a `Rescaling` layer out of the models."
            )
        noise = keras.random.normal(ops.shape(inputs), stddev=self.stddev, dtype=dtype, seed=seed)
        # Root mean square in float32: the mean is known to be zero.
        return inputs + noise, ops.sqrt(ops.mean(ops.square(ops.cast(noise, "float32"))))

    def get_config(self):
        return {"stddev": self.stddev}


@keras.saving.register_keras_serializable(package="tfnoisekd")
class LabelNoise(Noise):
    """Labels resampled in each batch: Messy Collaboration (MC), section 4.3.

    In every batch each label is replaced, with probability `rate`, by a class drawn uniformly from all classes, so that
    a share of rate * (C - 1) / C really changes. The teacher's targets stay. Logged as `label_noise_share`, the share
    of labels that really changed.

    Args:
        rate: Probability in [0, 1] that a label is drawn anew.
        num_classes: Number of classes C to draw from; `None` takes the width of the student's output.

    Raises:
        ValueError: If `rate` is outside [0, 1] or `num_classes` below 2.

    Example:

    >>> distiller = Distiller(teacher, student, noise=[LabelNoise(0.1)])
    """

    measure = "label_noise_share"

    def __init__(self, rate, num_classes=None):
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
            raise ValueError(f"`rate` must be between 0 and 1. Received: rate={rate!r}")
        if num_classes is not None and (not isinstance(num_classes, int) or num_classes < 2):
            raise ValueError(f"`num_classes` must be an integer of at least 2. Received: num_classes={num_classes!r}")
        self.rate = float(rate)
        self.num_classes = num_classes

    def perturb_labels(self, labels, num_classes, seed):
        """Resamples labels.

        Args:
            labels: Integer classes, shape (batch,) or (batch, 1), or one-hot or soft rows, shape (batch, classes).
            num_classes: Number of classes where the object's own is `None`.
            seed: `keras.random.SeedGenerator`.

        Returns:
            The labels in the same shape and dtype, and the share (scalar float32 in [0, 1]) that changed.
        """
        num_classes = self.num_classes or num_classes
        if num_classes is None:
            raise ValueError(
                "`LabelNoise` can't see the student's number of classes: pass LabelNoise(rate, num_classes)"
            )
        one_hot = _is_one_hot(labels, num_classes)
        shape = (ops.shape(labels)[0],) if one_hot else ops.shape(labels)
        replaced = keras.random.uniform(shape, seed=seed) < self.rate
        drawn = keras.random.randint(shape, 0, num_classes, seed=seed)
        if not one_hot:
            noisy = ops.where(replaced, ops.cast(drawn, labels.dtype), labels)
            return noisy, ops.mean(ops.cast(noisy != labels, "float32"))
        rows = ops.one_hot(drawn, num_classes, dtype=labels.dtype)
        noisy = ops.where(replaced[:, None], rows, labels)
        changed = ops.argmax(noisy, axis=-1) != ops.argmax(labels, axis=-1)
        return noisy, ops.mean(ops.cast(changed, "float32"))

    def get_config(self):
        return {"rate": self.rate, "num_classes": self.num_classes}


def _is_one_hot(labels, num_classes):
    """Whether labels are rows (batch, classes) rather than integers (batch,) or (batch, 1)."""
    try:
        shape = tuple(labels.shape)
    except ValueError:  # TensorFlow, where not even the rank is known
        shape = ()
    width = shape[1] if len(shape) == 2 else 1
    if len(shape) not in (1, 2) or width not in (1, num_classes):
        raise ValueError(
            f"Labels must have the shape (batch,), (batch, 1) or (batch, {num_classes}), known before the first batch. "
            f"Received: {labels.shape}. In tf.data, `tf.ensure_shape(labels, (None, {num_classes}))` sets it."
        )
    return width == num_classes


@keras.saving.register_keras_serializable(package="tfnoisekd")
class TeacherDropout(Noise):
    """The teacher's dropout stays on while it supervises: Fickle Teacher (FT), section 4.1.

    The teacher must have been trained with dropout; its own rates are used. BatchNorm stays in inference mode and no
    weight or statistic of the teacher moves. Logged once an epoch as `teacher_variance`: the variance of the teacher's
    logits over two draws, averaged over classes and a few training examples.

    Raises:
        ValueError: By the distiller, if the teacher has no active dropout: the noise would do nothing.

    Example:

    >>> teacher = wide_resnet(40, 2, dropout=0.4)
    >>> distiller = Distiller(teacher, student, noise=[TeacherDropout()])
    """

    measure = "teacher_variance"
    fickle_teacher = True


class TeacherVariance(keras.callbacks.Callback):
    """Logs the fickle teacher's variance, and stops where it does not vary: that noise would do nothing."""

    def on_epoch_end(self, epoch, logs):
        probe = self.model.teacher_probe
        variance = logs["teacher_variance"] if probe is None else self.model.teacher_variance(probe)
        if variance == 0:
            raise ValueError(
                "`TeacherDropout` does nothing: two forward passes of the teacher with dropout on are identical. "
                "Is its rate too small, or what it drops not used?"
            )
        logs["teacher_variance"] = variance
