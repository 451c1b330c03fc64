"""A teacher and a student as one Keras model that is called, compiled, evaluated and saved as its student."""

from typing import Any, NamedTuple

import keras

from tfnoisekd import checks, seeds
from tfnoisekd.features import Features


class Inputs(NamedTuple):
    """The student's inputs in a step that reads its features too."""

    inputs: Any


class Pair(keras.Model):
    """Base of `Distiller`: all that has nothing to do with how the student is trained. For its arguments see there."""

    def __init__(self, teacher, student, losses, noise, student_loss_weight, seed, name, from_logits):
        # The models cast for themselves, as they would alone; the student's policy decides about loss scaling.
        super().__init__(name=name, dtype=getattr(student, "dtype_policy", None), autocast=False)
        self.distillation_losses = checks.as_losses(losses, teacher)
        self.noise = checks.as_noises(noise)
        checks.check_models(teacher, student, from_logits)
        checks.check_noise(self.noise, teacher, student)
        self.teacher = teacher
        self.student = student
        self.from_logits = from_logits
        self.student_loss_weight = checks.cross_entropy_weight(student_loss_weight, self.distillation_losses)
        self.seed = seed
        if teacher is not None:
            teacher.trainable = False
        self.features = {
            role: Features(model, checks.layer_names(self.distillation_losses, role), role)
            for role, model in (("teacher", teacher), ("student", student))
        }
        self.built = True

    @property
    def losses(self):
        """The student's regularisation losses; a frozen teacher's do not count."""
        # Keras fills the override on JAX, where losses leave the forward pass as values.
        return self._losses_override or self.student.losses

    def build(self, input_shape=None):
        self.built = True

    def call(self, inputs, training=None):
        if isinstance(inputs, Inputs):
            return self.features["student"](inputs.inputs, training=training)
        return self.student(inputs, training=training)

    def compile(self, optimizer="rmsprop", loss=None, metrics=("accuracy",), **kwargs):
        """Configures training, as `keras.Model.compile`.

        Args:
            optimizer: Optimizer of the student's weights.
            loss: Supervised loss; `None` is `SparseCategoricalCrossentropy`. Cross-entropies given as strings get
                the distiller's `from_logits`.
            metrics: Metrics of the student, by default its accuracy.
            **kwargs: Passed on to `keras.Model.compile`.

        Raises:
            ValueError: If the loss expects probabilities and the models give logits, or the other way round.
        """
        loss = checks.resolve_loss(loss, self.from_logits)
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        # Creates the optimizer's variables, so that its saved state can be loaded and training goes on.
        self.optimizer.build(self.trainable_variables)

    def reseed(self, epoch=0):
        """Sets every random stream of training to where an epoch starts, as the distiller's `seed` decides.

        Called at the start of each epoch, it makes an epoch independent of how it was reached, so that a training that
        was cut off goes on exactly as it would have.

        Args:
            epoch: Number of the epoch, from 0.

        Raises:
            ValueError: If the distiller has no seed.
        """
        if self.seed is None:
            raise ValueError("`reseed` needs a distiller with a seed. Received: seed=None")
        seeds.reset(self.variables, self.seed, epoch)

    def save_own_variables(self, store):
        for index, variable in enumerate(self._own_state()):
            store[str(index)] = variable

    def load_own_variables(self, store):
        for index, variable in enumerate(self._own_state()):
            variable.assign(store[str(index)])

    def _own_state(self):
        """What is saved beside the models' weights: every seed's state, and what a subclass adds."""
        # Keras saves no seed states, and a training that goes on without them would repeat its noise.
        weights = {id(weight) for weight in self.weights}
        return [variable for variable in self.variables if id(variable) not in weights]

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            "teacher": serialize(self.teacher) if self.teacher is not None else None,
            "student": serialize(self.student),
            "losses": [serialize(loss) for loss in self.distillation_losses],
            "noise": [serialize(noise) for noise in self.noise],
            "student_loss_weight": self.student_loss_weight,
            "seed": self.seed,
            "name": self.name,
            "from_logits": self.from_logits,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = ("teacher", "student", "losses", "noise")
        objects = {
            part: keras.saving.deserialize_keras_object(config[part], custom_objects=custom_objects) for part in parts
        }
        return cls(**{**config, **objects})
