"""Out-of-distribution accuracy: classes matched by name, and every image that is meant for testing."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from tfnoisekd.data import Split, catalog
from tfnoisekd.evaluation import accuracy, out_of_distribution
from tfnoisekd.evaluation.out_of_distribution import align, evaluate, load

CLASSES = ("cat", "dog", "horse", "ship")
LABELS = np.array([0, 1, 2, 3, 1, 2])
ANSWERS = np.array([0, 1, 2, 3, 0, 0])  # 4 of 6 are right


def reader(num_classes=4, size=4, channels=1):
    """A model that reads its answer off the image: the place of the brightest pixel of the first row."""
    inputs = keras.Input((size, size, channels))
    logits = keras.layers.Dense(num_classes, use_bias=False)(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, logits)
    weights = np.zeros((size * size * channels, num_classes), np.float32)
    weights[np.arange(num_classes) * channels, np.arange(num_classes)] = 10
    model.layers[-1].set_weights([weights])
    return model


def images_that_say(answers, size=4, channels=1):
    images = np.zeros((len(answers), size, size, channels), np.uint8)
    images[np.arange(len(answers)), 0, answers] = 255
    return images


@pytest.fixture(scope="module")
def model():
    return reader()


def judged(model, labels, class_names, **options):
    split = Split(images_that_say(ANSWERS), np.asarray(labels, np.int64))
    return evaluate(model, split, class_names, trained_class_names=CLASSES, **options)


def test_the_known_answers(model):
    results = judged(model, LABELS, CLASSES, source="npz:other.npz", part="all", teacher=model)
    assert json.loads(json.dumps(results)) == results
    assert (results["n"], results["accuracy"], results["teacher_accuracy"]) == (6, 4 / 6, 4 / 6)
    assert results["per_class"]["dog"] == {"accuracy": 0.5, "n": 2}
    assert (results["source"], results["part"]) == ("npz:other.npz", "all")
    assert (results["classes_matched_by"], results["classes_without_images"]) == ("name", [])
    plain = accuracy.evaluate(model, Split(images_that_say(ANSWERS), LABELS), CLASSES, teacher=model)
    assert plain.items() <= results.items()


def test_classes_in_another_order_and_case_give_the_same_results(model):
    names = ("Ship", "HORSE", "cat", "Dog")
    labels = np.array([2, 3, 1, 0, 3, 1])
    assert judged(model, labels, names) == judged(model, LABELS, CLASSES)


def test_some_of_the_classes_are_enough_and_those_without_images_are_named(model):
    kept = LABELS != 3
    split = Split(images_that_say(ANSWERS[kept]), np.array([1, 2, 0, 2, 0]))
    results = evaluate(model, split, ("horse", "cat", "dog"), trained_class_names=CLASSES)
    assert (results["n"], results["accuracy"]) == (5, 3 / 5)
    assert results["classes_without_images"] == ["ship"]
    assert results["per_class"]["ship"] == {"accuracy": None, "n": 0}


def test_other_classes_are_named_with_the_nearest(model):
    with pytest.raises(ValueError) as raised:
        judged(model, LABELS, ("cat", "dogs", "zebra", "ship"))
    message = "must be among the 4 that the model was trained on: cat, dog, horse, ship. Received: 2 others: "
    assert message + "'dogs' (nearest: 'dog'), 'zebra'; rename" in str(raised.value)


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (("0", "1", "2", "3"), CLASSES),
        (("cat", "dog", "x", "y"), ("0", "1", "2", "3")),
        (("0", "1", "2", "3"), ("0", "1", "2", "3")),
        (("0", "1", "2", "3"), tuple("abcdefg")),
    ],
)
def test_sets_without_names_match_by_number(names, known):
    labels, matched_by = align(LABELS, names, known)
    np.testing.assert_array_equal(labels, LABELS)
    assert (labels.dtype, matched_by) == (np.int64, "number")


def test_numbers_are_read_where_a_folder_sorts_them():
    sorted_names = tuple(sorted(map(str, range(11))))  # 0, 1, 10, 2, ...
    in_order = tuple(map(str, range(11)))
    np.testing.assert_array_equal(align([2, 3], sorted_names, in_order)[0], [10, 2])
    np.testing.assert_array_equal(align([10, 2], in_order, sorted_names)[0], [2, 3])
    np.testing.assert_array_equal(align([2, 3], sorted_names, sorted_names)[0], [2, 3])
    np.testing.assert_array_equal(align([2, 3], sorted_names, tuple("abcdefghijk"))[0], [10, 2])


def test_labels_beyond_the_model_are_refused():
    with pytest.raises(ValueError, match=r"at most the model's 4. Received: 5 classes.*labels 4 and above"):
        align([0, 4], ("0", "1", "2", "3", "4"), CLASSES)
    with pytest.raises(ValueError, match=r"`labels` must be integers in 0..3.*values from 0 to 4"):
        align([0, 4], CLASSES, CLASSES)
    with pytest.raises(ValueError, match=r"`labels` must be integers.*dtype float64"):
        align([0.5], CLASSES, CLASSES)


def test_case_counts_where_it_alone_tells_classes_apart():
    labels, _ = align([0, 1], ("b", "B"), ("A", "B", "a", "b"))
    np.testing.assert_array_equal(labels, [3, 1])
    with pytest.raises(ValueError, match="1 others: 'C'"):
        align([0, 1], ("b", "C"), ("A", "B", "a", "b"))


def save(path, images=None, labels=LABELS, **arrays):
    np.savez(path, images=images_that_say(ANSWERS) if images is None else images, labels=labels, **arrays)
    return f"npz:{path}"


def test_all_images_of_a_file_in_one_part_are_used(tmp_path, model):
    source = save(tmp_path / "one.npz", class_names=np.array(CLASSES))
    other = load(source, input_shape=(4, 4, 1), trained_class_names=CLASSES)
    assert (len(other.split), other.part, other.source, other.class_names) == (6, "all", source, CLASSES)
    results = evaluate(model, other.split, other.class_names, trained_class_names=CLASSES)
    assert (results["n"], results["accuracy"]) == (6, 4 / 6)


def test_a_file_without_names_and_with_only_some_classes(tmp_path, model):
    other = load(save(tmp_path / "one.npz", images_that_say([0, 1]), np.array([0, 2])), trained_class_names=CLASSES)
    assert other.class_names == ("0", "1", "2")
    results = evaluate(model, other.split, other.class_names, trained_class_names=CLASSES)
    assert (results["classes_matched_by"], results["classes_without_images"]) == ("number", ["dog", "ship"])
    assert results["accuracy"] == 0.5


def test_of_a_set_with_a_test_part_only_that_is_used(tmp_path):
    arrays = {"images_test": images_that_say([3, 2]), "labels_test": np.array([3, 2])}
    other = load(save(tmp_path / "two.npz", **arrays))
    assert (other.part, other.split.labels.tolist()) == ("test", [3, 2])
    arrays["labels_test"] = np.array([3, 4])
    with pytest.raises(ValueError, match="`labels_test` of .* must lie in 0..3. Received: 1 outside"):
        load(save(tmp_path / "more.npz", **arrays))
    with pytest.raises(ValueError, match="Class names must differ. Received: .* with cat more than once"):
        load(save(tmp_path / "twice.npz", class_names=np.array(["cat", "cat", "horse", "ship"])))
    assert len(load("digits").split) == 360


def test_folders_with_and_without_a_test_part(tmp_path):
    for folder, count in (("train", 3), ("test", 2)):
        for name in ("dog", "cat"):
            (tmp_path / folder / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(np.full((4, 4), 50 * i, np.uint8)).save(tmp_path / folder / name / f"{i}.png")
    both = load(f"folder:{tmp_path}", trained_class_names=CLASSES)
    assert (both.part, len(both.split), both.class_names) == ("test", 4, ("cat", "dog"))
    alone = load(f"folder:{tmp_path / 'train'}")
    assert (alone.part, len(alone.split)) == ("all", 6)


@pytest.mark.parametrize(
    ("splits", "expected"),
    [(("train", "test"), "test"), (("test",), "test"), (("train", "validation"), "validation"), (("train",), "train")],
)
def test_the_split_of_a_tfds_set_that_tests(tmp_path, splits, expected):
    tfds = pytest.importorskip("tensorflow_datasets")
    tf = pytest.importorskip("tensorflow")
    features = tfds.features.FeaturesDict(
        {"image": tfds.features.Image(shape=(4, 4, 1)), "label": tfds.features.ClassLabel(names=CLASSES)}
    )
    position = {"train": 0, "validation": 1, "test": 2}
    datasets = {
        split: tf.data.Dataset.from_tensors(
            {"image": images_that_say([position[split]])[0], "label": np.int64(position[split])}
        )
        for split in splits
    }
    tfds.dataset_builders.store_as_tfds_dataset(
        name="my_photos", version="1.0.0", features=features, split_datasets=datasets, data_dir=tmp_path
    )
    split, class_names, part = catalog.load_for_testing("tfds:my_photos", data_dir=tmp_path)
    assert (class_names, part, split.labels.tolist()) == (CLASSES, expected, [position[expected]])
    np.testing.assert_array_equal(split.images, images_that_say([position[expected]]))


def test_images_of_another_size_are_resized_when_asked(tmp_path, model):
    large = np.repeat(np.repeat(images_that_say(ANSWERS), 2, axis=1), 2, axis=2)
    source = save(tmp_path / "large.npz", large, class_names=np.array(CLASSES))
    with pytest.raises(ValueError, match=r"of 4x4 pixels .* Received: 8x8; resize .* \(--image-size 4\)"):
        load(source, input_shape=(4, 4, 1))
    with pytest.raises(ValueError, match=r"`split` must have images of 4x4 pixels"):
        other = load(source)
        evaluate(model, other.split, other.class_names, trained_class_names=CLASSES)
    assert load(source, input_shape=(None, None, 1)).split.images.shape == (6, 8, 8, 1)
    other = load(source, input_shape=(4, 4, 1), image_size=4)
    results = evaluate(model, other.split, other.class_names, trained_class_names=CLASSES)
    assert (results["n"], results["accuracy"]) == (6, 4 / 6)


def test_grey_images_do_not_fit_a_model_of_colours(tmp_path):
    source = save(tmp_path / "grey.npz")
    with pytest.raises(ValueError, match=r"with 3 channels \(RGB\).*Received: 1 \(greyscale\).*np.repeat"):
        load(source, input_shape=(4, 4, 3))
    with pytest.raises(ValueError, match=r"with 3 channels \(RGB\)"):
        judged(reader(channels=3), LABELS, CLASSES)


def test_a_wrong_source_or_option_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`name` of a data set must be one of"):
        load("cinic")
    with pytest.raises(ValueError, match="`image_size` must be a positive integer"):
        load("digits", image_size=0)
    with pytest.raises(ValueError, match="must be among the 4"):
        load(
            save(tmp_path / "a.npz", class_names=np.array(["car", "dog", "horse", "ship"])), trained_class_names=CLASSES
        )
    assert isinstance(load("digits"), out_of_distribution.OtherImages)
