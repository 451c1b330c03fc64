"""Times one training step of each method, ours against `keras.distillation` and plain PyTorch, side by side in one run.

    python benchmarks/train_step.py --methods hinton,at,sp,rkd,ft --peers keras,torch --rounds 20 \
        --output benchmarks/results/train_step.json

All start from equal weights and see the same batch. Before anything is timed, the first losses must agree to 0.1 %:
those of all peers that compute the same number (Keras's own feature loss is another one). The fickle teacher draws its
dropout, so there the loss and the variance of the teacher's logits must agree as two draws do. The rounds are
interleaved, each in the reverse order of the last, so that a busy machine slows all; TensorFlow and PyTorch run in
processes of their own, of which only one works at a time. Written to `benchmarks/results/train_step.json`, the result
also goes into the table of `benchmarks/README.md`.
"""

import argparse
import importlib.util
import json
import math
import os
import platform
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import report
import workers

TOLERANCE = 1e-3  # of first losses
DRAWS_TOLERANCE = 0.25  # of first losses and variances that depend on random draws
IDLE = 0.85  # share of the processors' time that the steps get on an otherwise idle machine, at least
MODULES = {"keras": "keras_peers", "torch": "torch_peer"}
NO_TORCH = "PyTorch is not installed: `pip install torch`, or leave it out with `--peers keras`"


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", type=names_of(report.METHODS), default=list(report.METHODS), metavar="NAME,...")
    parser.add_argument("--peers", type=names_of(MODULES), default=list(MODULES), metavar="keras,torch")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=20, help="timed rounds, each of one step of everyone")
    parser.add_argument("--warm-up", type=int, default=2, help="untimed rounds before")
    parser.add_argument("--teacher", type=size, default=(40, 2), metavar="DEPTH,WIDTH")
    parser.add_argument("--student", type=size, default=(16, 2), metavar="DEPTH,WIDTH")
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args(arguments)
    if "torch" in options.peers and not importlib.util.find_spec("torch"):
        parser.error(NO_TORCH)
    return options


def size(text):
    depth, width = (int(part) for part in text.split(","))
    return depth, width


def names_of(known):
    """A parser of comma-separated names."""

    def parse(text):
        names = text.split(",")
        if not set(names) <= set(known):
            raise argparse.ArgumentTypeError(f"must be some of {','.join(known)}")
        return [name for name in known if name in names]

    return parse


def check_agreement(first):
    """Whether all computed the same thing before their times are compared; Keras's own feature losses do not."""
    same = {name: each for name, each in first.items() if name != "keras_feature"}
    ours = first["tfnoisekd"]
    random = ours["teacher_variance"] is not None
    for name, each in same.items():
        for key, value in each.items():
            tolerance = DRAWS_TOLERANCE if random else TOLERANCE
            if value is not None and not math.isclose(value, ours[key], rel_tol=tolerance):
                raise SystemExit(f"No comparison: the first {key} of {name} is {value}, ours {ours[key]}")


def measure(workers_of, rounds):
    """One step of everyone in each round: peer -> its timings, one for each round."""
    timings = {name: [] for name in workers_of}
    for number in range(rounds):
        names = list(workers_of) if number % 2 == 0 else list(reversed(workers_of))
        for name in names:
            timings[name].append(workers_of[name].ask("step", name))
    return timings


def measure_method(method, everyone, options):
    """First losses, timings and ratios of one method."""
    first, workers_of = {}, {}
    for worker in everyone:
        found = worker.ask("prepare", method)
        first.update(found)
        workers_of.update(dict.fromkeys(found, worker))
    check_agreement(first)
    measure(workers_of, options.warm_up)
    timings = measure(workers_of, options.rounds)
    for name, steps in timings.items():
        if not all(math.isfinite(step["loss"]) for step in steps):
            raise SystemExit(f"No comparison: the loss of {name} is not finite any more")
    seconds, processor = (
        {name: [step[key] for step in steps] for name, steps in timings.items()} for key in ("seconds", "cpu_seconds")
    )
    compared = report.compare(seconds, options.batch_size)
    median = {name: report.summarise(values)["median"] for name, values in seconds.items()}
    return {"first": first, **compared, "median_seconds": median, "seconds": seconds, "cpu_seconds": processor}


def describe_setting(options):
    return {
        "teacher": "wrn-{}-{}".format(*options.teacher),
        "student": "wrn-{}-{}".format(*options.student),
        "batch_size": options.batch_size,
        "dtype": "float32",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "n": options.rounds,
        "warm_up_rounds": options.warm_up,
        "environment": workers.ENVIRONMENT,
    }


def cpu_name():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def run(options):
    """The whole result, as it is written to JSON."""
    setting = describe_setting(options)
    known = {**setting, "teacher": options.teacher, "student": options.student, "peers": options.peers}
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        everyone = [stack.enter_context(workers.Worker("keras_peers", known, folder))]
        device = {"cpu": cpu_name(), "cpu_count": os.cpu_count(), "gpu": everyone[0].info["gpu"]}
        versions = {"python": platform.python_version(), **everyone[0].info["versions"]}
        if "torch" in options.peers:
            if device["gpu"]:
                raise SystemExit(
                    "PyTorch runs on the CPU here: hide the GPU with CUDA_VISIBLE_DEVICES=, or --peers keras"
                )
            everyone.append(stack.enter_context(workers.Worker("torch_peer", known, folder)))
            info = everyone[1].info
            versions.update(info["versions"])
            setting.update(torch_memory_format=info["memory_format"], torch_trial_cpu_seconds=info["trial_cpu_seconds"])
        methods = {method: measure_method(method, everyone, options) for method in options.methods}
    command = " ".join(["python", *sys.argv])
    return {"command": command, "device": device, "versions": versions, "setting": setting, "methods": methods}


def main(arguments=None):
    options = parse_arguments(arguments)
    os.environ.update(workers.ENVIRONMENT)
    result = run(options)
    print(f"{report.conditions(result)}\n\n{report.table(result)}")
    if report.share_of_machine(result) < IDLE:
        print("\nOther processes took a part of the machine: do not publish this, measure again when it is idle.")
    if options.output:
        Path(options.output).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        if Path(options.output).resolve() == report.RESULT:
            report.write()


if __name__ == "__main__":
    main()
