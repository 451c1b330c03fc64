"""Times PGD with several restarts against as many full calls of cleverhans' own, side by side in one run.

    python benchmarks/attack.py --data npz:cifar10.npz --model undefended=plain.keras --model defended=sr.keras --n 500

Both attack the same images of the test part in batches of the same size, from the same random starts, with a compiled
model; cleverhans gets its starts for nothing, and runs every image in every restart. The rounds are interleaved and
each starts with the other one, so that a busy machine slows both. The ratio is the median of the rounds' own ratios;
above 1 ours is faster. Without `--model`, two networks are trained briefly: one plainly, one under Gaussian noise.
"""

import argparse
import functools
import json
import os
import platform
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Time that passes, and time that the process computes: on a CPU the second says more where other work is going on.
CLOCKS = {"seconds": time.perf_counter, "cpu_seconds": time.process_time}


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits", help="a name that `tfnoisekd.data.load` knows")
    parser.add_argument("--test-size", type=int, default=300, help="images held out, where the data has no test part")
    parser.add_argument("--model", action="append", type=named_path, metavar="NAME=FILE.keras", default=[])
    parser.add_argument("--size", type=pair, default=(16, 2), metavar="DEPTH,WIDTH", help="of networks trained here")
    parser.add_argument("--epochs", type=int, default=5, help="of networks trained here")
    parser.add_argument("--stddev", type=float, default=0.3, help="of the noise on the images of the defended one")
    parser.add_argument("--n", type=int, default=200, help="images to attack")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--norm", choices=["linf", "l2"], default="linf")
    parser.add_argument("--epsilon", default="0.031")
    parser.add_argument("--step-size", default="0.003")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--output", help="JSON file to write")
    return parser.parse_args(arguments)


def pair(text):
    depth, width = (int(part) for part in text.split(","))
    return depth, width


def named_path(text):
    name, _, path = text.partition("=")
    if not path:
        raise argparse.ArgumentTypeError(f"must be NAME=FILE.keras, received {text!r}")
    return name, path


def make_models(options, data):
    """Name -> model: those that were given, else two that are trained here."""
    from tfnoisekd import models

    if options.model:
        return {name: models.load(path) for name, path in options.model}
    return {
        "undefended": train(options, data, stddev=0.0),
        "defended": train(options, data, stddev=options.stddev),
    }


def train(options, data, stddev):
    import keras

    import tfnoisekd

    keras.utils.set_random_seed(0)
    model = tfnoisekd.wide_resnet(*options.size, num_classes=data.num_classes, input_shape=data.input_shape)
    trained = keras.Sequential([keras.layers.GaussianNoise(stddev), model])
    trained.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    trained.fit(data.train.images / 255.0, data.train.labels, batch_size=64, epochs=options.epochs, verbose=0)
    return model


def make_ours(model, images, labels, settings, options):
    """A function that attacks all images and says which of them are robust."""
    from tfnoisekd.evaluation import adversarial

    names = ("norm", "epsilon", "step_size", "restarts")
    chosen = {name: getattr(settings, name) for name in names} | {"batch_size": options.batch_size}

    def attack(steps=options.steps):
        _, success = adversarial.attack(model, images, labels, steps=steps, **chosen)
        return ~success

    return attack


def make_theirs(model, images, labels, settings, options):
    """The same by full calls of cleverhans, whose random draw is replaced by that of our starts."""
    import numpy as np
    import tensorflow as tf
    from cleverhans.tf2.attacks import projected_gradient_descent as module

    from tfnoisekd.evaluation.attacks import starts

    numbers, order = np.arange(len(images)), {"linf": np.inf, "l2": 2}[settings.norm]
    drawn = [starts.draw(images, numbers, np.full(len(images), each), settings) for each in range(settings.restarts)]
    call = functools.partial(model, training=False)
    predict = tf.function(call, reduce_retracing=True)

    def attack(steps=options.steps):
        wrong = []
        for start in drawn:
            for at in range(0, len(images), options.batch_size):
                rows = slice(at, at + options.batch_size)
                clean, truth = tf.constant(images[rows]), tf.constant(labels[rows])
                module.random_lp_vector = always(tf.constant(start[rows] - images[rows]))
                attacked = module.projected_gradient_descent(
                    call, clean, settings.epsilon, settings.step, steps, order, None, 0.0, 1.0, truth, rand_init=1.0
                )
                wrong.append(predict(attacked).numpy().argmax(axis=1) != labels[rows])
        clean_wrong = model.predict(images, batch_size=options.batch_size, verbose=0).argmax(axis=1) != labels
        return ~(np.concatenate(wrong).reshape(len(drawn), -1).any(axis=0) | clean_wrong)

    return attack


def always(value):
    return lambda *_, **__: value


def compare(model, images, labels, settings, options):
    """What one model's attacks take, and whether they find the same."""
    attacks = {
        "tfnoisekd": make_ours(model, images, labels, settings, options),
        "cleverhans": make_theirs(model, images, labels, settings, options),
    }
    for attack in attacks.values():
        attack(steps=1)  # compiles
    times, robust = {name: {clock: [] for clock in CLOCKS} for name in attacks}, {}
    for number in range(options.rounds):
        for name in list(attacks)[:: 1 if number % 2 == 0 else -1]:
            starts = {clock: read() for clock, read in CLOCKS.items()}
            robust[name] = attacks[name]()
            for clock, read in CLOCKS.items():
                times[name][clock].append(read() - starts[clock])
    return {
        "n": len(images),
        "parameters": model.count_params(),
        "clean_accuracy": float((model.predict(images, verbose=0).argmax(axis=1) == labels).mean()),
        "robust_accuracy": {name: float(found.mean()) for name, found in robust.items()},
        "differing_examples": int((robust["tfnoisekd"] != robust["cleverhans"]).sum()),
        "times": times,
        "speed_ratio": {clock: ratio(times["cleverhans"][clock], times["tfnoisekd"][clock]) for clock in CLOCKS},
    }


def ratio(theirs, ours):
    rounds = [their / our for their, our in zip(theirs, ours, strict=True)]
    return {"median": statistics.median(rounds), "min": min(rounds), "max": max(rounds), "rounds": rounds}


def describe_device():
    import tensorflow as tf

    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    try:
        with open("/proc/cpuinfo") as file:
            cpu = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor()
    return {"gpu": gpus, "cpu": cpu, "cpu_count": os.cpu_count()}


def main(arguments=None):
    options = parse_arguments(arguments)
    import importlib.metadata

    import numpy as np

    from tfnoisekd import data
    from tfnoisekd.evaluation import examples
    from tfnoisekd.evaluation.attacks.settings import Settings, parse_length

    loaded = data.load(options.data, validation_size=0, test_size=options.test_size)
    settings = Settings(
        options.norm, parse_length(options.epsilon), parse_length(options.step_size), options.restarts, 0, "final"
    )
    chosen = examples.choose(loaded.test.images, loaded.test.labels, limit=min(options.n, len(loaded.test)))
    images = (chosen.images / np.float32(255)).astype("float32")
    load_before = os.getloadavg()[0]
    found = {
        name: compare(model, images, chosen.labels, settings, options)
        for name, model in make_models(options, loaded).items()
    }
    names = ("tensorflow", "keras", "cleverhans", "tfnoisekd")
    result = {
        "command": " ".join(["python", *sys.argv]),
        "device": describe_device() | {"load_average": [load_before, os.getloadavg()[0]]},
        "versions": {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names},
        "setting": {
            "data": options.data,
            "indices_sha256": chosen.digest,
            "norm": settings.norm,
            "epsilon": settings.epsilon,
            "step_size": settings.step,
            "steps": options.steps,
            "restarts": settings.restarts,
            "batch_size": options.batch_size,
            "rounds": options.rounds,
        },
        "models": found,
    }
    for name, row in found.items():
        wall, cpu = (row["speed_ratio"][clock] for clock in CLOCKS)
        print(f"{name}: clean {row['clean_accuracy']:.1%}, robust {row['robust_accuracy']['tfnoisekd']:.1%}, ", end="")
        print(f"n = {row['n']}, {row['differing_examples']} differ; times as fast: {wall['median']:.2f} ", end="")
        print(f"({wall['min']:.2f} to {wall['max']:.2f}), by CPU time {cpu['median']:.2f}")
    if options.output:
        with open(options.output, "w") as file:
            json.dump(result, file, indent=2)


if __name__ == "__main__":
    main()
