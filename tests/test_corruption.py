"""Wrong labels: the exact rule, the same for an image whatever else is chosen, and never outside the training part."""

import math

import numpy as np
import pytest

from tfnoisekd.data import Split, load
from tfnoisekd.data.corruption import KINDS, corrupt

COUNT, CLASSES = 20_000, 10


def numbered(labels, indices=None):
    """A split of one-pixel images, at the positions 0..N-1 unless others are given."""
    labels = np.asarray(labels, np.int64)
    indices = np.arange(len(labels)) if indices is None else indices
    return Split(np.zeros((len(labels), 1, 1, 1), np.uint8), labels, np.asarray(indices, np.int64))


@pytest.fixture(scope="module")
def split():
    return numbered(np.arange(COUNT) % CLASSES)


def within(share, expected, n, deviations=5):
    """Whether a share of n independent draws is one that its probability explains."""
    return abs(share - expected) <= deviations * math.sqrt(expected * (1 - expected) / n)


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.9])
def test_symmetric_draws_from_all_classes(split, rate):
    wrong, corruption = corrupt(split, CLASSES, rate=rate)
    changed = wrong.labels != split.labels
    assert within(changed.mean(), rate * (CLASSES - 1) / CLASSES, COUNT)
    # Each class becomes each other one equally often.
    table = np.zeros((CLASSES, CLASSES))
    np.add.at(table, (split.labels, wrong.labels), 1)
    shares = table / (COUNT / CLASSES)
    expected = np.full((CLASSES, CLASSES), rate / CLASSES) + np.eye(CLASSES) * (1 - rate)
    assert all(within(share, mean, COUNT // CLASSES) for share, mean in zip(shares.flat, expected.flat, strict=True))
    assert corruption.true_rate == changed.mean() and corruption.n == changed.sum()
    assert (corruption.kind, corruption.rate, corruption.seed) == ("symmetric", rate, 0)


def test_pair_takes_the_next_class(split):
    _, corruption = corrupt(split, CLASSES, rate=0.3, kind="pair", seed=4)
    assert within(corruption.true_rate, 0.3, COUNT)
    np.testing.assert_array_equal(corruption.given_labels, (corruption.true_labels + 1) % CLASSES)
    assert {(9, 0), (0, 1)} <= set(zip(corruption.true_labels.tolist(), corruption.given_labels.tolist(), strict=True))


def test_the_ends_of_the_range(split):
    for kind in ("symmetric", "pair"):
        same, corruption = corrupt(split, CLASSES, rate=0, kind=kind)
        np.testing.assert_array_equal(same.labels, split.labels)
        assert (corruption.n, corruption.true_rate) == (0, 0.0)
    assert corrupt(split, CLASSES, rate=1, kind="pair")[1].true_rate == 1
    everything = corrupt(split, CLASSES, rate=1)[0].labels
    assert np.bincount(everything).min() > 0.9 * COUNT / CLASSES and everything.max() == CLASSES - 1
    assert corrupt(split, CLASSES) == (split, None)


def test_the_record_is_complete_and_images_stay(split):
    wrong, corruption = corrupt(split, CLASSES, rate=0.2, seed=1)
    rebuilt = split.labels.copy()
    np.testing.assert_array_equal(rebuilt[corruption.indices], corruption.true_labels)
    rebuilt[corruption.indices] = corruption.given_labels
    np.testing.assert_array_equal(rebuilt, wrong.labels)
    assert (corruption.given_labels != corruption.true_labels).all()
    assert wrong.images is split.images and wrong.indices is split.indices
    assert corruption.summary() == {
        "kind": "symmetric",
        "rate": 0.2,
        "seed": 1,
        "true_rate": corruption.n / COUNT,
        "n": corruption.n,
    }
    assert set(corruption.arrays()) == {"indices", "true_labels", "given_labels"}


@pytest.mark.parametrize("kind", ["symmetric", "pair"])
def test_the_same_seed_the_same_labels_and_another_seed_others(split, kind):
    np.random.seed(1)
    one = corrupt(split, CLASSES, rate=0.5, kind=kind, seed=7)[0].labels
    np.random.seed(2)
    np.testing.assert_array_equal(corrupt(split, CLASSES, rate=0.5, kind=kind, seed=7)[0].labels, one)
    assert np.mean(corrupt(split, CLASSES, rate=0.5, kind=kind, seed=8)[0].labels != one) > 0.3


def test_a_higher_rate_keeps_the_wrong_labels_of_a_lower_one(split):
    low, high = (corrupt(split, CLASSES, rate=rate)[1] for rate in (0.2, 0.6))
    places = {index: label for index, label in zip(high.indices.tolist(), high.given_labels.tolist(), strict=True)}
    assert all(places[i] == label for i, label in zip(low.indices.tolist(), low.given_labels.tolist(), strict=True))


def test_a_label_depends_on_the_position_alone(split):
    everything = corrupt(split, CLASSES, rate=0.5, seed=3)[0]
    chosen = np.random.default_rng(0).permutation(COUNT)[:5000]
    part = corrupt(split.take(chosen), CLASSES, rate=0.5, seed=3)[0]
    np.testing.assert_array_equal(part.indices, chosen)
    np.testing.assert_array_equal(part.labels, everything.labels[chosen])


def test_wrong_labels_are_the_same_on_every_machine():
    """Pinned: whoever repeats an experiment must train on the same wrong labels."""
    labels = np.arange(20) % CLASSES
    assert corrupt(numbered(labels), CLASSES, rate=0.5, seed=0)[0].labels.tolist() == PINNED
    # A few images of a large set are drawn for as if all were there.
    far = numbered([1, 2, 3], [5, 999_999, 7])
    assert corrupt(far, CLASSES, rate=1, seed=0)[0].labels.tolist() == PINNED_FAR


PINNED = [9, 5, 9, 3, 4, 1, 1, 3, 8, 7, 9, 9, 2, 3, 9, 5, 6, 7, 8, 1]
PINNED_FAR = [1, 6, 3]


def test_what_is_held_out_moves_no_other_label():
    many, few = (
        load("digits", label_corruption=0.5, corruption_seed=2, validation_size=size, split_seed=size)
        for size in (20, 500)
    )
    given = [dict(zip(d.train.indices.tolist(), d.train.labels.tolist(), strict=True)) for d in (many, few)]
    common = given[0].keys() & given[1].keys()
    assert len(common) > 800
    assert all(given[0][index] == given[1][index] for index in common)
    assert many.corruption.n > 400


@pytest.mark.parametrize("options", [{}, {"corruption_kind": "pair"}])
def test_validation_and_test_labels_are_never_touched(options, tmp_path):
    labels = np.arange(300) % 3
    images = np.arange(300)[:, None, None, None] // np.array([1, 256])  # two channels number the image
    np.savez(tmp_path / "a.npz", images=images % 256, labels=labels)
    clean = load(f"npz:{tmp_path / 'a.npz'}")
    wrong = load(f"npz:{tmp_path / 'a.npz'}", label_corruption=1.0, **options)
    for part in ("validation", "test"):
        np.testing.assert_array_equal(getattr(wrong, part).labels, getattr(clean, part).labels)
        np.testing.assert_array_equal(getattr(wrong, part).images, getattr(clean, part).images)
    np.testing.assert_array_equal(wrong.train.images, clean.train.images)
    np.testing.assert_array_equal(wrong.train.indices, clean.train.indices)
    np.testing.assert_array_equal(clean.train.labels, labels[clean.train.indices])
    assert np.mean(wrong.train.labels != clean.train.labels) == wrong.corruption.true_rate > 0.5
    assert clean.corruption is None
    assert wrong.fingerprint != clean.fingerprint


def test_the_fingerprint_of_data_without_wrong_labels_is_what_it_was():
    """Pinned before splits had positions."""
    expected = "de36c196bb0eeae69f0146e176b982a37b88500ed8e9e25e099a81c962ffadc3"
    assert load("digits").fingerprint == expected
    assert load("digits", label_corruption=0).fingerprint == expected


def test_positions_are_those_of_the_source_after_resizing_too():
    data = load("digits", image_size=8, label_corruption=0.3)
    positions = np.concatenate([data.train.indices, data.validation.indices])
    np.testing.assert_array_equal(np.sort(positions), np.arange(1437))
    assert data.test.indices is None
    wrong = np.isin(data.train.indices, data.corruption.indices)
    np.testing.assert_array_equal(data.train.labels[wrong], data.corruption.given_labels)


def test_a_split_checks_its_positions():
    images, labels = np.zeros((2, 4, 4, 1), np.uint8), np.zeros(2, np.int64)
    for indices in (np.arange(3), np.arange(2, dtype=np.int32)):
        with pytest.raises(ValueError, match=r"`indices` must have shape \(2,\).* dtype int64. Received: indices"):
            Split(images, labels, indices)
    assert Split(images, labels).take([1]).indices is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_corruption": 1.4}, "`label_corruption` must be a share from 0 to 1.*Received: label_corruption=1.4"),
        ({"label_corruption": -0.1}, "`label_corruption` must be a share.*=-0.1"),
        ({"label_corruption": float("nan")}, "`label_corruption` must be a share.*=nan"),
        ({"label_corruption": "0.4"}, "`label_corruption` must be a share.*='0.4'"),
        ({"label_corruption": True}, "`label_corruption` must be a share.*=True"),
        ({"label_corruption": 0.4, "corruption_seed": -1}, "`corruption_seed` must be an integer.*corruption_seed=-1"),
        ({"label_corruption": 0.4, "corruption_seed": 2**32}, "`corruption_seed` must be an integer from 0 to"),
        (
            {"label_corruption": 0.4, "corruption_kind": "symetric"},
            r"one of symmetric, pair, .*cifar10n:random3. Received: symetric. Did you mean `symmetric`\?",
        ),
        ({"corruption_kind": "cifar10n:worst"}, "Received: cifar10n:worst. Did you mean `cifar10n:worse`"),
        ({"corruption_kind": None}, "`corruption_kind` must be one of .* Received: None"),
        ({"corruption_kind": ["pair"]}, "`corruption_kind` must be one of"),
        ({"corruption_kind": "pair"}, r"`label_corruption` .--label-corruption 0.4.*Received: corruption_kind='pair'"),
        ({"corruption_seed": 3}, "`label_corruption` .* must be given .*Received: corruption_seed=3 without it"),
        (
            {"corruption_kind": "cifar10n:aggre", "label_corruption": 0.1},
            "cifar10n:aggre needs `corruption_file`.*`clean_label` and `aggre_label`. Received: corruption_file=None",
        ),
        (
            {"corruption_file": "a.npz", "label_corruption": 0.1},
            "`corruption_file` is read only for human labels.*cifar10n:worse.*for the kind 'symmetric'",
        ),
    ],
)
def test_settings_that_do_not_fit_together(options, message):
    with pytest.raises(ValueError, match=message) as raised:
        load("digits", **options)
    assert "\n" not in str(raised.value)


def test_the_kinds_there_are():
    human = {f"cifar10n:{kind}" for kind in ("clean", "aggre", "worse", "random1", "random2", "random3")}
    assert set(KINDS) == {"symmetric", "pair"} | human
