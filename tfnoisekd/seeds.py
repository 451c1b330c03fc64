"""Sets the random streams of a training to where an epoch starts."""

import zlib

import numpy as np

DRAWS_PER_EPOCH = 1 << 20  # room for the draws of one random stream within an epoch


def reset(variables, seed, epoch):
    """Sets every seed among some variables, each to a stream of its own, as `seed` and the number of an epoch decide.

    Args:
        variables: List of `keras.Variable`; those that are no state of a seed stay as they are.
        seed: Integer.
        epoch: Number of the epoch, from 0.
    """
    states = [variable for variable in variables if variable.name == "seed_generator_state"]
    for index, state in enumerate(states):
        key = zlib.crc32(f"{seed} {index}".encode()) >> 1
        state.assign(np.array([key, epoch * DRAWS_PER_EPOCH % 2**31], dtype="int64"))
