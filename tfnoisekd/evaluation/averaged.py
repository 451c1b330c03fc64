"""Expectation over transformation (EOT): a model whose outputs vary, seen through the mean of several draws.

A single draw gives an attack the gradient of that draw, which leads astray: such models look robust and are not
(Athalye, Carlini & Wagner, "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section 4.2).
"""

import keras
import numpy as np
from keras import ops

from tfnoisekd.evaluation import prediction
from tfnoisekd.evaluation.attacks.settings import check_count

ROUNDING = (
    1e-4  # of the largest logit: sums in another order move logits by 1e-6, dropout and noise by 1e-2; AutoAttack's too
)


def averaged(model, samples):
    """A model that gives the mean of a model's logits over several draws of its random layers.

    It is the classifier that decides by mean logits: an attack on it follows the gradient of the cross-entropy of these
    means, and an image counts as broken if their largest is at a wrong class. The mean of the gradients of single draws
    would lead up the mean of their cross-entropies instead, which is never below that of the mean logits (it is convex
    in them) and also grows where the draws merely disagree. Both agree where the outputs vary little.

    Each call draws anew. On TensorFlow the states of the random layers advance, in a compiled loop too. On JAX such a
    loop is a pure function of weights and states that it never advances, so that every step would see one draw; the
    images are therefore mixed into the states (threefry takes any), and each step, whose images are others, gets draws
    of its own. There, equal states and equal images give equal logits, which makes attacks repeatable.

    Args:
        model: A `keras.Model`: images (batch, height, width, channels) -> logits (batch, num_classes). Its random
            layers must be active with `training=False` and draw for each image of a batch by itself, with Keras's
            `SeedGenerator` on JAX. It is not changed, and its weights are shared.
        samples: Number of draws, at least 1. All are one batch of batch * samples images, which need memory.

    Returns:
        A `keras.Model`: images -> float32 (batch, num_classes). It always runs in inference mode, and is not meant to
        be saved.

    Raises:
        ValueError: If `samples` is no count, or the model draws once for a whole batch (which is looked for where its
            input shape is known).

    Example:

    >>> adversarial.evaluate(averaged(student, samples=16), dataset.test, batch_size=32)
    """
    check_count("samples", samples)
    if samples > 1:
        _check_draws(model)
    return Averaged(model, samples)


class Averaged(keras.Model):
    """What `averaged` returns."""

    def __init__(self, model, samples):
        super().__init__(name=f"mean_of_{samples}_{model.name}")
        self.model = model
        self.samples = samples

    @property
    def input_shape(self):
        shape = prediction.image_shape(self.model)
        return None if shape is None else (None, *shape)

    def call(self, images, training=None):
        shape = images.shape[1:]
        copies = ops.reshape(ops.tile(images[None], (self.samples, *[1] * (1 + len(shape)))), (-1, *shape))
        call = _CALLS.get(keras.backend.backend(), _call)
        logits = ops.cast(call(self.model, copies), "float32")
        return ops.mean(ops.reshape(logits, (self.samples, -1, logits.shape[-1])), axis=0)


def _call(model, images):
    return model(images, training=False)


def _call_on_jax(model, images):
    """Calls a model with the images mixed into the states of its random layers, which advance as without that."""
    mark = _fingerprint(images)
    states = [variable for variable in model.variables if variable.name == "seed_generator_state"]
    values = {id(variable): variable.value for variable in model.variables}
    values |= {id(state): state.value ^ mark.astype(state.value.dtype) for state in states}
    with keras.StatelessScope([(variable, values[id(variable)]) for variable in model.variables]) as scope:
        outputs = model(images, training=False)
    for state in states:
        advanced = scope.get_current_value(state)
        state.assign(advanced ^ mark.astype(advanced.dtype))
    return outputs


def _fingerprint(images):
    """Bits that depend on every bit of the images: uint32 (2,), the second 0, where the count of draws is kept."""
    import jax
    from jax import numpy as jnp

    bits = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(images).astype("float32"), jnp.uint32).ravel()
    mixed = bits + jnp.arange(bits.size, dtype=jnp.uint32) * jnp.uint32(0x9E3779B9)  # equal pixels count apart
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):  # the end of MurmurHash3 (Appleby)
        mixed = (mixed ^ (mixed >> shift)) * jnp.uint32(factor)
    return jnp.stack([(mixed ^ (mixed >> 16)).sum(dtype=jnp.uint32), jnp.uint32(0)])


_CALLS = {"jax": _call_on_jax}


def _check_draws(model):
    """Refuses a model that varies from call to call, but not within a batch: all samples would be one draw."""
    shape = prediction.image_shape(model)
    if shape is None or None in shape:
        return
    image = np.random.default_rng(0).uniform(size=(1, *shape)).astype("float32")
    first, second = (ops.convert_to_numpy(_call(model, np.repeat(image, 4, axis=0))) for _ in range(2))
    allowed = ROUNDING * np.abs(first).max()
    if np.abs(first - second).max() > allowed and np.ptp(first, axis=0).max() <= allowed:
        raise ValueError(
            "`model` must draw for each image of a batch by itself, since all samples are one batch. Received: "
            f"{model.name}, whose outputs differ between two calls, but not for the same image within a batch; give "
            "its random layers a draw with a batch axis, or attack the mean of several calls of your own."
        )
