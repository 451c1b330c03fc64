"""SGD with coupled weight decay, which Keras does not have."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfnoisekd")
class CoupledSGD(keras.optimizers.SGD):
    """SGD whose weight decay is part of the gradient: g + coupled_weight_decay * w, before momentum.

    This is the L2 regularisation of the paper's recipe and of PyTorch's SGD. Keras's own `SGD(weight_decay=)` is
    decoupled from momentum, and so about ten times weaker at momentum 0.9.

    Args:
        learning_rate: Number or schedule.
        momentum: In [0, 1).
        coupled_weight_decay: At least 0; every trainable weight decays, scales and biases included.
        **kwargs: Passed on to `keras.optimizers.SGD`.

    Example:

    >>> distiller.compile(optimizer=CoupledSGD(0.1, momentum=0.9, coupled_weight_decay=5e-4))
    """

    def __init__(self, learning_rate=0.01, momentum=0.0, coupled_weight_decay=0.0, **kwargs):
        if not coupled_weight_decay >= 0:
            raise ValueError(f"`coupled_weight_decay` must be at least 0. Received: {coupled_weight_decay!r}")
        super().__init__(learning_rate=learning_rate, momentum=momentum, **kwargs)
        self.coupled_weight_decay = coupled_weight_decay

    def update_step(self, gradient, variable, learning_rate):
        decay = ops.cast(self.coupled_weight_decay, variable.dtype) * ops.convert_to_tensor(variable)
        super().update_step(ops.cast(gradient, variable.dtype) + decay, variable, learning_rate)

    def get_config(self):
        return {**super().get_config(), "coupled_weight_decay": self.coupled_weight_decay}
