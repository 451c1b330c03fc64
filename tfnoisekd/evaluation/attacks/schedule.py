"""Which attack is run next: examples that are broken drop out, and the batches stay full."""

import itertools

import numpy as np

CLEAN_ERROR = -1
NUM_SIZES = 5  # the batch size and its halvings; each size is compiled once on JAX


class Schedule:
    """The pairs of example and restart that are still open, for one or several numbers of steps ("levels").

    An example that is broken needs no further restart, and one that is wrong without an attack needs none at all;
    leaving them out changes no result. Pairs are taken in the order of restarts. Where the examples of a restart do not
    fill a batch, those of later restarts do, and what is still empty is filled by repeating the last one.

    Args:
        right: Booleans (n,), whether the model is right on the clean image.
        restarts: Number of restarts of each example.
        levels: Number of step counts. A restart passes through all of them in one go, up to the highest one needed.
        batch_size: Largest number of images in a batch.

    Attributes:
        broken_by: int array (levels, n): the first restart that breaks an example; `restarts` where none has so far;
            `CLEAN_ERROR` where it is wrong without an attack.
    """

    def __init__(self, right, restarts, levels, batch_size):
        self.restarts = restarts
        self.broken_by = np.tile(np.where(right, restarts, CLEAN_ERROR), (levels, 1))
        self._next = np.where(right, 0, restarts)  # the restart of each example that comes next
        largest = min(batch_size, len(right))
        self._sizes = sorted({-(-largest // 2**halvings) for halvings in range(NUM_SIZES)})

    @property
    def state(self):
        """What has been done so far, ready for JSON; set on a schedule of the same arguments, it goes on from there."""
        return {"broken_by": self.broken_by.tolist(), "next": self._next.tolist()}

    @state.setter
    def state(self, state):
        self.broken_by, self._next = np.array(state["broken_by"]), np.array(state["next"])

    def take(self):
        """(examples, restarts, rows) of the next batch, or None at the end.

        The first two are ints (pairs,); rows are the examples again, the last one repeated up to one of a few sizes.
        """
        need = self._need()
        # Those that need equally many levels together, so that few are carried on for nothing.
        waiting = np.argsort(-need, kind="stable")[: np.count_nonzero(need)]
        if not len(waiting):
            return None
        upcoming = self._next[waiting]
        count = np.count_nonzero(upcoming == upcoming.min())
        size = next((size for size in self._sizes if size >= count), self._sizes[-1])
        pairs = (
            (example, restart)
            for restart in range(upcoming.min(), self.restarts)
            for example in waiting[upcoming <= restart].tolist()
        )
        examples, restarts = np.array(list(itertools.islice(pairs, size))).T
        np.maximum.at(self._next, examples, restarts + 1)
        return examples, restarts, np.pad(examples, (0, size - len(examples)), mode="edge")

    def record(self, level, examples, restarts, wrong):
        """Notes which pairs were broken at a level; whether any of the examples needs a higher one."""
        np.minimum.at(self.broken_by[level], examples[wrong], restarts[wrong])
        return bool((self.broken_by[level + 1 :, examples] == self.restarts).any())

    def deciding(self, examples, restarts, wrong):
        """Booleans (pairs,): those that broke their example first at the last level, or were its last of all."""
        first = self.broken_by[-1, examples]
        return (wrong & (first == restarts)) | ((first == self.restarts) & (restarts == self.restarts - 1))

    def all_started(self):
        """Whether every example has had its first restart."""
        return bool((self._next > 0).all())

    def decided(self):
        """Number of examples without any open pair."""
        return int(np.count_nonzero(self._need() == 0))

    def _need(self):
        """For each example the number of levels that its next restart must pass through; 0 if it needs none."""
        still_open = (self.broken_by == self.restarts) & (self._next < self.restarts)
        return (still_open * np.arange(1, len(still_open) + 1)[:, None]).max(axis=0)
