"""run(config): the main path, read from top to bottom. Data, teacher, student, distillation, evaluation, record."""

import contextlib
import functools
import time
from pathlib import Path

import numpy as np

from tfnoisekd import architectures, checkpoints, checks, devices, disk, inspection, methods, models, runs, teachers
from tfnoisekd import data as data_module
from tfnoisekd.config import Config
from tfnoisekd.distiller import Distiller
from tfnoisekd.evaluation import accuracy, memorization
from tfnoisekd.features import extractor
from tfnoisekd.fitting import fit, seed_everything
from tfnoisekd.provenance import now


def run(
    config,
    output=None,
    *,
    root="runs",
    resume=False,
    command=None,
    progress=None,
    announce=None,
    data=None,
    split="test",
):
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
        split: Images that the student is judged on, "test" or "validation": what chooses among runs must not see how
            they do on the test images.

    Returns:
        The finished `runs.Run`; its `record["results"]` holds the evaluation on `split` (`record["split"]`) and, where
        training labels were replaced, what the models made of those (`evaluation.memorization`).

    Raises:
        ValueError: On settings, data and models that do not fit together.
        FileExistsError: If `output` holds another run.
        fitting.NonFiniteLossError: If the loss stops being a number; the last good checkpoint stays.
    """
    config = methods.resolve(config)
    method = methods.get(config.method)
    for name in filter(architectures.is_name, (config.student, config.teacher)):
        architectures.parse_name(name)  # an impossible student is an error now, not after the teacher's hours
    devices.prepare(config.devices)
    data = data or load_data(config)
    judged = _judged(data, split)
    record = runs.Run.open(output) if resume else None
    if record and record.finished:
        return record

    teacher, origin = None, None
    if record and record.record.get("teacher"):
        teacher, origin = teachers.same(record, config, data)
    elif method.distils and not architectures.is_name(config.teacher):
        teacher, origin = teachers.given(config, data)  # before anything is written: it may not be there or not fit
    _check_layers(config, data, teacher)
    if record is None:
        output = output or runs.new_path(root, f"{config.method}-{runs.slug(config.data)}")
        record = runs.Run.create(output, config.model_dump(mode="json"), command)

    if announce is not None:
        announce(data)
    with disk.exclusive(record.path / disk.LOCK, wait=False), _failures_recorded(record):
        _keep_corruption(record, data.corruption)
        if resume:
            record.go_on(command)
        record.update(status="running", error=None, data=_describe(config, data, record))
        if method.distils and teacher is None:
            train = functools.partial(run, root=root, command=command, progress=progress, data=data)
            teacher, origin = teachers.trained(config, data, root, train)
        record.update(teacher=origin and {**origin, "path": record.relative(origin["path"])})
        seed_everything(config.seed, deterministic=not config.xla)
        with devices.distributed(config.devices):
            distiller = make_distiller(config, data, teacher)
            cache = teachers.cache(config, data, distiller, root) if config.teacher_cache else None
            start = time.monotonic()
            checkpoint = checkpoints.Checkpoint(record.path, teachers.digest(config, data))
            fit(distiller, config, data, record.path, checkpoint, progress and progress(_role(record), config), cache)
            seconds = time.monotonic() - start

        student = _plain_student(distiller.student, config, data)
        results = accuracy.evaluate(student, judged, data.class_names, teacher=teacher)
        if data.corruption is not None and data.corruption.n:
            results["memorization"] = {
                role: memorization.evaluate(model, data.train, data.corruption)
                for role, model in {"student": student, "teacher": teacher}.items()
                if model is not None
            }
        with disk.replacing(record.path / runs.STUDENT) as temporary:
            student.save(temporary)
        record.update(
            status="finished",
            finished_at=now(),
            seconds_since_last_start=round(seconds, 1),
            teacher_cache=cache
            and {"folder": record.relative(cache.folder), "hits": cache.hits, "misses": cache.misses},
            student_weights_sha256=inspection.weights_digest(student),
            student_parameters=inspection.count_parameters(student),
            split=split,
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


def _judged(data, split):
    """The images of a split, if there are such."""
    if split not in ("test", "validation") or getattr(data, split) is None:
        raise ValueError(
            f'`split` must be "test" or, where `validation_size` is above 0, "validation". Received: split={split!r}'
        )
    return getattr(data, split)


def _check_layers(config, data, teacher):
    """Layers that don't exist are an error now, not after the teacher's hours."""
    losses = methods.get(config.method).losses(config)
    for role, name, model in (("teacher", config.teacher, teacher), ("student", config.student, None)):
        layers = checks.layer_names(losses, role)
        if layers:
            extractor(model or models.from_name(name, data.num_classes, data.input_shape), layers, role)


def make_distiller(config, data, teacher):
    """The `Distiller` of a resolved configuration, not compiled, with a new student.

    Args:
        config: Resolved `Config`.
        data: `data.ImageData`.
        teacher: Keras model, or None where the student learns alone.
    """
    method = methods.get(config.method)
    with devices.precision(config.precision):
        student = models.from_name(config.student, data.num_classes, data.input_shape, _dropout(config))
        teacher = teachers.remade(teacher, config, data)
    return Distiller(teacher, student, method.losses(config), methods.noises(config), seed=config.seed)


def _dropout(config):
    """The student's own rate: it has none, unlike a network that is trained alone, such as a teacher."""
    return 0.0 if methods.get(config.method).distils else config.dropout


def _plain_student(student, config, data):
    """The student for one device in float32, whatever it was trained on and in."""
    if config.devices == 1 and config.precision == "float32":
        return student
    plain = models.from_name(config.student, data.num_classes, data.input_shape, _dropout(config))
    plain.set_weights(student.get_weights())
    return plain


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
        with disk.replacing(path) as temporary:
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
    return "teacher" if record.path.parent.name == teachers.FOLDER else "student"
