"""Accuracy on corrupted images, and how much of it is owed to answers that were right before."""

import numpy as np

from tfnoisekd.data.splits import check_seed
from tfnoisekd.evaluation import examples
from tfnoisekd.evaluation.calibration import check_labels
from tfnoisekd.evaluation.corruptions.catalog import SEVERITIES, check_names, check_severities
from tfnoisekd.evaluation.corruptions.results import key_of, set_result, summarize
from tfnoisekd.evaluation.corruptions.sources import open_source
from tfnoisekd.evaluation.intervals import wilson_interval
from tfnoisekd.evaluation.prediction import predict_logits


def evaluate(
    model,
    split,
    class_names,
    corruptions=None,
    severities=SEVERITIES,
    seed=0,
    batch_size=256,
    workers=None,
    limit=None,
    source=None,
    data_dir=None,
    frost=None,
    progress=None,
    done=None,
):
    """How often a model is right on corrupted images: mCA and natural robustness.

    mCA, the mean corruption accuracy, is the mean over 19 corruptions and 5 severities of the accuracy (Hendrycks and
    Dietterich, 2019). Natural robustness is the accuracy on corrupted images of which the clean one is classified
    rightly (Gu et al., 2019).

    Args:
        model: A `keras.Model`: images in [0, 1] -> logits (batch, num_classes).
        split: A `data.Split` of clean test images.
        class_names: One name for each class, in the order of the logits.
        corruptions: Names among `NAMES`; None for all 19.
        severities: Whole numbers from 1 to 5.
        seed: Of the draws of images made on the fly, and of the subset, in [0, 2**32).
        batch_size: Images per forward pass.
        workers: Processes that make images, which changes nothing but the time; None for one a core, or none where
            there are few images.
        limit: Number of examples, the same share of each class; None for all. The subset is that of `adversarial`.
        source: None makes images on the fly from those of the split, by CIFAR-10-C's constants; "folder:PATH" reads
            the published files of CIFAR-10-C, "tfds" the data sets `cifar10_corrupted` of TensorFlow Datasets, in both
            of which the split must be CIFAR-10's test images, in any order.
        data_dir: Folder of prepared data sets, for source="tfds"; None for TFDS's own default.
        frost: Folder of the photographs of frost that CIFAR-10-C used, for images made on the fly; None for drawn ones.
        progress: Function of (number of sets that are done, number of sets), called after each set.
        done: Mapping of the results of sets, with keys such as "fog_3", that an interrupted evaluation has finished;
            those are taken over, and what is finished now is added. They must be of the same split, limit, source,
            seed and model.

    Returns:
        A dict ready for JSON: `n`, `clean_accuracy` and its interval (Wilson, 95%), what `results.summarize` returns
        (`mean_corruption_accuracy`, `mean_corruption_accuracy_15`, `natural_robustness`, ...), `settings`, and the
        `versions` of the libraries that made the images.

    Raises:
        ValueError: If an argument is not as described, or `done` is of another evaluation.
        FileNotFoundError: If a published file or a photograph is missing.

    Example:

    >>> results = evaluate(student, data.test, data.class_names, limit=1000)
    >>> results["mean_corruption_accuracy"], results["corruptions"]["fog"]["severities"]["3"]["accuracy"]
    """
    names, severities = check_names(corruptions), check_severities(severities)
    check_seed(seed, "seed")
    sets = [(name, severity) for name in names for severity in severities]
    positions = _positions(split, class_names, limit, seed)
    images, labels = split.images[positions], split.labels[positions]
    options = {"seed": seed, "frost": frost, "workers": workers, "data_dir": data_dir}
    opened = open_source(source, split, positions, sets, **options)
    right = _classes(model, images, class_names, batch_size) == labels
    results = {} if done is None else done
    _check_taken_over(results, sets, right, opened.settings)
    missing = [pair for pair in sets if key_of(*pair) not in results]
    for number, (key, classes) in enumerate(_classes_of_sets(model, opened, missing, len(labels), batch_size), 1):
        results[key] = set_result(classes == labels, right, opened.settings)
        if progress is not None:
            progress(len(sets) - len(missing) + number, len(sets))
    settings = {"corruptions": list(names), "severities": list(severities), "limit": limit, "batch_size": batch_size}
    return {
        "n": len(labels),
        "clean_accuracy": float(right.mean()),
        "clean_accuracy_interval": list(wilson_interval(int(right.sum()), len(labels))),
        **summarize(results, names, severities),
        "settings": {**opened.settings, **settings, "image_shape": list(images.shape[1:])},
        "versions": opened.versions,
    }


def _positions(split, class_names, limit, seed):
    """Which examples are evaluated: all, or the same share of each class."""
    n = len(split.labels)
    if n == 0 or len(split.images) != n:
        raise ValueError(
            "`split` must hold at least one image and one label for each. "
            f"Received: {len(split.images)} images and {n} labels"
        )
    check_labels(split.labels, n, len(class_names))
    return examples.positions(split.labels, limit, seed)


def _classes_of_sets(model, source, sets, n, batch_size):
    """Yields (key, predicted classes (n,)) for each set."""
    size = min(batch_size, n)
    chunks = source.chunks(sets, size)
    try:
        for name, severity in sets:
            parts = [_predict_chunk(model, next(chunks), size) for _ in range(0, n, size)]
            yield key_of(name, severity), np.concatenate(parts)
    finally:
        chunks.close()  # ends its processes, also when the model or a callback fails


def _predict_chunk(model, images, size):
    # The last chunk is filled up to the size of the others: another shape would be compiled for anew.
    filled = np.concatenate([images, images[-1:].repeat(size - len(images), axis=0)])
    return predict_logits(model, filled, size)[: len(images)].argmax(axis=1)


def _classes(model, images, class_names, batch_size):
    logits = predict_logits(model, images, batch_size)
    if logits.shape[1] != len(class_names):
        raise ValueError(
            f"`model` must have one logit for each of the {len(class_names)} class names. "
            f"Received: {logits.shape[1]} logits"
        )
    return logits.argmax(axis=1)


def _check_taken_over(done, sets, right, settings):
    """Raises a ValueError if results of `done` do not belong to this evaluation."""
    wanted = {"n": len(right), "clean_correct": int(right.sum()), **settings}
    for key in (key_of(*pair) for pair in sets):
        got = {name: done[key].get(name) for name in wanted} if key in done else wanted
        if got != wanted:
            raise ValueError(
                f"`done` must hold results of this evaluation, with {wanted}. Received: {key!r} with {got}; "
                "start anew without it"
            )
