import keras
import numpy as np
import pytest
from keras import ops

from tfnoisekd.noise import InputNoise, LabelNoise, Noise, TeacherDropout

CLASSES = 5
SIZE = 20_000


def seed(value=0):
    return keras.random.SeedGenerator(value)


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def perturb(noise, labels, source=None, num_classes=CLASSES):
    noisy, share = noise.perturb_labels(ops.convert_to_tensor(labels), num_classes, source or seed())
    return numpy(noisy), float(share)


def within_binomial(count, trials, probability, deviations=5):
    """Whether a count lies within so many standard deviations of its expectation."""
    deviation = np.sqrt(trials * probability * (1 - probability))
    return abs(count - trials * probability) <= deviations * deviation


@pytest.fixture
def labels(rng):
    return rng.integers(0, CLASSES, SIZE).astype("int32")


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8, 1.0])
def test_labels_change_at_the_effective_rate(labels, rate):
    noisy, share = perturb(LabelNoise(rate), labels)
    changed = int((noisy != labels).sum())
    assert within_binomial(changed, SIZE, rate * (CLASSES - 1) / CLASSES)
    np.testing.assert_allclose(share, changed / SIZE, rtol=1e-5)


def test_labels_are_drawn_uniformly_from_all_classes(labels):
    labels[:] = 2
    noisy, _ = perturb(LabelNoise(0.5), labels)
    for wrong in (0, 1, 3, 4):
        assert within_binomial(int((noisy == wrong).sum()), SIZE, 0.5 / CLASSES)
    assert within_binomial(int((noisy == 2).sum()), SIZE, 0.5 + 0.5 / CLASSES)


def test_each_example_may_be_replaced(labels):
    # Not only the first rate * B ones.
    halves = np.split(perturb(LabelNoise(0.3), labels)[0] != labels, 2)
    for half in halves:
        assert within_binomial(int(half.sum()), SIZE // 2, 0.3 * (CLASSES - 1) / CLASSES)


def test_rate_0_leaves_labels_untouched(labels):
    noisy, share = perturb(LabelNoise(0), labels)
    np.testing.assert_array_equal(noisy, labels)
    assert share == 0


def test_rate_1_is_uniform_and_forgets_the_label(labels):
    noisy, _ = perturb(LabelNoise(1.0), labels)
    for true in range(CLASSES):
        counts = np.bincount(noisy[labels == true], minlength=CLASSES)
        assert all(within_binomial(count, counts.sum(), 1 / CLASSES) for count in counts)


def test_one_hot_labels_behave_as_integers(labels):
    noisy, share = perturb(LabelNoise(0.4), labels)
    rows, rows_share = perturb(LabelNoise(0.4), np.eye(CLASSES, dtype="float32")[labels])
    np.testing.assert_array_equal(rows, np.eye(CLASSES, dtype="float32")[noisy])
    assert rows_share == share


def test_soft_labels_are_kept_where_they_are_not_replaced(rng):
    soft = rng.dirichlet(np.ones(CLASSES), 500).astype("float32")
    noisy, share = perturb(LabelNoise(0.5), soft)
    kept = (noisy == soft).all(axis=1)
    assert within_binomial(int(kept.sum()), 500, 0.5)
    assert set(np.unique(noisy[~kept])) == {0.0, 1.0} and (noisy[~kept].sum(axis=1) == 1).all()
    np.testing.assert_allclose(share, np.mean(noisy.argmax(axis=1) != soft.argmax(axis=1)), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "float32"])
@pytest.mark.parametrize("shape", [(8,), (8, 1), (8, CLASSES)], ids=str)
def test_shape_and_dtype_stay(shape, dtype):
    noisy, _ = perturb(LabelNoise(0.5), np.ones(shape, dtype))
    assert (noisy.shape, noisy.dtype) == (shape, np.dtype(dtype))


@pytest.mark.parametrize("shape", [(5, 2), (5, 3, 1), ()])
def test_labels_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"Labels must have the shape \(batch,\), \(batch, 1\) or \(batch, 10\)"):
        LabelNoise(0.5).perturb_labels(ops.zeros(shape, "int32"), 10, keras.random.SeedGenerator(0))


def test_the_number_of_classes_must_be_known():
    labels, seed = ops.zeros((5,), "int32"), keras.random.SeedGenerator(0)
    with pytest.raises(ValueError, match=r"pass LabelNoise\(rate, num_classes\)"):
        LabelNoise(0.5).perturb_labels(labels, None, seed)
    assert LabelNoise(1.0, num_classes=4).perturb_labels(labels, None, seed)[0].shape == (5,)


def test_a_column_of_labels_behaves_as_a_row(labels):
    row, share = perturb(LabelNoise(0.4), labels)
    column, column_share = perturb(LabelNoise(0.4), labels[:, None])
    np.testing.assert_array_equal(column[:, 0], row)
    assert column_share == share


def test_batches_are_independent(labels):
    source = seed()
    first, second = (perturb(LabelNoise(0.5), labels, source)[0] != labels for _ in range(2))
    rate = 0.5 * (CLASSES - 1) / CLASSES
    assert within_binomial(int((first & second).sum()), SIZE, rate**2)


def test_the_seed_decides(labels):
    same = [perturb(LabelNoise(0.5), labels, seed(3))[0] for _ in range(2)]
    np.testing.assert_array_equal(*same)
    assert (perturb(LabelNoise(0.5), labels, seed(4))[0] != same[0]).any()


def test_its_own_number_of_classes_comes_first(labels):
    noisy, _ = perturb(LabelNoise(1.0, num_classes=3), labels, num_classes=CLASSES)
    assert set(np.unique(noisy)) == {0, 1, 2}


@pytest.mark.parametrize("stddev", [0.05, 2.0])
def test_input_noise_is_normal_with_the_given_deviation(stddev):
    inputs = ops.ones((100, 20, 10))
    noisy, measured = InputNoise(stddev).perturb_inputs(inputs, seed())
    noise = (numpy(noisy) - 1).ravel() / stddev
    assert abs(noise.mean()) < 5 / np.sqrt(SIZE)
    assert abs(noise.std() - 1) < 5 / np.sqrt(2 * SIZE)
    for bound, share in [(-2, 0.02275), (-1, 0.15866), (0, 0.5), (1, 0.84134), (2, 0.97725)]:
        assert within_binomial(int((noise < bound).sum()), SIZE, share)
    np.testing.assert_allclose(float(measured), stddev * np.sqrt(np.mean(noise**2)), rtol=1e-4)


def test_input_noise_is_neither_clipped_nor_shared_by_examples():
    noisy = numpy(InputNoise(0.5).perturb_inputs(ops.ones((4, 100)), seed())[0])
    assert noisy.max() > 1.5 and noisy.min() < 0.5
    assert np.abs(np.corrcoef(noisy) - np.eye(4)).max() < 0.5


def test_input_noise_is_fresh_for_every_batch():
    source, inputs = seed(), ops.zeros((4, 100))
    first, second = (numpy(InputNoise(1.0).perturb_inputs(inputs, source)[0]) for _ in range(2))
    assert (first != second).all()
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.25


def test_the_seed_decides_the_input_noise():
    draws = [numpy(InputNoise(1.0).perturb_inputs(ops.zeros((2, 3)), seed(value))[0]) for value in (1, 1, 2)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).all()


def test_stddev_0_leaves_inputs_untouched(rng):
    inputs = rng.uniform(size=(3, 4)).astype("float32")
    noisy, measured = InputNoise(0).perturb_inputs(ops.convert_to_tensor(inputs), seed())
    np.testing.assert_array_equal(numpy(noisy), inputs)
    assert float(measured) == 0


def test_input_noise_keeps_the_dtype():
    noisy, measured = InputNoise(0.1).perturb_inputs(ops.zeros((4, 100), "float16"), seed())
    assert keras.backend.standardize_dtype(noisy.dtype) == "float16"
    assert keras.backend.standardize_dtype(measured.dtype) == "float32"
    np.testing.assert_allclose(float(measured), 0.1, rtol=0.2)


def test_input_noise_refuses_integers():
    with pytest.raises(ValueError, match=r"`InputNoise` needs float inputs.*inputs of dtype uint8.*Scale the images"):
        InputNoise(0.1).perturb_inputs(ops.zeros((2, 3), "uint8"), seed())


@pytest.mark.parametrize("inputs", [{"image": 0, "mask": 0}, [0, 0], (0, 0)], ids=lambda inputs: type(inputs).__name__)
def test_input_noise_refuses_several_inputs(inputs):
    with pytest.raises(ValueError, match="`InputNoise` needs models with one input. Received: 2 inputs"):
        InputNoise(0.1).perturb_inputs(inputs, seed())


@pytest.mark.parametrize("stddev", [-0.1, float("nan"), float("inf"), "0.1", None, True])
def test_refuses_an_impossible_stddev(stddev):
    with pytest.raises(ValueError, match="`stddev` must be a finite number of at least 0. Received: stddev="):
        InputNoise(stddev)


@pytest.mark.parametrize("rate", [1.4, -0.1, float("nan"), "0.1", None, True])
def test_refuses_an_impossible_rate(rate):
    with pytest.raises(ValueError, match=f"`rate` must be between 0 and 1. Received: rate={rate!r}"):
        LabelNoise(rate)


@pytest.mark.parametrize("num_classes", [1, 0, -3, 2.0, "10"])
def test_refuses_an_impossible_number_of_classes(num_classes):
    with pytest.raises(ValueError, match="`num_classes` must be an integer of at least 2"):
        LabelNoise(0.1, num_classes)


@pytest.mark.parametrize(
    ("noise", "text"),
    [
        (InputNoise(0.05), "InputNoise(stddev=0.05)"),
        (LabelNoise(0.1, 10), "LabelNoise(rate=0.1, num_classes=10)"),
        (TeacherDropout(), "TeacherDropout()"),
    ],
    ids=["input", "label", "teacher"],
)
def test_serialises(noise, text):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(noise))
    assert type(again) is type(noise)
    assert repr(again) == repr(noise) == text


def test_each_noise_overrides_only_its_own_place(labels):
    inputs = ops.ones((2, 3))
    for noise in (Noise(), LabelNoise(1.0), TeacherDropout()):
        assert noise.perturb_inputs(inputs, seed()) == (inputs, None)
    for noise in (Noise(), InputNoise(1.0), TeacherDropout()):
        assert noise.perturb_labels(labels, CLASSES, seed()) == (labels, None)
    assert [noise.fickle_teacher for noise in (InputNoise(1), LabelNoise(1), TeacherDropout())] == [False, False, True]
