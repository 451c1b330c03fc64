"""What can be read off any Keras model: shapes, what its outputs are, whether it varies, which weights it has."""

import hashlib
import math

import keras
from keras import layers


def count_parameters(model):
    """Number of trainable parameters, the figure that papers print (BatchNorm's statistics do not count)."""
    return sum(math.prod(weight.shape) for weight in model.trainable_variables)


def weights_digest(model):
    """SHA-256 over all weights in order, with shapes and dtypes, as 64 hexadecimal digits.

    Equal for equal networks, however and whenever they were saved (a file's own hash changes with its date).
    """
    digest = hashlib.sha256()
    for weight in model.weights:
        array = keras.ops.convert_to_numpy(weight)
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def check_fits(model, role, num_classes, image_shape):
    """Refuses a model that does not fit the data.

    Raises:
        ValueError: If the model's input is not `image_shape` (height, width, channels) or its output not `num_classes`.
    """
    shape = input_shape(model)
    fits = shape is None or len(shape) == len(image_shape)
    if not fits or any(a not in (None, b) for a, b in zip(shape or (), image_shape)):  # noqa: B905
        raise ValueError(f"`{role}` must take images of shape {tuple(image_shape)}. Received: a model of input {shape}")
    outputs = output_shape(model)
    if outputs is not None and outputs != (num_classes,):
        raise ValueError(f"`{role}` must have {num_classes} outputs, one for each class. Received: outputs {outputs}")


def input_shape(model):
    """Shape of one input example of a model with one input, such as (32, 32, 3); `None` where it is not known."""
    inputs = getattr(model, "inputs", None)
    return tuple(inputs[0].shape[1:]) if inputs and len(inputs) == 1 else None


def output_shape(model):
    """Shape of one output example of a model with one output, such as (10,); `None` where it is not known."""
    outputs = getattr(model, "outputs", None)
    return tuple(outputs[0].shape[1:]) if outputs and len(outputs) == 1 else None


def is_graph(model):
    """Whether a model is a graph of layers that can be looked into: functional or Sequential, with a known input."""
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        return False
    # A subclass may have a graph and yet do something else when it is called.
    return not any("call" in kind.__dict__ for kind in type(model).__mro__ if not kind.__module__.startswith("keras."))


def check_outputs(model, role, from_logits):
    """Refuses models that do not give one tensor of logits (or of probabilities, if `from_logits` is False).

    Args:
        model: Any built Keras model; only functional and Sequential ones can be looked into.
        role: "teacher" or "student", for the message.
        from_logits: What the outputs are meant to be.

    Raises:
        ValueError: If the model has several outputs, or ends in another activation than `from_logits` says.
    """
    outputs = getattr(model, "outputs", None)
    if not outputs:
        return
    if len(outputs) != 1:
        raise ValueError(f"`{role}` must have one output tensor, of logits. Received: {len(outputs)} outputs")
    activation = _final_activation(outputs[0])
    if from_logits and activation in ("softmax", "sigmoid"):
        raise ValueError(
            f"`{role}` must output logits. Received: '{model.name}', which ends in a {activation}. "
            "Drop the activation of its last layer, or pass from_logits=False if both models end in a softmax."
        )
    if not from_logits and activation != "softmax":
        raise ValueError(
            f"`{role}` must end in a softmax, since from_logits=False. "
            f"Received: '{model.name}', which ends in {activation or 'no activation'}."
        )


def _final_activation(output):
    """Name of the activation that makes a functional or Sequential model's output tensor, or `None`."""
    operation = output._keras_history.operation
    if isinstance(operation, keras.Model) and getattr(operation, "outputs", None):
        return _final_activation(operation.outputs[0])
    if isinstance(operation, layers.Activation) and operation.activation is keras.activations.linear:
        return _final_activation(operation.input)  # only a cast: the last layer of many mixed-precision models
    if isinstance(operation, keras.layers.Softmax):
        return "softmax"
    if isinstance(operation, keras.Layer):
        name = getattr(getattr(operation, "activation", None), "__name__", None)
    else:
        name = type(operation).__name__.lower()  # keras.ops.softmax(x) on a symbolic tensor
    return name if name in ("softmax", "sigmoid") else None


def varies_in_training(model, draws=3):
    """Whether two forward passes with `training=True` can differ: whether dropout (or any layer's noise) is active.

    Args:
        model: Built Keras model; it is left as it was.
        draws: How many further passes over random inputs are compared with the first, where no layer of Keras's
            dropout family with a positive rate is found.

    Returns:
        True or False; False for a model of unknown input shape without such a layer.
    """
    if any(_is_active_dropout(layer) for layer in flatten(model)):
        return True
    outputs, _ = _try_training_mode(model, 1 + draws)
    return any((output != outputs[0]).any() for output in outputs[1:])


def moved_in_training(model):
    """Paths of the weights that a forward pass with `training=True` moves though the model is frozen.

    BatchNorm's statistics are not among them, but those of a spectral normalisation are, for example.

    Args:
        model: Built Keras model; it is left as it was.

    Returns:
        List of strings; empty also for a model of unknown input shape.
    """
    _, moved = _try_training_mode(model, 1)
    return moved


def _try_training_mode(model, passes):
    """Outputs of some passes over the same random inputs with `training=True`, frozen, and the weights that moved."""
    shape = input_shape(model)
    if shape is None or None in shape:
        return [], []
    flags = [(layer, layer.trainable) for layer in (model, *flatten(model))]
    weights = [keras.ops.convert_to_numpy(weight) + 0 for weight in model.weights]  # copies
    model.trainable = False  # BatchNorm must neither vary nor learn from this
    inputs = keras.random.uniform((8, *shape), seed=0)
    outputs = [keras.ops.convert_to_numpy(model(inputs, training=True)) for _ in range(passes)]
    moved = []
    for weight, before in zip(model.weights, weights, strict=True):
        if (keras.ops.convert_to_numpy(weight) != before).any():
            moved.append(weight.path)
            weight.assign(before)
    for layer, trainable in flags:  # from the outside in: a model's flag sets those of its layers
        layer.trainable = trainable
    return outputs, moved


def _is_active_dropout(layer):
    return isinstance(layer, (layers.Dropout, layers.AlphaDropout, layers.GaussianDropout)) and layer.rate > 0


def flatten(model):
    """All layers of a model, those of nested models included."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from flatten(layer)
