"""Distils a network of `keras.applications` into a small CNN, in a TensorFlow code base that is there already.

The tf.data pipeline, both networks, the callbacks and the saving are plain Keras. This library adds two lines: Hinton's
loss, the relations between images as a layer inside the teacher's nested backbone sees them (RKD), and noise on the
student's input. The same student is also trained alone, from the same initial weights, to compare with.

    python examples/keras_applications.py                      # 2 to 4 minutes on two CPU cores, no network
    python examples/keras_applications.py --weights imagenet   # the teacher starts from weights that Keras downloads
"""

import argparse

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits

from tfnoisekd import RKD, Distiller, Hinton, InputNoise

SHAPE = (32, 32, 3)


def load_data():
    """Batches for training, validation and testing: scans of digits in the size and colours of photos, in [0, 1]."""
    scans = load_digits()
    images, labels = scans.images[..., None] / 16, scans.target

    def prepare(image, label):
        return tf.image.grayscale_to_rgb(tf.image.resize(image, SHAPE[:2])), label

    order = np.random.default_rng(0).permutation(len(labels))
    train, validation, test = (
        tf.data.Dataset.from_tensor_slices((images[part], labels[part])).map(prepare).cache()
        for part in np.split(order, [1293, 1437])
    )
    train = train.shuffle(1293, seed=0).batch(32).prefetch(tf.data.AUTOTUNE)
    return train, validation.batch(256), test.batch(256)


def make_teacher(weights):
    """MobileNetV2 with a head that gives logits; `Rescaling` is inside, so that everything outside is in [0, 1]."""
    backbone = keras.applications.MobileNetV2(SHAPE, alpha=0.35, include_top=False, weights=weights)
    for layer in backbone.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.9  # at 0.999 the averages that inference uses need thousands of steps
    head = [layers.GlobalAveragePooling2D(), layers.Dense(10)]
    return keras.Sequential([keras.Input(SHAPE), layers.Rescaling(2, offset=-1), backbone, *head])


def make_student(seed):
    keras.utils.set_random_seed(seed)
    stages = []
    for width in (4, 8, 16):
        stages.append(layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False))
        stages += [layers.BatchNormalization(momentum=0.9), layers.ReLU()]
    head = [layers.GlobalAveragePooling2D(name="features"), layers.Dense(10)]
    return keras.Sequential([keras.Input(SHAPE), *stages, *head])


def fit(model, train, validation, epochs):
    """How this code base trains a model, and a `Distiller` is one."""
    callbacks = [
        keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.3, patience=3),
        keras.callbacks.EarlyStopping("val_loss", patience=8, restore_best_weights=True),
    ]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.005), loss, metrics=["accuracy"])
    # shuffle=False: the pipeline shuffles already, and Keras would warn that it can't.
    return model.fit(train, validation_data=validation, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=0)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", help="of the backbone: imagenet, or a file; random ones if not given")
    parser.add_argument("--teacher-epochs", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=30, help="of the student")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="student.keras")
    options = parser.parse_args(arguments)

    train, validation, test = load_data()
    keras.utils.set_random_seed(options.seed)
    teacher, alone, student = make_teacher(options.weights), make_student(options.seed), make_student(options.seed)
    fit(teacher, train, validation, options.teacher_epochs)
    fit(alone, train, validation, options.epochs)

    # What this library adds:
    losses = [Hinton(alpha=0.9, temperature=4.0), RKD(layer="features", teacher_layer="out_relu")]
    distiller = Distiller(teacher, student, losses, noise=[InputNoise(0.05)], seed=options.seed)
    history = fit(distiller, train, validation, options.epochs).history

    student.save(options.output)  # plain Keras: to load it, this library is not needed
    reloaded = keras.models.load_model(options.output)
    labels = np.concatenate([labels for _, labels in test])
    print(f"standard deviation of the noise: {history['input_noise_stddev'][-1]:.4f}")
    print(f"accuracy on {len(labels)} test images:")
    for name, model in {"teacher": teacher, "student alone": alone, "student distilled": reloaded}.items():
        accuracy = np.mean(model.predict(test, verbose=0).argmax(axis=1) == labels)
        print(f"  {name:17} {accuracy:.3f}  ({model.count_params():,} parameters)")
    return student


if __name__ == "__main__":
    main()
