"""Where a run's teacher comes from: a file, another run, or a training of its own; and what it said before."""

import hashlib
from pathlib import Path

from tfnoisekd import architectures, disk, inspection, methods, models, pretrained, runs
from tfnoisekd.evaluation import accuracy
from tfnoisekd.teacher_cache import TeacherCache, identify

FOLDER = "teachers"  # of the trained teachers, below the folder of runs
OUTPUTS = "outputs"  # of the teacher caches, below that


def given(config, data):
    """The teacher that the configuration names by its file, run or `pretrained:` name, and where it is."""
    path = pretrained.resolved(config.teacher)
    return _load(runs.Run.open(path).student_path if path.is_dir() else path, config, data)


def same(record, config, data):
    """The teacher that a run started with: (model, origin).

    Raises:
        ValueError: If another one lies in its place.
    """
    teacher, origin = _load(record.teacher_path(), config, data)
    before = record.record["teacher"]
    if origin["weights_sha256"] != before["weights_sha256"]:
        raise ValueError(f"{origin['path']} is another teacher now than {record.path} started with: train anew")
    return teacher, before | origin


def trained(config, data, root, train):
    """The teacher of a configuration, from the cache or trained here and now: (model, origin).

    Of several seeds, the one that is most accurate on the validation images is taken; the first of equals. All of them
    stand in the origin.

    Args:
        config: Resolved `Config` of the student.
        data: `data.ImageData`.
        root: Folder of runs.
        train: Function (config, path, resume) -> `runs.Run`, that trains a network alone.
    """
    found = [(seed, train_one(config, data, root, seed, train)) for seed in config.teacher_seeds]
    if len(found) == 1:
        return _load(found[0][1].student_path, config, data)
    listed = [{"seed": seed, "validation_accuracy": run.record["validation_accuracy"]} for seed, run in found]
    best = max(range(len(found)), key=lambda number: listed[number]["validation_accuracy"])
    teacher, origin = _load(found[best][1].student_path, config, data)
    return teacher, {**origin, **listed[best], "candidates": listed}


def train_one(config, data, root, seed, train):
    """The finished `runs.Run` of a teacher of one seed, from the cache or trained here and now.

    Where the teacher is to be chosen among several, its record has its `validation_accuracy`.

    Args:
        The arguments are those of `trained`; `seed` is one of the configuration's `teacher_seeds`.
    """
    teacher_config = methods.teacher_config(config, seed)
    path = Path(root) / FOLDER / f"{config.teacher}-{runs.slug(config.data)}-{digest(teacher_config, data)}"
    with disk.exclusive(path.with_suffix(disk.LOCK), wait=True):
        # A teacher is a run like any other: one that was cut off goes on.
        run = train(teacher_config, path, resume=(path / runs.RECORD).exists())
        if len(config.teacher_seeds) > 1 and "validation_accuracy" not in run.record:
            model, _ = _load(run.student_path, config, data)
            validated = accuracy.evaluate(model, data.validation, data.class_names)["accuracy"]
            run.update(validation_accuracy=validated)  # once, not for every student
    return run


def remade(teacher, config, data):
    """A teacher in the precision and on the devices of its surroundings; one from a file stays in its own precision."""
    if teacher is None or (config.devices == 1 and config.precision == "float32"):
        return teacher
    if not architectures.is_name(config.teacher):
        return models.copied(teacher)
    copy = models.from_name(config.teacher, data.num_classes, data.input_shape, config.dropout)
    copy.set_weights(teacher.get_weights())
    return copy


def cache(config, data, distiller, root):
    """What the distiller's teacher said before about the training images, shared by all runs below `root`."""
    features = distiller.features["teacher"]
    return TeacherCache(
        Path(root) / FOLDER / OUTPUTS,
        features.model,
        data.train.images,
        **data.augmentation(config.crop_padding, config.flip),
        identity=identify(distiller.teacher, features.layers),
    )


def digest(config, data):
    """Identifies what is computed: equal settings on equal images and labels. Where they lie does not matter."""
    places = {"data_dir": None, "data": "", "corruption_file": None, "unsafe": False}
    settings = config.canonical().model_copy(update=places)
    return hashlib.sha256(f"{settings.digest()} {data.fingerprint}".encode()).hexdigest()[:12]


def _load(path, config, data):
    teacher = models.load(path, unsafe=config.unsafe)
    inspection.check_fits(teacher, "teacher", data.num_classes, data.input_shape)
    weights = inspection.weights_digest(teacher)
    return teacher, {"path": str(path), "weights_sha256": weights, "parameters": inspection.count_parameters(teacher)}
