"""Makes the networks that come with the package of finished runs: python results/pretrained.py NAME=RUN...

Weights are rounded to float16 and kept as float32, so that the file is an ordinary `.keras` one and half as large once
compressed. A network whose rounded accuracy differs by more than 0.2 points from the run's is refused.
"""

import io
import json
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np

from tfnoisekd import config, models, pretrained, training
from tfnoisekd.evaluation import accuracy
from tfnoisekd.runs import Run

CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
LIMIT = 0.002  # of the accuracy, either way
KEPT = ("method", "sigma", "rate", "dropout", "epochs", "seed", "batch_size", "learning_rate", "weight_decay")


def rounded(model):
    """The same model on weights that float16 has, all in float32 still."""
    model.set_weights([weight.astype(np.float16).astype(weight.dtype) for weight in model.get_weights()])
    return model


def compressed(path):
    """Writes a `.keras` file anew with its members deflated; one file makes one result, byte for byte."""
    source = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        for name in source.namelist():
            target.writestr(zipfile.ZipInfo(name), source.read(name), zipfile.ZIP_DEFLATED, 9)


def make(name, run):
    """Writes NAME.keras into the package; returns its card."""
    model = rounded(models.load(run.student_path))
    data = training.load_data(config.Config(**run.settings()))
    found = accuracy.evaluate(model, data.test, data.class_names)
    before = run.record["results"]["accuracy"]
    if abs(found["accuracy"] - before) > LIMIT:
        raise SystemExit(f"{name}: rounded to float16 it has {found['accuracy']:.4f}, and {before:.4f} before")
    path = pretrained.FOLDER / f"{name}.keras"
    keras.saving.save_model(model, path)
    compressed(path)
    settings = run.record["config"]
    return {
        "architecture": settings["student"],
        "method": settings["method"],
        "data": "9,000 training images of CIFAR-10 (0 to 1, 32x32x3)",
        "classes": CIFAR10,
        "n": found["n"],
        "accuracy": found["accuracy"],
        "accuracy_interval": found["accuracy_interval"],
        "accuracy_before_rounding": before,
        "weights_licence": "as the data: CIFAR-10, free for research",
        "settings": {key: settings[key] for key in KEPT},
        "run_weights_sha256": run.record["student_weights_sha256"],
        "provenance": run.record["provenance"],
    }


def main():
    """Makes what the command line names, and keeps the cards of the others."""
    cards = json.loads(pretrained.CARDS.read_text(encoding="utf-8")) if pretrained.CARDS.exists() else {}
    for word in sys.argv[1:]:
        name, _, path = word.partition("=")
        cards[name] = make(name, Run.open(Path(path)))
        print(f"{name}: {(pretrained.FOLDER / f'{name}.keras').stat().st_size:,} bytes")
    pretrained.CARDS.write_text(json.dumps(cards, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
