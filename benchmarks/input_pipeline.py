"""Times the input pipeline beside the fastest training step it feeds, in one run: python benchmarks/input_pipeline.py

Batches of 128 shuffled, cropped and flipped 32x32x3 images, and the step of WRN-10-1 trained alone. The ratio is the
share of a step that the pipeline would take if nothing overlapped; Keras prepares batches while the step runs.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, help="batches and steps that are timed, in turn")
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args(arguments)
    import keras
    import numpy as np
    import tensorflow as tf

    import tfnoisekd
    from tfnoisekd.data import Batches, Split

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (10_000, 32, 32, 3), dtype=np.uint8)
    split = Split(images, rng.integers(0, 10, len(images), dtype=np.int64))
    batches = Batches(split, 128, shuffle=True, crop_padding=4, flip=True)
    distiller = tfnoisekd.Distiller(None, tfnoisekd.wide_resnet(10, 1))
    distiller.compile("sgd")
    for index in range(3):  # warm-up
        distiller.train_on_batch(*batches[index])
    loading, stepping = [], []
    for number in range(options.rounds):
        start = time.perf_counter()
        batch = batches[number % len(batches)]
        loaded = time.perf_counter()
        distiller.train_on_batch(*batch)
        loading.append(loaded - start)
        stepping.append(time.perf_counter() - loaded)
    ratio = statistics.median(load / step for load, step in zip(loading, stepping, strict=True))
    print(
        f"batch {1000 * statistics.median(loading):.2f} ms, step {1000 * statistics.median(stepping):.1f} ms (medians)"
    )
    print(f"pipeline / step: {ratio:.4f}, n = {options.rounds}")
    result = {
        "command": " ".join(["python", *sys.argv]),
        "cpu_count": os.cpu_count(),
        "versions": {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__},
        "setting": {"batch_size": 128, "student": "wrn-10-1", "n": options.rounds, "warm_up": 3},
        "seconds_per_batch": loading,
        "seconds_per_step": stepping,
        "median_ratio": ratio,
    }
    if options.output:
        with open(options.output, "w") as file:
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
