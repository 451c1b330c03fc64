"""Certified robustness by randomized smoothing: a radius around each image in which nothing changes the decision.

The smoothed classifier gives the class that a model puts most noisy copies of an image into (Cohen, Rosenfeld & Kolter,
2019). Soft Randomization trains just the model that this wants: take the `stddev` of its noise as `sigma`.
"""

import math
from numbers import Integral, Real
from typing import NamedTuple

import keras
import numpy as np
from scipy.special import betainc, betaincinv, ndtri

from tfnoisekd.data.splits import check_seed
from tfnoisekd.evaluation import calibration, examples, intervals, noisy_votes
from tfnoisekd.evaluation.attacks.settings import check_count

ABSTAIN = -1  # in place of a class, where the votes do not decide
MOST_DRAWS = 2**24  # votes are summed in float32, which is exact up to here
RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)  # those of the paper's tables for CIFAR-10


class Certificates(NamedTuple):
    """What is certified about n images.

    Attributes:
        classes: int64 (n,), the class of the smoothed classifier, or `ABSTAIN`.
        radii: float64 (n,), the l2 radius (in units of images in [0, 1]) within which it stays that class; 0 where it
            abstains.
        lower_bounds: float64 (n,), the lower bound of the share of noisy copies that are put into the guessed class.
        votes: int64 (n, num_classes), noisy copies put into each class, those of the guess not among them.
    """

    classes: np.ndarray
    radii: np.ndarray
    lower_bounds: np.ndarray
    votes: np.ndarray


def evaluate(
    model,
    split,
    *,
    sigma,
    radii=RADII,
    n0=100,
    n=10_000,
    alpha=0.001,
    batch_size=500,
    seed=0,
    limit=None,
    progress=None,
    done=None,
):
    """The certified accuracy of a model's smoothed classifier at some radii, ready for JSON.

    An image counts at radius r if its certificate is for the true class and reaches r; an abstention counts as wrong.
    Each certificate is false with probability alpha at most; the intervals are about the choice of images only.

    Args:
        model: A `keras.Model`: images -> logits or probabilities (batch, num_classes). It is run in inference mode.
        split: An object with `.images` (n, height, width, channels), uint8 or float in [0, 1], and `.labels` (n,),
            integers. If it has `.indices` (n,), these number the images, else their places do.
        sigma: Standard deviation of the noise, in units of images in [0, 1], above 0.
        radii: l2 radii, at least 0, in the same units.
        n0: Noisy copies of an image that its class is guessed from.
        n: Noisy copies that the share of this class is measured with, 1 to 2**24; the paper takes 100,000. They bound
            the radius: no image can get more than `largest_radius`, nor any certificate where that is 0.
        alpha: Probability in (0, 1) that a certificate, or a prediction, is wrong.
        batch_size: Noisy copies per forward pass, at least 20.
        seed: Integer in [0, 2**32): decides the noise, and the subset.
        limit: Number of images, the same share of each class; None for all. The subset is that of `adversarial`.
        progress: Function of (number of images that are done, number of images), called after every image.
        done: Mapping of parts that an interrupted evaluation of the same model, images and settings has finished; what
            is finished now is added, in values ready for JSON.

    Returns:
        A dict of plain Python values: `n_images`; `certified_accuracy`, a list of {radius, accuracy, interval (Wilson,
        95%)}; `abstention_rate` of the certificates; `average_certified_radius`, to which what is not certified for the
        true class adds 0 (Zhai et al., 2020); `smoothed_accuracy` with `smoothed_accuracy_interval` (Wilson, 95%) and
        `smoothed_abstention_rate`, those of `predict`; `largest_radius`, for n votes out of n; all settings;
        `indices_sha256`, a digest of the numbers of the images; and `backend`.

    Raises:
        ValueError: If a setting is out of its range; if images, labels and model do not fit; or if logits are not
            finite.

    Example:

    >>> results = evaluate(student, dataset.test, sigma=0.25, limit=500)
    >>> results["certified_accuracy"][1]  # at radius 0.25
    """
    _check_radii(radii)
    chosen = examples.choose(split.images, split.labels, getattr(split, "indices", None), limit, seed)
    labels = calibration.check_labels(chosen.labels, len(chosen.labels), noisy_votes.num_classes(model, chosen.images))
    settings = {"sigma": sigma, "n0": n0, "n": n, "alpha": alpha, "batch_size": batch_size, "seed": seed}
    watch = {"progress": progress, "done": done}
    classes, certified, _, votes = certify(model, chosen.images, indices=chosen.numbers, **watch, **settings)
    reached, smoothed = np.where(classes == labels, certified, -1.0), _decide(votes, alpha)
    return {
        "n_images": len(labels),
        "certified_accuracy": [{"radius": float(r), **_share(reached >= r, "accuracy", "interval")} for r in radii],
        "abstention_rate": float(np.mean(classes == ABSTAIN)),
        "average_certified_radius": float(np.maximum(reached, 0).mean()),
        **_share(smoothed == labels, "smoothed_accuracy", "smoothed_accuracy_interval"),
        "smoothed_abstention_rate": float(np.mean(smoothed == ABSTAIN)),
        "largest_radius": float(_radius(lower_bound(n, n, alpha), sigma)),
        **{name: float(value) if name in ("sigma", "alpha") else int(value) for name, value in settings.items()},
        "limit": None if limit is None else int(limit),
        "indices_sha256": chosen.digest,
        "backend": keras.backend.backend(),
    }


def certify(
    model,
    images,
    *,
    sigma,
    n0=100,
    n=10_000,
    alpha=0.001,
    batch_size=500,
    seed=0,
    indices=None,
    progress=None,
    done=None,
):
    """The class of each image and the l2 radius within which it is certified: CERTIFY of the paper.

    With probability 1 - alpha at least, for each image by itself, the smoothed classifier gives this class to all that
    is closer than the radius. The noise is not clipped: the model sees values outside [0, 1]. It depends on `seed`, the
    number of the image and the backend alone, not on batches or order. The proof is about exact arithmetic: rounding
    can be turned against a certificate, though hardly by chance (Voráček & Hein, 2023).

    Args:
        images: (n, height, width, channels), uint8 or float in [0, 1].
        indices: (n,), integers in [0, 2**32) that number the images; their places where None.

        The others are those of `evaluate`.

    Returns:
        `Certificates`.

    Raises:
        ValueError: As `evaluate` does.

    Example:

    >>> classes, radii, _, _ = certify(student, dataset.test.images[:100], sigma=0.25)
    """
    check_settings(sigma, alpha, seed, batch_size, n0=n0, n=n)
    options = {"sigma": sigma, "seed": seed, "batch_size": batch_size, "progress": progress, "done": done}
    guesses, votes = noisy_votes.count(model, images, indices, (n0, n), **options)
    guess = guesses.argmax(axis=1)
    bounds = lower_bound(votes[np.arange(len(guess)), guess], n, alpha)
    return Certificates(np.where(bounds > 0.5, guess, ABSTAIN), _radius(bounds, sigma), bounds, votes)


def predict(model, images, *, sigma, n=10_000, alpha=0.001, batch_size=500, seed=0, indices=None, progress=None):
    """The class that the smoothed classifier gives to each image, or `ABSTAIN`: PREDICT of the paper.

    It abstains unless a two-sided binomial test at level alpha tells the two classes with most votes apart. For each
    image it gives a class other than the smoothed classifier's with probability alpha at most. The votes are those
    that `certify` measures the share of a class with.

    Args:
        The arguments are those of `certify`.

    Returns:
        int64 array (n,).

    Raises:
        ValueError: As `evaluate` does.

    Example:

    >>> predict(student, dataset.test.images[:100], sigma=0.25, n=1_000)
    """
    check_settings(sigma, alpha, seed, batch_size, n=n)
    options = {"sigma": sigma, "seed": seed, "batch_size": batch_size, "progress": progress}
    return _decide(noisy_votes.count(model, images, indices, (0, n), **options)[1], alpha)


def lower_bound(successes, n, alpha):
    """The one-sided lower bound of a share, which holds with probability 1 - alpha at least (Clopper & Pearson, 1934).

    Args:
        successes: Integers 0..n, of any shape.
        n: Number of trials, at least 1.
        alpha: Probability in (0, 1) that the true share is lower.

    Returns:
        float64 array of the shape of `successes`: the share under which as many successes have the probability alpha.
    """
    successes = np.asarray(successes)
    return np.where(successes > 0, betaincinv(np.maximum(successes, 1), n - successes + 1.0, alpha), 0.0)


def _radius(bounds, sigma):
    return sigma * ndtri(np.maximum(bounds, 0.5))


def _decide(votes, alpha):
    """The class with most votes, or `ABSTAIN` where a fair coin would part the two highest so with more than alpha."""
    second, first = np.sort(votes, axis=1)[:, -2:].T
    p_value = 2 * betainc(first, second + 1.0, 0.5)  # both tails of Binomial(first + second, 1/2); above 1 for a tie
    return np.where(p_value <= alpha, votes.argmax(axis=1), ABSTAIN)


def _share(hits, name, interval):
    count = int(np.count_nonzero(hits))
    return {name: count / len(hits), interval: list(intervals.wilson_interval(count, len(hits)))}


def check_settings(sigma, alpha=0.001, seed=0, batch_size=500, **draws):
    """Raises a ValueError if a setting of `evaluate` is out of its range; `draws` are `n0` and `n`."""
    check_seed(seed, "seed")
    sigma_hint = "take the stddev that the model was trained with, in units of images in [0, 1]"
    alpha_hint = "the paper takes 0.001"
    for name, value, most, hint in (("sigma", sigma, math.inf, sigma_hint), ("alpha", alpha, 1, alpha_hint)):
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < most:
            raise ValueError(f"`{name}` must be a number above 0 and below {most}. Received: {name}={value!r}; {hint}.")
    for name, value in draws.items():
        check_count(name, value)
        if value > MOST_DRAWS:
            raise ValueError(f"`{name}` must be at most {MOST_DRAWS}: more cannot be counted. Received: {name}={value}")
    block = noisy_votes.BLOCK
    if isinstance(batch_size, bool) or not isinstance(batch_size, Integral) or batch_size < block:
        raise ValueError(
            f"`batch_size` must be an integer of at least {block}, since noise is drawn in blocks of {block} images. "
            f"Received: batch_size={batch_size!r}"
        )


def _check_radii(radii):
    radii = np.asarray(radii)
    if radii.ndim != 1 or not len(radii) or not (np.isfinite(radii) & (radii >= 0)).all():
        raise ValueError(f"`radii` must be numbers of at least 0. Received: radii={radii!r}")
