"""Times the making of corrupted images, and the evaluation of a network on them: python benchmarks/corruptions.py

All 19 corruptions at all 5 severities of 32x32 crops of scikit-learn's two photographs, so that it needs no download:
each corruption in one process, then all of them as `evaluate` makes them, then `evaluate` itself with a network.
Memory is the peak resident size: of this process, and, while it makes images only, of the largest worker.
"""

import argparse
import json
import os
import platform
import resource
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000, help="images, each corrupted in 95 ways")
    parser.add_argument("--workers", type=int, help="processes that make images; one a core by default")
    parser.add_argument("--student", default="16,2", help="depth and width of the network; '' to make images only")
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args(arguments)
    from tfnoisekd.evaluation.corruptions import NAMES, SEVERITIES, generated
    from tfnoisekd.evaluation.corruptions.parallel import cores

    images = crops(options.images)
    sets = [(name, severity) for name in NAMES for severity in SEVERITIES]
    single = {name: milliseconds(name, images[:50]) for name in NAMES}
    workers = options.workers or cores()
    source = generated.Generated(images, range(len(images)), 0, None, workers)
    start = time.perf_counter()
    made = sum(len(chunk) for chunk in source.chunks(sets, 256))
    seconds = time.perf_counter() - start
    for name, each in single.items():
        print(f"{name:20} {each:6.2f} ms an image, one process")
    print(f"{made:,} images in {seconds:.1f} s, {workers} processes: {1000 * seconds / made:.2f} ms an image")
    result = {
        "command": " ".join(["python", *sys.argv]),
        "cpu_count": os.cpu_count(),
        "versions": {"python": platform.python_version(), **source.versions},
        "setting": {"n": len(images), "sets": len(sets), "image_shape": list(images.shape[1:]), "workers": workers},
        "milliseconds_per_image": single,
        "generation_seconds": seconds,
        "generation_peak_mib": {"this": peak_mib(resource.RUSAGE_SELF), "worker": peak_mib(resource.RUSAGE_CHILDREN)},
    }
    if options.student:
        result |= evaluated(images, options.student, workers)
        print(f"with the network {result['evaluation_seconds']:.1f} s, peak memory {result['evaluation_peak_mib']} MiB")
    if options.output:
        with open(options.output, "w") as file:
            json.dump(result, file, indent=1)


def crops(count):
    """32x32 images: random crops of scikit-learn's photographs, of several sizes."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photographs, rng = load_sample_images().images, np.random.default_rng(0)
    found = np.empty((count, 32, 32, 3), np.uint8)
    for index in range(count):
        photograph, side = photographs[index % 2], int(rng.integers(64, 257))
        top, left = (int(rng.integers(length - side)) for length in photograph.shape[:2])
        found[index] = Image.fromarray(photograph[top : top + side, left : left + side]).resize((32, 32))
    return found


def milliseconds(name, images):
    """Milliseconds to corrupt one image, the mean over severities, after a warm-up."""
    from tfnoisekd.evaluation.corruptions import SEVERITIES, corrupt

    seconds = 0.0
    for severity in SEVERITIES:
        corrupt(images[:2], name, severity)
        start = time.perf_counter()
        corrupt(images, name, severity)
        seconds += time.perf_counter() - start
    return 1000 * seconds / len(images) / len(SEVERITIES)


def evaluated(images, student, workers):
    """Seconds and memory of `evaluate` with a fresh network, compilation included."""
    import keras
    import numpy as np
    import tensorflow as tf

    from tfnoisekd.data import Split
    from tfnoisekd.evaluation.corruptions import evaluate
    from tfnoisekd.models import wide_resnet

    split = Split(images, np.arange(len(images)) % 10)
    network = wide_resnet(*map(int, student.split(",")))
    start = time.perf_counter()
    results = evaluate(network, split, [str(label) for label in range(10)], workers=workers)
    assert results["n"] == len(images)
    return {
        "student": network.name,
        "evaluation_seconds": time.perf_counter() - start,
        "evaluation_peak_mib": peak_mib(resource.RUSAGE_SELF),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def peak_mib(who):
    """Peak resident memory so far in MiB, of this process or of the largest worker that has ended."""
    return resource.getrusage(who).ru_maxrss // (1024**2 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
