"""Stopwatch: what a file costs, seen from inside a process that has loaded its runtime and nothing else.

`cost.measure` starts such a process for each file. Whatever this module imports is part of that process, so it imports
neither Keras nor TensorFlow; TensorFlow is loaded for a SavedModel only.
"""

import importlib
import importlib.metadata
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from tfnoisekd.export import files
from tfnoisekd.export.runtimes import open_file

# format -> (module, distribution), of which the first that is installed runs the file, as in `runtimes`.
RUNTIMES = {
    "tflite": (("ai_edge_litert.interpreter", "ai-edge-litert"), ("tensorflow", "tensorflow")),
    "onnx": (("onnxruntime", "onnxruntime"),),
    "saved_model": (("tensorflow", "tensorflow"),),
}
FRAMEWORKS = {"ai_edge_litert", "jax", "keras", "onnxruntime", "tensorflow", "torch"}
WARM_UP, BATCHES = 10, 3  # inferences before the first that counts; batches that count, at least


def main(folder):
    """Answers <folder>/request.json, the arguments of `measure`, by <folder>/result.json; images.npy has the images."""
    folder = Path(folder)
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    result = measure(images=np.load(folder / "images.npy"), **request)
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


def measure(format, path, images, threads, repetitions, seconds, batch_size):
    """Latency, throughput and memory of a file in this process.

    Args:
        The arguments are those of `cost.measure`, with one number of threads.

    Returns:
        A dict ready for JSON: `runtime` (name and version); `loaded`, which frameworks this process has loaded;
        `input_dtype` and `batch` of the file; `process_peak_bytes` and `peak_memory_bytes`, the highest resident size
        after inferences of one image, and how much of it came after the runtime's import (both None where the system
        does not say); and `timing`: `threads`, what `latency` returns, `cores_used` meanwhile and, unless batch_size is
        None, what `throughput` returns.
    """
    with files.quiet():
        runtime = load_runtime(format, threads)
    before = peak_memory()
    file = open_file(format, path, threads)
    wall, processor = time.perf_counter(), time.process_time()
    timing = {"threads": threads, **latency(file, images[0], repetitions, seconds)}
    timing["cores_used"] = (time.process_time() - processor) / (time.perf_counter() - wall)
    after = peak_memory()  # before any batch, whose memory grows with its size
    if batch_size is not None:
        timing |= throughput(file, images, batch_size, seconds)
    return {
        "runtime": runtime,
        "loaded": sorted(FRAMEWORKS & set(sys.modules)),
        "input_dtype": file.input_dtype,
        "batch": file.batch,
        "process_peak_bytes": after,
        "peak_memory_bytes": None if after is None else after - before,
        "timing": timing,
    }


def load_runtime(format, threads):
    """Imports the runtime of a format, on the given number of threads, and returns {"name", "version"}."""
    for module, distribution in RUNTIMES[format]:
        try:
            loaded = importlib.import_module(module)
        except ImportError:
            continue
        if module == "tensorflow":  # one setting for the whole process, and only before its first operation
            loaded.config.threading.set_intra_op_parallelism_threads(threads)
            loaded.config.threading.set_inter_op_parallelism_threads(1)
        return {"name": distribution, "version": _version(distribution, loaded)}
    raise ImportError(
        f"`format` must be one whose runtime is installed. Received: format={format!r}; "
        f"pip install {RUNTIMES[format][0][1]}"
    )


def latency(file, image, repetitions, seconds, clock=time.perf_counter):
    """How long one image takes that lies ready in the file's own type: a warm-up, then `invoke` and nothing else.

    Args:
        file: A `runtimes.Runtime`.
        image: Array (height, width, channels).
        repetitions: Inferences that count, at least.
        seconds: How long those take together, at least; the warm-up takes a tenth.
        clock: Function that returns seconds.

    Returns:
        `median_ms`, `p95_ms` (the 95th percentile, linearly interpolated) and `n`, the number of inferences.
    """
    file.prepare(image)
    _repeat(file.invoke, WARM_UP, seconds / 10, clock)
    times = _repeat(file.invoke, repetitions, seconds, clock)
    return {
        "median_ms": 1000 * statistics.median(times),
        "p95_ms": 1000 * float(np.percentile(times, 95)),
        "n": len(times),
    }


def throughput(file, images, batch_size, seconds, clock=time.perf_counter):
    """Images per second in batches, from images as they are to outputs as they are used, so encoding is included.

    Args:
        file: A `runtimes.Runtime`; one of a fixed batch size takes its own.
        images: Array (n, height, width, channels); repeated where n is below the batch size.
        batch_size: Images per batch.
        seconds: How long all batches that count take together, at least.
        clock: Function that returns seconds.

    Returns:
        `images_per_second`, from the median of the batches, and `throughput_batch`, the images per inference.
    """
    batch = images[np.arange(batch_size) % len(images)]
    file.run(batch, batch_size)
    times = _repeat(lambda: file.run(batch, batch_size), BATCHES, seconds, clock)
    return {
        "images_per_second": batch_size / statistics.median(times),
        "throughput_batch": file.batch or batch_size,
    }


def _repeat(call, repetitions, seconds, clock):
    """The time of each call: as many calls as asked for, and as many more as fill the seconds."""
    times, total = [], 0.0
    while len(times) < repetitions or total < seconds:
        start = clock()
        call()
        times.append(clock() - start)
        total += times[-1]
    return times


def peak_memory():
    """The highest resident size of this process so far, in bytes; None where the system does not say (Windows).

    On Linux not by getrusage: its ru_maxrss begins at the size of the process that started this one, which is larger.
    """
    if sys.platform.startswith("linux"):
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes everywhere but on macOS


def _version(distribution, module):
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:  # tensorflow-cpu, onnxruntime-gpu and the like
        return getattr(module, "__version__", None)
