"""Cost: size, latency, throughput and memory of an exported file, on the runtime that a device uses."""

import json
import math
import os
import subprocess
import sys
import tempfile
from numbers import Real
from pathlib import Path

import numpy as np

from tfnoisekd.evaluation import prediction
from tfnoisekd.export import files
from tfnoisekd.export.runtimes import RUNTIMES

THREADS, REPETITIONS, SECONDS, BATCH_SIZE, TIMEOUT = (1, 2), 50, 1.0, 64, 600.0
# The child measures the processor, and says nothing but its result.
ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}


class MeasurementFailed(RuntimeError):
    """The process that measures a file failed, or took too long."""


def measure(
    format,
    path,
    images,
    *,
    threads=THREADS,
    repetitions=REPETITIONS,
    seconds=SECONDS,
    batch_size=BATCH_SIZE,
    timeout=TIMEOUT,
):
    """What a file costs, measured in a fresh process for each number of threads.

    The process loads the runtime of the file and nothing else, so that neither the threads nor the memory of this one
    count: for TFLite and ONNX it does not import TensorFlow. Processors that others use too make every time longer,
    which `cores_used` well below the number of threads shows on one thread.

    Args:
        format: "tflite", "onnx" or "saved_model".
        path: The file, or the folder of a SavedModel.
        images: Array (n, height, width, channels), uint8 or float in [0, 1]; the first is the one whose latency is
            measured, the first `batch_size` the batch.
        threads: Numbers of threads that an inference may use, each at least 1. Memory is that of the first.
        repetitions: Inferences of one image that count, at least.
        seconds: Seconds that those, and likewise the batches, take together, at least.
        batch_size: Images per batch for the throughput; None leaves that out.
        timeout: Seconds after which a process is given up.

    Returns:
        A dict ready for JSON: `format`; `bytes`, the size on disk; `runtime`, `loaded`, `input_dtype`, `batch`,
        `process_peak_bytes` and `peak_memory_bytes` as in `stopwatch.measure`; `timings`, for each number of threads
        `threads`, `median_ms`, `p95_ms`, `n`, `cores_used`, `images_per_second` and `throughput_batch`.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        MeasurementFailed: If the process fails, such as for images that the file does not take, or takes too long.
        ValueError: If an argument is not as described.

    Example:

    >>> found = measure("tflite", "student.tflite", dataset.test.images, threads=(1,))
    >>> found["timings"][0]["median_ms"], found["peak_memory_bytes"] / 2**20
    """
    threads = (threads,) if isinstance(threads, int) else tuple(threads)
    _check(format, Path(path), threads, repetitions, seconds, batch_size, timeout)
    prediction.check_images(images)
    request = {"format": format, "path": str(Path(path).resolve()), "repetitions": repetitions}
    request |= {"seconds": seconds, "batch_size": batch_size}
    images = np.asarray(images[: batch_size or 1])
    each = [_in_a_process({**request, "threads": number}, images, timeout) for number in threads]
    timings = [found.pop("timing") for found in each]
    return {"format": format, "bytes": files.size_on_disk(Path(path)), **each[0], "timings": timings}


def of_model(model, images, format="tflite", **options):
    """What a Keras model costs that has no file, such as the teacher: `measure` of a float32 file made for it.

    Args:
        model: A `keras.Model`, as `export.FORMATS[format]` takes it.
        images: As in `measure`; the file is verified on the first 8.
        format: As in `measure`.
        options: The others of `measure`.

    Returns:
        What `measure` returns.

    Raises:
        As the export and `measure` do.
    """
    from tfnoisekd.export import FORMATS  # which may import this module

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        FORMATS[format](model, path, images[:8])
        return measure(format, path, images, **options)


def _in_a_process(request, images, timeout):
    """What `stopwatch.measure` finds in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "images.npy", images)
        (Path(folder) / "request.json").write_text(json.dumps(request), encoding="utf-8")
        # With the search path of this process, so that the child imports this package and no file of its own folder.
        code = f"import sys; sys.path[:] = {sys.path!r}; from tfnoisekd.export import stopwatch; "
        command = [sys.executable, "-c", f"{code}stopwatch.main({folder!r})"]
        environment = {**os.environ, **ENVIRONMENT}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            raise MeasurementFailed(
                f"`timeout` must leave time to measure {request['path']} on {request['threads']} threads. Received: "
                f"timeout={timeout}; raise it, or lower `seconds`, `repetitions` or `batch_size`."
            ) from None
        if done.returncode:
            raise MeasurementFailed(_failure(request, done))
        return json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))


def _failure(request, done):
    said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing on its standard error"]
    return (
        f"`path` must be a file of format {request['format']} that runs on `images`. Received: {request['path']}, "
        f"whose process ended with exit code {done.returncode}: {said[-1][:300]}"
    )


def _check(format, path, threads, repetitions, seconds, batch_size, timeout):
    files.check_exported(format, path, RUNTIMES)
    if not threads or not all(map(_is_count, threads)) or len(set(threads)) < len(threads):
        raise ValueError(f"`threads` must be different integers of at least 1. Received: threads={threads}")
    for name, value in (("repetitions", repetitions), ("batch_size", batch_size)):
        if not _is_count(value) and not (name == "batch_size" and value is None):
            raise ValueError(f"`{name}` must be an integer of at least 1. Received: {name}={value!r}")
    for name, value in (("seconds", seconds), ("timeout", timeout)):
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < math.inf:
            raise ValueError(f"`{name}` must be a number of seconds above 0. Received: {name}={value!r}")


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
