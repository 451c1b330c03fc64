"""The table of `results/train_step.json`; writes it into README.md: python benchmarks/report.py

`train_step.py` prints the same, and writes it down where its `--output` is that file.
"""

import json
import statistics
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
RESULT, PAGE = FOLDER / "results" / "train_step.json", FOLDER / "README.md"
START, END = "<!-- table: python benchmarks/report.py -->", "<!-- end of table -->"

METHODS = {"hinton": "Hinton", "at": "AT", "sp": "SP", "rkd": "RKD-DA", "ft": "Hinton, fickle teacher"}
# Ours, each a row for every method that it was measured with.
VARIANTS = {
    "tfnoisekd": "{}",
    "cached": "{}, teacher known (memory)",
    "cached_on_disk": "{}, teacher known (cache on disk)",
}
# The others, each a column.
PEERS = {
    "keras": "Keras, same loss",
    "keras_feature": "Keras, its own feature loss",
    "torch": "PyTorch",
    "tfnoisekd": "ours, teacher running",
}


def summarise(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def compare(seconds, batch_size):
    """What the times of a method say: peer -> a number for each round, in which every peer had its turn.

    Returns:
        Mapping with "images_per_second" (peer -> summary), and "speed_ratio" (ours -> peer -> the ratio of the speeds
        in every round and its summary; above 1 ours is faster).
    """
    ratios = {}
    for ours in (name for name in VARIANTS if name in seconds):
        ratios[ours] = {}
        for peer in (name for name in PEERS if name in seconds and name != ours):
            rounds = [theirs / own for own, theirs in zip(seconds[ours], seconds[peer], strict=True)]
            ratios[ours][peer] = {**summarise(rounds), "rounds": rounds}
    speeds = {name: summarise([batch_size / value for value in values]) for name, values in seconds.items()}
    return {"images_per_second": speeds, "speed_ratio": ratios}


def table(result):
    """A Markdown table: one row for each of our steps, its speed and the ratios to the others' speeds."""
    head = ["method", "ours, images/s", *(f"x {name}" for name in PEERS.values())]
    lines = [head, ["---"] * len(head)]
    for method, found in result["methods"].items():
        for ours, label in VARIANTS.items():
            if ours in found["seconds"]:
                speed = _show(found["images_per_second"][ours], 1)
                ratios = (_show(found["speed_ratio"][ours].get(peer), 2) for peer in PEERS)
                lines.append([label.format(METHODS[method]), speed, *ratios])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _show(summary, digits):
    if summary is None:
        return "-"
    return "{:.{d}f} ({:.{d}f} to {:.{d}f})".format(*(summary[key] for key in ("median", "min", "max")), d=digits)


def share_of_machine(result):
    """The steps' processor time as a share of what all cores had: well below 1 where other processes took some."""

    def total(key):
        return sum(sum(steps) for method in result["methods"].values() for steps in method[key].values())

    return total("cpu_seconds") / total("seconds") / result["setting"]["cores"]


def conditions(result):
    """One paragraph: what was measured on what."""
    setting, device, versions = (result[key] for key in ("setting", "device", "versions"))
    frameworks = [("TensorFlow", "tensorflow"), ("Keras", "keras"), ("PyTorch", "torch")]
    named = ", ".join(f"{name} {versions[key]}" for name, key in frameworks if key in versions)
    formats = f" ({setting['torch_memory_format']})" if "torch_memory_format" in setting else ""
    gpus = ", ".join(device["gpu"]) or "no GPU"
    return (
        f"One training step of {setting['teacher']} -> {setting['student']}, batch {setting['batch_size']}, "
        f"{setting['dtype']}, {device['cpu']}, {setting['cores']} cores, {gpus}; {named}{formats}; "
        f"n = {setting['n']} rounds, in which the steps had {share_of_machine(result):.0%} of the processors' time. "
        "Median (min to max); x: our speed over theirs in the same round."
    )


def rebuild(page, result):
    """The text of a page with its table made anew from the result."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{conditions(result)}\n\n{table(result)}\n{END}{after}"


def write():
    """Brings the table in README.md in line with the JSON."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    PAGE.write_text(rebuild(PAGE.read_text(encoding="utf-8"), result), encoding="utf-8")


if __name__ == "__main__":
    write()
