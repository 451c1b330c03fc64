"""What exported files cost: int8 against float32, and the student against its teacher, side by side in one run.

    python benchmarks/export.py --rounds 10 --output benchmarks/results/export.json

Each file is measured by `tfnoisekd.export.cost` in processes of its own. The rounds are interleaved, each in the
reverse order of the last, and the ratios are those within a round, so that a busy machine slows all. Weights are random
unless `--model` and `--teacher-model` name files, and the images are noise: size, latency and memory depend on neither,
and nothing is said of accuracy.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import report

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

IDLE = 0.85  # share of a core that one thread gets on an otherwise idle machine, at least
# Name -> (whose, format, quantisation).
FILES = {
    "teacher, tflite": ("teacher", "tflite", "none"),
    "student, tflite": ("student", "tflite", "none"),
    "student, tflite int8": ("student", "tflite", "int8"),
    "student, onnx": ("student", "onnx", "none"),
}
# What is compared: (name, reference, the largest ratio of bytes, of the latency of one thread, that is aimed at).
RATIOS = (
    ("student, tflite int8", "student, tflite", 0.30, 0.5),
    ("student, tflite", "teacher, tflite", None, None),
    ("student, tflite int8", "teacher, tflite", None, None),
)


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", default="16,2", metavar="DEPTH,WIDTH")
    parser.add_argument("--teacher", default="40,2", metavar="DEPTH,WIDTH")
    parser.add_argument("--model", help="a trained student (.keras) in place of --student")
    parser.add_argument("--teacher-model", help="a trained teacher (.keras) in place of --teacher")
    parser.add_argument("--rounds", type=int, default=10, help="each measures every file once")
    parser.add_argument("--seconds", type=float, default=1.0, help="at least, for the latency, and for the throughput")
    parser.add_argument("--repetitions", type=int, default=50, help="inferences of one image in a round, at least")
    parser.add_argument("--batch-size", type=int, default=64, help="of the throughput")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args(arguments)
    if 1 not in options.threads or options.rounds < 1:
        parser.error("--threads must have 1 among them, and --rounds must be at least 1")
    return options


def make_models(options):
    """The networks by name; teacher and student must take the same images."""
    import keras

    from tfnoisekd import models

    keras.utils.set_random_seed(0)
    found = {}
    for name, path, size in (
        ("teacher", options.teacher_model, options.teacher),
        ("student", options.model, options.student),
    ):
        found[name] = models.load(path) if path else models.wide_resnet(*map(int, size.split(",")))
    if found["teacher"].input_shape != found["student"].input_shape:
        raise SystemExit("The teacher and the student must take images of the same shape")
    return found


def write_files(networks, folder, images):
    """Exports each file: name -> (format, path)."""
    from tfnoisekd import export

    paths = {}
    for number, (name, (role, format, quantize)) in enumerate(FILES.items()):
        path, more = Path(folder) / str(number), {}
        if quantize != "none":  # on noise and random weights the classes are any: 0.999 lets them change
            more = {"quantize": quantize, "representative": images[8:].copy(), "accuracy_drop": 0.999}
        export.FORMATS[format](networks[role], path, images[:8], **more)
        paths[name] = format, path
    return paths


def measure(paths, images, options):
    """Every file once in each round: name -> what `cost.measure` returns, one for each round."""
    from tfnoisekd.export import cost

    settings = {"threads": options.threads, "repetitions": options.repetitions, "seconds": options.seconds}
    rounds = {name: [] for name in paths}
    for number in range(options.rounds):
        for name in paths if number % 2 == 0 else reversed(paths):
            rounds[name].append(cost.measure(*paths[name], images, batch_size=options.batch_size, **settings))
    return rounds


def of_threads(measured, threads, key):
    return next(timing[key] for timing in measured["timings"] if timing["threads"] == threads)


def compare(rounds):
    """Ratios of bytes, and of single-thread latencies in each round with their summary; below 1 is less."""
    found = []
    for name, reference, most_bytes, most_latency in RATIOS:
        pairs = zip(rounds[name], rounds[reference], strict=True)
        latencies = [of_threads(a, 1, "median_ms") / of_threads(b, 1, "median_ms") for a, b in pairs]
        size = rounds[name][0]["bytes"] / rounds[reference][0]["bytes"]
        latency = report.summarise(latencies)
        found.append(
            {
                "file": name,
                "reference": reference,
                "bytes": {"ratio": size, "target": most_bytes, "met": met(size, most_bytes)},
                "latency": {
                    **latency,
                    "rounds": latencies,
                    "target": most_latency,
                    "met": met(latency["median"], most_latency),
                },
            }
        )
    return found


def met(value, most):
    return None if most is None else value <= most


def summarise(rounds, threads):
    """Each file over all rounds: bytes, memory, and for each number of threads the medians of the rounds."""
    found = {}
    for name, measured in rounds.items():
        found[name] = {key: measured[0][key] for key in ("format", "bytes", "runtime")}
        memory = [each["peak_memory_bytes"] for each in measured]
        found[name]["peak_memory_bytes"] = None if None in memory else report.summarise(memory)["median"]
        found[name]["timings"] = [
            {"threads": number}
            | {
                key: report.summarise([of_threads(each, number, key) for each in measured])["median"]
                for key in ("median_ms", "p95_ms", "images_per_second", "cores_used")
            }
            for number in threads
        ]
    return found


def run(options):
    """The whole result, as it is written to JSON."""
    import numpy as np

    from tfnoisekd.export import macs
    from tfnoisekd.provenance import provenance

    networks = make_models(options)
    counted = {role: macs.count(network) for role, network in networks.items()}
    shape = (max(64, options.batch_size), *networks["student"].input_shape[1:])
    images = np.random.default_rng(0).integers(0, 256, shape).astype("uint8")
    with tempfile.TemporaryDirectory() as folder:
        rounds = measure(write_files(networks, folder, images), images, options)
    return {
        "command": " ".join(["python", *sys.argv]),
        "provenance": provenance(),
        "setting": {
            "models": {role: network.name for role, network in networks.items()},
            "trained": {"teacher": bool(options.teacher_model), "student": bool(options.model)},
            "image_shape": list(shape[1:]),
            "images": "noise",
            "n": options.rounds,
            "seconds": options.seconds,
            "repetitions": options.repetitions,
            "batch_size": options.batch_size,
            "threads": options.threads,
        },
        "macs": counted,
        "files": summarise(rounds, options.threads),
        "ratios": compare(rounds),
        "rounds": rounds,
    }


def show(result):
    """Lines of text: conditions, a Markdown table of the files, and the ratios."""
    from tfnoisekd.export import report as exported

    entries = [
        {"path": name, "cost": each, **each, "format": name, "macs": result["macs"][FILES[name][0]]}
        for name, each in result["files"].items()
    ]
    columns, rows = exported.table({"student": {}, "teacher": None, "files": entries})
    kept = [index for index, column in enumerate(columns) if column not in ("accuracy", "agreement")]
    lines = [columns, ["---"] * len(columns), *rows]
    table = "\n".join(f"| {' | '.join(line[index] for index in kept)} |" for line in lines)
    return "\n\n".join([conditions(result), table, "\n".join(map(sentence, result["ratios"]))])


def conditions(result):
    setting, models = result["setting"], result["setting"]["models"]
    kinds = " and ".join(f"{'trained' if done else 'random'} {role}" for role, done in setting["trained"].items())
    return (
        f"{models['teacher']} -> {models['student']} ({kinds}), images {setting['image_shape']}, "
        f"{result['provenance']['device']}; n = {setting['n']} rounds, medians."
    )


def sentence(ratio):
    size, latency = ratio["bytes"], ratio["latency"]
    targets = "" if size["target"] is None else f" (targets: at most {size['target']:.2f} and {latency['target']:.2f})"
    return (
        f"{ratio['file']} / {ratio['reference']}: {size['ratio']:.3f} of the bytes, {latency['median']:.2f} "
        f"({latency['min']:.2f} to {latency['max']:.2f}) of the latency on one thread{targets}"
    )


def busy(result):
    """Whether other processes took a part of the machine, by the processor time that one thread got."""
    return min(of_threads(each, 1, "cores_used") for each in result["files"].values()) < IDLE


def main(arguments=None):
    options = parse_arguments(arguments)
    result = run(options)
    print(show(result))
    if busy(result):
        print("\nOther processes took a part of the machine: do not publish this, measure again when it is idle.")
    if options.output:
        Path(options.output).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
