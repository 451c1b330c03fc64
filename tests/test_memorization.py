"""Memorization: of the images with a wrong label, how many a model puts into the wrong class, and into the true one."""

import numpy as np
import pytest

from tfnoisekd.data import Split, load
from tfnoisekd.data.corruption import corrupt
from tfnoisekd.evaluation import memorization
from tfnoisekd.evaluation.intervals import wilson_interval

CLASSES = 5


class Fake:
    """Puts each image into the class that its first pixel says."""

    name = "fake"
    input_shape = (None, 2, 2, 1)

    def __init__(self):
        self.seen = []

    def predict_on_batch(self, images):
        self.seen.append(images)
        return np.eye(CLASSES, dtype=np.float32)[np.round(images[:, 0, 0, 0] * 255).astype(int)]


def case(answers_of_wrong, count=40):
    """A split with `pair` noise, and images whose first pixel is the class that a `Fake` gives them."""
    clean = Split(np.zeros((count, 2, 2, 1), np.uint8), np.arange(count) % CLASSES, np.arange(count)[::-1] + 100)
    wrong, corruption = corrupt(clean, CLASSES, rate=0.5, kind="pair", seed=1)
    images = np.full((count, 2, 2, 1), 200, np.uint8)
    images[:, 0, 0, 0] = 4
    places = np.flatnonzero(wrong.labels != clean.labels)
    assert 10 < len(places) < 30
    images[places, 0, 0, 0] = answers_of_wrong(clean.labels[places], wrong.labels[places])
    return Split(images, wrong.labels, wrong.indices), corruption


@pytest.mark.parametrize(
    ("answers", "wrong_share", "true_share"),
    [
        (lambda true, given: given, 1, 0),
        (lambda true, given: true, 0, 1),
        (lambda true, given: (given + 1) % CLASSES, 0, 0),
        (lambda true, given: np.where(np.arange(len(true)) < 6, given, true), "6 of n", "the rest"),
    ],
)
def test_known_answers(answers, wrong_share, true_share):
    split, corruption = case(answers)
    n = corruption.n
    if wrong_share == "6 of n":
        wrong_share, true_share = 6 / n, (n - 6) / n
    results = memorization.evaluate(Fake(), split, corruption)
    assert results == {
        "n": n,
        "wrong_label_accuracy": wrong_share,
        "wrong_label_interval": list(wilson_interval(round(wrong_share * n), n)),
        "true_label_accuracy": true_share,
        "true_label_interval": list(wilson_interval(round(true_share * n), n)),
    }
    assert all(type(value) in (int, float, list) for value in results.values())  # ready for JSON


def test_the_images_are_the_clean_ones_with_a_wrong_label_and_no_others():
    split, corruption = case(lambda true, given: given)
    model = Fake()
    memorization.evaluate(model, split, corruption)
    wrong = np.isin(split.indices, corruption.indices)
    np.testing.assert_array_equal(np.concatenate(model.seen), split.images[wrong].astype(np.float32) / 255)


def test_the_order_of_the_split_does_not_matter():
    split, corruption = case(lambda true, given: np.where(np.arange(len(true)) < 6, given, true))
    shuffled = split.take(np.random.default_rng(0).permutation(len(split)))
    assert memorization.evaluate(Fake(), shuffled, corruption) == memorization.evaluate(Fake(), split, corruption)


def test_a_corruption_of_another_split_is_refused():
    split, corruption = case(lambda true, given: given)
    clean = load("digits", validation_size=0)
    for other in (split.take(np.arange(5)), Split(split.images, (split.labels + 1) % CLASSES, split.indices)):
        with pytest.raises(
            ValueError, match=r"`corruption` must be that of `split`.*`data.train` and `data.corruption`"
        ):
            memorization.evaluate(Fake(), other, corruption)
    with pytest.raises(ValueError, match="must hold at least one wrong label. Received: none"):
        memorization.evaluate(Fake(), clean.train, corrupt(clean.train, 10, rate=0)[1])
