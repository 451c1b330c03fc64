"""The losses and their gradients, in NumPy float64 with loops, written from the formulas and not from the library."""

import math

import numpy as np


def softmax(logits):
    """Softmax of one row."""
    logits = np.asarray(logits, "float64")
    exponentials = [math.exp(z - logits.max()) for z in logits]
    return np.array(exponentials) / sum(exponentials)


def log_softmax(logits):
    """Log-softmax of one row."""
    logits = np.asarray(logits, "float64")
    largest = logits.max()
    return logits - largest - math.log(sum(math.exp(z - largest) for z in logits))


def hinton(teacher_logits, student_logits, temperature=4.0, sample_weight=None):
    """T^2 / B * sum over the batch of weight * KL(softmax(t / T) || softmax(s / T))."""
    teacher_logits, student_logits = np.asarray(teacher_logits, "float64"), np.asarray(student_logits, "float64")
    total = 0.0
    for b in range(len(teacher_logits)):
        p, log_p = softmax(teacher_logits[b] / temperature), log_softmax(teacher_logits[b] / temperature)
        log_q = log_softmax(student_logits[b] / temperature)
        weight = 1.0 if sample_weight is None else sample_weight[b]
        for c in range(len(p)):
            total += weight * p[c] * (log_p[c] - log_q[c])
    return temperature**2 * total / len(teacher_logits)


def hinton_gradient(teacher_logits, student_logits, temperature=4.0, sample_weight=None):
    """Gradient of `hinton` with respect to the student's logits: T / B * (softmax(s / T) - softmax(t / T))."""
    rows = []
    for b in range(len(teacher_logits)):
        weight = 1.0 if sample_weight is None else sample_weight[b]
        difference = softmax(np.divide(student_logits[b], temperature)) - softmax(
            np.divide(teacher_logits[b], temperature)
        )
        rows.append(weight * temperature * difference / len(teacher_logits))
    return np.array(rows)


def cross_entropy(labels, logits, sample_weight=None):
    """1 / B * sum over the batch of weight * -log softmax(logits)[label]; labels are integers."""
    total = 0.0
    for b in range(len(labels)):
        total -= (1.0 if sample_weight is None else sample_weight[b]) * log_softmax(logits[b])[labels[b]]
    return total / len(labels)


def cross_entropy_gradient(labels, logits, sample_weight=None):
    """Gradient of `cross_entropy` with respect to the logits."""
    rows = []
    for b in range(len(labels)):
        row = softmax(logits[b])
        row[labels[b]] -= 1
        rows.append((1.0 if sample_weight is None else sample_weight[b]) * row / len(labels))
    return np.array(rows)


def weighted_mean(losses, sample_weight=None):
    """Sum of weight * loss over the examples, divided by their number."""
    total = 0.0
    for b in range(len(losses)):
        total += (1.0 if sample_weight is None else float(sample_weight[b])) * losses[b]
    return total / len(losses)


def huber(difference):
    """Huber's loss with delta 1."""
    return 0.5 * difference**2 if abs(difference) <= 1 else abs(difference) - 0.5


def dot(u, v):
    """Inner product of two lists of numbers."""
    return math.fsum(a * b for a, b in zip(u, v, strict=True))


def normalise(v):
    """v / max(||v||, 1e-12)."""
    length = max(math.sqrt(dot(v, v)), 1e-12)
    return [a / length for a in v]


def rows(features):
    """Each example's features as one flat list of float64 numbers."""
    return [np.asarray(example, "float64").ravel().tolist() for example in features]


def adaptive_average_pool(image, height, width):
    """(H, W, C) to (height, width, C): cell i averages rows floor(i H / height) to ceil((i + 1) H / height) - 1."""
    image = np.asarray(image, "float64")
    pooled = np.zeros((height, width, image.shape[2]))
    for i in range(height):
        top, bottom = i * image.shape[0] // height, math.ceil((i + 1) * image.shape[0] / height)
        for j in range(width):
            left, right = j * image.shape[1] // width, math.ceil((j + 1) * image.shape[1] / width)
            for row in range(top, bottom):
                for column in range(left, right):
                    pooled[i, j] += image[row, column] / ((bottom - top) * (right - left))
    return pooled


def attention_map(image):
    """Mean over the channels of the square, at each position of one (H, W, C) image; flat and normalised."""
    return normalise([dot(pixel, pixel) / len(pixel) for line in image.tolist() for pixel in line])


def attention_transfer(teacher_maps, student_maps, sample_weight=None):
    """Sum over the pairs of the mean over batch and positions of (map(student) - map(teacher))^2."""
    total = 0.0
    for teacher, student in zip(teacher_maps, student_maps, strict=True):
        height, width = (min(teacher.shape[axis], student.shape[axis]) for axis in (1, 2))
        examples = []
        for b in range(len(teacher)):
            t = attention_map(adaptive_average_pool(teacher[b], height, width))
            s = attention_map(adaptive_average_pool(student[b], height, width))
            examples.append(sum((s[p] - t[p]) ** 2 for p in range(height * width)) / (height * width))
        total += weighted_mean(examples, sample_weight)
    return total


def similarity_preserving(teacher_features, student_features, sample_weight=None):
    """1 / B^2 * sum over i, j of (G_t - G_s)_ij^2, where row i of G is the normalised list of <q_i, q_j>."""
    t, s = rows(teacher_features), rows(student_features)
    batch, examples = len(t), []
    for i in range(batch):
        row_t = normalise([dot(t[i], t[j]) for j in range(batch)])
        row_s = normalise([dot(s[i], s[j]) for j in range(batch)])
        examples.append(sum((row_t[j] - row_s[j]) ** 2 for j in range(batch)) / batch)
    return weighted_mean(examples, sample_weight)


def relative_distances(x):
    """Distances of all pairs over the mean of those above 0; each at least 1e-6, but 0 from an example to itself."""
    batch = len(x)
    distances = [[0.0] * batch for _ in range(batch)]
    for i in range(batch):
        for j in range(batch):
            if i != j:
                difference = [a - b for a, b in zip(x[i], x[j], strict=True)]
                distances[i][j] = math.sqrt(max(dot(difference, difference), 1e-12))
    positive = [d for line in distances for d in line if d > 0]
    mean = sum(positive) / len(positive) if positive else 1.0
    return [[d / mean for d in line] for line in distances]


def rkd_distance(teacher_embeddings, student_embeddings, sample_weight=None):
    """1 / B^2 * sum over i, j of huber(d_s - d_t)_ij, d the distances relative to their mean."""
    t, s = relative_distances(rows(teacher_embeddings)), relative_distances(rows(student_embeddings))
    batch = len(t)
    examples = [sum(huber(s[i][j] - t[i][j]) for j in range(batch)) / batch for i in range(batch)]
    return weighted_mean(examples, sample_weight)


def rkd_angle(teacher_embeddings, student_embeddings, sample_weight=None):
    """1 / B^3 * sum over i, j, k of huber(A_s - A_t)_ijk, A_ijk = <e_ij, e_ik>, e_ij = normalise(x_i - x_j)."""
    t, s = rows(teacher_embeddings), rows(student_embeddings)
    batch, examples = len(t), []
    for i in range(batch):
        e_t = [normalise([a - b for a, b in zip(t[i], t[j], strict=True)]) for j in range(batch)]
        e_s = [normalise([a - b for a, b in zip(s[i], s[j], strict=True)]) for j in range(batch)]
        total = 0.0
        for j in range(batch):
            for k in range(batch):
                total += huber(dot(e_s[j], e_s[k]) - dot(e_t[j], e_t[k]))
        examples.append(total / batch**2)
    return weighted_mean(examples, sample_weight)
