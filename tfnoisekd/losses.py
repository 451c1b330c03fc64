"""Distillation losses as pure functions: tensors of a teacher and a student -> one unweighted scalar, in float32.

Their weighted objects for `Distiller` are in `tfnoisekd.distillation_losses`.
"""

from keras import ops

EPSILON = 1e-12  # below this a vector has no direction: `normalise` divides by it
SQUARED_DISTANCE_FLOOR = 1e-12


def hinton(teacher_logits, student_logits, temperature=4.0, sample_weight=None):
    """Knowledge distillation loss of Hinton et al. (2015): the second term of Eq. 1 of the paper, without alpha.

    T^2 * mean over the batch of KL(softmax(teacher / T) || softmax(student / T)), computed in log space in float32
    and without clipping, so that it is exact for large logits and exactly 0 for equal ones.

    Args:
        teacher_logits: Float tensor, shape (batch, classes).
        student_logits: Float tensor, shape (batch, classes).
        temperature: Softmax temperature T > 0.
        sample_weight: Optional float tensor, shape (batch,) or (batch, 1); as in Keras, each example's loss is
            multiplied by its weight and the sum divided by the batch size.

    Returns:
        Scalar float32, at least 0.

    Raises:
        ValueError: If the shapes differ.
    """
    if tuple(teacher_logits.shape[1:]) != tuple(student_logits.shape[1:]):
        raise ValueError(
            "`teacher_logits` and `student_logits` must have equal shapes. "
            f"Received: {tuple(teacher_logits.shape)} and {tuple(student_logits.shape)}"
        )
    teacher_log = ops.log_softmax(_float32(teacher_logits) / temperature, axis=-1)
    student_log = ops.log_softmax(_float32(student_logits) / temperature, axis=-1)
    divergence = ops.sum(ops.exp(teacher_log) * (teacher_log - student_log), axis=-1)
    return temperature**2 * _mean(divergence, sample_weight)


def attention_transfer(teacher_maps, student_maps, sample_weight=None):
    """Attention transfer (AT) of Zagoruyko & Komodakis (2017), in the mean-reduced form of their code.

    The attention map of features F is the mean over channels of F^2, flattened and L2-normalised for each example. The
    loss is the mean over batch and positions of the squared difference of the two maps, summed over the pairs. With
    this mean the paper's weight is 1000.

    Args:
        teacher_maps: List of float tensors, each (batch, height, width, channels).
        student_maps: List of as many, with any number of channels. Where a pair differs in height or width, the
            features of the larger are average-pooled to the smaller first.
        sample_weight: Optional float tensor, shape (batch,) or (batch, 1), as in `hinton`.

    Returns:
        Scalar float32, at least 0.

    Raises:
        ValueError: If the lists are empty or of different length, or a map does not have four axes.
    """
    _check_maps(teacher_maps, student_maps)
    total = 0.0
    for pair in zip(teacher_maps, student_maps, strict=True):
        teacher, student = (_attention(features) for features in _same_size(*pair))
        total = total + _mean(ops.mean(ops.square(student - teacher), axis=1), sample_weight)
    return total


def similarity_preserving(teacher_features, student_features, sample_weight=None):
    """Similarity-preserving distillation (SP) of Tung & Mori (2019).

    With Q the features flattened to (batch, features), G = Q Q^T has rows that are L2-normalised; the loss is
    ||G_teacher - G_student||_F^2 / batch^2. The paper's weight is 3000.

    Args:
        teacher_features: Float tensor, shape (batch, ...).
        student_features: Float tensor, shape (batch, ...), of any width.
        sample_weight: Optional float tensor, shape (batch,) or (batch, 1): multiplies an example's row of G.

    Returns:
        Scalar float32, at least 0; 0 for a batch of one whose features are not all 0.
    """
    teacher, student = (_similarities(features) for features in (teacher_features, student_features))
    return _mean(ops.mean(ops.square(teacher - student), axis=1), sample_weight)


def rkd_distance(teacher_embeddings, student_embeddings, sample_weight=None):
    """Distance-wise relational knowledge distillation (RKD-D) of Park et al. (2019).

    Pairwise Euclidean distances within the batch, each network's divided by the mean of its own positive ones, are
    compared by the Huber loss (delta 1), averaged over all batch^2 pairs. The paper's weight is 25.

    Args:
        teacher_embeddings: Float tensor, shape (batch, ...).
        student_embeddings: Float tensor, shape (batch, ...), of any width.
        sample_weight: Optional float tensor, shape (batch,) or (batch, 1): multiplies an example's distances.

    Returns:
        Scalar float32, at least 0; 0 for a batch of one.
    """
    teacher, student = (_relative_distances(each) for each in (teacher_embeddings, student_embeddings))
    return _mean(ops.mean(_huber(teacher - student), axis=1), sample_weight)


def rkd_angle(teacher_embeddings, student_embeddings, sample_weight=None):
    """Angle-wise relational knowledge distillation (RKD-A) of Park et al. (2019).

    The cosines of the angles at x_i between x_j and x_k, for all triples of the batch, are compared by the Huber loss
    (delta 1), averaged over all batch^3 of them. The paper's weight is 50.

    Args:
        teacher_embeddings: Float tensor, shape (batch, ...).
        student_embeddings: Float tensor, shape (batch, ...), of any width.
        sample_weight: Optional float tensor, shape (batch,) or (batch, 1): multiplies the angles at an example.

    Returns:
        Scalar float32, at least 0; 0 for a batch of one.
    """
    teacher, student = (_angles(each) for each in (teacher_embeddings, student_embeddings))
    return _mean(ops.mean(_huber(teacher - student), axis=(1, 2)), sample_weight)


def _float32(tensor):
    return ops.cast(tensor, "float32")


def _rows(features):
    """Features as (batch, everything else), in float32."""
    return ops.reshape(_float32(features), (ops.shape(features)[0], -1))


def _mean(values, sample_weight):
    """Mean over the batch of one value for each example, each times its weight."""
    if sample_weight is not None:
        values = values * _float32(ops.reshape(sample_weight, (-1,)))
    return ops.mean(values)


def _normalise(vectors):
    """v / max(||v||, 1e-12) along the last axis; nothing flows back where a vector has no direction."""
    squared = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    directed = squared > EPSILON**2
    # The root of what is replaced must not be taken of 0: its infinite slope times 0 would be NaN.
    inverse = ops.rsqrt(ops.where(directed, squared, 1.0))
    return ops.where(directed, vectors * inverse, ops.stop_gradient(vectors) / EPSILON)


def _huber(difference):
    """Huber loss with delta 1, element by element."""
    size = ops.abs(difference)
    return ops.where(size < 1.0, 0.5 * ops.square(difference), size - 0.5)


def _check_maps(teacher_maps, student_maps):
    for name, maps in (("teacher_maps", teacher_maps), ("student_maps", student_maps)):
        if not isinstance(maps, (list, tuple)) or not maps:
            received = "an empty one" if isinstance(maps, (list, tuple)) else type(maps).__name__
            raise ValueError(f"`{name}` must be a list of at least one tensor. Received: {received}")
        for features in maps:
            if len(features.shape) != 4:
                raise ValueError(
                    f"`{name}` must hold tensors of shape (batch, height, width, channels). "
                    f"Received: {tuple(features.shape)}"
                )
    if len(teacher_maps) != len(student_maps):
        raise ValueError(
            "`teacher_maps` and `student_maps` must have equal length. "
            f"Received: {len(teacher_maps)} and {len(student_maps)}"
        )


def _same_size(teacher, student):
    """Both feature maps at the smaller height and the smaller width of the two."""
    teacher, student = _float32(teacher), _float32(student)
    if teacher.shape[1:3] == student.shape[1:3]:
        return teacher, student
    sizes = [tuple(each.shape[1:3]) for each in (teacher, student)]
    if None in sizes[0] + sizes[1]:
        raise ValueError(
            "`teacher_maps` and `student_maps` must have a known height and width, or the same. "
            f"Received: {sizes[0]} and {sizes[1]}"
        )
    size = tuple(min(pair) for pair in zip(*sizes, strict=True))
    pooled = (
        each if tuple(each.shape[1:3]) == size else ops.adaptive_average_pool(each, size, data_format="channels_last")
        for each in (teacher, student)
    )
    return tuple(pooled)


def _attention(features):
    return _normalise(_rows(ops.mean(ops.square(features), axis=-1)))


def _similarities(features):
    rows = _rows(features)
    return _normalise(ops.matmul(rows, ops.transpose(rows)))


def _differences(embeddings):
    """x_i - x_j as (batch, batch, features): exact where a difference of squares would cancel."""
    rows = _rows(embeddings)
    one, other = rows[:, None, :], rows[None, :, :]
    # A compiler may fuse a subtraction into what made the rows, and leave a rounding error where equal rows are
    # subtracted, which would then have a direction. It does not fuse a comparison.
    distinct = _float32(ops.any(one != other, axis=-1, keepdims=True))
    return (one - other) * distinct


def _relative_distances(embeddings):
    squared = ops.sum(ops.square(_differences(embeddings)), axis=-1)
    distances = ops.sqrt(ops.maximum(squared, SQUARED_DISTANCE_FLOOR))
    distances = distances * (1.0 - ops.eye(ops.shape(distances)[0]))
    positive = _float32(distances > 0)
    mean = ops.sum(distances * positive) / ops.maximum(ops.sum(positive), 1.0)
    return distances / ops.where(mean > 0, mean, 1.0)


def _angles(embeddings):
    directions = _normalise(_differences(embeddings))
    return ops.matmul(directions, ops.transpose(directions, (0, 2, 1)))
