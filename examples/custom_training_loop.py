"""Distillation with noise in a custom `tf.GradientTape` loop: the parts of this library without its `Distiller`.

Losses are pure functions, noises are asked for one batch at a time, and `features.extractor` reads layers in the same
forward pass as the logits. Here are all three noises of the paper at once: the teacher's dropout stays on (Fickle
Teacher), the student's input gets Gaussian noise (Soft Randomization), and labels are drawn anew in each batch (Messy
Collaboration).

    python examples/custom_training_loop.py    # half a minute on two CPU cores, no network
"""

import argparse

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tfnoisekd import InputNoise, LabelNoise, data, losses
from tfnoisekd.features import OUTPUTS, extractor

CLASSES = 10


def make_network(widths, dropout=0.0):
    network = keras.Sequential([keras.Input((16, 16, 1))])
    for width in widths:
        network.add(layers.Conv2D(width, 3, strides=2, padding="same", activation="relu"))
        network.add(layers.BatchNormalization(momentum=0.9))
    network.add(layers.Flatten(name="embedding"))
    if dropout:
        network.add(layers.Dropout(dropout))
    network.add(layers.Dense(CLASSES))
    return network


def make_step(teacher, student, optimizer, input_noise, label_noise, seed):
    """Makes one update of the student: images (batch, 16, 16, 1) in [0, 1], labels (batch,) -> what it measured."""
    teacher.trainable = False  # BatchNorm stays as it is, even where training=True
    read_teacher, read_student = extractor(teacher, ["embedding"]), extractor(student, ["embedding"])
    seed = keras.random.SeedGenerator(seed)  # an integer would give every step the same noise

    @tf.function
    def step(images, labels):
        clean = read_teacher(images, training=True)  # Fickle Teacher; False for one that says the same each time
        noisy_images, stddev = input_noise.perturb_inputs(images, seed)
        noisy_labels, share = label_noise.perturb_labels(labels, CLASSES, seed)
        with tf.GradientTape() as tape:
            noisy = read_student(noisy_images, training=True)
            cross_entropy = keras.losses.sparse_categorical_crossentropy(noisy_labels, noisy[OUTPUTS], from_logits=True)
            terms = {
                "cross_entropy": tf.reduce_mean(cross_entropy),
                "hinton": losses.hinton(clean[OUTPUTS], noisy[OUTPUTS], temperature=4.0),
                "similarity": losses.similarity_preserving(clean["embedding"], noisy["embedding"]),
            }
            loss = 0.1 * terms["cross_entropy"] + 0.9 * terms["hinton"] + 100.0 * terms["similarity"]
        optimizer.apply(tape.gradient(loss, student.trainable_variables), student.trainable_variables)
        return {"loss": loss, **terms, "input_noise_stddev": stddev, "label_noise_share": share}

    return step


def accuracy(network, split):
    return np.mean(network.predict(split.images / 255.0, verbose=0).argmax(axis=1) == split.labels)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher-epochs", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=30, help="of the student")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    digits = data.load("digits")
    images, labels = digits.train.images.astype("float32") / 255, digits.train.labels
    keras.utils.set_random_seed(options.seed)
    teacher, student = make_network((32, 64), dropout=0.4), make_network((8, 16))
    teacher.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    teacher.fit(images, labels, batch_size=64, epochs=options.teacher_epochs, verbose=0)
    print(f"test accuracy: teacher {accuracy(teacher, digits.test):.3f}, student {accuracy(student, digits.test):.3f}")

    optimizer = keras.optimizers.Adam(0.003)
    step = make_step(teacher, student, optimizer, InputNoise(0.05), LabelNoise(0.1), options.seed)
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(labels), seed=options.seed).batch(64)
    for epoch in range(1, options.epochs + 1):
        logs = [step(*batch) for batch in batches]
        if epoch in (1, options.epochs):
            means = {name: np.mean([log[name] for log in logs]) for name in logs[0]}
            print(f"epoch {epoch}:", ", ".join(f"{name} {value:.4f}" for name, value in means.items()))
    print(f"test accuracy: teacher {accuracy(teacher, digits.test):.3f}, student {accuracy(student, digits.test):.3f}")
    return teacher, student


if __name__ == "__main__":
    main()
