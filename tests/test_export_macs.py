"""Multiply-accumulates, against counts by hand from nothing but the sizes of each layer."""

import keras
import pytest
import tensorflow as tf
from keras import layers

from tfnoisekd.export import macs
from tfnoisekd.models import wide_resnet


def of_layer(*chain, shape=(8, 8, 4)):
    """What is counted of some layers behind an image."""
    inputs = outputs = keras.Input(shape)
    for layer in chain:
        outputs = layer(outputs)
    return macs.count(keras.Model(inputs, outputs))


def by_hand(depth, width, num_classes=10):
    """The convolutions and the dense layer of a Wide ResNet for 32x32x3 images."""
    total, channels = 32 * 32 * 9 * 3 * 16, 16
    for side, base in ((32, 16), (16, 32), (8, 64)):
        wide = base * width
        for _ in range((depth - 4) // 6):
            total += side**2 * 9 * channels * wide + side**2 * 9 * wide * wide
            total += side**2 * channels * wide if channels != wide else 0
            channels = wide
    return total + channels * num_classes


@pytest.mark.parametrize("depth, width", [(10, 1), (16, 2), (40, 2)])
def test_wide_resnets(depth, width):
    found = macs.count(wide_resnet(depth, width))
    assert found["macs"] == by_hand(depth, width) == sum(found["by_operation"].values())
    assert found["by_operation"]["MatMul"] == 64 * width * 10 and found["uncounted"] == []
    known = {(16, 2): 691_674, (40, 2): 2_243_546}  # as in the paper
    assert found["parameters"] == known.get((depth, width), found["parameters"])
    assert found["input_shape"] == [32, 32, 3]


def test_an_inverted_bottleneck_as_in_mobilenet_v2():
    inputs = keras.Input((8, 8, 4))
    x = layers.Conv2D(24, 1, use_bias=False)(inputs)
    x = layers.ReLU(max_value=6)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU(max_value=6)(layers.BatchNormalization()(x))
    x = layers.BatchNormalization()(layers.Conv2D(6, 1, use_bias=False)(x))
    found = macs.count(keras.Model(inputs, x))
    assert found["by_operation"] == {"Conv2D": 64 * 4 * 24 + 16 * 24 * 6, "DepthwiseConv2dNative": 16 * 9 * 24}
    assert found["parameters"] == 4 * 24 + 9 * 24 + 24 * 6 + 2 * (24 + 24 + 6)


@pytest.mark.parametrize(
    "chain, expected",
    [
        ([layers.Conv2D(6, 3, padding="valid")], 36 * 9 * 4 * 6),  # its bias is no multiplication
        ([layers.Conv2D(6, 3, groups=2, padding="same")], 64 * 9 * 2 * 6),  # compiled by Keras: a function in the graph
        ([layers.Conv2D(6, 3, dilation_rate=2, padding="same")], 64 * 9 * 4 * 6),
        ([layers.SeparableConv2D(6, 3, padding="same", depth_multiplier=2)], 64 * 9 * 8 + 64 * 8 * 6),
        ([layers.Conv2DTranspose(6, 3, strides=2, padding="same")], 64 * 9 * 4 * 6),
        ([layers.Reshape((16, 16)), layers.Conv1D(3, 5, strides=2, padding="same")], 8 * 5 * 16 * 3),
        ([layers.Reshape((4, 4, 4, 4)), layers.Conv3D(3, 2)], 27 * 8 * 4 * 3),
        ([layers.Flatten(), layers.Dense(5)], 256 * 5),
        ([layers.Dense(7)], 64 * 4 * 7),
        ([layers.EinsumDense("abcd,de->abce", output_shape=(8, 8, 3))], 64 * 4 * 3),
        ([layers.Lambda(lambda x: tf.einsum("...d,edb->...e", x, tf.ones((3, 4, 2))))], 64 * 4 * 3 * 2),
        ([layers.Lambda(lambda x: tf.einsum("...cd,...de->...ce", x, tf.ones((8, 1, 4, 3))))], 8 * 64 * 4 * 3),
        ([layers.BatchNormalization(), layers.ReLU(), layers.AveragePooling2D(2), layers.Rescaling(2.0)], 0),
    ],
    ids=lambda value: value[-1].name if isinstance(value, list) else str(value),
)
def test_layers(chain, expected):
    assert of_layer(*chain)["macs"] == expected


def test_attention():
    inputs = keras.Input((8, 8, 4))
    x = layers.Reshape((64, 4))(inputs)
    model = keras.Model(inputs, layers.MultiHeadAttention(num_heads=2, key_dim=3)(x, x))
    assert macs.count(model)["macs"] == 3 * 64 * 4 * 6 + 2 * (2 * 64 * 64 * 3) + 64 * 6 * 4


def test_what_a_loop_does_is_not_guessed():
    found = of_layer(layers.Reshape((16, 16)), layers.LSTM(3), layers.Dense(5))
    assert found["macs"] is None and len(found["uncounted"]) == 1 and "While" in found["uncounted"][0]
    assert found["by_operation"] == {"MatMul": 3 * 5}  # nor is the first step that is traced and thrown away


class Scaled(keras.Model):
    def __init__(self):
        super().__init__()
        self.head = layers.Dense(3)

    def call(self, images):
        return self.head(keras.ops.reshape(images, (-1, 48)))


def test_any_model_that_knows_its_input():
    model = Scaled()
    model(keras.ops.zeros((1, 4, 4, 3)))
    assert macs.count(model)["macs"] == 48 * 3
    inputs = keras.Input((4, 4, 3), dtype="uint8")
    flat = layers.Flatten()(layers.Rescaling(1 / 255)(inputs))
    assert macs.count(keras.Model(inputs, layers.Dense(3)(flat)))["macs"] == 48 * 3


def test_the_shape_of_the_image_counts():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, layers.Conv2D(2, 3, padding="same")(inputs))
    assert macs.count(model, (10, 6, 3))["macs"] == 60 * 9 * 3 * 2
    with pytest.raises(ValueError, match=r"`input_shape` must be \(height, width, channels\), since .* leaves it open"):
        macs.count(model)
    with pytest.raises(ValueError, match=r"`input_shape` must be one that the model takes, .*\(10, 6, 4\)"):
        macs.count(model, (10, 6, 4))
    with pytest.raises(ValueError, match=r"`input_shape` must be one that the model takes"):
        macs.count(wide_resnet(10, 1), (32, 32))
    with pytest.raises(TypeError, match="`model` must be a keras.Model"):
        macs.count("wrn-16-2")
