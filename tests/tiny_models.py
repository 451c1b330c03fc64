"""The smallest models that show what a distiller does, and layers that watch them from inside."""

import keras
from keras import layers

FEATURES, CLASSES = 4, 3


def linear(seed, watch=(), **kwargs):
    """Logits by one matrix, so that NumPy can say what a step of gradient descent does to it."""
    initializer = keras.initializers.RandomNormal(stddev=1.0, seed=seed)
    dense = layers.Dense(CLASSES, kernel_initializer=initializer, bias_initializer=initializer, **kwargs)
    return keras.Sequential([keras.Input((FEATURES,)), *watch, dense])


def deep(seed, dropout=0.0, watch=(), **kwargs):
    """A hidden layer with batch normalisation and, if asked for, dropout."""
    initializer = keras.initializers.GlorotUniform(seed)
    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            *watch,
            layers.Dense(8, activation="relu", kernel_initializer=initializer),
            layers.BatchNormalization(momentum=0.9),
            *([layers.Dropout(dropout, seed=seed)] if dropout else []),
            layers.Dense(CLASSES, kernel_initializer=initializer, **kwargs),
        ]
    )


@keras.saving.register_keras_serializable(package="tests")
class Watch(layers.Layer):
    """Counts its calls and keeps its last input, in graph mode too."""

    def __init__(self, batch_size, **kwargs):
        super().__init__(**kwargs)
        self.batch_size = batch_size

    def build(self, input_shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")
        shape = (self.batch_size, *input_shape[1:])
        self.seen = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="seen")

    def call(self, inputs):
        self.calls.assign_add(1)
        self.seen.assign(keras.ops.reshape(inputs, self.seen.shape))
        return inputs
