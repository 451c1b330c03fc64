"""Features by layer name: of flat, nested and shared models, in one forward pass."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from tiny_models import CLASSES, FEATURES, Subclassed, Watch, deep

from tfnoisekd import features, inspection, models
from tfnoisekd.features import OUTPUTS, Features, extractor


def array(tensor):
    return ops.convert_to_numpy(tensor)


def nested(kind="functional", training=None):
    """A backbone within a model, as one gets by putting a head on an application."""
    backbone = keras.Sequential(
        [keras.Input((FEATURES,)), Watch(5), layers.Dense(6, name="inner"), layers.BatchNormalization(name="norm")],
        name="backbone",
    )
    if kind == "sequential":
        return keras.Sequential([keras.Input((FEATURES,)), backbone, layers.Dense(CLASSES, name="head")])
    inputs = keras.Input((FEATURES,))
    hidden = ops.multiply(backbone(inputs * 2.0, training=training), 0.5)
    return keras.Model(inputs, layers.Dense(CLASSES, name="head")(hidden))


def test_features_of_a_wide_resnet_are_its_layers(rng):
    model = models.wide_resnet(10, 1, input_shape=(8, 8, 3))
    images = rng.random((3, 8, 8, 3)).astype("float32")
    found = extractor(model, ["group1", "group3", "embedding"])(images)
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == {
        "group1": (3, 8, 8, 16),
        "group3": (3, 2, 2, 64),
        "embedding": (3, 64),
        OUTPUTS: (3, 10),
    }
    kernel, bias = model.get_layer("logits").get_weights()
    np.testing.assert_allclose(array(found[OUTPUTS]), array(found["embedding"]) @ kernel + bias, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(array(found[OUTPUTS]), array(model(images)), rtol=1e-5, atol=1e-6)
    # The raw sum at the end of a group: normalised, rectified and averaged it is the embedding.
    final = model.get_layer("final_relu")(model.get_layer("final_bn")(found["group3"]))
    np.testing.assert_allclose(array(ops.mean(final, axis=(1, 2))), array(found["embedding"]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["functional", "sequential"])
@pytest.mark.parametrize("name", ["inner", "backbone/inner"])
def test_features_of_a_nested_model(rng, kind, name):
    model = nested(kind)
    backbone = model.get_layer("backbone")
    x = rng.normal(size=(5, FEATURES)).astype("float32")
    found = extractor(model, [name, "head", "backbone"])(x)
    assert float(backbone.layers[0].calls) == 1  # once for all of them
    kernel, bias = backbone.get_layer("inner").get_weights()
    scale = 2.0 if kind == "functional" else 1.0
    np.testing.assert_allclose(array(found[name]), scale * x @ kernel + bias, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(array(found["backbone"]), array(backbone(scale * x)), rtol=1e-5, atol=1e-6)
    for output in ("head", OUTPUTS):
        np.testing.assert_allclose(array(found[output]), array(model(x)), rtol=1e-5, atol=1e-6)


def test_a_nested_model_two_levels_deep(rng):
    inputs = keras.Input((FEATURES,))
    model = keras.Model(inputs, keras.Sequential([nested(), layers.Activation("relu")], name="middle")(inputs))
    x = rng.normal(size=(5, FEATURES)).astype("float32")
    found = extractor(model, ["inner"])(x)
    inner = next(layer for layer in inspection.flatten(model) if layer.name == "inner")
    kernel, bias = inner.get_weights()
    np.testing.assert_allclose(array(found["inner"]), 2 * x @ kernel + bias, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(array(found[OUTPUTS]), array(model(x)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", [True, False, None])
def test_a_nested_model_behaves_as_in_the_model_itself(rng, training):
    model, other = nested(training=False), nested(training=False)
    other.set_weights(model.get_weights())
    x = rng.normal(size=(5, FEATURES)).astype("float32")
    found, expected = extractor(model, ["inner"])(x, training=training), other(x, training=training)
    np.testing.assert_allclose(array(found[OUTPUTS]), array(expected), rtol=1e-5, atol=1e-6)
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)  # BatchNorm's statistics among them


@pytest.mark.parametrize("make", [deep, lambda seed: nested()], ids=["flat", "nested"])
def test_the_model_is_left_as_it_was(rng, tmp_path, make):
    model = make(1)
    before = model.get_config(), [variable.path for variable in model.variables]
    extractor(model, ["hidden" if model.name.startswith("seq") else "inner"])
    assert (model.get_config(), [variable.path for variable in model.variables]) == before
    model.save(tmp_path / "model.keras")
    x = rng.normal(size=(5, FEATURES)).astype("float32")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(array(again(x)), array(model(x)), rtol=1e-6)


def test_the_layers_of_a_loaded_model_run_once(rng, tmp_path):
    # Loading a Sequential model calls its layers twice, and only the second chain leads to its outputs.
    model = keras.Sequential([keras.Input((FEATURES,)), Watch(5), layers.Dense(2, name="hidden"), layers.Dense(2)])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    extractor(again, ["hidden"])(rng.normal(size=(5, FEATURES)).astype("float32"))
    assert float(again.layers[0].calls) == 1


def test_features_follow_training_mode(rng):
    model = deep(1, dropout=0.5)
    read = Features(model, ["hidden"])
    x = rng.normal(size=(5, FEATURES)).astype("float32")
    np.testing.assert_array_equal(array(read(x, False)[OUTPUTS]), array(model(x, training=False)))
    assert (array(read(x, True)[OUTPUTS]) != array(read(x, True)[OUTPUTS])).any()
    assert set(read(x, False)) == {OUTPUTS, "hidden"} and set(Features(model)(x, False)) == {OUTPUTS}


def test_a_keras_application_nested_under_a_head(rng):
    backbone = keras.applications.MobileNetV2(input_shape=(32, 32, 3), include_top=False, weights=None, alpha=0.35)
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), backbone, layers.GlobalAveragePooling2D(name="pool"), layers.Dense(3)]
    )
    images = rng.random((2, 32, 32, 3)).astype("float32")
    found = extractor(model, ["block_6_expand_relu", "pool"])(images)
    expected = keras.Model(backbone.input, backbone.get_layer("block_6_expand_relu").output)(images)
    np.testing.assert_allclose(array(found["block_6_expand_relu"]), array(expected), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(array(found[OUTPUTS]), array(model(images)), rtol=1e-4, atol=1e-6)


def twice():
    branches = [keras.Sequential([keras.Input((FEATURES,)), layers.Dense(2, name="same")], name=name) for name in "ab"]
    inputs = keras.Input((FEATURES,))
    return keras.Model(inputs, layers.Concatenate()([branch(inputs) for branch in branches]))


def test_a_name_that_occurs_twice_needs_its_path(rng):
    model = twice()
    x = rng.normal(size=(5, FEATURES)).astype("float32")
    found = extractor(model, ["a/same", "b/same"])(x)
    for name in "ab":
        np.testing.assert_allclose(array(found[f"{name}/same"]), array(model.get_layer(name)(x)), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="one layer of each name.*a/same, b/same; give the path"):
        extractor(model, ["same"])


@pytest.mark.parametrize(("name", "meant"), [("grup3", "group3"), ("embeding", "embedding")])
def test_an_unknown_layer_names_the_nearest(name, meant):
    with pytest.raises(
        ValueError, match=f"`teacher` has no layer '{name}'. Received: 'wrn_10_1'. Did you mean `{meant}`"
    ):
        extractor(models.wide_resnet(10, 1), [name], "teacher")


def test_where_no_name_is_near_some_are_listed():
    with pytest.raises(ValueError, match="`teacher` has no layer 'group1'.*Name one of its own: .*hidden.*dense"):
        extractor(deep(1), ["group1"], "teacher")


def test_a_nested_layer_is_near_too():
    with pytest.raises(ValueError, match="has no layer 'iner'.*Did you mean `inner`"):
        extractor(nested(), ["iner"])


class OwnCall(keras.Model):
    def call(self, inputs, training=None):
        return 2 * super().call(inputs, training=training)


def own_call():
    inputs = keras.Input((FEATURES,))
    return OwnCall(inputs, layers.Dense(CLASSES, name="hidden")(inputs))


@pytest.mark.parametrize("make", [Subclassed, own_call])
def test_a_model_that_is_no_graph_says_what_to_do(make):
    with pytest.raises(ValueError, match="`student` must be a functional or Sequential.*hidden can be read.*`Hinton"):
        extractor(make(), ["hidden"], "student")
    assert Features(make()).layers == ()


def test_a_layer_of_several_outputs_is_refused():
    inputs = keras.Input((3, FEATURES))
    sequence = layers.LSTM(4, return_state=True, name="memory")(inputs)[0]
    model = keras.Model(inputs, layers.Dense(2)(sequence))
    with pytest.raises(ValueError, match="one output tensor in each layer.*3 outputs of layer 'memory'"):
        extractor(model, ["memory"])


def test_supervised_is_a_pair():
    labels, outputs = features.Supervised(1, {OUTPUTS: 2})
    assert (labels, outputs) == (1, {OUTPUTS: 2})
