import functools
import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops
from reference import losses as reference
from reference.gradients import central_differences, gradient, value_and_gradient

from tfnoisekd import losses

NAMES = ("attention_transfer", "similarity_preserving", "rkd_distance", "rkd_angle")
ATTENTION, SIMILARITY, DISTANCE, ANGLE = NAMES
RELATIONS = (SIMILARITY, DISTANCE, ANGLE)
WEIGHT = np.array([0.5, 0, 2, 1.25], "float32")


@functools.cache
def get_method(name):
    """A loss and its reference, both of (teacher, student, sample_weight): for AT, of one map each."""

    def take(module):
        function = getattr(module, name)
        if name != ATTENTION:
            return function
        return lambda teacher, student, sample_weight=None: function([teacher], [student], sample_weight)

    loss = take(losses)
    if keras.backend.backend() == "jax":  # which compiles op by op otherwise: much slower
        import jax

        loss = jax.jit(loss)
    return SimpleNamespace(name=name, loss=loss, reference=take(reference))


@pytest.fixture(params=NAMES)
def method(request):
    return get_method(request.param)


@pytest.fixture(params=RELATIONS)
def relation(request):
    return get_method(request.param)


@pytest.fixture
def features(rng):
    """The teacher's and the student's, of 3 and 2 channels."""
    return [rng.normal(0.3, 1, (4, 2, 2, channels)).astype("float32") for channels in (3, 2)]


def draw(rng, *shapes):
    """Arrays in double precision: the losses are computed in single precision all the same."""
    return [rng.normal(0, 2, shape) for shape in shapes]


def assert_equal(value, expected, rtol=2e-5):
    assert value.shape == () and keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(float(value), expected, rtol=rtol, atol=1e-7)


@pytest.mark.parametrize("shapes", [[(6, 5), (6, 3)], [(5, 7), (5, 2, 2, 3)], [(2, 3, 4), (2, 1)], [(9, 2), (9, 64)]])
def test_relations_equal_the_reference(relation, rng, shapes):
    teacher, student = draw(rng, *shapes)
    assert_equal(relation.loss(teacher, student), relation.reference(teacher, student))


@pytest.mark.parametrize(
    "shapes",
    [
        [(3, 4, 4, 5), (3, 4, 4, 2)],
        [(2, 8, 8, 2), (2, 4, 4, 3)],
        [(2, 3, 3, 3), (2, 7, 7, 2)],  # 7 to 3: cells overlap
        [(2, 8, 3, 2), (2, 5, 7, 3)],  # the teacher's height, the student's width
        [(2, 6, 5, 1), (2, 4, 5, 1)],  # one axis only
        [(3, 1, 1, 4), (3, 2, 2, 4)],  # one position: each map is 1
    ],
)
def test_attention_transfer_equals_the_reference(rng, shapes):
    teacher, student = draw(rng, *shapes)
    method = get_method(ATTENTION)
    assert_equal(method.loss(teacher, student), method.reference(teacher, student))


def test_attention_transfer_sums_over_pairs(rng):
    teachers, students = draw(rng, (4, 4, 4, 2), (4, 2, 2, 5)), draw(rng, (4, 4, 4, 3), (4, 4, 4, 2))
    for weight, sequence in ((None, list), (WEIGHT, tuple)):
        value = losses.attention_transfer(sequence(teachers), sequence(students), sample_weight=weight)
        assert_equal(value, reference.attention_transfer(teachers, students, weight))


def test_reference_pools_as_defined():
    image = np.arange(7.0)[:, None, None] ** 2  # rows 0-2, 2-4, 4-6
    np.testing.assert_allclose(reference.adaptive_average_pool(image, 3, 1)[:, 0, 0], [5 / 3, 29 / 3, 77 / 3])


# Attention. The teacher's two pixels are (1, 1) and (0, 0): squares 1 and 0, the map (1, 0). The student's are sqrt(3)
# and 2: squares 3 and 4, of norm 5, the map (0.6, 0.8). The mean over the positions is (0.4^2 + 0.8^2) / 2 = 0.4.
PIXELS = np.array([[[[1, 1], [0, 0]]]], "float32"), np.array([[[[math.sqrt(3)], [2]]]], "float32")
# The same teacher from three pixels 1, 1, -1: columns 0-1 average to 1, columns 1-2 to 0. Pooled after the squaring,
# the map would be (1, 1) / sqrt(2).
THREE_PIXELS = np.array([[[[1], [1], [-1]]]], "float32")
# Similarity. The teacher's G is the identity; the student's rows are (1, 1) / sqrt(2). Each row's squared difference is
# (1 - 1/sqrt(2))^2 + 1/2 = 2 - sqrt(2); two rows over B^2 = 4.
ORTHOGONAL, EQUAL = np.eye(2, dtype="float32"), np.ones((2, 1), "float32")
# Distance, points 0, 1, 3 against 0, 1, 2: the distances are 1, 3, 2 over their mean 2, and 1, 2, 1 over theirs, 4/3:
# 0.5, 1.5, 1 against 0.75, 1.5, 0.75. Huber of 1/4 is 1/32; two pairs, in two orders, over B^2 = 9.
UNEVEN, EVEN = np.array([[0], [1], [3]], "float32"), np.array([[0], [1], [2]], "float32")
# Points 0, 0, 1 against 0, 1, 1: 0, 1.5, 1.5 against 1.5, 1.5, 0. Huber of 1.5 is in its linear part: 1.
LOW, HIGH = np.array([[0], [0], [1]], "float32"), np.array([[0], [1], [1]], "float32")
# Angle. The cosines of this triangle are 0, 1/sqrt(2), 1/sqrt(2), those of the points 0, 1, 3 on a line 1, -1, 1. The
# differences are 1, -1 - 1/sqrt(2), 1 - 1/sqrt(2), and their Huber losses 1/2, 1/2 + 1/sqrt(2), 3/4 - 1/sqrt(2), in sum
# 1.75. Each appears in two orders; angles of an edge with itself are 1 in both; B^3 = 27.
TRIANGLE = np.array([[0, 0], [1, 0], [0, 1]], "float32")


@pytest.mark.parametrize(
    ("name", "teacher", "student", "expected"),
    [
        (ATTENTION, *PIXELS, 0.4),
        (ATTENTION, THREE_PIXELS, PIXELS[1], 0.4),
        (ATTENTION, *(np.concatenate([PIXELS[0], each]) for each in (PIXELS[0], PIXELS[0] * 3)), 0),
        (ATTENTION, np.repeat(PIXELS[0], 2, 0), np.concatenate([PIXELS[1], PIXELS[0][..., :1]]), 0.4 / 2),
        (SIMILARITY, ORTHOGONAL, EQUAL, 1 - 1 / math.sqrt(2)),
        (DISTANCE, UNEVEN, EVEN, 4 / 32 / 9),
        (DISTANCE, LOW, HIGH, 4 / 9),
        (ANGLE, TRIANGLE, UNEVEN, 2 * 1.75 / 27),
    ],
)
def test_equals_a_hand_computed_case(name, teacher, student, expected):
    method = get_method(name)
    np.testing.assert_allclose(float(method.loss(teacher, student)), expected, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(method.reference(teacher, student), expected, rtol=1e-5, atol=1e-12)


def rotate(x, rng):
    """Rotates the whole feature vectors, (B, H, W, C) to (B, HWC)."""
    x = x.reshape(len(x), -1)
    return x @ np.linalg.qr(rng.normal(size=(x.shape[1],) * 2))[0]


@pytest.mark.parametrize(
    ("names", "transform"),
    [
        (NAMES, lambda x, rng: x * rng.uniform(5, 9)),
        ([ATTENTION], lambda x, rng: x * rng.uniform(0.2, 5, (4, 1, 1, 1)) * [[[[-1]]]]),
        ([ATTENTION], lambda x, rng: x @ np.linalg.qr(rng.normal(size=(x.shape[-1],) * 2))[0]),
        (RELATIONS, rotate),
        ([DISTANCE, ANGLE], lambda x, rng: x + rng.normal(0, 5, x.shape[1:])),
    ],
    ids=["scale", "scale of each map", "rotation of the channels", "rotation", "translation"],
)
def test_is_invariant(names, transform, features, rng):
    for name in names:
        method = get_method(name)
        expected = float(method.loss(*features))
        assert expected > 1e-3
        changed = [transform(each, rng).astype("float32") for each in features]
        np.testing.assert_allclose(float(method.loss(*changed)), expected, rtol=1e-4)


def test_similarity_is_not_invariant_to_the_scale_of_one_example(features):
    # It cancels in that example's own row of G, and not in its column.
    teacher, student = features
    expected = float(losses.similarity_preserving(teacher, student))
    student = student * np.array([9, 1, 1, 1], "float32")[:, None, None, None]
    assert abs(float(losses.similarity_preserving(teacher, student)) - expected) > 0.01 * expected


@pytest.mark.parametrize("name", [DISTANCE, ANGLE])
def test_a_large_common_offset_costs_no_accuracy(name, features):
    # Multiples of 1/64, so that the sum with the offset is exact: what is lost would be lost inside the loss.
    method, (teacher, student) = get_method(name), (np.round(each * 64) / 64 for each in features)
    assert_equal(method.loss(teacher + 512, student + 512), method.reference(teacher, student))


@pytest.mark.parametrize("name", [DISTANCE, ANGLE])
def test_near_duplicates_cost_no_accuracy(name, features):
    method, (teacher, student) = get_method(name), features
    student = student + 8
    student[1] = student[0] + 2.0**-10
    assert_equal(method.loss(teacher, student), method.reference(teacher, student))
    if name == DISTANCE:  # at exact duplicates, a small step stays below the floor of 1e-12
        student[1] = student[0]
        expected = central_differences(lambda s: method.reference(teacher, s), student, step=1e-7)
        actual = gradient(lambda s: method.loss(teacher, s), student)
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-6)


def test_duplicates_have_no_direction_where_a_compiler_fuses_their_difference(features, rng):
    # x * scale - x * scale becomes one fused multiply-add, of which a rounding error is left: A must not be made of it.
    method, (teacher, student), scale = get_method(ANGLE), features, rng.uniform(0.5, 2, (2, 2, 2)).astype("float32")
    student[1] = student[0]

    def compute(student):
        return value_and_gradient(lambda s: method.loss(teacher, s * scale), student)

    expected = compute(student)
    if keras.backend.backend() == "jax":
        import jax

        value, slope = jax.jit(compute)(student)
    else:
        import tensorflow as tf

        value, slope = tf.function(compute, jit_compile=True)(tf.constant(student))
    assert_equal(value, method.reference(teacher, student * scale))
    np.testing.assert_allclose(np.asarray(slope), np.asarray(expected[1]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_gradient_equals_finite_differences_of_the_reference(method, features, weight):
    teacher, student = features
    expected = central_differences(lambda s: method.reference(teacher, s, weight), student)
    actual = gradient(lambda s: method.loss(teacher, s, sample_weight=weight), student)
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-6)
    assert np.abs(expected).max() > 1e-3


def test_gradient_of_attention_flows_through_the_pooling(rng):
    method, (teacher, student) = get_method(ATTENTION), draw(rng, (2, 3, 4, 2), (2, 7, 3, 1))
    expected = central_differences(lambda s: method.reference(teacher, s), student)
    actual = gradient(lambda s: method.loss(teacher, s), student)
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-6)
    assert np.abs(expected).max() > 1e-3


def test_equal_features_give_zero_and_no_gradient(method, features):
    value, slope = value_and_gradient(lambda s: method.loss(features[1], s), features[1])
    np.testing.assert_allclose(float(value), 0, atol=1e-12)
    np.testing.assert_allclose(np.asarray(slope), 0, atol=1e-7)


# Where no gradient may flow at all: no norm above 1e-12, or every distance at its floor.
DEGENERATE = {
    "zero student": (lambda t, s: (t, s * 0), NAMES),
    "both zero": (lambda t, s: (t * 0, s * 0), NAMES),
    "zero teacher": (lambda t, s: (t * 0, s), ()),
    "tiny student": (lambda t, s: (t, s * 1e-8), (ATTENTION, SIMILARITY, DISTANCE)),
    "tiny teacher": (lambda t, s: (t * 1e-8, s), ()),
    "tinier student": (lambda t, s: (t, s * 1e-14), NAMES),
    "duplicate students": (lambda t, s: (t, s[[0, 0, 2, 3]]), ()),
    "zero students beside others": (lambda t, s: (t, s * np.array([0, 0, 1, 1])[:, None, None, None]), ()),
    "equal students": (lambda t, s: (t, s[[0, 0, 0, 0]]), (DISTANCE, ANGLE)),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_features_give_the_reference_and_a_finite_gradient(method, features, case):
    make, without_gradient = DEGENERATE[case]
    teacher, student = (each.astype("float32") for each in make(*features))
    value, slope = value_and_gradient(lambda s: method.loss(teacher, s), student)
    assert_equal(value, method.reference(teacher, student))
    slope = np.asarray(slope)
    assert np.isfinite(slope).all()
    assert slope.any() != (method.name in without_gradient)


@pytest.mark.parametrize(("name", "scale"), [(ATTENTION, 1e-5), (SIMILARITY, 1e-5), (ANGLE, 1e-8)])
def test_small_norms_above_the_floor_are_normalised(name, scale, features):
    # Maps and rows of G are about 1e-10 here, and yet the loss is that of large ones, and its gradient 1 / scale times.
    method, (teacher, student) = get_method(name), features
    value, slope = value_and_gradient(lambda s: method.loss(teacher, s), student * np.float32(scale))
    expected, expected_slope = value_and_gradient(lambda s: method.loss(teacher, s), student)
    assert_equal(value, float(expected), rtol=1e-4)
    np.testing.assert_allclose(np.asarray(slope) * scale, np.asarray(expected_slope), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("dtypes", "scale"),
    [(("bfloat16", "bfloat16"), 1), (("float16", "float16"), 300), (("float16", "float32"), 300)],
)
def test_half_precision_is_computed_in_float32(method, features, dtypes, scale):
    # Squares of values around 300 are beyond float16, whose largest number is 65504.
    teacher, student = (ops.cast(each * scale, dtype) for each, dtype in zip(features, dtypes, strict=True))
    rounded = [ops.convert_to_numpy(ops.cast(each, "float32")) for each in (teacher, student)]
    value, slope = value_and_gradient(lambda s: method.loss(teacher, s), student)
    assert_equal(value, method.reference(*rounded))
    assert np.isfinite(np.asarray(slope).astype("float32")).all()


def test_a_batch_of_one(method, features):
    teacher, student = (each[:1] for each in features)
    value, slope = value_and_gradient(lambda s: method.loss(teacher, s), student)
    assert_equal(value, method.reference(teacher, student))
    if method.name == ATTENTION:
        assert float(value) > 1e-3 and np.isfinite(np.asarray(slope)).all()
    else:  # an example has no relation but to itself
        np.testing.assert_allclose(float(value), 0, atol=1e-12)
        np.testing.assert_allclose(np.asarray(slope), 0, atol=1e-6)


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_sample_weights_scale_each_example(method, features, shape):
    value = method.loss(*features, sample_weight=WEIGHT.reshape(shape))
    assert_equal(value, method.reference(*features, WEIGHT))
    assert abs(float(value) - float(method.loss(*features))) > 1e-3 * float(value)


def test_equal_sample_weights_scale_the_loss(method, features):
    expected = float(method.loss(*features))
    for factor in (0, 1, 2.5):
        weight = np.full(4, factor, "float32")
        assert_equal(method.loss(*features, sample_weight=weight), factor * expected)


def test_the_order_of_the_batch_does_not_matter(method, features):
    order = np.array([2, 0, 3, 1])
    expected = float(method.loss(*features, sample_weight=WEIGHT))
    assert_equal(method.loss(*(each[order] for each in features), sample_weight=WEIGHT[order]), expected)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="compiled in every test, and always of a known batch size")
@pytest.mark.parametrize("jit", [False, True])
def test_compiles_for_an_unknown_batch_size(method, features, jit):
    def compute(teacher, student, weight):
        return value_and_gradient(lambda s: method.loss(teacher, s, sample_weight=weight), student)

    import tensorflow as tf

    signature = [tf.TensorSpec([None, *each.shape[1:]]) for each in (*features, WEIGHT)]
    compiled = tf.function(compute, input_signature=signature, jit_compile=jit)
    for size in (4, 1):  # the last batch of a data set is smaller, and may be of one example
        inputs = [ops.convert_to_tensor(each[:size]) for each in (*features, WEIGHT)]
        value, slope = compiled(*inputs)
        assert_equal(value, method.reference(*(each[:size] for each in features), WEIGHT))
        np.testing.assert_allclose(slope, compute(*inputs)[1], rtol=1e-4, atol=1e-6)


MAP = np.ones((2, 4, 4, 3), "float32")


@pytest.mark.parametrize(
    ("teachers", "students", "message"),
    [
        ([MAP] * 2, [MAP] * 3, "must have equal length. Received: 2 and 3"),
        ([MAP], [], "`student_maps`.*Received"),
        ([], [], "_maps`.*Received"),
        ([MAP], [MAP[0]], r"`student_maps`.*\(batch, height, width, channels\).*Received: \(4, 4, 3\)"),
        ([MAP[:, 0, 0]], [MAP], r"`teacher_maps`.*\(batch, height, width, channels\).*Received: \(2, 3\)"),
        ([MAP] * 2, [MAP, MAP[None]], r"`student_maps`.*Received: \(1, 2, 4, 4, 3\)"),
        (MAP, MAP, "_maps`.*Received"),
        (MAP[None], MAP[None], "_maps`.*Received"),  # a tensor, and not a list of one
        ([MAP], MAP[None], "`student_maps`.*Received"),
    ],
)
def test_attention_transfer_refuses_what_is_not_pairs_of_maps(teachers, students, message):
    with pytest.raises(ValueError, match=message):
        losses.attention_transfer(teachers, students)
