"""When two teachers are the same: everything that decides about their outputs, in one digest."""

import hashlib
import inspect
import json
import sys

import keras

from tfnoisekd import inspection


def identify(teacher, layers=()):
    """SHA-256 over all that decides what a teacher says: 64 hexadecimal digits, equal in every process.

    Weights, architecture, dtype policies, the layers that are read, Keras's version, and the source of every module
    outside Keras that a custom layer or function comes from (though not of the modules that it imports in turn).
    Names count too, so a network that is built twice may have two identities, but a file always has one. Call it
    before `fit`: on JAX, the weights are out of reach during it.

    Args:
        teacher: Built Keras model.
        layers: Names of the layers whose outputs are kept beside the model's own.

    Raises:
        ValueError: If the teacher holds code that can't be read, so that a change of it would go unnoticed.
    """
    try:
        architecture = json.loads(teacher.to_json())
    except (NotImplementedError, TypeError) as error:
        raise _unreadable(teacher, "an architecture without a configuration") from error
    architecture.pop("compile_config", None)  # how it was trained does not matter to what it says
    parts = {
        "weights": inspection.weights_digest(teacher),
        "architecture": architecture,
        "policies": [layer.dtype_policy.name for layer in (teacher, *inspection.flatten(teacher))],
        "layers": sorted(set(layers)),
        "keras": keras.__version__,
        "sources": {module: _source(teacher, module) for module in sorted(set(_modules(teacher, architecture)))},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _modules(teacher, node):
    """Names of the modules outside Keras that define a part of a serialised model."""
    if isinstance(node, dict):
        kind, module = node.get("class_name"), node.get("module")
        if kind == "__lambda__":
            raise _unreadable(teacher, "a lambda")
        if kind == "function" and module == "builtins":  # Keras's mark of a custom function
            function = keras.saving.get_registered_object(node["config"])
            module = getattr(function, "__module__", None) or f"the function {node['config']}"
        if "registered_name" in node and str(module).partition(".")[0] != "keras":
            yield module or "__main__"
        node = node.values()
    if not isinstance(node, (str, int, float, type(None))):
        for child in node:
            yield from _modules(teacher, child)


def _source(teacher, module):
    try:
        return inspect.getsource(sys.modules[module])
    except (KeyError, OSError, TypeError):
        raise _unreadable(teacher, f"code of {module}") from None


def _unreadable(teacher, what):
    return ValueError(
        f"`teacher` must be made of Keras's layers, or of registered ones from files, so that its cached outputs are "
        f"never taken for those of another. Received: '{teacher.name}' with {what}, where a change would go unnoticed. "
        "Move it into a layer in a module of its own, or train without the cache."
    )
