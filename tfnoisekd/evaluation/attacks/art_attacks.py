"""APGD and Square of the Adversarial Robustness Toolbox (ART), on an `Oracle`, with random numbers of our own.

What ART decides is where to go next. What a point is worth, and whether it breaks an image, the oracle says: ART 1.20
judges APGD by the last point only, computes DLR in O(batch^2) and not for targets, and runs images on that are broken.
"""

import functools
import importlib
import importlib.metadata
import logging.config
import threading
import warnings
from contextlib import contextmanager

import numpy as np

from tfnoisekd.evaluation.attacks.oracle import AllBroken

ORDERS = {"linf": np.inf, "l2": 2}  # ART's names of the norms
FIRST_SHARE = 0.8  # of the pixels that the first squares change: `p` of AutoAttack
LEAST_SIDE = 10  # of images for Square in l2, which starts from 5 x 5 tiles of at least 2 x 2 pixels
_lock = threading.RLock()


def version():
    """The version of ART.

    Raises:
        ImportError: If it is not installed.
    """
    _module("auto_projected_gradient_descent")
    return importlib.metadata.version("adversarial-robustness-toolbox")


def apgd(oracle, num_classes, steps, starts):
    """Auto-PGD (Croce & Hein, 2020) with a first step of 2 epsilon, until it ends or all images are broken.

    Args:
        oracle: `Oracle` with gradients; what is found is there.
        num_classes: Number of logits.
        steps: Number of steps, at least 1.
        starts: float32 like `oracle.clean`, a point of each ball to start from.
    """
    module = _module("auto_projected_gradient_descent")
    draw = (starts - oracle.clean).reshape(len(starts), -1)
    options = {"eps_step": 2 * oracle.settings.epsilon, "max_iter": int(steps), "nb_random_init": 1}
    with _replaced(module, random_sphere=lambda *_: draw):
        attack = module.AutoProjectedGradientDescent(
            _estimator(oracle, num_classes), **_common(oracle), **options, loss_type=None
        )
        _generate(attack, oracle)


def square(oracle, num_classes, queries, stream):
    """Square (Andriushchenko et al., 2020), which needs no gradients, until it ends or all images are broken.

    ART shows the same squares to all images of a call. Here its stripes and signs are the same for all too, so that
    what an image gets depends on the stream alone, not on which others are there.

    Args:
        oracle: `Oracle` of the margin; what is found is there.
        num_classes: Number of logits.
        queries: Number of proposals for each image, after a first one of stripes.
        stream: `numpy.random.RandomState`.
    """
    module, (height, width) = _module("square_attack"), oracle.clean.shape[1:3]
    draws = _Draws(stream)
    share = min(FIRST_SHARE, min(height, width) / max(height, width))  # a square must fit into the image
    with _replaced(module, np=_Numpy(draws), random=draws):
        attack = module.SquareAttack(
            _estimator(oracle, num_classes),
            **_common(oracle),
            max_iter=int(queries),
            p_init=share,
            adv_criterion=lambda _, rows: oracle.found[_places(rows)],
            loss=lambda points, rows: -oracle.values(points, _places(rows)),
        )
        _generate(attack, oracle)


def check_fits_square(norm, height, width):
    """Raises a ValueError if ART's Square cannot be run on images of a size: in l2 it takes large square ones only."""
    if norm == "l2" and (height != width or height < LEAST_SIDE):
        raise ValueError(
            f"`attacks` must be without 'square' in l2 unless images are square, {LEAST_SIDE} x {LEAST_SIDE} at least. "
            f"Received: images of {height} x {width}; leave 'square' out, or measure in linf."
        )


def _common(oracle):
    settings = oracle.settings
    options = {"norm": ORDERS[settings.norm], "eps": settings.epsilon, "batch_size": len(oracle.clean)}
    return {**options, "verbose": False}


def _generate(attack, oracle):
    """Runs an attack for its questions; its answer, the images it ends with, is not needed."""
    try:
        # In l2, Square divides by 0 where a window was not changed yet; the oracle refuses what comes out of it.
        with np.errstate(divide="ignore", invalid="ignore"):
            attack.generate(x=oracle.clean.copy(), y=_rows(oracle, attack.estimator.nb_classes))
    except AllBroken:
        pass


def _rows(oracle, num_classes):
    """One-hot labels, and in one more column the place of each image, negative so that it is never the largest.

    ART hands rows of labels on with the images they belong to, so that the oracle learns which image a point is of.
    """
    one_hot = np.eye(num_classes)[oracle.labels]
    return np.column_stack([one_hot, -np.arange(len(one_hot))])


def _places(rows):
    return (-rows[:, -1]).astype(np.int64)


def _module(name):
    """A module of ART's attacks.

    Raises:
        ImportError: If ART is not installed.
    """
    try:
        # ART configures the logging of the whole process, which closes the handlers that others have.
        with warnings.catch_warnings(), _replaced(logging.config, dictConfig=lambda config: None):
            warnings.filterwarnings("ignore", message="PyTorch not found")  # it is not needed
            return importlib.import_module(f"art.attacks.evasion.{name}")
    except ImportError as error:
        raise ImportError(
            "The ensemble of attacks needs the Adversarial Robustness Toolbox (ART). Received: no module "
            f'{error.name}; install it with `pip install "tfnoisekd[robust]"`, or use '
            "`tfnoisekd.evaluation.adversarial`, PGD alone, which does not need it."
        ) from error


@contextmanager
def _replaced(module, **names):
    """Gives a module other objects under some of its names, for a while.

    ART draws from NumPy's and Python's global generators, in an order that depends on the batch; with draws of our own
    these stay as they are, and an image gets the same numbers in every batch.
    """
    with _lock:
        before = {name: getattr(module, name) for name in names}
        try:
            vars(module).update(names)
            yield
        finally:
            vars(module).update(before)


class _Draws:
    """The functions of `numpy.random` and `random` that Square calls, from one stream, the same for every image."""

    def __init__(self, stream):
        self._stream = stream

    def choice(self, values, size):
        """One of the values at each place; where the first of four axes counts images, the same for all."""
        once = (1, *size[1:]) if len(size) == 4 else size
        return np.broadcast_to(self._stream.choice(values, size=once), size)

    def randint(self, low, high):
        """An integer from low to high. ART means to leave `high` out, so that no square touches the last row."""
        return self._stream.randint(low, high + 1)

    def random(self):
        return self._stream.random_sample()


class _Numpy:
    """NumPy with another `random`."""

    def __init__(self, random):
        self.random = random

    def __getattr__(self, name):
        return getattr(np, name)


def _estimator(oracle, num_classes):
    return _estimator_class()(oracle, num_classes)


@functools.cache
def _estimator_class():
    """The class of an `Oracle` as a classifier of ART; made here, because ART is imported only when it is needed."""
    from art.estimators.classification.classifier import ClassifierLossGradients
    from art.estimators.estimator import NeuralNetworkMixin

    class Estimator(NeuralNetworkMixin, ClassifierLossGradients):
        def __init__(self, oracle, num_classes):
            super().__init__(model=None, clip_values=(0.0, 1.0), channels_first=False)
            self.nb_classes, self._oracle = num_classes, oracle

        @property
        def input_shape(self):
            return self._oracle.clean.shape[1:]

        def predict(self, x, batch_size=128, **_):
            """As if every image were still classified rightly: which are not, the oracle keeps, and asks no more."""
            return 2.0 * np.eye(self.nb_classes)[self._oracle.labels]

        def loss_gradient(self, x, y, **_):
            return self._oracle.gradients(x, _places(y))

        def compute_loss(self, x, y, **_):
            return self._oracle.values(x, _places(y))

        def fit(self, x, y, **_):
            raise NotImplementedError

        def get_activations(self, x, layer, batch_size, framework=False):
            raise NotImplementedError

    return Estimator
