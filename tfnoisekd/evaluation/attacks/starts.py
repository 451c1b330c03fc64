"""Where an attack starts: random points that depend on a seed, the example and the restart alone."""

import numpy as np


def draw(images, numbers, restarts, settings):
    """A random point of the ball around each image, clipped to [0, 1].

    The draw of an example is a stream of its own, numbered by the seed, the example and the restart (Philox, a
    generator by counter; Salmon et al., 2011), so that it is the same in every batch, order, subset and backend. It
    scales with epsilon: two attacks that differ in epsilon only start in the same direction.

    Args:
        images: float32 array (batch, height, width, channels) in [0, 1].
        numbers: Integers (batch,), each the number of an example, at least 0.
        restarts: Integers (batch,), each the number of a restart, from 0.
        settings: `Settings`, of which `norm`, `epsilon` and `seed` count.

    Returns:
        float32 array like `images`: image + U(-epsilon, epsilon) for each value in linf; in l2 uniform in the ball, by
        a normal direction of length epsilon * u^(1/d), u uniform in [0, 1] (Calafiore et al., 1998).
    """
    perturbation, values = DRAWS[settings.norm], images[0].size
    pairs = zip(numbers.tolist(), restarts.tolist(), strict=True)
    unit = np.stack([perturbation(_stream(settings.seed, *pair), values) for pair in pairs])
    return np.clip(images + (settings.epsilon * unit).astype(np.float32).reshape(images.shape), 0, 1)


def _stream(seed, number, restart):
    return np.random.RandomState(np.random.Philox(key=[seed, number], counter=[0, 0, 0, restart]))


def _uniform(random, values):
    return random.uniform(-1, 1, values)


def _in_ball(random, values):
    direction = random.standard_normal(values)
    return direction / np.linalg.norm(direction) * random.uniform() ** (1 / values)


DRAWS = {"linf": _uniform, "l2": _in_ball}
