"""Named features of a network, all from one forward pass, and what a teacher says about a batch."""

from typing import Any, NamedTuple

import keras

from tfnoisekd import inspection
from tfnoisekd.names import nearest

OUTPUTS = "/outputs"  # the key of a network's own outputs among its features; no layer can have that name
SHOWN = 6  # layers that an error names, the last ones


class Supervised(NamedTuple):
    """Labels together with what the teacher says about the same inputs, known before the step.

    Args:
        labels: Tensor (batch,), or one-hot (batch, classes).
        teacher_outputs: Mapping of feature name -> tensor (batch, ...); `OUTPUTS` is the key of the logits.
    """

    labels: Any
    teacher_outputs: Any


class Features:
    """Reads a network: inputs -> its outputs and the features of some layers, from one forward pass.

    It is no Keras object, so that a model that holds it does not own the network twice.

    Args:
        model: Keras model; functional or Sequential if there are `layers`.
        layers: Names of layers, as in `extractor`.
        role: "teacher" or "student", for messages.
    """

    def __init__(self, model, layers=(), role="model"):
        self.layers = tuple(sorted(set(layers)))
        self.model = extractor(model, self.layers, role) if self.layers else model

    def __call__(self, inputs, training):
        outputs = self.model(inputs, training=training)
        return outputs if self.layers else {OUTPUTS: outputs}


def extractor(model, layers, role="model"):
    """A model on the same weights that gives the features of some layers besides the outputs, in one forward pass.

    Layers are found in nested models too, by name (`conv5_block3_out`) or, where a name occurs twice, by path
    (`resnet50/conv5_block3_out`). A layer that is called several times gives what its first call gave.

    Args:
        model: Functional or Sequential Keras model with one output.
        layers: Names of layers, each with one output tensor.
        role: What the model is, for messages.

    Returns:
        A `keras.Model`: inputs -> {layer name: tensor (batch, ...), OUTPUTS: the model's outputs}.

    Raises:
        ValueError: If a layer doesn't exist (the nearest is named) or is ambiguous, or the model is no graph of layers.

    Example:

    >>> features = extractor(wide_resnet(16, 2), ["group3"])(images)
    >>> features["group3"].shape, features[OUTPUTS].shape
    ((128, 8, 8, 128), (128, 10))
    """
    if not inspection.is_graph(model):
        raise ValueError(
            f"`{role}` must be a functional or Sequential model with a known input, so that the features of its layers "
            f"{', '.join(layers)} can be read. Received: '{model.name}' of class {type(model).__name__}. Build it that "
            "way, or use a loss of the outputs only, such as `Hinton()`."
        )
    paths = {name: _find(model, name, role) for name in layers}
    inputs, outputs, found = _unfold(model, set(paths.values()))
    for name, path in paths.items():
        if isinstance(found[path], (list, tuple, dict)):
            raise ValueError(
                f"`{role}` must have one output tensor in each layer that is asked for. "
                f"Received: {len(found[path])} outputs of layer '{name}'"
            )
    return keras.Model(inputs, {OUTPUTS: outputs, **{name: found[path] for name, path in paths.items()}})


def _find(model, name, role):
    """Where a layer is: the names of the models it is nested in, and its own."""
    known = list(_paths(model))
    parts = tuple(name.split("/"))
    if parts in known:
        return parts
    matches = [path for path in known if path[-len(parts) :] == parts]
    if len(matches) == 1:
        return matches[0]
    if matches:
        options = ", ".join("/".join(path) for path in matches)
        raise ValueError(
            f"`{role}` must have one layer of each name that is asked for. Received: '{model.name}' with {options}; "
            "give the path."
        )
    names = {path[-1] for path in known} | {"/".join(path) for path in known}
    hint = nearest(name, names) or f" Name one of its own: {', '.join('/'.join(path) for path in known[-SHOWN:])}."
    raise ValueError(f"`{role}` has no layer '{name}'. Received: '{model.name}'.{hint}")


def _paths(model, above=()):
    for layer in model.layers:
        yield (*above, layer.name)
        if inspection.is_graph(layer):
            yield from _paths(layer, (*above, layer.name))


def _unfold(model, paths):
    """The graph of a model once more, on the same layers, with the tensors of some layers in reach.

    `layer.output` would not do: it belongs to the layer's first call, which in a loaded Sequential model is another
    than the one that leads to the model's outputs, so that both chains would run.

    Returns:
        (inputs, outputs, path -> tensor).
    """
    found, nested = {}, {}
    for name in {path[0] for path in paths if len(path) > 1}:
        inner = {path[1:] for path in paths if path[0] == name and len(path) > 1}
        nested[name] = _unfolded(model.get_layer(name), inner)

    def call(layer, *args, **kwargs):
        result = layer(*args, **kwargs) if layer.name not in nested else nested[layer.name](*args, **kwargs)
        if layer.name in nested:
            for path in (path for path in paths if path[0] == layer.name and len(path) > 1):
                found.setdefault(path, result["/".join(path[1:])])
            result = result[OUTPUTS]
        if (layer.name,) in paths:
            found.setdefault((layer.name,), result)
        return result

    if isinstance(model, keras.Sequential):
        inputs = outputs = keras.Input(batch_shape=model.inputs[0].shape, dtype=model.inputs[0].dtype)
        for layer in model.layers:
            outputs = call(layer, outputs)
        return inputs, outputs, found
    clone = keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)
    return clone.input, clone.outputs[0], found


def _unfolded(model, paths):
    inputs, outputs, found = _unfold(model, paths)
    return keras.Model(inputs, {OUTPUTS: outputs, **{"/".join(path): tensor for path, tensor in found.items()}})
