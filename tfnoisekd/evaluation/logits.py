"""The logits of a model that gives probabilities, which attacks need: softmax hides gradients where it is sure."""

import keras
from keras import layers, ops

from tfnoisekd import inspection


def without_softmax(model):
    """A model on the same weights that gives the logits instead of their softmax.

    The graph is cut before the softmax at its end: a layer `Softmax` or `Activation("softmax")`, `keras.ops.softmax`,
    the activation of a last `Dense`, or that of a model nested at the end; a linear `Activation` that only casts may
    follow. The softmax of what the new model gives is what the given one gives.

    Args:
        model: A functional or Sequential `keras.Model` with one output, as built or loaded. It is not changed.

    Returns:
        A `keras.Model` of the same inputs, logits (batch, num_classes), with all weights shared; it is not meant to be
        saved. None where there is no softmax to take off, or the model is no graph that could be looked into.

    Example:

    >>> adversarial.evaluate(without_softmax(model) or model, dataset.test)
    """
    if not inspection.is_graph(model) or len(model.outputs) != 1:
        return None
    logits = _before_softmax(model.outputs[0])
    if logits is None:
        return None
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input  # a dict or list if it takes one
    return keras.Model(inputs, logits, name=f"{model.name}_logits")


class Linear(layers.Layer):
    """A `Dense` layer without its activation, on the same weights."""

    def __init__(self, dense):
        super().__init__(name=f"{dense.name}_logits", dtype=dense.dtype_policy)
        self.dense = dense

    def call(self, inputs):
        outputs = ops.matmul(inputs, self.dense.kernel)
        return outputs if self.dense.bias is None else ops.add(outputs, self.dense.bias)


def _before_softmax(output):
    """The tensor of which an output is the softmax, over its last axis; None if it is of none."""
    operation, node_index, _ = output._keras_history
    node = operation._inbound_nodes[node_index]
    if len(node.input_tensors) != 1:
        return None
    (inputs,) = node.input_tensors
    for fits, cut in _CUTS:
        if fits(operation, inputs):
            return cut(operation, inputs, node)
    return None


def _is_softmax(operation, inputs):
    # `keras.ops.softmax` on a symbolic tensor is an operation of this name, of a class that is not public.
    named = isinstance(operation, layers.Softmax) or (
        type(operation).__name__ == "Softmax" and not isinstance(operation, keras.Layer)
    )
    return named and operation.axis in (-1, len(inputs.shape) - 1)


def _is_activation(operation, function):
    return isinstance(operation, layers.Activation) and operation.activation is function


def _is_dense(operation, inputs):
    known = type(operation) is layers.Dense and operation.quantization_mode is None
    return known and operation.activation is keras.activations.softmax


def _cut_cast(operation, inputs, node):
    logits = _before_softmax(inputs)
    return None if logits is None else operation(logits)


def _cut_nested(operation, inputs, node):
    inner = without_softmax(operation)
    return None if inner is None else inner(*node.arguments.args, **node.arguments.kwargs)


_CUTS = (  # (whether it is this case, the tensor before the softmax)
    (_is_softmax, lambda operation, inputs, node: inputs),
    (lambda operation, inputs: _is_activation(operation, keras.activations.softmax), lambda _, inputs, node: inputs),
    (lambda operation, inputs: _is_activation(operation, keras.activations.linear), _cut_cast),
    (_is_dense, lambda operation, inputs, node: Linear(operation)(inputs)),
    (lambda operation, inputs: inspection.is_graph(operation), _cut_nested),
)
