"""`identify`: one identity for one teacher, in every process; another for whatever might say something else."""

import importlib
import sys

import keras
import pytest
from keras import layers

from tfnoisekd.teacher_cache import identify

CUSTOM = """
import keras

@keras.saving.register_keras_serializable("identity")
class Twice(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 2

@keras.saving.register_keras_serializable("identity")
def double(inputs):
    return inputs * 2
"""


def make_teacher(activation="relu", last=(), dtype="float32", name="logits"):
    """Equal weights for equal seeds, whatever the rest."""
    initializer = keras.initializers.GlorotUniform(0)
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(4, activation=activation, kernel_initializer=initializer, name="dense")],
        name="inner",
    )
    inputs = keras.Input((4,), name="inputs")
    x = keras.ops.relu(inner(inputs)) + 1.0
    for layer in last:
        x = layer(x)
    x = layers.Dense(3, kernel_initializer=initializer, dtype=dtype, name=name)(layers.Dropout(0.3, name="drop")(x))
    return keras.Model(inputs, x, name="teacher")


@pytest.fixture
def custom(tmp_path, monkeypatch):
    """Imports the custom code above after an edit, as a process started then would."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def edit(old="", new=""):
        (tmp_path / "identity_custom.py").write_text(CUSTOM.replace(old, new) if old else CUSTOM)
        sys.modules.pop("identity_custom", None)
        importlib.invalidate_caches()
        return importlib.import_module("identity_custom")

    yield edit
    sys.modules.pop("identity_custom", None)


def test_a_file_has_one_identity_whenever_and_wherever_it_is_loaded(tmp_path, run_python):
    teacher = make_teacher()
    teacher.compile("sgd", "mse")
    path = tmp_path / "teacher.keras"
    teacher.save(path)
    make_teacher(name="something else, so that automatic names move on")
    expected = identify(keras.saving.load_model(path), ["dense"])
    assert len(expected) == 64
    assert identify(keras.saving.load_model(path, compile=False), ["dense", "dense"]) == expected
    code = (
        "import keras; from tfnoisekd.teacher_cache import identify\n"
        f"print(identify(keras.saving.load_model({str(path)!r}, compile=False), ['dense']))"
    )
    assert run_python(code).strip() == expected


def test_the_order_of_the_layers_does_not_matter():
    teacher = make_teacher()
    assert identify(teacher, ["a", "b"]) == identify(teacher, ["b", "a"]) != identify(teacher, ["a"])


def test_a_weight_changes_it():
    teacher = make_teacher()
    before = identify(teacher)
    teacher.get_layer("logits").bias.assign([0.0, 1e-7, 0.0])
    assert identify(teacher) != before


@pytest.mark.parametrize(
    "change",
    [{"activation": "tanh"}, {"last": [layers.ReLU(name="end")]}, {"dtype": "mixed_float16"}, {"name": "other"}],
    ids=["activation", "layer", "policy", "name"],
)
def test_whatever_else_decides_about_outputs_changes_it_at_equal_weights(change):
    keras.utils.clear_session()  # automatic names count from the start
    teacher = make_teacher()
    before = identify(teacher)
    keras.utils.clear_session()
    assert identify(make_teacher()) == before
    keras.utils.clear_session()
    assert identify(make_teacher(**change)) != before


def test_an_edit_of_custom_code_changes_it(custom):
    def identity(module):
        keras.utils.clear_session()
        return identify(make_teacher(last=[module.Twice(name="twice")], activation=module.double))

    before = identity(custom())
    assert identity(custom()) == before
    assert identity(custom("return inputs * 2", "return inputs * 3")) != before


def test_code_that_cannot_be_read_is_refused(custom):
    teacher = make_teacher(last=[custom().Twice(name="twice")])
    del sys.modules["identity_custom"]
    with pytest.raises(ValueError, match="Received: 'teacher' with code of identity_custom, where a change would go"):
        identify(teacher)


def unregistered(inputs):
    return inputs


def test_a_function_that_nobody_can_find_is_refused():
    with pytest.raises(ValueError, match="with code of the function unregistered"):
        identify(make_teacher(activation=unregistered))


def test_a_lambda_is_refused():
    with pytest.raises(ValueError, match="with a lambda, where a change would go unnoticed. Move it into a layer"):
        identify(make_teacher(last=[layers.Lambda(lambda inputs: inputs, output_shape=(4,), name="same")]))


class NoConfiguration(keras.Model):
    def __init__(self, something):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, inputs):
        return self.dense(inputs)


def test_a_model_without_a_configuration_is_refused():
    model = NoConfiguration(object())
    model(keras.ops.zeros((1, 4)))
    with pytest.raises(ValueError, match="with an architecture without a configuration"):
        identify(model)
