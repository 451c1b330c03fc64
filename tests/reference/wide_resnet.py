"""A Wide ResNet's forward pass in inference, in NumPy float64, written from the definition of the network."""

import math

import numpy as np


def convolution(x, kernel, stride=1):
    """Convolution with zero padding to ceil(size / stride): x (B, H, W, C), kernel (size, size, C, F)."""
    size, out = kernel.shape[0], [math.ceil(side / stride) for side in x.shape[1:3]]
    total = [max((out[i] - 1) * stride + size - x.shape[1 + i], 0) for i in range(2)]
    x = np.pad(x, [(0, 0), *((pad // 2, pad - pad // 2) for pad in total), (0, 0)])
    result = np.zeros((len(x), *out, kernel.shape[3]))
    for row in range(out[0]):
        for column in range(out[1]):
            patch = x[:, row * stride : row * stride + size, column * stride : column * stride + size]
            result[:, row, column] = np.tensordot(patch, kernel, axes=3)
    return result


def norm_relu(x, gamma, beta, mean, variance):
    """Batch normalisation with epsilon 1e-5, then ReLU."""
    return np.maximum((x - mean) / np.sqrt(variance + 1e-5) * gamma + beta, 0)


def block(x, weights, stride):
    """BN-ReLU-conv-BN-ReLU-conv; a 1x1 shortcut, if there is one, takes the pre-activated input."""
    activated = norm_relu(x, *weights["1_bn"])
    out = convolution(activated, *weights["conv1"], stride)
    out = convolution(norm_relu(out, *weights["2_bn"]), *weights["conv2"])
    return out + (convolution(activated, *weights["shortcut"], stride) if "shortcut" in weights else x)


def wide_resnet(x, weights, blocks):
    """Logits and the features by name.

    Args:
        x: Images, shape (batch, height, width, channels).
        weights: Layer name -> list of arrays, as `keras.Layer.get_weights` gives them.
        blocks: Number of blocks in each group.
    """
    weights = {name: [np.asarray(w, "float64") for w in arrays] for name, arrays in weights.items()}
    features = {}
    x = convolution(x.astype("float64"), *weights["stem"])
    for group in (1, 2, 3):
        for number in range(1, blocks + 1):
            prefix = f"group{group}_block{number}_"
            own = {name.removeprefix(prefix): arrays for name, arrays in weights.items() if name.startswith(prefix)}
            x = block(x, own, stride=2 if group > 1 and number == 1 else 1)
        features[f"group{group}"] = x
    features["embedding"] = norm_relu(x, *weights["final_bn"]).mean(axis=(1, 2))
    kernel, bias = weights["logits"]
    features["logits"] = features["embedding"] @ kernel + bias
    return features
