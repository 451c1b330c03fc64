"""What an attack may ask a model: the loss of points near some images, and its gradients. It remembers what it saw."""

import weakref

import keras
import numpy as np

from tfnoisekd.evaluation import calibration

TOLERANCE = 1e-6  # how far beyond epsilon rounding may carry a point
NUM_SIZES = 5  # the number of images and its halvings: few sizes, so that few are prepared for
LAST, BEST = 0, 1
_functions = weakref.WeakKeyDictionary()  # model -> {(loss, gradients, image shape): compiled function}


class AllBroken(Exception):
    """Raised by an `Oracle` as soon as every image is broken, to end an attack that knows no such end."""


class Oracle:
    """Answers for some images, and notes for each the first point in its ball that the model is wrong about.

    An attack that judges only the point where it ends misses the others it has been to; here every point counts that it
    asks about. Images that are broken cost nothing any more, nor do the last point and the best one when they are asked
    for again, which is what APGD (a gradient after a loss) and Square (what it holds, before a new proposal) do.

    Args:
        model: A `keras.Model`: images in [0, 1] -> logits (batch, num_classes). It is run in inference mode.
        loss: A function of `attacks.losses`, to be maximised.
        clean: float32 (n, height, width, channels) in [0, 1].
        labels: int32 (n,), the true classes.
        targets: int32 (n,), the classes to lead to.
        settings: `Settings`, of which `norm` and `epsilon` count.
        gradients: Whether gradients are asked for.
        largest: Images of a full batch, at least n; smaller ones are filled up to it or one of its halvings.

    Attributes:
        found: Booleans (n,), the images that are broken.
        adversarial: float32 like `clean`, the points that broke them; the others are clean.
        blind: Booleans (n,), the images that have got no gradient but 0 so far.
    """

    def __init__(self, model, loss, clean, labels, targets, settings, gradients, largest):
        self.clean, self.labels, self.settings = clean, labels, settings
        self.found, self.blind = np.zeros(len(clean), bool), np.ones(len(clean), bool)
        self.adversarial = clean.copy()
        self._name, self._targets = model.name, targets
        self._function = _compiled(model, loss, gradients, clean.shape[1:])
        self._sizes = sorted({-(-largest // 2**halvings) for halvings in range(NUM_SIZES)})
        self._points = np.full((2, *clean.shape), np.nan, np.float32)
        self._values = np.full((2, len(clean)), -np.inf)
        self._gradients = np.zeros((2, *clean.shape), np.float32) if gradients else None

    def values(self, points, places):
        """Losses, float64 (m,), of points (m, height, width, channels) near the images at some places (m,).

        A loss of exactly 0 is given as the smallest number above, because ART ends where all are 0. Points that are not
        numbers get -infinity, and those outside [0, 1] are moved into it.

        Raises:
            AllBroken: If no image is left.
            ValueError: If the model gives logits or gradients that are not finite.
        """
        slots, finite = self._visit(points, places)
        return np.where(finite, self._values[slots, places], -np.inf)

    def gradients(self, points, places):
        """Gradients of the losses, float32 like the points, each scaled to a largest value of 1, or all 0."""
        slots, _ = self._visit(points, places)
        return self._gradients[slots, places]

    def _visit(self, points, places):
        """Looks at the points that are new; where each point's answer is kept, and whether it is a number at all."""
        points = np.clip(points.astype(np.float32), 0, 1)
        same = (self._points[:, places] == points).all(axis=(2, 3, 4))
        finite = np.isfinite(points).all(axis=(1, 2, 3))
        fresh = finite & ~same.any(axis=0) & ~self.found[places]
        if fresh.any():
            self._look(points[fresh], places[fresh])
        if self.found.all():
            raise AllBroken
        return np.where(same[BEST] & ~same[LAST], BEST, LAST), finite

    def _look(self, points, places):
        logits, values, *gradients = self._run(points, places)
        self._check(logits, gradients)
        wrong = (logits.argmax(axis=1) != self.labels[places]) & self._inside(points, places)
        self.found[places[wrong]], self.adversarial[places[wrong]] = True, points[wrong]
        values = np.where(values == 0, np.finfo(np.float64).tiny, values.astype(np.float64))
        better = values > self._values[BEST, places]
        for slot, chosen in ((LAST, slice(None)), (BEST, better)):
            self._points[slot, places[chosen]], self._values[slot, places[chosen]] = points[chosen], values[chosen]
            for each in gradients:
                self._gradients[slot, places[chosen]] = _scaled(each[chosen])
        for each in gradients:
            self.blind[places] &= ~each.any(axis=(1, 2, 3))

    def _run(self, points, places):
        """Logits, losses and, if asked for, gradients, as arrays."""
        count = len(points)
        missing = next(size for size in self._sizes if size >= count) - count
        points = np.pad(points, ((0, missing), (0, 0), (0, 0), (0, 0)), mode="edge")
        places = np.pad(places, (0, missing), mode="edge")
        results = self._function(points, self.labels[places], self._targets[places])
        return [keras.ops.convert_to_numpy(each)[:count] for each in results]

    def _inside(self, points, places):
        """Booleans (m,), whether points are in the balls around their images."""
        return lengths(points - self.clean[places], self.settings.norm) <= self.settings.epsilon + TOLERANCE

    def _check(self, logits, gradients):
        calibration.check_logits(logits, f"logits of {self._name} under attack")
        bad = sum(np.count_nonzero(~np.isfinite(each).all(axis=(1, 2, 3))) for each in gradients)
        if bad:
            raise ValueError(
                f"`model` must have finite gradients. Received: NaN or infinity from {self._name} for {bad} of "
                f"{len(logits)} images of a batch; look for a root or a division at 0, or compute in float32."
            )


def lengths(changes, norm):
    """The length of each of some changes of images (n, height, width, channels) in a norm, float64 (n,)."""
    flat = changes.reshape(len(changes), -1).astype(np.float64)
    return np.linalg.norm(flat, np.inf if norm == "linf" else 2, axis=1)


def _scaled(gradients):
    """Gradients with a largest value of 1: only directions count, and ART shortens the steps of small gradients."""
    most = np.abs(gradients).max(axis=(1, 2, 3), keepdims=True)
    return gradients / np.where(most > 0, most, 1)


def _compiled(model, loss, gradients, shape):
    """The compiled function for a model; kept as long as the model lives, so that nothing is compiled twice."""
    known, key = _functions.setdefault(model, {}), (loss.__name__, gradients, tuple(shape))
    if key not in known:
        known[key] = _compile(weakref.ref(model), loss, gradients, shape)
    return known[key]


def _compile(owner, loss, gradients, shape):
    """A function of (images, labels, targets): logits, losses and, if asked for, gradients of each loss."""
    import tensorflow as tf

    classes = tf.TensorSpec((None,), tf.int32)

    # An open batch size, so that no other one is compiled anew; without autograph, as Keras compiles a training step.
    @tf.function(autograph=False, input_signature=[tf.TensorSpec((None, *shape)), classes, classes])
    def call(images, labels, targets):
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = tf.cast(owner()(images, training=False), tf.float32)
            values = loss(logits, labels, targets)
        if not gradients:
            return logits, values
        return logits, values, tape.gradient(values, images, unconnected_gradients="zero")

    return call
