"""`digits`: real scans of handwritten digits that come with scikit-learn, so that everything can run offline."""

import numpy as np

from tfnoisekd.data import splits
from tfnoisekd.data.image_data import RawData, Split

TEST_SIZE = 360
TEST_SEED = 0  # the test part is part of the data set's definition: no argument moves it


def read():
    """1,437 training and 360 test scans, 16x16x1 uint8, 10 classes (Alpaydin & Kaynak, 1998).

    The scans are 8x8 with 17 grey levels; doubled in size bilinearly, wide residual networks can take them.
    """
    from sklearn.datasets import load_digits

    scans = load_digits()
    doubled = _doubled(_doubled(scans.images, axis=1), axis=2)
    # Levels are 0..16 and the weights of doubling are sixteenths, so this is exact up to the one rounding here.
    images = np.round(doubled * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    everything = Split(images, scans.target.astype(np.int64))
    train, test = splits.hold_out(everything, TEST_SIZE, seed=TEST_SEED, draw=splits.TEST, argument="test_size")
    return RawData(train, test, tuple(str(digit) for digit in range(10)))


def _doubled(images, axis):
    """Bilinear interpolation to twice the size along one axis, with pixel centres at halves and edges repeated."""
    images = np.moveaxis(images, axis, 0)
    before = np.concatenate([images[:1], images[:-1]])
    after = np.concatenate([images[1:], images[-1:]])
    pairs = np.stack([0.75 * images + 0.25 * before, 0.75 * images + 0.25 * after], axis=1)
    return np.moveaxis(pairs.reshape(-1, *images.shape[1:]), 0, axis)
