"""Reading models: softmax endings, dropout that is on, shapes."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tfnoisekd import inspection, models


def tiny(**kwargs):
    return models.wide_resnet(10, 1, num_classes=3, input_shape=(4, 4, 2), **kwargs)


def dense(**kwargs):
    return keras.Sequential([keras.Input((4,)), layers.Dense(3, **kwargs)])


def functional(last):
    inputs = keras.Input((4,))
    return keras.Model(inputs, last(layers.Dense(3)(inputs)))


SOFTMAX_MODELS = {
    "Dense": lambda: dense(activation="softmax"),
    "Softmax": lambda: functional(layers.Softmax()),
    "Activation": lambda: functional(layers.Activation("softmax")),
    "ops.softmax": lambda: functional(ops.softmax),
    "activations.softmax": lambda: functional(keras.activations.softmax),
    "nested": lambda: functional(lambda x: functional(ops.softmax)(layers.Dense(4)(x))),
    "nested Sequential": lambda: keras.Sequential([keras.Input((4,)), dense(activation="softmax")]),
    "cast": lambda: functional(lambda x: layers.Activation("linear", dtype="float32")(layers.Softmax()(x))),
}


@pytest.mark.parametrize("kind", SOFTMAX_MODELS)
def test_finds_a_final_softmax(kind):
    model = SOFTMAX_MODELS[kind]()
    with pytest.raises(ValueError, match=r"`student` must output logits. Received: .* ends in a softmax.*from_logits"):
        inspection.check_outputs(model, "student", from_logits=True)
    inspection.check_outputs(model, "student", from_logits=False)


@pytest.mark.parametrize("model", [dense, tiny, lambda: functional(lambda x: layers.Dense(3)(ops.softmax(x)))])
def test_takes_logits(model):
    inspection.check_outputs(model(), "teacher", from_logits=True)
    with pytest.raises(ValueError, match=r"`teacher` must end in a softmax.*no activation"):
        inspection.check_outputs(model(), "teacher", from_logits=False)


def test_refuses_a_final_sigmoid():
    with pytest.raises(ValueError, match="ends in a sigmoid"):
        inspection.check_outputs(dense(activation="sigmoid"), "student", from_logits=True)


def test_refuses_several_outputs():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [layers.Dense(3)(inputs), layers.Dense(3)(inputs)])
    with pytest.raises(ValueError, match="`teacher` must have one output tensor, of logits. Received: 2 outputs"):
        inspection.check_outputs(model, "teacher", from_logits=True)


class OwnDropout(layers.Layer):
    """Varies in training, yet is none of Keras's dropout layers."""

    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator(0)

    def call(self, inputs, training=None):
        return keras.random.dropout(inputs, 0.5, seed=self.seed) if training else inputs


@pytest.mark.parametrize(
    ("layer", "varies"),
    [
        (lambda: layers.Dropout(0.5), True),
        (lambda: layers.Dropout(0.0), False),
        (lambda: layers.GaussianDropout(0.3), True),
        (lambda: layers.AlphaDropout(0.3), True),
        (lambda: layers.GaussianNoise(0.3), True),
        (lambda: keras.Sequential([layers.Dropout(0.5)]), True),
        (OwnDropout, True),
        (layers.BatchNormalization, False),
    ],
    ids=["dropout", "rate 0", "gaussian", "alpha", "noise", "nested", "own", "batchnorm"],
)
def test_knows_whether_a_model_varies_in_training(layer, varies):
    model = functional(layer())
    weights = model.get_weights()
    assert inspection.varies_in_training(model) is varies
    assert model.trainable
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_wide_resnet_varies_in_training_with_dropout_only():
    assert inspection.varies_in_training(tiny(dropout=0.1))
    assert not inspection.varies_in_training(tiny())


def test_reads_shapes():
    assert (inspection.input_shape(tiny()), inspection.output_shape(tiny())) == ((4, 4, 2), (3,))
    assert inspection.input_shape(keras.Sequential([layers.Dense(3)])) is None


def test_looking_for_variation_leaves_frozen_layers_frozen():
    model = functional(layers.BatchNormalization())
    model.layers[1].trainable = False
    inspection.varies_in_training(model)
    assert [layer.trainable for layer in model.layers[1:]] == [False, True]


def test_finds_weights_that_training_mode_moves():
    spectral = functional(layers.SpectralNormalization(layers.Dense(3)))
    before = spectral.get_weights()
    assert inspection.moved_in_training(spectral)
    for one, other in zip(before, spectral.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert inspection.moved_in_training(functional(layers.BatchNormalization())) == []
    assert not inspection.varies_in_training(functional(layers.BatchNormalization()))


def test_counts_trainable_parameters_and_digests_all_weights():
    one, other = tiny(), tiny()
    assert inspection.count_parameters(one) == sum(np.size(v) for v in one.trainable_variables) < one.count_params()
    assert inspection.weights_digest(one) != inspection.weights_digest(other)
    other.set_weights(one.get_weights())
    assert inspection.weights_digest(one) == inspection.weights_digest(other)
    # A statistic of BatchNorm counts, though it is not trained.
    other.get_layer("final_bn").moving_mean.assign(np.ones(64))
    assert inspection.weights_digest(one) != inspection.weights_digest(other)


@pytest.mark.parametrize(
    ("classes", "shape", "message"),
    [
        (4, (4, 4, 2), r"`teacher` must have 4 outputs, one for each class. Received: outputs \(3,\)"),
        (3, (8, 4, 2), r"`teacher` must take images of shape \(8, 4, 2\). Received: a model of input \(4, 4, 2\)"),
        (3, (4, 4), r"`teacher` must take images of shape"),
    ],
)
def test_a_model_that_does_not_fit_the_data_is_refused(classes, shape, message):
    inspection.check_fits(tiny(), "teacher", 3, (4, 4, 2))
    with pytest.raises(ValueError, match=message):
        inspection.check_fits(tiny(), "teacher", classes, shape)
