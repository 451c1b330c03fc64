"""A teacher asked so that what it says about an image depends on that image alone, to the last bit."""

import collections

import keras
import numpy as np

from tfnoisekd.features import OUTPUTS

CHUNK = 32  # images in every call of the teacher
PROBES = 4  # images that are tried at every place of a chunk


class Chunks:
    """A frozen model called on chunks of one size, and in them only on places where its kernels round alike.

    A matrix product may round its last rows otherwise than the others: oneDNN's for AVX2 goes by six, so of 32 images
    the last two had other logits (by 1e-5) than they have at any other place. So before the first call a few images
    are tried at every place, and from then on only the largest set of places that agree is used.

    Args:
        model: Keras model, float32 (CHUNK, height, width, channels) -> mapping of name -> tensor (CHUNK, ...), or one
            tensor, which gets the name `features.OUTPUTS`; called with `training=False`.
        probes: float32 (n, height, width, channels): images as the model gets them.
    """

    def __init__(self, model, probes):
        self.call = _COMPILERS[keras.backend.backend()](model)
        self._probes = probes
        self._places = None

    def ask(self, images):
        """The model's outputs.

        Args:
            images: float32 (B, height, width, channels), B at least 1.

        Returns:
            Mapping of name -> float32 (B, ...).
        """
        places = self.places()
        answers = []
        for start in range(0, len(images), len(places)):
            part = images[start : start + len(places)]
            used = places[: len(part)]
            chunk = np.repeat(part[:1], CHUNK, axis=0)
            chunk[used] = part
            answers.append({name: output[used] for name, output in self._outputs(chunk).items()})
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def places(self):
        """The places of a chunk that are used, ascending."""
        if self._places is None:
            said = collections.defaultdict(list)
            answers = [self._outputs(np.repeat(probe[None], CHUNK, axis=0)) for probe in self._probes]
            for place in range(CHUNK):
                bits = b"".join(output[place].tobytes() for answer in answers for output in answer.values())
                said[bits].append(place)
            self._places = np.array(max(said.values(), key=len))
        return self._places

    def _outputs(self, chunk):
        return {name: to_numpy(output) for name, output in named(self.call(chunk)).items()}


def named(outputs):
    """A model's outputs as a mapping; a single one gets the name `features.OUTPUTS`."""
    return outputs if isinstance(outputs, dict) else {OUTPUTS: outputs}


def to_numpy(tensor):
    """A tensor as float32 in NumPy."""
    return keras.ops.convert_to_numpy(tensor).astype(np.float32)


def _compile_for_tensorflow(model):
    import tensorflow as tf

    # Not by XLA, which is slower than TensorFlow's own kernels on CPUs and not what the training step uses there.
    return tf.function(lambda images: model(images, training=False))


def _compile_for_jax(model):
    import jax

    variables = list(model.variables)
    # Copies: while it trains, Keras takes the values out of its variables and gives their memory to JAX.
    values = [jax.numpy.array(variable.value, copy=True) for variable in variables]

    @jax.jit
    def call(values, images):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return model(images, training=False)

    return lambda images: call(values, images)


_COMPILERS = {"tensorflow": _compile_for_tensorflow, "jax": _compile_for_jax}
