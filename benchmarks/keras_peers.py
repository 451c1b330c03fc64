"""Training steps of tfnoisekd and of `keras.distillation`: python benchmarks/train_step.py --peers keras

A worker process of `train_step.py` runs this file. It also writes down the weights and the batch that all peers start
from. Every step is the model's own compiled train function, fed from memory (or from the teacher cache on disk).

Keras's distiller runs our loss objects too: both then compute the same number, and the difference is the distiller's.
It has no weights but w and 1 - w of the cross-entropy and the rest, so at w = 1/2 its loss is half of ours, which a
doubled learning rate makes good.
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import workers

import tfnoisekd
from tfnoisekd.data import Batches, Split
from tfnoisekd.distillation_losses import GROUPS
from tfnoisekd.features import OUTPUTS, Supervised
from tfnoisekd.teacher_cache import CachedBatches, TeacherCache

tf.get_logger().setLevel("ERROR")  # else it warns of the many functions that are traced here

DROPOUT = 0.4  # of the fickle teacher
LEARNING_RATE = 1e-3  # small, so that every loss stays finite however often the one batch is seen
AUGMENTATION = {"crop_padding": 4, "flip": True}
LAYERS = {"at": GROUPS, "sp": GROUPS[-1:], "rkd": ("embedding",)}  # which Keras's own feature loss compares
OURS = {
    "hinton": lambda: tfnoisekd.Hinton(alpha=0.9, temperature=4.0),
    "ft": lambda: tfnoisekd.Hinton(alpha=0.9, temperature=4.0),
    "at": lambda: tfnoisekd.AttentionTransfer(),
    "sp": lambda: tfnoisekd.SimilarityPreserving(),
    "rkd": lambda: tfnoisekd.RKD(),
}


class Peers(workers.Peers):
    """The steps of our distiller ("tfnoisekd", and with the teacher's outputs known) and of Keras's ("keras").

    Args:
        setting: Mapping with "teacher", "student" (each (depth, width)), "batch_size" and "peers".
        folder: Folder for the teacher cache, and for what the other workers read: `start.npz`.
    """

    def __init__(self, setting, folder):
        self.setting, self.folder = setting, Path(folder)
        rng = np.random.default_rng(0)
        count = 4 * setting["batch_size"]
        images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        split = Split(images, rng.integers(0, 10, count, dtype=np.int64))
        self.batches = Batches(split, setting["batch_size"], shuffle=True, **AUGMENTATION)
        self.images, self.labels = self.batches[0]
        self.weights = self.make_weights()
        self.write_start()
        self.info = {"versions": {"tensorflow": tf.__version__, "keras": keras.__version__}, "gpu": _gpus()}
        self.info["versions"].update(tfnoisekd=tfnoisekd.__version__, numpy=np.__version__)

    def make_weights(self):
        """Weights of the teacher and of the student, the teacher's statistics being those of the batch."""
        keras.utils.set_random_seed(0)
        models = {role: tfnoisekd.wide_resnet(*self.setting[role]) for role in ("teacher", "student")}
        for layer in models["teacher"].layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.0
        models["teacher"](self.images, training=True)
        return {role: {weight.path: weight.numpy() for weight in model.weights} for role, model in models.items()}

    def write_start(self):
        arrays = {f"{role}:{path}": array for role, found in self.weights.items() for path, array in found.items()}
        np.savez(self.folder / "start.npz", images=self.images, labels=self.labels, **arrays)

    def make_models(self, dropout=0.0):
        """(teacher, student) at the start."""
        keras.utils.set_random_seed(0)
        teacher = tfnoisekd.wide_resnet(*self.setting["teacher"], dropout=dropout)
        student = tfnoisekd.wide_resnet(*self.setting["student"])
        teacher.set_weights(list(self.weights["teacher"].values()))
        student.set_weights(list(self.weights["student"].values()))
        return teacher, student

    def make_steps(self, method):
        keras.backend.clear_session()
        steps = {"tfnoisekd": self.our_step(method)}
        if method == "hinton":
            steps["cached"] = self.our_step(method, self.known_teacher)
            steps["cached_on_disk"] = self.our_step(method, self.stored_teacher)
        if "keras" in self.setting["peers"] and method != "ft":  # Keras's teacher is always in inference mode
            steps["keras"] = self.their_step(*_their_losses(method))
        if "keras" in self.setting["peers"] and method in LAYERS:
            losses = [keras.distillation.FeatureDistillation("mse", layer, layer) for layer in LAYERS[method]]
            steps["keras_feature"] = self.their_step(losses, [1.0] * len(losses), 0.5)
        return steps

    def our_step(self, method, feed=None):
        teacher, student = self.make_models(DROPOUT if method == "ft" else 0.0)
        data = feed(teacher) if feed else _repeat(self.images, self.labels)
        noise = [tfnoisekd.TeacherDropout()] if method == "ft" else []
        distiller = tfnoisekd.Distiller(teacher, student, losses=OURS[method](), noise=noise)
        variance = distiller.teacher_variance(self.images) if method == "ft" else None
        return _make_step(distiller, data), variance

    def their_step(self, losses, weights, student_loss_weight):
        scale = 1.0 if student_loss_weight < 0.5 else 2.0
        distiller = keras.distillation.Distiller(*self.make_models(), losses, weights, student_loss_weight)
        return _make_step(distiller, _repeat(self.images, self.labels), scale), None

    def known_teacher(self, teacher):
        """The batch with the teacher's outputs, in memory: what is left of a step where reading costs nothing."""
        return _repeat(self.images, Supervised(self.labels, {OUTPUTS: teacher(self.images, training=False)}))

    def stored_teacher(self, teacher):
        """The same batch, cut out, augmented and read from disk anew in every step, with nothing read ahead."""
        cache = TeacherCache(self.folder / "cache", teacher, self.batches.split.images, identity="", **AUGMENTATION)
        cached = CachedBatches(self.batches, cache)
        batch = cached[0]  # fills the cache

        def read():
            while True:
                yield cached[0]
                assert cache.misses == len(self.labels)

        signature = tf.nest.map_structure(lambda array: tf.TensorSpec(array.shape, array.dtype), batch)
        return tf.data.Dataset.from_generator(read, output_signature=signature)


def _their_losses(method):
    """Losses for Keras's distiller that add up to ours, their weights, and that of the cross-entropy."""
    if method == "hinton":
        # Its default string loss computes something else.
        loss = keras.distillation.LogitsDistillation(temperature=4.0, loss=keras.losses.KLDivergence())
        return [loss], [1.0], 0.1
    if method == "at":
        return [tfnoisekd.AttentionTransfer(layers=[group]) for group in GROUPS], [1000.0] * len(GROUPS), 0.5
    return [OURS[method]()], [3000.0 if method == "sp" else 1.0], 0.5


def _repeat(images, labels):
    return tf.data.Dataset.from_tensors((images, labels)).repeat()


def _make_step(distiller, data, scale=1.0):
    """A function that takes one training step, waits for its end and returns `scale` times the loss."""
    distiller.compile(
        optimizer=keras.optimizers.SGD(scale * LEARNING_RATE, momentum=0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    distiller.make_train_function()
    batches = iter(data)

    def step():
        logs = distiller.train_function(batches)
        return scale * float(logs["loss"])

    return step


def _gpus():
    details = tf.config.experimental.get_device_details
    return [details(gpu).get("device_name", "GPU") for gpu in tf.config.list_physical_devices("GPU")]
