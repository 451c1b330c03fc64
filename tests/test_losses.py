import keras
import numpy as np
import pytest
from keras import ops
from reference import losses as reference

from tfnoisekd import losses


@pytest.fixture
def logits(rng):
    return rng.normal(0, 3, (2, 6, 5)).astype("float32")  # the teacher's, the student's


def gradient(teacher, student, **kwargs):
    """Gradient of the library's `hinton`, by the backend's automatic differentiation."""
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(lambda s: losses.hinton(teacher, s, **kwargs))(student))
    import tensorflow as tf

    student = tf.Variable(student)
    with tf.GradientTape() as tape:
        loss = losses.hinton(ops.convert_to_tensor(teacher), student, **kwargs)
    return tape.gradient(loss, student).numpy()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_equals_the_reference(logits, temperature):
    value = losses.hinton(*logits, temperature=temperature)
    np.testing.assert_allclose(float(value), reference.hinton(*logits, temperature), rtol=2e-5)
    assert value.shape == () and keras.backend.standardize_dtype(value.dtype) == "float32"


def test_equals_a_hand_computed_case():
    # T = 2: softmax([2 ln 3, 0] / 2) = [3/4, 1/4] against [1/2, 1/2], so KL = 3/4 ln(3/2) + 1/4 ln(1/2), times T^2.
    teacher, student = np.array([[2 * np.log(3.0), 0.0]], "float32"), np.zeros((1, 2), "float32")
    expected = 4 * (0.75 * np.log(1.5) + 0.25 * np.log(0.5))
    np.testing.assert_allclose(float(losses.hinton(teacher, student, 2.0)), expected, rtol=1e-6)


def test_the_default_temperature_is_4(logits):
    assert float(losses.hinton(*logits)) == float(losses.hinton(*logits, temperature=4.0))


def test_gradient_equals_the_reference(logits):
    np.testing.assert_allclose(
        gradient(*logits, temperature=3.0), reference.hinton_gradient(*logits, 3.0), rtol=1e-4, atol=1e-7
    )


def test_reference_gradient_equals_finite_differences(logits):
    teacher, student = logits.astype("float64")
    expected = np.zeros_like(student)
    for index in np.ndindex(student.shape):
        step = np.zeros_like(student)
        step[index] = 1e-5
        expected[index] = reference.hinton(teacher, student + step) - reference.hinton(teacher, student - step)
    np.testing.assert_allclose(reference.hinton_gradient(teacher, student), expected / 2e-5, rtol=1e-6, atol=1e-9)


def test_a_shift_of_the_logits_changes_nothing(logits):
    teacher, student = logits
    shifts = np.arange(6, dtype="float32")[:, None] * 10 - 20
    expected = float(losses.hinton(teacher, student))
    np.testing.assert_allclose(float(losses.hinton(teacher + shifts, student - shifts)), expected, rtol=1e-5)


def test_equal_logits_give_zero_and_no_gradient(logits):
    assert float(losses.hinton(logits[0], logits[0])) == 0
    np.testing.assert_allclose(gradient(logits[0], logits[0]), 0, atol=1e-7)


def test_is_the_teachers_divergence_and_not_the_students(logits):
    forward, backward = float(losses.hinton(*logits)), float(losses.hinton(*logits[::-1]))
    np.testing.assert_allclose(forward, reference.hinton(*logits), rtol=2e-5)
    assert abs(forward - backward) > 0.01 * forward


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_extreme_logits_give_finite_loss_and_gradient(temperature):
    teacher = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], "float32")
    student = teacher[:, ::-1].copy()
    np.testing.assert_allclose(
        float(losses.hinton(teacher, student, temperature)),
        reference.hinton(teacher, student, temperature),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        gradient(teacher, student, temperature=temperature),
        reference.hinton_gradient(teacher, student, temperature),
        rtol=1e-6,
        atol=1e-6,
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_logits_are_computed_in_float32(logits, dtype):
    teacher, student = (ops.cast(each, dtype) for each in logits)
    value = losses.hinton(teacher, student)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    rounded = [ops.convert_to_numpy(ops.cast(each, "float32")) for each in (teacher, student)]
    np.testing.assert_allclose(float(value), reference.hinton(*rounded), rtol=2e-5)


def test_half_precision_logits_may_differ_in_dtype(logits):
    teacher = ops.cast(logits[0], "float16")
    rounded = ops.convert_to_numpy(teacher).astype("float32")
    np.testing.assert_allclose(
        float(losses.hinton(teacher, ops.convert_to_tensor(logits[1]))),
        reference.hinton(rounded, logits[1]),
        rtol=2e-5,
    )


def test_a_high_temperature_matches_centred_logits(logits):
    # Hinton et al. (2015), section 2.1: the limit is the mean squared difference of centred logits, over 2.
    teacher, student = (each - each.mean(axis=1, keepdims=True) for each in logits.astype("float64"))
    expected = np.mean(np.sum((teacher - student) ** 2, axis=1)) / (2 * teacher.shape[1])
    np.testing.assert_allclose(reference.hinton(*logits, 1e4), expected, rtol=1e-3)
    np.testing.assert_allclose(float(losses.hinton(*logits, temperature=100.0)), expected, rtol=0.05)


def test_a_batch_of_one(logits):
    np.testing.assert_allclose(
        float(losses.hinton(logits[0][:1], logits[1][:1])), reference.hinton(logits[0][:1], logits[1][:1]), rtol=2e-5
    )


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_sample_weights_scale_each_example(logits, rng, shape):
    weight = rng.uniform(0, 2, 6).astype("float32")
    weight[2] = 0
    value = losses.hinton(*logits, sample_weight=weight.reshape(shape))
    np.testing.assert_allclose(float(value), reference.hinton(*logits, sample_weight=weight), rtol=2e-5)
    np.testing.assert_allclose(
        gradient(*logits, sample_weight=weight),
        reference.hinton_gradient(*logits, sample_weight=weight),
        rtol=1e-4,
        atol=1e-7,
    )


def test_a_zero_weight_is_an_absent_example(logits):
    weight = np.array([1, 1, 1, 1, 0, 0], "float32")
    weighted = float(losses.hinton(*logits, sample_weight=weight))
    np.testing.assert_allclose(weighted, float(losses.hinton(logits[0][:4], logits[1][:4])) * 4 / 6, rtol=1e-5)


def test_refuses_logits_of_different_shapes():
    with pytest.raises(ValueError, match=r"must have equal shapes. Received: \(2, 3\) and \(2, 4\)"):
        losses.hinton(np.zeros((2, 3), "float32"), np.zeros((2, 4), "float32"))
