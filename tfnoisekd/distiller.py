"""The heart: a Keras model whose `train_step` injects noise at three places while a teacher supervises a student."""

from typing import Any, NamedTuple

import keras
from keras import ops

from tfnoisekd import checks, inspection, replicas
from tfnoisekd.features import OUTPUTS, Supervised
from tfnoisekd.noise import NoiseSeed, TeacherVariance
from tfnoisekd.pair import Inputs, Pair

PROBE_SIZE = 8  # training examples on which the fickle teacher's variance is measured, once an epoch
NO_LABELS = "`fit` needs labels: pass `y`, or a data set of (inputs, labels). Received: inputs only"
KNOWN_TEACHER = (
    "`TeacherDropout` needs a teacher that runs in every step: what it said once can't be kept. "
    "Received: labels with the teacher's outputs; train on plain labels, without a teacher cache"
)


class _Targets(NamedTuple):
    """What the student is trained on in one batch; `evaluate` passes plain labels instead."""

    labels: Any  # as given
    noisy_labels: Any  # as the cross-entropy sees them
    teacher: Any  # feature name -> tensor; None without a teacher


@keras.saving.register_keras_serializable(package="tfnoisekd")
class Distiller(Pair):
    """Trains a student under a teacher's supervision, with noise as a resource.

    The loss is `student_loss_weight` * cross-entropy + the weighted distillation losses + the student's regularisation
    losses; by default exactly Eq. 1 of the paper, and with `InputNoise` exactly Eq. 2. The teacher is frozen and runs
    once a step, outside the gradient tape, on the clean input; the student runs once, whatever the losses read of it.
    `evaluate` and `predict` are those of the bare student: no noise, no teacher.

    `fit` logs `loss`, its parts unweighted (`student_loss`, `hinton_loss`, ..., `regularization_loss`), the compiled
    metrics against the labels as given, and what the noise really did (`input_noise_stddev`, `label_noise_share`,
    `teacher_variance`). A sample weight multiplies an example's whole loss, the distillation part included. Where the
    labels come as `features.Supervised`, with what the teacher says, the teacher does not run.

    Args:
        teacher: Built Keras model (batch, ...) -> logits (batch, classes), or `None` to train the student alone under
            the same noises (baseline, Gaussian augmentation). Its `trainable` is set to False.
        student: Keras model with outputs of the same shape; after `fit` it is the trained, plain model.
        losses: One loss or a list of losses, each carrying its own weight: `Hinton`, `AttentionTransfer`,
            `SimilarityPreserving`, `RKD`, one of `keras.distillation` (with weight 1, or in `Weighted`), or your own
            `DistillationLoss`. `None` means `Hinton(alpha=0.9, temperature=4.0)` with a teacher and none without.
        noise: One noise or a list of `InputNoise`, `LabelNoise`, `TeacherDropout`, at most one of each.
        student_loss_weight: Weight of the cross-entropy; `None` takes 1 - alpha from a Hinton-like loss, else 1.
        seed: Integer seed of everything random in training: the noises, the teacher's dropout, the student's own;
            `None` draws one for the noises and leaves the dropout layers as they are.
        name: Name of the model.
        from_logits: Set to False where both models end in a softmax.

    Raises:
        ValueError: If the models' outputs differ in shape or are probabilities though `from_logits` is True, if they
            share trainable weights, if a noise could do nothing (`TeacherDropout` without active dropout), if a loss
            reads a layer that a model doesn't have, or if an argument is of the wrong kind.

    Example:

    >>> distiller = Distiller(teacher, student, noise=[LabelNoise(0.1)])
    >>> distiller.compile(optimizer="sgd")
    >>> distiller.fit(images, labels, epochs=10)
    >>> distiller.student.save("student.keras")
    """

    def __init__(
        self,
        teacher,
        student,
        losses=None,
        noise=(),
        student_loss_weight=None,
        seed=None,
        name="distiller",
        *,
        from_logits=True,
    ):
        super().__init__(teacher, student, losses, noise, student_loss_weight, seed, name, from_logits)
        self.noise_seed = NoiseSeed(seed)
        replicas.vary_layers(inspection.flatten(self))

        self._term_names = checks.term_names(self.distillation_losses)
        terms = [name for names in self._term_names for name in names.values()]
        parts = ["student_loss", *terms, "regularization_loss"]
        self.teacher_probe = self._make_probe()
        probed = self.teacher_probe is not None  # then measured once an epoch, not in every step
        measures = [each.measure for each in self.noise if each.measure and not (each.fickle_teacher and probed)]
        self._trackers = {part: keras.metrics.Mean(name=part) for part in (*parts, *measures)}
        self._regularized = False  # known once the student has run: add_loss happens in call
        if seed is not None:
            self.reseed()

    @property
    def fickle_teacher(self):
        """Whether the teacher's dropout is on while it supervises."""
        return any(noise.fickle_teacher for noise in self.noise)

    def train_step(self, *args):
        """One update of the student: (data,) on TensorFlow, (state, data) on JAX."""
        if keras.backend.backend() == "jax":
            state, data = args
            return super().train_step(*self._supervise_stateless(state, data))
        return super().train_step(self._supervise(*args))

    def _supervise(self, data):
        """Adds the teacher's outputs and the noise to one batch."""
        x, labels, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if labels is None:
            raise ValueError(NO_LABELS)
        labels, teacher = labels if isinstance(labels, Supervised) else (labels, None)
        if self.teacher is not None:
            teacher = self._ask_teacher(x, teacher)
        noisy_labels = labels
        for noise in self.noise:
            x, inputs_measure = noise.perturb_inputs(x, self.noise_seed)
            noisy_labels, labels_measure = noise.perturb_labels(noisy_labels, self._num_classes, self.noise_seed)
            for measure in (inputs_measure, labels_measure):
                if measure is not None:
                    self._track(noise.measure, measure, ops.shape(noisy_labels)[0])
        x = Inputs(x) if self.features["student"].layers else x
        return x, _Targets(labels, noisy_labels, teacher), sample_weight

    def _ask_teacher(self, x, known):
        """The teacher's outputs and features for one batch of clean inputs; `known` ones spare its forward pass."""
        if known is not None and self.fickle_teacher:
            raise ValueError(KNOWN_TEACHER)
        features = dict(known or self.features["teacher"](x, training=self.fickle_teacher))
        features[OUTPUTS] = self._as_logits(features[OUTPUTS])
        if self.teacher_probe is not None:
            self.teacher_probe.assign(ops.take(x, ops.arange(PROBE_SIZE) % ops.shape(x)[0], axis=0))
        elif self.fickle_teacher:  # inputs of no fixed shape can't be kept for the end of the epoch
            second = self._as_logits(self.teacher(x, training=True))
            self._track("teacher_variance", _variance(features[OUTPUTS], second), ops.shape(second)[0])
        return features

    def _supervise_stateless(self, state, data):
        """`_supervise` on JAX: the seeds and measures it changes leave through the state."""
        trainable, non_trainable, optimizer, metrics = state
        mapping = [
            *zip(self.trainable_variables, trainable, strict=True),
            *zip(self.non_trainable_variables, non_trainable, strict=True),
            *zip(self.metrics_variables, metrics, strict=True),
        ]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            data = self._supervise(data)
        non_trainable = [scope.get_current_value(variable) for variable in self.non_trainable_variables]
        metrics = [scope.get_current_value(variable) for variable in self.metrics_variables]
        return (trainable, non_trainable, optimizer, metrics), data

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The total of Eq. 1 in training; the bare student's loss in evaluation."""
        if not isinstance(y, _Targets):
            y = _labels(y)
            if y is not None:
                checks.check_labels(y, y_pred, self.loss)
            return super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        outputs = _outputs(y_pred)
        checks.check_labels(y.labels, outputs, self.loss)
        batch_size = ops.shape(outputs)[0]
        # Keras scales its losses by the number of replicas, whose gradients are summed; ours follow.
        student_loss = self._compile_loss(y.noisy_labels, outputs, sample_weight)
        self._track("student_loss", student_loss * replicas.count(), batch_size)
        total = self.student_loss_weight * student_loss
        if self.distillation_losses:
            student = {**(y_pred if isinstance(y_pred, dict) else {}), OUTPUTS: self._as_logits(outputs)}
            total = total + self._distillation_loss(y.teacher, student, sample_weight, batch_size) / replicas.count()
        regularization = [ops.sum(ops.cast(loss, total.dtype)) for loss in self.losses]
        self._regularized = bool(regularization)
        if regularization:
            self._track("regularization_loss", sum(regularization), batch_size)
            total = total + sum(regularization) / replicas.count()
        return total

    def _distillation_loss(self, teacher, student, sample_weight, batch_size):
        """The weighted sum of all terms of the distillation losses."""
        total = 0.0
        for loss, names in zip(self.distillation_losses, self._term_names, strict=True):
            arguments = (_select(teacher, loss.teacher_layers), _select(student, loss.student_layers), sample_weight)
            if loss.relational:
                arguments = (replicas.gather(argument) for argument in arguments)
            for term, value in loss.compute_terms(*arguments).items():
                self._track(names[term], value, batch_size)
                total = total + loss.weights[term] * value
        return total

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        if isinstance(y, _Targets):
            results = super().compute_metrics(x, y.labels, _outputs(y_pred), sample_weight)
            if not self._regularized:
                results.pop("regularization_loss", None)
            return results
        if y is None:
            raise ValueError(NO_LABELS)
        results = super().compute_metrics(x, _labels(y), y_pred, sample_weight)
        return {name: value for name, value in results.items() if name not in self._trackers}

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, **kwargs):
        """Trains the student, as `keras.Model.fit`; a fickle teacher's variance is logged once an epoch."""
        if self.fickle_teacher:
            if isinstance(callbacks, keras.callbacks.CallbackList):
                watch = TeacherVariance()
                watch.set_model(self)
                callbacks.callbacks.insert(0, watch)
            else:
                # First, so that every logger sees what it adds.
                others = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []
                callbacks = [TeacherVariance(), *others]
        return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)

    def teacher_variance(self, inputs):
        """Variance of the teacher's logits over two draws, averaged over classes and examples.

        Args:
            inputs: Float tensor or array, shape (batch, ...), as the teacher takes it.

        Returns:
            Python float; 0 where the teacher does not vary.
        """
        draws = (self._as_logits(self.teacher(inputs, training=self.fickle_teacher)) for _ in range(2))
        return float(_variance(*draws))

    def _own_state(self):
        state = super()._own_state()
        return state if self.teacher_probe is None else [self.teacher_probe, *state]

    @property
    def _num_classes(self):
        shape = inspection.output_shape(self.student)
        return shape[-1] if shape else None

    def _as_logits(self, outputs):
        if self.from_logits:
            return outputs
        # log(softmax(z)) is z up to a constant, which no distillation loss sees.
        return ops.log(ops.maximum(ops.cast(outputs, "float32"), 1e-37))

    def _track(self, name, value, batch_size):
        self._trackers[name].update_state(value, sample_weight=batch_size)

    def _make_probe(self):
        """A buffer for a few training inputs; only where a fickle teacher has a fixed input shape."""
        shape = inspection.input_shape(self.teacher) if self.fickle_teacher else None
        if shape is None or None in shape:
            return None
        dtype = keras.backend.standardize_dtype(self.teacher.inputs[0].dtype)
        return keras.Variable(ops.zeros((PROBE_SIZE, *shape), dtype), trainable=False, name="teacher_probe")


def _labels(y):
    return y.labels if isinstance(y, Supervised) else y


def _outputs(y_pred):
    return y_pred[OUTPUTS] if isinstance(y_pred, dict) else y_pred


def _select(features, layers):
    """What one loss reads: the outputs, one layer's tensor, or a list of tensors."""
    if layers is None:
        return features[OUTPUTS]
    return features[layers] if isinstance(layers, str) else [features[layer] for layer in layers]


def _variance(first, second):
    """Unbiased variance estimated from two draws, averaged over all elements."""
    return ops.mean(ops.square(ops.cast(first, "float32") - ops.cast(second, "float32"))) / 2
