"""What a `tf.distribute` strategy asks of a training step; on other backends, and without one, there is one replica.

On JAX a `keras.distribution.DataParallel` step is one program over the whole batch, so that nothing of this is needed.
"""

import functools

import keras
from keras import ops

STRIDE = 1_000_003  # between the seeds of two replicas


def count():
    """Number of replicas whose gradients are summed in one step."""
    return 1 if _strategy() is None else _strategy().num_replicas_in_sync


def gather(tensors):
    """Tensors (batch, ...) of all replicas as (global batch, ...) on each; gradients flow back to their own."""
    if count() == 1 or tensors is None:
        return tensors
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    return keras.tree.map_structure(lambda tensor: replica.all_gather(tensor, axis=0), tensors)


def vary_seed(seed):
    """A seed of `keras.random`, made different on each replica."""
    if _strategy() is None:
        return seed
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return seed
    return seed + ops.cast(ops.stack([replica.replica_id_in_sync_group * STRIDE, 0]), seed.dtype)


def vary_layers(layers):
    """Lets the random layers among some draw other numbers on each replica; Keras gives all of them the same mask."""
    if count() == 1:
        return
    for layer in layers:
        for generator in vars(layer).values():
            if isinstance(generator, keras.random.SeedGenerator) and "next" not in vars(generator):
                generator.next = functools.partial(_next, generator.next)


def _next(draw, ordered=True):
    return vary_seed(draw(ordered))


def _strategy():
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    return tf.distribute.get_strategy()
