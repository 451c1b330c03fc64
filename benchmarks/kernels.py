"""What oneDNN's kernels, the default of the command line, give on a CPU: python benchmarks/kernels.py

Two processes take training steps of one network in turn, one with TF_ENABLE_ONEDNN_OPTS=1 and the other with 0.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

import workers

KERNELS = {"onednn": "1", "eigen": "0"}


class Peers(workers.Peers):
    """The training step of a Wide ResNet, on one batch that never changes.

    Args:
        kernels: One of `KERNELS`.
        threads: Number of threads of TensorFlow.
    """

    def __init__(self, kernels, threads):
        os.environ.update(workers.ENVIRONMENT)
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = KERNELS[kernels]
        import keras
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        self.kernels, self.info = kernels, {"tensorflow": tf.__version__, "keras": keras.__version__}

    def make_steps(self, network):
        import keras
        import numpy as np

        from tfnoisekd import models

        keras.utils.set_random_seed(0)
        model = models.wide_resnet(*map(int, network.split("-")))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(1e-3, momentum=0.9, nesterov=True), loss)
        rng = np.random.default_rng(0)
        batch = rng.random((128, 32, 32, 3), dtype=np.float32), rng.integers(0, 10, 128)
        return {self.kernels: (lambda: float(model.train_on_batch(*batch)), None)}


def measure(network, everyone, rounds):
    """Seconds of every step, by kernels, and their ratios in each round: above 1 oneDNN is faster."""
    losses = {name: worker.ask("prepare", network)[name]["loss"] for name, worker in everyone.items()}
    assert abs(losses["onednn"] / losses["eigen"] - 1) < 1e-3, losses
    taken = [{name: worker.ask("step", name) for name, worker in everyone.items()} for _ in range(rounds + 1)][1:]
    found = {"rounds": taken}
    for kind in ("seconds", "cpu_seconds"):
        ratios = [each["eigen"][kind] / each["onednn"][kind] for each in taken]
        found[f"ratio_of_{kind}"] = {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
    return found


def main(arguments=None):
    """Measures, prints, and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["10-1", "16-2"], help="depth and width of each")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args(arguments)
    result = {"command": " ".join(["python", *sys.argv]), "threads": options.threads, "networks": {}}
    with ExitStack() as stack:
        one, other = (stack.enter_context(workers.Worker("kernels", name, options.threads)) for name in KERNELS)
        result["versions"] = {"python": platform.python_version(), **one.info}
        result["device"] = f"{platform.machine()}, {os.cpu_count()} cores"
        for network in options.networks:
            found = measure(network, {"onednn": one, "eigen": other}, options.rounds)
            result["networks"][network] = found
            speeds = {name: [128 / each[name]["seconds"] for each in found["rounds"]] for name in KERNELS}
            shown = ", ".join(f"{name} {statistics.median(speeds[name]):.0f} images/s" for name in KERNELS)
            ratios = (found[f"ratio_of_{kind}"] for kind in ("seconds", "cpu_seconds"))
            clock, processor = (f"{each['median']:.2f} ({each['min']:.2f} to {each['max']:.2f})" for each in ratios)
            print(f"wrn-{network}: {shown}; times as fast {clock}, by processor time {processor}")
    if options.output:
        Path(options.output).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
