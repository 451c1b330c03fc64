"""The mean over draws against the model without noise, and logits against the softmax they were taken from."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tfnoisekd.evaluation import adversarial, prediction
from tfnoisekd.evaluation.attacks import pgd
from tfnoisekd.evaluation.averaged import averaged
from tfnoisekd.evaluation.logits import without_softmax

SHAPE = (4, 4, 2)
JAX = keras.backend.backend() == "jax"


class AlwaysDropout(layers.Layer):
    """Dropout that is active in inference mode too; over the whole batch alike if it is `shared`."""

    def __init__(self, shared=False, **kwargs):
        super().__init__(**kwargs)
        self.shared = shared
        self.seed_generator = keras.random.SeedGenerator(1)

    def call(self, x):
        ones = ops.ones_like(x[:1] if self.shared else x)
        return x * keras.random.dropout(ones, 0.5, seed=self.seed_generator)


def linear(*before, seed=0):
    random = np.random.default_rng(seed)
    model = keras.Sequential([keras.Input(SHAPE), *before, layers.Flatten(), layers.Dense(3)])
    model.layers[-1].set_weights([random.normal(0, 0.3, (32, 3)), random.normal(0, 0.1, 3)])
    return model


@pytest.fixture
def images():
    return np.random.default_rng(1).uniform(0.3, 0.7, (6, *SHAPE)).astype("float32")


def logits_of(model, images):
    return prediction.predict_logits(model, images)


def called(model, images):
    """As `logits_of`, without the time to compile anything."""
    return ops.convert_to_numpy(ops.cast(model(images, training=False), "float32"))


def test_the_mean_of_many_draws_is_the_model_without_noise(images):
    noisy, clean = linear(AlwaysDropout()), logits_of(linear(), images)
    error = [np.abs(logits_of(averaged(noisy, samples), images) - clean).max() for samples in (1, 1000)]
    assert error[0] > 0.3 and error[1] < 0.2  # 1 / sqrt(1000) = 0.03 of a single draw's spread


def test_the_mean_of_a_model_that_does_not_vary_is_the_model(images):
    model = linear()
    mean = averaged(model, 3)
    np.testing.assert_allclose(logits_of(mean, images), logits_of(model, images), atol=1e-6)
    assert mean.variables == model.variables
    assert mean.input_shape == (None, *SHAPE)


def test_it_stays_in_inference_mode(images):
    mean = averaged(linear(layers.Dropout(0.5)), 2)
    np.testing.assert_array_equal(*(ops.convert_to_numpy(mean(images, training=True)) for _ in range(2)))


def test_every_call_draws_anew(images):
    mean = averaged(linear(AlwaysDropout()), 2)
    called = [ops.convert_to_numpy(mean(images)) for _ in range(3)]
    predicted = [logits_of(mean, images) for _ in range(3)]
    assert len({each.tobytes() for each in called + predicted}) == 6


def test_the_state_advances_as_without_the_mean(images):
    noisy = linear(AlwaysDropout())
    (state,) = (variable for variable in noisy.variables if variable.name == "seed_generator_state")
    mean = averaged(noisy, 2)
    before = ops.convert_to_numpy(state.value).tolist()
    mean(images)
    mean(images)
    assert ops.convert_to_numpy(state.value).tolist() == [before[0], before[1] + 2]


def test_every_step_of_an_attack_draws_anew(images):
    """Where an image hardly moves, two attacks see the same gradients, unless draws change."""
    sums = []
    for model in (averaged(linear(AlwaysDropout()), 1), linear()):
        labels = logits_of(linear(), images).argmax(axis=1).astype("int32")
        loop = pgd.backend_loop().compiled(model, "linf", SHAPE)
        current, found = images, []
        for _ in range(2):
            lengths = (np.float32(1e-2), np.float32(1e-6))  # too short a step to change a gradient by itself
            current, _, gradients = loop(images, current, labels, *lengths, np.int32(4), np.bool_(False))
            found.append(ops.convert_to_numpy(gradients))
            current = ops.convert_to_numpy(current)
        sums.append(found)
    np.testing.assert_allclose(sums[1][0], sums[1][1], rtol=1e-3)
    assert (np.abs(sums[0][0] / sums[0][1] - 1) > 1e-2).any()


@pytest.mark.skipif(not JAX, reason="of the JAX loop")
def test_on_jax_the_images_decide_the_draw(images):
    import jax

    mean = averaged(linear(AlwaysDropout()), 2)
    mean(images)

    @jax.jit
    def pure(values, images):
        with keras.StatelessScope(list(zip(mean.variables, values, strict=True))):
            return mean(images)

    values, moved = [variable.value for variable in mean.variables], images.copy()
    moved[0, 0, 0, 0] += 1e-6
    first, again, other = (np.asarray(pure(values, each)) for each in (images, images, moved))
    np.testing.assert_array_equal(first, again)
    assert (np.abs(first - other) > 1e-2).any(axis=1).all()  # one bit of one image, and every draw is another


def test_an_attack_on_the_mean_breaks_what_an_attack_on_the_clean_model_does():
    images = np.random.default_rng(2).uniform(0.3, 0.7, (40, *SHAPE)).astype("float32")
    labels = logits_of(linear(), images).argmax(axis=1)
    options = {"epsilon": 0.2, "step_size": 0.05, "steps": 8, "restarts": 1}
    _, broken = adversarial.attack(linear(), images, labels, **options)
    _, found = adversarial.attack(averaged(linear(AlwaysDropout()), 300), images, labels, **options)
    assert broken.mean() > 0.3 and np.mean(found == broken) >= 0.9


def test_one_draw_for_a_whole_batch_is_refused():
    with pytest.raises(ValueError, match=r"`model` must draw for each image.*between two calls, but not.*within"):
        averaged(linear(AlwaysDropout(shared=True)), 4)
    averaged(linear(AlwaysDropout(shared=True)), 1)


@pytest.mark.parametrize("samples", [0, 1.5, True])
def test_samples_must_be_a_count(samples):
    with pytest.raises(ValueError, match=r"`samples` must be an integer of at least 1. Received: samples="):
        averaged(linear(), samples)


def functional(*last, **dense):
    inputs = keras.Input(SHAPE)
    outputs = layers.Dense(3, **dense)(layers.ReLU()(layers.Dense(5)(layers.Flatten()(inputs))))
    for layer in last:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


def sequential(*last, **dense):
    return keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(3, **dense), *last])


def nested(inner):
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, inner(inputs, training=False))


WITH_SOFTMAX = {
    "functional layer": lambda: functional(layers.Softmax()),
    "functional activation": lambda: functional(layers.Activation("softmax")),
    "functional operation": lambda: functional(ops.softmax),
    "functional dense": lambda: functional(activation="softmax"),
    "without bias": lambda: functional(activation="softmax", use_bias=False),
    "sequential layer": lambda: sequential(layers.Softmax()),
    "sequential activation": lambda: sequential(layers.Activation("softmax")),
    "sequential dense": lambda: sequential(activation="softmax"),
    "around a model": lambda: keras.Sequential([functional(), layers.Softmax()]),
    "nested at the end": lambda: nested(sequential(activation="softmax")),
    "nested twice": lambda: keras.Sequential([keras.Input(SHAPE), nested(functional(layers.Softmax()))]),
    "cast at the end": lambda: functional(layers.Softmax(), layers.Activation("linear", dtype="float32")),
    "half precision": lambda: functional(layers.Softmax(dtype="float32"), dtype="mixed_float16"),
}


@pytest.mark.parametrize("name", WITH_SOFTMAX)
@pytest.mark.parametrize("loaded", [False, True])
def test_the_softmax_of_the_logits_is_the_models_output(name, loaded, images, tmp_path):
    model = WITH_SOFTMAX[name]()
    if loaded:
        model.save(tmp_path / "model.keras")
        model = keras.saving.load_model(tmp_path / "model.keras")
    before, config = called(model, images), model.get_config()
    stripped = without_softmax(model)
    logits = called(stripped, images)
    np.testing.assert_allclose(ops.convert_to_numpy(ops.softmax(logits)), before, atol=1e-6)
    np.testing.assert_array_equal(logits.argmax(axis=1), before.argmax(axis=1))
    assert np.abs(logits.sum(axis=1) - 1).max() > 1e-2
    assert {id(weight) for weight in stripped.weights} == {id(weight) for weight in model.weights}
    np.testing.assert_array_equal(called(model, images), before)
    assert model.get_config() == config
    model.set_weights([2 * weight for weight in model.get_weights()])
    after = ops.convert_to_numpy(ops.softmax(called(stripped, images)))
    np.testing.assert_allclose(after, called(model, images), atol=1e-6)


def test_logits_can_be_attacked_where_probabilities_cannot(images):
    model = sequential(activation="softmax")
    random = np.random.default_rng(0)
    model.layers[-1].set_weights([random.normal(0, 1, (32, 3)), np.zeros(3)])
    labels = called(model, images).argmax(axis=1)
    with pytest.raises(ValueError, match="must give logits"):
        adversarial.attack(model, images, labels)
    attacked, success = adversarial.attack(without_softmax(model), images, labels, epsilon=0.5, step_size=0.1)
    # A change of at least 0.3 of each input turns the class of a linear model wherever its margin is below this.
    kernel, logits = model.layers[-1].get_weights()[0], called(without_softmax(model), images)
    others = [[k for k in range(3) if k != label] for label in labels]
    reach = [0.3 * np.abs(kernel[:, y, None] - kernel[:, k]).sum(axis=0) for y, k in zip(labels, others, strict=True)]
    margin = [row[y] - row[k] for row, y, k in zip(logits, labels, others, strict=True)]
    assert (np.array(reach) > np.array(margin)).any(axis=1).all()
    assert success.all()
    assert (called(model, attacked).argmax(axis=1) != labels).all()


class Subclassed(keras.Sequential):
    def call(self, inputs, **kwargs):
        return super().call(inputs, **kwargs)


@pytest.mark.parametrize(
    "model",
    [
        functional(),
        functional(layers.Activation("linear")),
        functional(activation="sigmoid"),
        functional(layers.Softmax(), layers.Rescaling(1.0)),
        functional(layers.Softmax(axis=0)),
        Subclassed([keras.Input(SHAPE), layers.Flatten(), layers.Softmax()]),
        keras.Sequential([layers.Flatten(), layers.Softmax()]),
        nested(functional()),
    ],
    ids=["logits", "cast", "sigmoid", "after", "axis", "subclass", "unbuilt", "nested"],
)
def test_what_has_no_softmax_to_take_off(model):
    assert without_softmax(model) is None
