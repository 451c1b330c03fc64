"""Corrupted images and what is measured on them: repeatable, as published, and right where the answer is known."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from tfnoisekd.data import Split
from tfnoisekd.evaluation import corruptions, examples
from tfnoisekd.evaluation.corruptions import BENCHMARK, NAMES, SEVERITIES, corrupt, evaluate, parallel
from tfnoisekd.evaluation.corruptions.alignment import align
from tfnoisekd.evaluation.corruptions.archives import TFDS_NAMES, Files
from tfnoisekd.evaluation.intervals import wilson_interval

CLASSES = ["dark", "light"]
# Root mean square distances, in levels, of the images of `photographs` from what the published code makes of them, the
# mean of 2 or 3 runs: make_cifar_c.py at commit ca36008, its calls adapted to scikit-image 0.26, SciPy 1.17, OpenCV 5.0
# and ImageMagick 6.9, frost with the photographs.
PUBLISHED = {
    "gaussian_noise": (9.8, 14.4, 18.9, 21.2, 23.4),
    "shot_noise": (7.3, 10.2, 15.7, 18.0, 21.6),
    "impulse_noise": (15.4, 21.5, 26.8, 34.1, 40.7),
    "defocus_blur": (2.0, 4.8, 7.2, 9.6, 13.1),
    "glass_blur": (18.8, 18.4, 17.0, 26.0, 23.9),
    "motion_blur": (9.8, 13.8, 16.9, 17.0, 19.9),
    "zoom_blur": (11.3, 13.6, 15.8, 18.2, 20.3),
    "snow": (12.8, 25.8, 29.7, 38.3, 55.6),
    "frost": (30.5, 45.4, 52.1, 51.4, 53.6),
    "fog": (15.5, 31.4, 39.0, 46.5, 55.1),
    "brightness": (9.3, 18.7, 27.3, 35.3, 49.9),
    "contrast": (13.5, 27.0, 32.4, 37.9, 46.0),
    "elastic_transform": (29.2, 27.6, 24.1, 23.2, 19.5),
    "pixelate": (5.2, 7.8, 8.5, 10.1, 12.5),
    "jpeg_compression": (8.1, 9.6, 10.1, 10.6, 11.3),
    "speckle_noise": (7.9, 12.7, 15.1, 19.7, 24.1),
    "gaussian_blur": (1.9, 7.0, 8.8, 10.3, 12.6),
    "spatter": (7.5, 12.4, 18.3, 19.0, 25.5),
    "saturate": (33.8, 43.5, 17.5, 30.6, 39.0),
}
# With the published constants, these do not move an image farther away at every step.
NOT_RISING = {"elastic_transform", "glass_blur", "motion_blur", "frost", "spatter", "saturate"}


@pytest.fixture(scope="module")
def photographs():
    """32 crops of scikit-learn's two photographs, 32x32."""
    from sklearn.datasets import load_sample_images

    random, images, crops = np.random.RandomState(0), load_sample_images().images, []
    for number in range(32):
        image, side = images[number % 2], random.randint(64, 257)
        top, left = (random.randint(length - side) for length in image.shape[:2])
        crops.append(np.asarray(Image.fromarray(image[top : top + side, left : left + side]).resize((32, 32))))
    return np.stack(crops)


def distance(images, others):
    return np.sqrt(np.square(images.astype(float) - others).mean())


def test_the_names_are_those_of_the_files():
    assert len(NAMES) == len(set(NAMES)) == 19 and len(BENCHMARK) == 15
    assert set(NAMES) - set(BENCHMARK) == {"speckle_noise", "gaussian_blur", "spatter", "saturate"}
    assert set(PUBLISHED) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_corruption_is_as_strong_as_published(name, photographs):
    made = [corrupt(photographs, name, severity) for severity in SEVERITIES]
    distances = [distance(each, photographs) for each in made]
    assert all(each.dtype == np.uint8 and each.shape == photographs.shape for each in made)
    assert distances == pytest.approx(PUBLISHED[name], rel=0.08, abs=0.1)
    assert (distances == sorted(distances)) == (name not in NOT_RISING)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_depends_on_seed_and_position_alone(name, photographs):
    images = photographs[:6]
    whole = corrupt(images, name, 3, seed=7)
    np.testing.assert_array_equal(corrupt(images[4:], name, 3, seed=7, positions=[4, 5]), whole[4:])
    np.testing.assert_array_equal(corrupt(images[::-1], name, 3, seed=7, positions=range(5, -1, -1)), whole[::-1])
    fixed = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"}
    fixed |= {"gaussian_blur", "saturate"}
    for other in (corrupt(images, name, 3, seed=8), corrupt(images, name, 3, seed=7, positions=range(6, 12))):
        assert np.array_equal(other, whole) == (name in fixed)


def test_draws_differ_between_severities_and_corruptions():
    grey = np.full((1, 32, 32, 3), 128, np.uint8)
    noise = [corrupt(grey, *which).astype(float).ravel() - 128 for which in (
        ("gaussian_noise", 1), ("gaussian_noise", 2), ("speckle_noise", 1)
    )]  # fmt: skip
    assert np.abs(np.corrcoef(noise) - np.eye(3)).max() < 0.1


@pytest.mark.parametrize("name", NAMES)
def test_grey_and_other_sizes(name, photographs):
    grey = photographs.mean(axis=3, keepdims=True).astype(np.uint8)[:2]
    for images in (grey, photographs[:2, :20, :27], np.repeat(np.repeat(grey[:1], 3, 1), 3, 2), grey[:, :8, :8]):
        for severity in (1, 5):
            made = corrupt(images, name, severity)
            assert made.shape == images.shape and made.dtype == np.uint8
        unmoved = name == "saturate" and images.shape[3] == 1
        assert unmoved or 1 < distance(made, images) < 110


def test_grey_means_the_same_as_a_grey_rgb_image(photographs):
    grey = photographs.mean(axis=3, keepdims=True).astype(np.uint8)[:3]
    for name in ("frost", "spatter", "snow", "fog", "brightness", "contrast", "zoom_blur", "pixelate"):
        colour = corrupt(grey.repeat(3, axis=3), name, 4) @ [0.299, 0.587, 0.114]
        assert np.abs(corrupt(grey, name, 4)[..., 0] - colour).max() <= 2, name


def test_floats_are_rounded_to_levels(photographs):
    floats = (photographs[:4] / 255).astype("float32")
    np.testing.assert_array_equal(corrupt(floats, "fog", 2), corrupt(photographs[:4], "fog", 2))


def test_several_processes_make_the_same_images_lazily(photographs):
    read = []

    def tasks():
        for start in range(0, 32, 2):
            read.append(start)
            yield photographs[start : start + 2], "fog", 3, 0, range(start, start + 2), None

    from tfnoisekd.evaluation.corruptions.generation import corrupt_levels

    results = parallel.in_order(corrupt_levels, tasks(), workers=2)
    made = [next(results)]
    assert len(read) <= parallel.AHEAD * 2 + 1
    made += results
    np.testing.assert_array_equal(np.concatenate(made), corrupt(photographs, "fog", 3))


def test_processes_need_no_guard_in_a_script_and_load_no_framework(tmp_path, run_python):
    # Python's own spawned processes would run an unguarded script again.
    (tmp_path / "script.py").write_text(
        "from tfnoisekd.evaluation.corruptions.parallel import in_order\n"
        'code = \'(__import__("tfnoisekd.evaluation.corruptions"), set(__import__("sys").modules))[1]\'\n'
        "for loaded in in_order(eval, [(code,), (code,)], workers=2):\n"
        "    print('tfnoisekd' in loaded, {'tensorflow', 'keras'} & loaded)\n"
    )
    ran = run_python(f"import runpy; runpy.run_path({str(tmp_path / 'script.py')!r}, run_name='__main__')")
    assert ran == "True set()\n" * 2


IMAGES = np.zeros((3, 16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((IMAGES, "gausian_noise", 1), r"`corruptions` must be among gaussian_noise.*Did you mean `gaussian_noise`"),
        ((IMAGES, "fog", 6), r"`severities` must be whole numbers from 1 to 5. Received: 6"),
        ((IMAGES, "fog", True), r"`severities` must be whole numbers from 1 to 5. Received: True"),
        ((IMAGES, "fog", 1, -1), r"`seed` must be an integer from 0"),
        ((IMAGES, "fog", 1, 0, [0, 1]), r"`positions` must be whole numbers from 0, one for each of the 3 images"),
        ((IMAGES + 1.5, "fog", 1), r"`images` of a float dtype must lie in \[0, 1\].*divide by 255"),
        ((IMAGES - 0.5, "fog", 1), r"must lie in \[0, 1\]. Received: values from -0.5"),
        ((IMAGES + np.nan, "fog", 1), r"`images` must be finite"),
        ((IMAGES[:, :7], "fog", 1), r"at least 8x8 pixels, grey .1 channel. or RGB .3.. Received: 7x16 pixels"),
        ((IMAGES[..., :2], "fog", 1), r"Received: 16x16 pixels with 2 channels"),
        ((IMAGES[:0], "fog", 1), r"hold at least one image"),
    ],
)
def test_what_cannot_be_corrupted(arguments, message):
    with pytest.raises(ValueError, match=message):
        corrupt(*arguments)


def by_brightness(threshold=0.5, shape=(16, 16, 3)):
    """A classifier that calls an image light where its mean lies above the threshold."""
    inputs = keras.Input(shape)
    mean = keras.layers.Rescaling(100.0, -100 * threshold)(keras.layers.GlobalAveragePooling2D()(inputs))
    mean = keras.ops.mean(mean, axis=1, keepdims=True)
    return keras.Model(inputs, keras.ops.concatenate([-mean, mean], axis=1))


def greys(levels, labels, shape=(16, 16, 3)):
    images = np.full((len(levels), *shape), np.reshape(levels, (-1, 1, 1, 1)), np.uint8)
    return Split(images, np.asarray(labels, np.int64))


def test_accuracy_and_natural_robustness_by_hand():
    # Brightness adds 12.75, 25.5, 38.25, 51 and 76.5 levels; 127.5 parts dark from light.
    split = greys([10, 60, 80, 100, 120, 140, 100], [0, 0, 0, 0, 0, 1, 1])  # the last one is wrong when clean
    results = evaluate(by_brightness(), split, CLASSES, ["brightness"])
    assert (results["n"], results["clean_accuracy"]) == (7, 6 / 7)
    of = results["corruptions"]["brightness"]["severities"]
    dark = {"1": 4, "2": 4, "3": 3, "4": 2, "5": 1}  # 120, then 100, then 80, then 60 become light
    for severity, left in dark.items():
        became_right = 100 + {"1": 12, "2": 25, "3": 38, "4": 51, "5": 76}[severity] > 127
        assert of[severity]["correct"] == left + 1 + became_right
        assert of[severity]["accuracy"] == (left + 1 + became_right) / 7
        assert of[severity]["accuracy_interval"] == list(wilson_interval(left + 1 + became_right, 7))
        assert of[severity]["clean_correct"] == 6 and of[severity]["still_correct"] == left + 1
        assert of[severity]["natural_robustness"] == (left + 1) / 6
        assert of[severity]["natural_robustness_interval"] == list(wilson_interval(left + 1, 6))
    assert results["corruptions"]["brightness"]["natural_robustness"] == results["natural_robustness"] == 19 / 30
    assert results["mean_accuracy"] == pytest.approx(np.mean([each["accuracy"] for each in of.values()]))
    assert results["mean_corruption_accuracy"] is results["mean_corruption_accuracy_15"] is None


@pytest.fixture(scope="module")
def everything():
    """A classifier that always says light, on all 95 sets of 5 images, 3 of them light."""
    random = np.random.RandomState(0)
    split = Split(random.randint(0, 256, (5, 16, 16, 3)).astype(np.uint8), np.array([1, 0, 1, 1, 0]))
    return split, evaluate(by_brightness(-1.0), split, CLASSES, batch_size=2)


def test_a_constant_classifier_has_the_share_of_its_class(everything):
    _, results = everything
    for name in ("mean_corruption_accuracy", "mean_corruption_accuracy_15", "mean_accuracy", "clean_accuracy"):
        assert results[name] == pytest.approx(0.6)
    assert results["natural_robustness"] == 1.0
    assert [list(each["severities"]) for each in results["corruptions"].values()] == [["1", "2", "3", "4", "5"]] * 19
    assert list(results["corruptions"]) == list(NAMES) and list(results["per_severity"]) == ["1", "2", "3", "4", "5"]
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    settings = results["settings"]
    assert (settings["source"], settings["seed"], settings["frost"]) == ("generated", 0, "drawn")
    assert (settings["image_shape"], settings["batch_size"], settings["limit"]) == ([16, 16, 3], 2, None)
    assert {"numpy", "scipy", "opencv", "pillow", "libjpeg"} == set(results["versions"])


def test_a_classifier_that_is_never_right_has_no_natural_robustness():
    results = evaluate(by_brightness(-1.0), greys([10, 20], [0, 0]), CLASSES, ["contrast"], [1])
    assert results["natural_robustness"] is None
    assert results["corruptions"]["contrast"]["severities"]["1"]["natural_robustness_interval"] is None


def test_the_two_means_are_over_19_and_15(everything):
    split, _ = everything
    done = {}
    evaluate(by_brightness(-1.0), split, CLASSES, done=done)
    extra = {name for name in NAMES if name not in BENCHMARK}
    for key, result in done.items():
        result["accuracy"] = 1.0 if key.rpartition("_")[0] in extra else 0.5
    results = evaluate(by_brightness(-1.0), split, CLASSES, done=done)
    assert results["mean_corruption_accuracy_15"] == 0.5
    assert results["mean_corruption_accuracy"] == pytest.approx((15 * 0.5 + 4) / 19)


def test_results_depend_neither_on_batches_nor_on_processes(photographs):
    split = Split(photographs, np.arange(32) % 2)
    model = by_brightness(0.45, (32, 32, 3))
    names, found = ["fog", "gaussian_noise"], []
    for batch_size, workers in ((256, 1), (5, 1), (7, 2)):
        results = evaluate(model, split, CLASSES, names, [2, 5], batch_size=batch_size, workers=workers)
        results["settings"].pop("batch_size")
        found.append(results)
    assert found[0] == found[1] == found[2]
    assert 0 < found[0]["mean_accuracy"] < 1


def test_what_was_stopped_goes_on_where_it_was(photographs):
    split = Split(photographs, np.arange(32) % 2)
    model = by_brightness(0.45, (32, 32, 3))
    saved, seen = {}, []

    def stop_after_three(done, total):
        if done == 3:
            raise KeyboardInterrupt

    options = {"corruptions": ["snow", "frost", "contrast"], "severities": [1, 3]}
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, split, CLASSES, **options, done=saved, progress=stop_after_three)
    assert list(saved) == ["snow_1", "snow_3", "frost_1"]
    saved = json.loads(json.dumps(saved))
    for other in ({"seed": 1}, {"limit": 16}):
        with pytest.raises(ValueError, match=r"`done` must hold results of this evaluation.*start anew"):
            evaluate(model, split, CLASSES, **options, **other, done=saved)
    again = evaluate(model, split, CLASSES, **options, done=saved, progress=lambda *now: seen.append(now))
    assert seen == [(4, 6), (5, 6), (6, 6)]
    assert again == evaluate(model, split, CLASSES, **options)


def test_prediction_is_compiled_once(photographs):
    class Watched(keras.Model):
        traces = 0

        def call(self, x):
            Watched.traces += 1
            mean = keras.ops.mean(x, axis=(1, 2))
            return keras.ops.concatenate([mean, 1 - mean], axis=1)

    model = Watched()
    model(np.zeros((1, 32, 32, 3), "float32"))
    split = Split(photographs, np.arange(32) % 2)
    traces = []
    for names in (["contrast"], ["contrast", "brightness", "fog"]):
        Watched.traces = 0
        evaluate(model, split, ["a"] * 6, names, batch_size=10)
        traces.append(Watched.traces)
    assert traces[0] <= 2 and traces[1] == 0


def test_a_limit_takes_examples_from_the_whole_split_as_they_are_there(photographs):
    labels = (np.arange(32) >= 16).astype(np.int64)  # sorted by class
    model = by_brightness(0.45, (32, 32, 3))
    few = evaluate(model, Split(photographs, labels), CLASSES, ["fog"], [3], limit=4)
    taken = examples.stratified(labels, 4, 0)
    assert labels[taken].tolist() == [0, 0, 1, 1]
    made = corrupt(photographs, "fog", 3)[taken]
    right = (made.mean(axis=(1, 2, 3)) / 255 > 0.45) == labels[taken]
    assert (few["n"], few["mean_accuracy"]) == (4, right.mean())


def test_arguments_that_do_not_fit(photographs, tmp_path):
    split, model = greys([10, 200], [0, 1]), by_brightness()
    cases = [
        ({"corruptions": ["fogg"]}, r"Did you mean `fog`"),
        ({"corruptions": ["fog", "fog"]}, r"`corruptions` must hold at least one name, and each once"),
        ({"severities": [0, 1]}, r"`severities` must be whole numbers from 1 to 5. Received: 0"),
        ({"severities": []}, r"`severities` must hold at least one"),
        ({"limit": 0}, r"`limit` must be an integer of at least 1"),
        ({"limit": 3}, r"`limit` must be at most 2"),
        ({"workers": 0}, r"`workers` must be a number of processes, at least 1"),
        ({"batch_size": 0}, r"`batch_size` must be an integer of at least 1"),
        ({"source": "cifar10c"}, r"`source` must be None .*'folder:PATH'.*'tfds'.*Received: 'cifar10c'"),
        ({"source": "folder:"}, r"`source` must be None"),
        ({"source": "tfds", "frost": "x"}, r"`frost` has a use for source=None only. Received: 'x' for 'tfds'"),
        ({"data_dir": "x"}, r"`data_dir` has a use for source='tfds' only"),
        ({"class_names": ["a", "b", "c"]}, r"`model` must have one logit for each of the 3 class names"),
        ({"class_names": ["a"]}, r"`labels` must lie in 0..0"),
        ({"split": Split(photographs, np.zeros(32, np.int64))}, r"shape that the model takes"),
    ]
    for changed, message in cases:
        arguments = {"model": model, "split": split, "class_names": CLASSES, **changed}
        with pytest.raises(ValueError, match=message):
            evaluate(**arguments)
    with pytest.raises(FileNotFoundError, match=r"`frost` must be a folder"):
        evaluate(model, split, CLASSES, frost=str(tmp_path))


@pytest.fixture
def published(photographs, tmp_path):
    """A folder in the layout of CIFAR-10-C, of 20 images."""
    clean = Split(photographs[:20], np.arange(20) % 2)
    for name in ("brightness", "fog", "gaussian_blur"):
        np.save(tmp_path / f"{name}.npy", np.concatenate([corrupt(clean.images, name, s, seed=5) for s in SEVERITIES]))
    np.save(tmp_path / "labels.npy", np.tile(clean.labels, 5).astype(np.uint8))
    return tmp_path, clean


def test_the_published_files_are_evaluated(published):
    folder, clean = published
    model = by_brightness(0.45, (32, 32, 3))
    options = {"corruptions": ["fog", "brightness"], "severities": [1, 4]}
    results = evaluate(model, clean, CLASSES, **options, source=f"folder:{folder}", batch_size=6)
    generated = evaluate(model, clean, CLASSES, **options, seed=5)
    assert results["settings"]["source"] == f"folder:{folder}" and results["versions"] == {}
    assert results["settings"]["seed"] is None
    for name in options["corruptions"]:
        for severity in ("1", "4"):
            ours, theirs = (each["corruptions"][name]["severities"][severity] for each in (generated, results))
            assert (ours["correct"], ours["still_correct"]) == (theirs["correct"], theirs["still_correct"])


def test_published_images_find_their_clean_ones_in_any_order(published):
    folder, clean = published
    order = np.argsort(clean.labels, kind="stable")  # as a folder of images is read
    archive = Files(folder, [("fog", 3)])
    np.testing.assert_array_equal(align(clean, archive), np.arange(20))
    np.testing.assert_array_equal(align(clean.take(order), archive), order)
    model = by_brightness(0.45, (32, 32, 3))
    options = {"corruptions": ["fog"], "source": f"folder:{folder}"}
    there, here = (evaluate(model, split, CLASSES, **options) for split in (clean, clean.take(order)))
    assert there == here
    floats = Split((clean.images[order] / 255).astype("float32"), clean.labels[order])
    np.testing.assert_array_equal(align(floats, archive), order)


def test_files_of_other_data_are_refused(published):
    folder, clean = published
    model, source = by_brightness(0.45, (32, 32, 3)), f"folder:{folder}"
    strangers = np.random.RandomState(0).randint(0, 256, clean.images.shape).astype(np.uint8)
    cases = [
        (clean.take(np.arange(10)), r"`split` must hold the 20 clean images.*Received: 10 images; .*`limit`"),
        (Split(clean.images, np.zeros(20, np.int64)), r"must have the labels that folder:.* was made with"),
        (Split(strangers, clean.labels[::-1].copy()), r"must hold the clean images that .* was made from"),
    ]
    for split, message in cases:
        with pytest.raises(ValueError, match=message):
            evaluate(model, split, CLASSES, ["fog"], source=source)
    small = Split(clean.images[:, :16, :16], clean.labels)
    with pytest.raises(ValueError, match=r"images of the shape of folder:.*, \(32, 32, 3\). Received: \(16, 16, 3\)"):
        evaluate(by_brightness(), small, CLASSES, ["fog"], source=source)


def test_damaged_files_are_named(published):
    folder, clean = published
    model, source = by_brightness(0.45, (32, 32, 3)), f"folder:{folder}"

    def refused(error, message):
        with pytest.raises(error, match=message):
            evaluate(model, clean, CLASSES, ["fog", "brightness"], source=source)

    fog = np.load(folder / "fog.npy")
    for array, received in ((fog[:-1], r"shape \(99, 32, 32, 3\)"), (fog / 255, "dtype float64"), (fog[0], "shape")):
        np.save(folder / "fog.npy", array)
        refused(ValueError, rf"fog.npy must hold uint8 images .* N = 100 as in labels.npy.*{received}")
    (folder / "fog.npy").write_bytes(b"not an array")
    refused(ValueError, r"fog.npy must be a complete .npy file")
    (folder / "fog.npy").unlink()
    refused(FileNotFoundError, r"must hold the files of CIFAR-10-C.*Received: no file .*fog.npy")
    np.save(folder / "fog.npy", fog)
    labels = np.load(folder / "labels.npy")
    for wrong in (labels[:-1], np.roll(labels[:99], 1), labels[::-1] * np.arange(100)):
        np.save(folder / "labels.npy", wrong)
        refused(ValueError, r"labels.npy must hold the labels of the examples five times")
    (folder / "labels.npy").unlink()
    refused(FileNotFoundError, r"no file .*labels.npy")


@pytest.fixture
def prepared(photographs, tmp_path):
    """`cifar10_corrupted` as TFDS prepares it, but 20 images, in an order of its own."""
    tfds = pytest.importorskip("tensorflow_datasets")
    import tensorflow as tf

    clean, order = Split(photographs[:20], np.arange(20) % 2), np.random.RandomState(1).permutation(20)
    features = tfds.features.FeaturesDict(
        {"image": tfds.features.Image(shape=(32, 32, 3)), "label": tfds.features.ClassLabel(num_classes=2)}
    )
    signature = {key: tf.TensorSpec(feature.shape, feature.dtype) for key, feature in features.items()}
    for name, severity in (("glass_blur", 2), ("gaussian_blur", 2)):
        images = corrupt(clean.images, name, severity)[order]
        examples = [{"image": x, "label": y} for x, y in zip(images, clean.labels[order], strict=True)]
        tfds.dataset_builders.store_as_tfds_dataset(
            name="cifar10_corrupted",
            config=f"{TFDS_NAMES.get(name, name)}_{severity}",
            version="1.0.0",
            features=features,
            split_datasets={"test": tf.data.Dataset.from_generator(lambda e=examples: e, output_signature=signature)},
            data_dir=tmp_path,
            disable_shuffling=True,
        )
    return tmp_path, clean


def test_tensorflow_datasets_are_evaluated_offline(prepared):
    data_dir, clean = prepared
    model = by_brightness(0.45, (32, 32, 3))
    options = {"corruptions": ["glass_blur", "gaussian_blur"], "severities": [2]}
    results = evaluate(model, clean, CLASSES, **options, source="tfds", data_dir=str(data_dir))
    generated = evaluate(model, clean, CLASSES, **options)
    assert results["corruptions"]["glass_blur"]["accuracy"] == generated["corruptions"]["glass_blur"]["accuracy"]
    assert results["natural_robustness"] == generated["natural_robustness"]
    assert results["settings"]["source"] == "tfds:cifar10_corrupted"


def test_the_names_of_tensorflow_datasets_are_known():
    builder = pytest.importorskip("tensorflow_datasets").builder_cls("cifar10_corrupted")
    ours = {f"{TFDS_NAMES.get(name, name)}_{severity}" for name in NAMES for severity in SEVERITIES}
    assert ours == {configuration.name for configuration in builder.BUILDER_CONFIGS}


def test_the_package_says_what_it_offers():
    assert set(corruptions.__all__) == {"BENCHMARK", "NAMES", "SEVERITIES", "corrupt", "evaluate"}
