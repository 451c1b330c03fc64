"""Gradients of a scalar function: the backend's, by automatic differentiation, and a reference's, by differences."""

import keras
import numpy as np


def value_and_gradient(function, x):
    """`function(x)` and its gradient with respect to `x`, as tensors; also for use inside a compiled function."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.value_and_grad(function)(x)
    import tensorflow as tf

    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return value, tape.gradient(value, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def gradient(function, x):
    """Gradient of `function` at `x` by the backend, as an array."""
    return np.asarray(value_and_gradient(function, x)[1])


def central_differences(function, x, step=1e-5):
    """(f(x + h) - f(x - h)) / 2h for each element of `x`, in float64."""
    x = np.asarray(x, "float64")
    result = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        h = np.zeros_like(x)
        h[index] = step
        result[index] = (function(x + h) - function(x - h)) / (2 * step)
    return result
