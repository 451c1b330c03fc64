"""MACs: how many multiplications, each followed by an addition, one image takes; the usual measure of a network's work.

Counted on the graph that TensorFlow makes of the model, so that layers of any kind count by what they do. TensorFlow's
own profiler (`tf.compat.v1.profiler`, float_operation) is no help: it passes over grouped convolutions, which Keras
compiles, and over einsum, without a word, and mixes in the additions and multiplications of everything else.
"""

import collections
import math

from tfnoisekd.export import checks

CALLS = {"PartitionedCall": "f", "StatefulPartitionedCall": "f"}
# How often these run what they hold is decided by values, which a count over shapes does not see.
LOOPS = {
    "Case": ("branches",),
    "If": ("then_branch", "else_branch"),
    "StatelessCase": ("branches",),
    "StatelessIf": ("then_branch", "else_branch"),
    "StatelessWhile": ("body",),
    "While": ("body",),
}
# Operations that multiply and accumulate, or may, and that have no formula here.
OPAQUE = {
    "CudnnRNN",
    "CudnnRNNV2",
    "CudnnRNNV3",
    "EagerPyFunc",
    "NumpyFunction",
    "PyFunc",
    "PyFuncStateless",
    "SparseTensorDenseMatMul",
    "XlaConv",
    "XlaConvV2",
    "XlaDot",
    "XlaDotV2",
}


def count(model, input_shape=None):
    """Multiply-accumulates of one image through a model, and its parameters.

    Convolutions (grouped, depthwise, separable, dilated and transposed ones too), dense layers and products of
    matrices count; those with padded zeros too, as usual. Biases, normalisation, activations and pooling do not: they
    are about a hundredth of a usual network, and an export merges most of them into the convolutions.

    Args:
        model: A built `keras.Model` with one image input.
        input_shape: (height, width, channels) of an image; None for the one that the model was built for.

    Returns:
        A dict ready for JSON: `macs`, None where `uncounted` is not empty; `parameters`, the trainable ones;
        `by_operation`, the MACs of each kind of operation of TensorFlow's graph, descending; `uncounted`, the kinds of
        operation whose work can't be told, such as the loop of a recurrent layer; `input_shape`.

    Raises:
        RuntimeError: If Keras does not run on TensorFlow.
        ValueError: If the model or the shape is not as described.

    Example:

    >>> count(wide_resnet(16, 2))["macs"]
    101106944
    """
    from tfnoisekd import inspection  # imports keras, which an import of this package must not

    checks.check_model(model)
    shape = _full_shape(model, input_shape)
    by_operation, uncounted = collections.Counter(), set()
    _add(_graph(model, shape), by_operation, uncounted)
    return {
        "macs": None if uncounted else sum(by_operation.values()),
        "parameters": inspection.count_parameters(model),
        "by_operation": dict(by_operation.most_common()),
        "uncounted": sorted(uncounted),
        "input_shape": list(shape),
    }


def _full_shape(model, input_shape):
    from tfnoisekd.evaluation import prediction

    expected = prediction.image_shape(model)
    shape = expected if input_shape is None else tuple(input_shape)
    if shape is None or None in shape:
        raise ValueError(
            f"`input_shape` must be (height, width, channels), since {model.name} leaves it open. "
            f"Received: input_shape={input_shape}"
        )
    fits = expected is None or len(expected) == len(shape)
    if not fits or any(want not in (None, got) for want, got in zip(expected or (), shape)):  # noqa: B905
        raise ValueError(f"`input_shape` must be one that the model takes, {expected}. Received: input_shape={shape}")
    return tuple(int(side) for side in shape)


def _graph(model, shape):
    import tensorflow as tf

    function = tf.function(lambda images: model(images, training=False), autograph=False)
    return function.get_concrete_function(tf.TensorSpec((1, *shape), checks.input_dtype(model))).graph


def _add(graph, by_operation, uncounted):
    """Adds what the outputs of a graph, or of a function that it calls, need."""
    for operation in _needed(graph):
        kind = operation.type
        if kind in CALLS:
            _add(_called(graph, operation.get_attr(CALLS[kind])), by_operation, uncounted)
        elif kind in LOOPS:
            inside = collections.Counter()
            for attribute in LOOPS[kind]:
                functions = operation.get_attr(attribute)
                for function in functions if isinstance(functions, list) else [functions]:
                    _add(_called(graph, function), inside, uncounted)
            uncounted.update({kind} if inside else ())
        elif kind in OPAQUE:
            uncounted.add(kind)
        elif kind in FORMULAS:
            shapes = _shapes(operation)
            if any(shape is None or None in shape for shape in shapes):
                uncounted.add(kind)
            else:
                by_operation[kind] += FORMULAS[kind](operation, shapes)


def _needed(graph):
    """Operations that lead to the outputs: Keras traces a recurrent layer's first step once more than it runs it."""
    waiting, seen = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs), set()
    while waiting:
        operation = waiting.pop()
        if operation not in seen:
            seen.add(operation)
            waiting += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return seen


def _called(graph, function):
    return graph._get_function(function.name).graph  # there is no public way into a called function


def _shapes(operation):
    """Shapes of all inputs, and of the first output, as tuples; those that are unknown as None."""
    tensors = [*operation.inputs, operation.outputs[0]]
    return [tuple(tensor.shape) if tensor.shape.rank is not None else None for tensor in tensors]


def _convolution(operation, shapes):
    """Each place of the output takes the whole filter, (..., input channels of a group, output channels), once.

    For a depthwise one, (height, width, channels, multiplier), that is the same product.
    """
    return _places(operation, shapes[-1]) * math.prod(shapes[1])


def _transposed_convolution(operation, shapes):
    """As the convolution that it is the transpose of: each place of its input takes the whole filter once."""
    return _places(operation, shapes[2]) * math.prod(shapes[1])


def _places(operation, shape):
    channels_first = operation.get_attr("data_format").startswith(b"NC")
    return math.prod(shape[:1] + (shape[2:] if channels_first else shape[1:-1]))


def _matmul(operation, shapes):
    name = "transpose_a" if operation.type == "MatMul" else "adj_x"
    return math.prod(shapes[-1]) * shapes[0][-2 if operation.get_attr(name) else -1]


def _einsum(operation, shapes):
    """The product of the lengths of all indices, an ellipsis being one."""
    operands, output = operation.get_attr("equation").decode().split("->")
    lengths = {}
    for labels, shape in zip([*operands.split(","), output], shapes, strict=True):
        before, dots, after = labels.partition("...")
        lengths |= zip(before, shape)  # noqa: B905, of other lengths where there is an ellipsis
        lengths |= zip(reversed(after), reversed(shape))  # noqa: B905
        if dots:  # the longest, because shapes are broadcast
            lengths["..."] = max(lengths.get("...", 1), math.prod(shape[len(before) : len(shape) - len(after)]))
    return math.prod(lengths.values()) if operands.count(",") == 1 else 0


FORMULAS = {
    "BatchMatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "BatchMatMulV3": _matmul,
    "Conv2D": _convolution,
    "Conv2DBackpropInput": _transposed_convolution,
    "Conv3D": _convolution,
    "Conv3DBackpropInputV2": _transposed_convolution,
    "DepthwiseConv2dNative": _convolution,
    "Einsum": _einsum,
    "MatMul": _matmul,
}
