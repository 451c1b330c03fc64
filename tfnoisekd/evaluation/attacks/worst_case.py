"""Several attacks one after the other, each on what those before it left standing."""

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np

from tfnoisekd.evaluation import prediction
from tfnoisekd.evaluation.attacks import art_attacks, losses, starts
from tfnoisekd.evaluation.attacks.oracle import TOLERANCE, Oracle, lengths
from tfnoisekd.evaluation.attacks.settings import Settings

# Each attack's loss, and which random numbers it gets: an attack breaks the same images whichever others come before.
ATTACKS = {
    "apgd-ce": (losses.cross_entropy, 0),
    "apgd-dlr": (losses.ratio, 1),
    "apgd-t": (losses.targeted_ratio, 2),
    "square": (losses.margin, 3),
}
SQUARES = 5  # which draw of a seed; 1 to 3 are those of `data.splits`, 4 that of `examples`


@dataclass(frozen=True)
class Effort:
    """How much each attack tries: steps of a run of APGD, classes that APGD-T leads to, queries of Square."""

    steps: int
    targets: int
    queries: int


@dataclass(frozen=True)
class Run:
    """One run of an attack on all that stands: one restart, and of APGD-T one target, the class of a rank from 0."""

    attack: str
    restart: int
    rank: int

    @property
    def length(self):
        """Steps of APGD, or queries, by the name of the setting."""
        return "queries" if self.attack == "square" else "steps"


class WorstCase:
    """The attacks on a target, in parts: one run on one batch of what stands. What is done is not done again.

    Args:
        target: `pgd.Target`.
        logits: float32 (n, num_classes), those of the clean images.
        settings: `Settings`.
        effort: `Effort`.
        batch_size: Images of a part, at most.
        done: A mutable mapping of text to what JSON can hold: the parts that are finished.

    Attributes:
        standing: Booleans (n,), the images that no attack has broken yet.
        blind: Booleans (n,), of the last attack: the images that got no gradient but 0 in all of its runs so far.
    """

    def __init__(self, target, logits, settings, effort, batch_size, done):
        self.standing, self.blind = target.right.copy(), np.zeros(len(target.right), bool)
        self._target, self._ranked, self._num_classes = target, _ranked(logits, target.labels), logits.shape[1]
        self._settings, self._effort, self._batch_size, self._done = settings, effort, batch_size, done
        self._art = art_attacks.version()

    def attack(self, name):
        """Runs an attack on what stands; yields the places of each batch, and whether that was its last run."""
        self.blind = self.standing & (name != "square")
        ranks = range(self._effort.targets if name == "apgd-t" else 1)
        runs = [Run(name, restart, rank) for restart in range(self._settings.restarts) for rank in ranks]
        for run in runs:
            places = np.flatnonzero(self.standing)
            for start in range(0, len(places), self._batch_size):
                part = places[start : start + self._batch_size]
                self._take(run, part)
                yield part, run == runs[-1]

    def _take(self, run, places):
        """Takes a part over if it is done, else does it."""
        key = self._key(run, places)
        if key not in self._done:
            self._done[key] = self._compute(run, places)
        broken, blind = (np.isin(np.arange(len(places)), self._done[key][name]) for name in ("broken", "blind"))
        self.standing[places] = ~broken
        self.blind[places] &= blind & ~broken

    def _key(self, run, places):
        """All that decides a part, but the model."""
        digest, target = hashlib.sha256(), self._target
        for each in (target.numbers.astype("<i8"), target.labels.astype("<i4"), target.images):
            digest.update(each[places].tobytes())
        settings = {name: value for name, value in asdict(self._settings).items() if name in ("norm", "epsilon")}
        details = {**asdict(run), run.length: int(getattr(self._effort, run.length)), **settings}
        others = {"seed": int(self._settings.seed), "batch_size": int(self._batch_size), "art": self._art}
        return json.dumps({**details, **others, "examples": digest.hexdigest()}, sort_keys=True)

    def _compute(self, run, places):
        """{"broken", "blind"}: among the places of a batch, those that are broken, and those without a gradient."""
        target, (loss, _) = self._target, ATTACKS[run.attack]
        clean = next(prediction.unit_batches(target.images[places], len(places)))
        labels, gradients = target.labels[places], run.attack != "square"
        towards = self._ranked[places, run.rank] if run.attack == "apgd-t" else labels
        largest = min(self._batch_size, len(target.labels))
        oracle = Oracle(target.model, loss, clean, labels, towards, self._settings, gradients, largest)
        if gradients:
            art_attacks.apgd(oracle, self._num_classes, self._effort.steps, self._starts(run, clean, places))
        else:
            stream = np.random.RandomState([self._settings.seed, SQUARES, run.restart])
            art_attacks.square(oracle, self._num_classes, self._effort.queries, stream)
        broken = _proven(target.model, oracle, largest)
        return {"broken": broken.tolist(), "blind": np.flatnonzero(oracle.blind & gradients).tolist()}

    def _starts(self, run, clean, places):
        """Random points; those of an attack are others than those of any other attack."""
        number = (ATTACKS[run.attack][1] * 2**20 + run.restart) * self._num_classes + run.rank
        return starts.draw(clean, self._target.numbers[places], np.full(len(places), number), self._settings)


def settings_of(norm, epsilon, restarts, seed):
    """`Settings` of the ensemble: APGD's first step is 2 epsilon, and every point counts.

    Raises:
        ValueError: If one of them is impossible.
    """
    return Settings(norm, epsilon, 2 * epsilon, restarts, seed, "any")


def _proven(model, oracle, size):
    """The places of an oracle whose images are broken beyond doubt, looked at once more, outside the attack."""
    settings, images = oracle.settings, oracle.adversarial
    valid = ((images >= 0) & (images <= 1)).all(axis=(1, 2, 3))
    valid &= lengths(images - oracle.clean, settings.norm) <= settings.epsilon + TOLERANCE
    images = np.where(valid[:, None, None, None], images, oracle.clean)
    padded = np.pad(images, ((0, size - len(images)), (0, 0), (0, 0), (0, 0)), mode="edge")
    wrong = prediction.predict_logits(model, padded, size)[: len(images)].argmax(axis=1) != oracle.labels
    return np.flatnonzero(oracle.found & valid & wrong)


def _ranked(logits, labels):
    """The other classes of each image, the most likely one first, int32 (n, num_classes - 1)."""
    order = np.argsort(-logits, axis=1, kind="stable").astype(np.int32)
    return order[order != labels[:, None]].reshape(len(order), -1)
