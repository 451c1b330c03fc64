"""States of a training that survive a crash."""

import os
import warnings
import zipfile
from pathlib import Path

import numpy as np

from tfnoisekd.disk import replacing


class Checkpoint:
    """The last two states of a training, each written whole or not at all, each checked when read.

    Keras's BackupAndRestore writes in place, so that a full disk or a kill in the middle costs the only copy.

    Args:
        folder: Run directory.
        digest: Identifies the configuration; a checkpoint of another one is refused.
    """

    def __init__(self, folder, digest):
        self.latest = Path(folder) / "checkpoint.npz"
        self.previous = Path(folder) / "checkpoint.previous.npz"
        self.digest = digest

    def save(self, epoch, groups):
        """Writes a state.

        Args:
            epoch: Number of epochs done.
            groups: Mapping of group name -> list of arrays.

        Raises:
            OSError: If the disk is full or the like; the last good checkpoint is still there.
        """
        arrays = {f"{name}/{i:05d}": np.asarray(a) for name, group in groups.items() for i, a in enumerate(group)}
        with replacing(self.latest) as temporary:
            np.savez(temporary, epoch=np.int64(epoch), digest=np.array(self.digest), **arrays)
            if self.latest.exists():
                os.replace(self.latest, self.previous)

    def load(self):
        """The newest readable state: (epochs done, groups), or `None` if there is none yet.

        Raises:
            ValueError: If checkpoints exist but none can be read, or they belong to another configuration.
        """
        damaged = []
        for path in (self.latest, self.previous):
            if not path.exists():
                continue
            try:
                digest, epoch, groups = self._read(path)
            except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
                damaged.append(f"{path.name} ({type(error).__name__})")
                continue
            if digest != self.digest:
                raise ValueError(f"{path} belongs to another configuration: name another folder")
            if damaged:
                warnings.warn(f"{damaged[0]} is damaged: going on after epoch {epoch} instead", stacklevel=2)
            return epoch, groups
        if damaged:
            raise ValueError(f"No checkpoint in {self.latest.parent} can be read: {', '.join(damaged)}; train anew")
        return None

    def _read(self, path):
        with np.load(path, allow_pickle=False) as file:
            digest = str(file["digest"])
            groups = {}
            for key in sorted(file.files):
                name, _, index = key.partition("/")
                if index:
                    groups.setdefault(name, []).append(file[key])
            return digest, int(file["epoch"]), groups
