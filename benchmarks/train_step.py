"""Times one Hinton step of our Distiller against `keras.distillation.Distiller`, side by side in one run.

    python benchmarks/train_step.py --rounds 20 --steps 1 --output train_step.json

Both get equal models, the same batch, optimizer and compile settings, and are stepped through their own compiled
train function, fed from memory. The rounds are interleaved and each round starts with the other one, so that a busy
machine slows both. Keras gets `LogitsDistillation(loss=KLDivergence())`: its default string loss computes something
else. The ratio is the median of the rounds' own ratios; below 1 ours is faster.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=20, help="timed rounds, each of --steps steps of both")
    parser.add_argument("--steps", type=int, default=1, help="steps a round")
    parser.add_argument("--warm-up", type=int, default=2, help="untimed rounds before")
    parser.add_argument("--teacher", type=size, default=(40, 2), metavar="DEPTH,WIDTH")
    parser.add_argument("--student", type=size, default=(16, 2), metavar="DEPTH,WIDTH")
    parser.add_argument("--output", help="JSON file to write")
    return parser.parse_args(arguments)


def size(text):
    depth, width = (int(part) for part in text.split(","))
    return depth, width


def make_distillers(teacher_size, student_size):
    """Ours and Keras's, each with models of its own, compiled alike."""
    import keras

    import tfnoisekd

    def make_models():
        keras.utils.set_random_seed(0)
        return tfnoisekd.wide_resnet(*teacher_size), tfnoisekd.wide_resnet(*student_size)

    distillers = {
        "tfnoisekd": tfnoisekd.Distiller(*make_models(), losses=tfnoisekd.Hinton(alpha=0.9, temperature=4.0)),
        "keras": keras.distillation.Distiller(
            *make_models(),
            distillation_losses=keras.distillation.LogitsDistillation(
                temperature=4.0, loss=keras.losses.KLDivergence()
            ),
            student_loss_weight=0.1,
        ),
    }
    for distiller in distillers.values():
        distiller.compile(
            optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
    return distillers


def make_step(distiller, images, labels):
    """A function that takes one training step and waits for its end."""
    import tensorflow as tf

    batches = iter(tf.data.Dataset.from_tensors((images, labels)).repeat())
    distiller.make_train_function()
    return lambda: float(distiller.train_function(batches)["loss"])


def measure(steps_of, rounds, steps):
    """Seconds a step: name -> one number a round."""
    seconds = {name: [] for name in steps_of}
    for number in range(rounds):
        names = list(steps_of) if number % 2 == 0 else list(reversed(steps_of))
        for name in names:
            start = time.perf_counter()
            for _ in range(steps):
                steps_of[name]()
            seconds[name].append((time.perf_counter() - start) / steps)
    return seconds


def summarise(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def describe_device():
    import tensorflow as tf

    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return {"gpu": gpus, "cpu": cpu_name(), "cpu_count": os.cpu_count()}


def cpu_name():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main(arguments=None):
    options = parse_arguments(arguments)
    import keras
    import numpy as np
    import tensorflow as tf

    import tfnoisekd

    rng = np.random.default_rng(0)
    images = tf.constant(rng.uniform(size=(options.batch_size, 32, 32, 3)), "float32")
    labels = tf.constant(rng.integers(0, 10, options.batch_size), "int32")
    distillers = make_distillers(options.teacher, options.student)
    steps_of = {name: make_step(distiller, images, labels) for name, distiller in distillers.items()}
    first_losses = {name: step() for name, step in steps_of.items()}
    # Equal models and data: both must compute the same thing before their times may be compared.
    np.testing.assert_allclose(first_losses["tfnoisekd"], first_losses["keras"], rtol=1e-3)
    measure(steps_of, options.warm_up, options.steps)
    seconds = measure(steps_of, options.rounds, options.steps)
    ratios = [ours / theirs for ours, theirs in zip(seconds["tfnoisekd"], seconds["keras"], strict=True)]
    result = {
        "command": " ".join(["python", *sys.argv]),
        "device": describe_device(),
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "tfnoisekd": tfnoisekd.__version__,
        },
        "setting": {
            "teacher": "wrn-{}-{}".format(*options.teacher),
            "student": "wrn-{}-{}".format(*options.student),
            "batch_size": options.batch_size,
            "dtype": "float32",
            "jit_compile": distillers["keras"].jit_compile,
            "n": options.rounds,
            "steps_per_round": options.steps,
            "warm_up_rounds": options.warm_up,
        },
        "first_loss": first_losses,
        "images_per_second": {
            name: summarise([options.batch_size / each for each in values]) for name, values in seconds.items()
        },
        "time_ratio_ours_to_keras": summarise(ratios),
        "seconds_per_step": seconds,
    }
    for name, rate in result["images_per_second"].items():
        print(f"{name:10} {rate['median']:8.1f} images/s   ({rate['min']:.1f} - {rate['max']:.1f})")
    ratio = result["time_ratio_ours_to_keras"]
    print(
        f"time, ours / Keras's: {ratio['median']:.3f}   ({ratio['min']:.3f} - {ratio['max']:.3f}), n = {options.rounds}"
    )
    if options.output:
        with open(options.output, "w") as file:
            json.dump(result, file, indent=2)


if __name__ == "__main__":
    main()
