"""Checks: which models, images and options an export takes, each refused before any work is done."""

import importlib
import inspect

import numpy as np

from tfnoisekd.evaluation import prediction
from tfnoisekd.export import pixels

INCLUDE = ("preprocessing", "softmax")


def check_include(include):
    """The set of what is folded into the file, of "preprocessing" and "softmax"; a ValueError for anything else."""
    chosen = {include} if isinstance(include, str) else set(include)
    unknown = sorted(map(str, chosen - set(INCLUDE)))
    if unknown:
        raise ValueError(f"`include` must hold only {' and '.join(INCLUDE)}. Received: {', '.join(unknown)}")
    return frozenset(chosen)


def check_model(model):
    """Raises unless this is a Keras model on TensorFlow that computes in float32 and whose `call` takes one input."""
    import keras

    from tfnoisekd import inspection  # imports keras, which an import of this package must not

    if keras.config.backend() != "tensorflow":
        raise RuntimeError(
            "`tfnoisekd.export` needs the TensorFlow backend of Keras. "
            f"Received: backend {keras.config.backend()!r}; set KERAS_BACKEND=tensorflow and load the model again."
        )
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a keras.Model. Received: {type(model).__name__}; load it with keras.models.load_model."
        )
    layers = (model, *inspection.flatten(model))
    low = sorted({layer.compute_dtype for layer in layers} & {"float16", "bfloat16"})
    if low:
        raise ValueError(
            f"`model` must compute in float32. Received: layers that compute in {', '.join(low)}; build it anew under "
            "keras.config.set_dtype_policy('float32') and copy the weights with set_weights(model.get_weights())."
        )
    _check_arguments(model)


def _check_arguments(model):
    required = [
        parameter.name
        for parameter in inspect.signature(model.call).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    inputs = [name for name in required if name not in ("training", "mask")]
    if len(inputs) > 1:
        raise ValueError(f"`model` must take one input, a batch of images. Received: call() with inputs {inputs}")


def input_dtype(model):
    """What a model takes: "uint8", bytes in 0..255, or "float32" in [0, 1], which is also every subclassed model."""
    inputs = getattr(model, "inputs", None)
    dtype = str(inputs[0].dtype) if inputs else "float32"
    if dtype not in ("float32", "uint8"):
        raise ValueError(
            f"`model` must take images of float32 in [0, 1] or uint8 in 0..255. Received: an input of {dtype}; "
            "put a keras.Input of one of these in front of it."
        )
    return dtype


def check_images(model, images):
    """The shape (height, width, channels) that the file will take; a side that the model leaves open is the images'."""
    expected = prediction.image_shape(model)
    if expected is None:
        raise ValueError(
            f"`model` must know its input shape. Received: {model.name}, which was never built; call it once on a "
            "batch of images, model(images[:1]), or give it a keras.Input((height, width, channels))."
        )
    if images is None or not len(images):
        raise ValueError(
            "`images` must hold at least one image that the file is verified with. "
            f"Received: {'None' if images is None else 'no image'}; pass some of the test images."
        )
    prediction.check_images(images, expected)
    return tuple(int(side) for side in np.shape(images)[1:])


def check_representative(representative, images, quantize):
    """Raises a ValueError unless these are training images of the shape of the test images, and not the same ones."""
    if representative is None or not len(representative):
        raise ValueError(
            f'`representative` must hold training images, from which quantize="{quantize}" learns the range of every '
            f"activation. Received: {'None' if representative is None else 'no image'}; pass some hundred of them, "
            "representative=dataset.train.images[:500]."
        )
    if np.shape(representative)[1:] != np.shape(images)[1:]:
        raise ValueError(
            f"`representative` must be images of the shape of `images`, (n, {', '.join(map(str, np.shape(images)[1:]))}"
            f"). Received: shape {np.shape(representative)}"
        )
    if np.may_share_memory(representative, images):
        raise ValueError(
            "`representative` must be training images. Received: the images that the file is verified with, on which "
            "its accuracy would look better than it is; pass some of dataset.train.images."
        )
    pixels.to_unit(np.asarray(representative[:1]), "representative")


def require(module, format, package):
    """Imports an optional module, or says which package to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"`{format}` export needs the package {package}. Received: {type(error).__name__}: {error}; "
            f"install it with: pip install {package}"
        ) from error
