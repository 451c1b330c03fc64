"""run(config): the main path, read from top to bottom. Data, teacher, student, distillation, evaluation, record."""

import contextlib
import hashlib
import re
import time
from pathlib import Path

import numpy as np

from tfnoisekd import data as data_module
from tfnoisekd import inspection, methods, models, runs
from tfnoisekd.config import Config
from tfnoisekd.distiller import Distiller
from tfnoisekd.evaluation import accuracy, memorization
from tfnoisekd.fitting import fit, seed_everything
from tfnoisekd.provenance import now

TEACHERS = "teachers"  # folder of the cached teachers, below the folder of runs


def run(config, output=None, *, root="runs", resume=False, command=None, progress=None, announce=None, data=None):
    """Trains what a configuration says: the teacher first where there is none, then the student.

    One seed fixes everything: on one CPU, two runs of one configuration end with bit-identical weights, and so does
    one that was killed and resumed.

    Args:
        config: `Config`.
        output: Run directory to make; `None` numbers one below `root`, such as runs/mc-digits-1.
        root: Folder of runs and of the cached teachers.
        resume: Go on with the run in `output` from its last checkpoint.
        command: Command line to record with the run.
        progress: Function (role, config) -> Keras callback that shows the training of a "teacher" or "student".
        announce: Function that gets the `data.ImageData` once, before anything is trained on it.
        data: The configuration's `data.ImageData`, where it is loaded already.

    Returns:
        The finished `runs.Run`; its `record["results"]` holds the evaluation on the test split and, where training
        labels were replaced, what the models made of those (`evaluation.memorization`).

    Raises:
        ValueError: On settings, data and models that do not fit together.
        FileExistsError: If `output` holds another run.
        fitting.NonFiniteLossError: If the loss stops being a number; the last good checkpoint stays.
    """
    config = methods.resolve(config)
    method = methods.get(config.method)
    for name in filter(models.is_name, (config.student, config.teacher)):
        models.parse_name(name)  # an impossible student is an error now, not after the teacher's hours
    data = data or load_data(config)
    digest = _digest(config, data)
    record = runs.Run.open(output) if resume else None
    if record and record.finished:
        return record

    teacher, origin = None, None
    if record and record.record.get("teacher"):
        teacher, origin = _same_teacher(record, config, data)
    elif method.distils and not models.is_name(config.teacher):
        teacher, origin = _given_teacher(config, data)  # before anything is written: it may not be there or not fit
    if record is None:
        output = output or runs.new_path(root, f"{config.method}-{_slug(config.data)}")
        record = runs.Run.create(output, config.model_dump(mode="json"), command)

    if announce is not None:
        announce(data)
    with runs.exclusive(record.path / runs.LOCK, wait=False), _failures_recorded(record):
        _keep_corruption(record, data.corruption)
        record.update(status="running", error=None, data=_describe(config, data, record))
        if method.distils and teacher is None:
            teacher, origin = _trained_teacher(config, data, root, command, progress)
        record.update(teacher=origin and {**origin, "path": record.relative(origin["path"])})
        seed_everything(config.seed)
        # A student has no dropout of its own; a network that is trained alone, such as a teacher, may.
        dropout = 0.0 if method.distils else config.dropout
        student = models.from_name(config.student, data.num_classes, data.input_shape, dropout)
        distiller = Distiller(teacher, student, method.losses(config), methods.noises(config), seed=config.seed)

        start = time.monotonic()
        checkpoint = runs.Checkpoint(record.path, digest)
        fit(distiller, config, data, record.path, checkpoint, progress and progress(_role(record), config))
        seconds = time.monotonic() - start

        results = accuracy.evaluate(student, data.test, data.class_names, teacher=teacher)
        if data.corruption is not None and data.corruption.n:
            results["memorization"] = {
                role: memorization.evaluate(model, data.train, data.corruption)
                for role, model in {"student": student, "teacher": teacher}.items()
                if model is not None
            }
        with runs.replacing(record.path / runs.STUDENT) as temporary:
            student.save(temporary)
        record.update(
            status="finished",
            finished_at=now(),
            seconds_since_last_start=round(seconds, 1),
            student_weights_sha256=inspection.weights_digest(student),
            student_parameters=inspection.count_parameters(student),
            results=results,
        )
    return record


def resume(path, *, root="runs", command=None, progress=None, announce=None):
    """Goes on with a run that was cut off, from its last checkpoint and by its own configuration.

    Returns:
        The finished `runs.Run`; at once if it had finished before.
    """
    config = Config(**runs.Run.open(path).settings())
    return run(config, path, root=root, resume=True, command=command, progress=progress, announce=announce)


def load_data(config):
    """The data set of a configuration, with its splits."""
    return data_module.load(
        config.data,
        data_dir=config.data_dir,
        image_size=config.image_size,
        validation_size=config.validation_size,
        test_size=config.test_size,
        split_seed=config.split_seed,
        skip_bad_images=config.skip_bad_images,
        unsafe=config.unsafe,
        label_corruption=config.label_corruption,
        corruption_kind=config.corruption_kind,
        corruption_seed=config.corruption_seed,
        corruption_file=config.corruption_file,
    )


def _given_teacher(config, data):
    """The teacher that the configuration names by its file or run, and where it is."""
    path = Path(config.teacher)
    return _load_teacher(runs.Run.open(path).student_path if path.is_dir() else path, config, data)


def _same_teacher(record, config, data):
    """The teacher that a run started with."""
    teacher, origin = _load_teacher(record.teacher_path(), config, data)
    if origin["weights_sha256"] != record.record["teacher"]["weights_sha256"]:
        raise ValueError(f"{origin['path']} is another teacher now than {record.path} started with: train anew")
    return teacher, origin


def _trained_teacher(config, data, root, command, progress):
    """The teacher of a configuration, from the cache or trained here and now, and where it is."""
    teacher_config = methods.teacher_config(config)
    path = Path(root) / TEACHERS / f"{config.teacher}-{_slug(config.data)}-{_digest(teacher_config, data)}"
    options = {"root": root, "command": command, "progress": progress, "data": data}
    with runs.exclusive(path.with_suffix(runs.LOCK), wait=True):
        # A teacher is a run like any other: one that was cut off goes on.
        started = (path / runs.RECORD).exists()
        path = run(teacher_config, path, resume=started, **options).student_path
    return _load_teacher(path, config, data)


def _load_teacher(path, config, data):
    teacher = models.load(path, unsafe=config.unsafe)
    inspection.check_fits(teacher, "teacher", data.num_classes, data.input_shape)
    weights = inspection.weights_digest(teacher)
    return teacher, {"path": str(path), "weights_sha256": weights, "parameters": inspection.count_parameters(teacher)}


def _digest(config, data):
    """Identifies what is computed: equal settings on equal images and labels. Where they lie does not matter."""
    settings = config.model_copy(update={"data_dir": None, "data": "", "corruption_file": None, "unsafe": False})
    return hashlib.sha256(f"{settings.digest()} {data.fingerprint}".encode()).hexdigest()[:12]


def _describe(config, data, record):
    kind, _, place = data.name.partition(":")
    file = config.corruption_file
    return {
        "path": record.relative(place) if kind in ("npz", "folder") else None,
        "corruption": data.corruption and data.corruption.summary(),
        "corruption_path": record.relative(Path(file).expanduser()) if file else None,
        "name": data.name,
        "fingerprint": data.fingerprint,
        "train": len(data.train),
        "validation": len(data.validation) if data.validation else 0,
        "test": len(data.test),
        "class_names": list(data.class_names),
        "input_shape": list(data.input_shape),
    }


def _keep_corruption(record, corruption):
    """Writes which labels of a run are wrong, once; when it goes on, they must be the same ones."""
    if corruption is None:
        return
    path, arrays = record.path / runs.CORRUPTION, corruption.arrays()
    if not path.exists():
        with runs.replacing(path) as temporary:
            np.savez_compressed(temporary, **arrays)
        return
    with np.load(path, allow_pickle=False) as kept:
        if not all(np.array_equal(kept[name], array) for name, array in arrays.items()):
            raise ValueError(
                f"{path} must hold the wrong labels that the run goes on with. Received: other ones now; put the data "
                "and the corruption file back as they were, or train anew"
            )


@contextlib.contextmanager
def _failures_recorded(record):
    """Writes into a run's record why it stopped, a kill by Ctrl-C included."""
    try:
        yield
    except BaseException as error:
        # A full disk must not hide what went wrong.
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        with contextlib.suppress(OSError):
            record.update(status=status, error=" ".join(f"{type(error).__name__}: {error}".split()))
        raise


def _role(record):
    return "teacher" if record.path.parent.name == TEACHERS else "student"


def _slug(name):
    """A data set's name as part of a folder name: "npz:a/b.npz" -> "b"."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", Path(name.partition(":")[2] or name).stem).strip("-") or "data"
