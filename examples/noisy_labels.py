"""Wrong labels and Messy Collaboration: digits of which 40% got a label drawn at random, in four trainings.

The wrong labels are drawn once, before anything is trained, and the teacher learns from them like every other network.
Printed are the accuracy on clean test images, and what becomes of the training images with a wrong label: the share
that a network puts into the wrong class it was taught ("learnt"), and into the true one ("seen through"). Messy
Collaboration sets noise that changes in every batch against noise that stays. One seed shows how it is done, not
whether it helps.

    python examples/noisy_labels.py             # 1 to 2 minutes on two CPU cores, no network
    python examples/noisy_labels.py --seed 1    # other weights, other wrong labels
"""

import argparse

import keras

from tfnoisekd import Distiller, LabelNoise, data, wide_resnet
from tfnoisekd.evaluation import accuracy, memorization

BATCH_SIZE = 64


def train(digits, width, epochs, seed, teacher=None, noise=()):
    """Trains a WRN-10-`width` on the labels as given; without a teacher that is plain cross-entropy."""
    keras.utils.set_random_seed(seed)
    network = wide_resnet(10, width, digits.num_classes, digits.input_shape)
    distiller = Distiller(teacher, network, noise=noise, seed=seed)
    steps = epochs * -(-len(digits.train) // BATCH_SIZE)
    distiller.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, steps)))
    images = digits.train.images.astype("float32") / 255
    distiller.fit(images, digits.train.labels, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    return network


def report(name, network, digits):
    tested = accuracy.evaluate(network, digits.test, digits.class_names)
    low, high = tested["accuracy_interval"]
    results = {"accuracy": tested["accuracy"], **memorization.evaluate(network, digits.train, digits.corruption)}
    print(
        f"{name:10} {results['accuracy']:8.3f}  ({low:.3f} to {high:.3f})"
        f" {results['wrong_label_accuracy']:8.3f} {results['true_label_accuracy']:14.3f}"
    )
    return results


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12, help="of every network")
    parser.add_argument("--label-corruption", type=float, default=0.4, help="share of the labels to draw anew")
    parser.add_argument("--rate", type=float, default=0.1, help="share of the labels that mc draws anew in each batch")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    digits = data.load(
        "digits", validation_size=0, label_corruption=options.label_corruption, corruption_seed=options.seed
    )
    wrong = digits.corruption
    print(f"{wrong.n} of {len(digits.train)} training labels are wrong ({wrong.true_rate:.3f})")
    print(f"{'network':10} {'accuracy':>8}  {'(95% interval)':16} {'learnt':>8} {'seen through':>14}")
    common = {"epochs": options.epochs, "seed": options.seed}
    teacher = train(digits, width=2, **common)
    results = {"teacher": report("teacher", teacher, digits)}
    students = {
        "baseline": {},
        "hinton": {"teacher": teacher},
        "mc": {"teacher": teacher, "noise": [LabelNoise(options.rate)]},
    }
    for name, method in students.items():
        results[name] = report(name, train(digits, width=1, **common, **method), digits)
    return digits, results


if __name__ == "__main__":
    main()
