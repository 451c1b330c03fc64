"""Serving: what a file takes and gives, and the one function of it that every format converts."""

import dataclasses
import functools

import numpy as np

from tfnoisekd.evaluation.calibration import check_logits
from tfnoisekd.export import checks, pixels

BATCH_SIZE = 256
PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "NumpyFunction"}


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a caller and a format want of the file's input and output.

    Args:
        include: Of "preprocessing" and "softmax", what is folded into the file.
        channels_first: Whether an image is (channels, height, width).
        batch: The fixed batch size, or None for any.
        integer: Whether the converter makes the input an integer itself, so that the function must start from floats.
    """

    include: frozenset = frozenset()
    channels_first: bool = False
    batch: int | None = None
    integer: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Serving:
    """A model as a file will serve it: `image` -> {"logits" or "probabilities": float32 (batch, num_classes)}.

    Args:
        model: The `keras.Model`.
        image_shape: (height, width, channels).
        wanted: A `Wanted`.
        takes_bytes: Whether the image comes in 0..255, rather than in [0, 1].
        divides: Whether the function divides it by 255.
        output: What the file gives, "logits" or "probabilities".
        adds_softmax: Whether the function puts a softmax behind the model.
    """

    model: object
    image_shape: tuple
    wanted: Wanted
    takes_bytes: bool
    divides: bool
    output: str
    adds_softmax: bool

    @property
    def dtype(self):
        """The type of the function's input; uint8 where bytes come in, unless a converter has to quantise floats."""
        return "uint8" if self.takes_bytes and not self.wanted.integer else "float32"

    @functools.cached_property
    def function(self):
        """The `tf.function`, traced for its one signature."""
        import tensorflow as tf

        function = tf.function(self._call)
        function.get_concrete_function(*self.signature)
        return function

    @property
    def signature(self):
        """A list of one `tf.TensorSpec`, `image`."""
        import tensorflow as tf

        height, width, channels = self.image_shape
        shape = (channels, height, width) if self.wanted.channels_first else self.image_shape
        return [tf.TensorSpec((self.wanted.batch, *shape), self.dtype, name="image")]

    def _call(self, image):
        import tensorflow as tf

        if self.divides:
            image = tf.cast(image, tf.float32) / 255.0
        if self.wanted.channels_first:  # after the cast, so that it meets those of the converter and falls away
            image = tf.transpose(image, (0, 2, 3, 1))
        outputs = forward(self.model, image)
        return {self.output: tf.nn.softmax(outputs) if self.adds_softmax else outputs}


def takes_bytes(model, wanted):
    """Whether the file takes images in 0..255: asked for, or because the model itself does."""
    return "preprocessing" in wanted.include or checks.input_dtype(model) == "uint8"


def serve(model, image_shape, outputs, wanted):
    """The `Serving` of a model whose outputs for some images, (n, num_classes), are known.

    Outputs that are probabilities stay as they are, asked for or not: a second softmax would flatten them. They are
    known by their values, which works for a subclassed model too: none negative, each row with a sum of 1.
    """
    has_softmax = bool((outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=1e-3))
    if not has_softmax:
        _check_no_sigmoid(model)
    adds_softmax = "softmax" in wanted.include and not has_softmax
    output = "probabilities" if has_softmax or adds_softmax else "logits"
    in_bytes, own_bytes = takes_bytes(model, wanted), checks.input_dtype(model) == "uint8"
    served = float_twin(model) if own_bytes and wanted.integer else model
    return Serving(served, image_shape, wanted, in_bytes, in_bytes and not own_bytes, output, adds_softmax)


def float_twin(model):
    """A copy of a model of uint8 images that takes the same numbers as floats, so that they can be quantised.

    With the uint8 input itself an int8 file would begin with a cast to float, which integer accelerators do not have.
    """
    import keras

    twin = keras.models.clone_model(model, input_tensors=keras.Input(model.inputs[0].shape[1:], dtype="float32"))
    twin.set_weights(model.get_weights())
    return twin


def _check_no_sigmoid(model):
    from tfnoisekd import inspection  # imports keras, which an import of this package must not

    try:
        inspection.check_outputs(model, "model", from_logits=True)
    except ValueError as error:
        raise ValueError(
            f"`model` must give logits, or probabilities by a softmax. Received: {model.name}, whose last layer has "
            "another activation; drop it, or use a softmax."
        ) from error


def forward(model, image):
    """float32 (batch, num_classes) of a batch in the range that the model takes; a ValueError if that is not so."""
    import keras
    import tensorflow as tf

    outputs = keras.tree.flatten(model(image, training=False))
    if len(outputs) != 1 or len(outputs[0].shape) != 2 or outputs[0].shape[1] == 1:
        shapes = [tuple(output.shape) for output in outputs]
        raise ValueError(
            f"`model` must give one output, logits (batch, num_classes) of two classes or more. Received: outputs of "
            f"shapes {shapes}; export a keras.Model(model.inputs, the_logits)."
        )
    return tf.cast(outputs[0], tf.float32)


def keras_outputs(model, images):
    """What the model gives, by an eager forward pass: nothing of a converter or compiler is in it.

    On the CPU, because a GPU may round its float32 products to TF32, and because the runtimes of devices run there.

    Raises:
        ValueError: If they are not finite, or not the same each time.
    """
    import tensorflow as tf

    scale = pixels.to_bytes if checks.input_dtype(model) == "uint8" else pixels.to_unit
    batches = [images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE)]
    with tf.device("/CPU:0"):
        outputs = [forward(model, tf.constant(scale(batch))).numpy() for batch in batches]
        again = forward(model, tf.constant(scale(batches[-1]))).numpy()
    outputs_of_all = check_logits(np.concatenate(outputs), f"logits of {model.name}")
    if not np.allclose(again, outputs[-1], rtol=1e-3, atol=1e-3):
        raise ValueError(
            "`model` must give the same outputs each time. Received: two passes over the same images that differ by "
            f"{np.abs(again - outputs[-1]).max():.3g}; switch its noise off where training=False."
        )
    return outputs_of_all


def softmax(logits):
    """Probabilities (n, num_classes) in float64, by NumPy: nothing of a converter is in them."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True).astype(np.float64))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def check_operations(serving):
    """Raises a ValueError if the function calls back into Python, which a file can't take along."""
    graph = serving.function.get_concrete_function(*serving.signature).graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    found = sorted({node.op for node in nodes} & PYTHON_OPS)
    if found:
        raise ValueError(
            "`model` must be made of operations that run without Python. "
            f"Received: {', '.join(found)}, by tf.py_function or tf.numpy_function; write that layer with keras.ops."
        )
