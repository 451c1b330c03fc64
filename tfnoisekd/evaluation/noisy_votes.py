"""Votes: into which class does a model put how many noisy copies of an image?

The noise is made and the votes are counted on the device. A noisy copy is decided by the seed, the number of its image,
its stage and its place alone, so that no batch size, order or subset changes a vote (but for rounding).
"""

import weakref

import keras
import numpy as np
from keras import ops

from tfnoisekd.evaluation import prediction

BLOCK = 20  # noisy copies drawn at once: the unit in which a batch is filled, whatever its size
PART = 5  # images whose votes are noted together: with 10,000 draws each, some seconds of work

_steps = weakref.WeakKeyDictionary()  # model -> {backend: compiled function}


def count(model, images, indices, draws, *, sigma, seed, batch_size, progress=None, done=None):
    """How many noisy copies of each image a model puts into each class, at two stages with independent noise.

    Args:
        model: A `keras.Model`: images -> logits or probabilities (batch, num_classes).
        images: (n, height, width, channels), uint8 or float in [0, 1].
        indices: (n,), integers in [0, 2**32) that number the images; their places where None.
        draws: The numbers of copies at the two stages.
        sigma: Standard deviation of the noise, in units of images in [0, 1].
        seed: Integer in [0, 2**32).
        batch_size: Copies per forward pass, at least `BLOCK`.
        progress: Function of (number of images that are done, n).
        done: Mapping of parts that were counted before; what is counted now is added.

    Returns:
        int64 array (2, n, num_classes).

    Raises:
        ValueError: If indices, images and model do not fit, or logits are not finite.
    """
    indices = _check_indices(indices, len(images))
    tally = _tally(model, num_classes(model, images), draws, sigma, seed, batch_size)
    done = {} if done is None else done
    votes = []
    for start in range(0, len(images), PART):
        part = slice(start, start + PART)
        key = f"votes_{start}"
        if key not in done:
            found = []
            for index, image in zip(indices[part], prediction.unit_batches(images[part], 1), strict=True):
                found.append(tally(index, image))
                if progress is not None:
                    progress(start + len(found), len(images))
            done[key] = np.stack(found).tolist()
        elif progress is not None:
            progress(start + len(done[key]), len(images))
        votes += done[key]
    return np.array(votes, np.int64).swapaxes(0, 1)


def num_classes(model, images):
    """The number of classes of a model, or a ValueError if it cannot classify these images."""
    prediction.check_images(images, prediction.image_shape(model))
    if not model.built:  # a subclassed model has no weights before its first call
        model(np.zeros((1, *np.shape(images)[1:]), "float32"))
    output = model.compute_output_spec(keras.KerasTensor((BLOCK, *np.shape(images)[1:]), "float32"))
    shape = getattr(output, "shape", None)
    if shape is None or len(shape) != 2 or shape[1] is None or shape[1] < 2:
        raise ValueError(
            "`model` must give one output (batch, num_classes) with at least 2 classes: a single one would win every "
            f"vote. Received: {output}"
        )
    return shape[1]


def _tally(model, classes, draws, sigma, seed, batch_size):
    """A function of (number of an image, image (1, ...)) that gives its votes, int64 (2, num_classes)."""
    step = _step(model)
    # Columns: seed, image, stage, number of the block (these four decide its noise), and how many copies of it count.
    blocks = [(seed, 0, k, b, min(BLOCK, of - b * BLOCK)) for k, of in enumerate(draws) for b in range(-(-of // BLOCK))]
    size = min(batch_size // BLOCK, len(blocks))
    blocks += [(seed, 0, 0, 0, 0)] * (-len(blocks) % size)  # the last batch has the size of the others
    blocks = np.array(blocks, np.uint32)

    def tally(index, image):
        blocks[:, 1] = index
        image, state = ops.convert_to_tensor(image), (ops.zeros((2, classes)), ops.zeros(()))
        for batch in np.split(blocks, len(blocks) // size):  # nothing leaves the device until the image is done
            state = step(state, image, ops.convert_to_tensor(sigma, "float32"), ops.convert_to_tensor(batch))
        _check_finite(model, int(state[1]), sum(draws))
        return ops.convert_to_numpy(state[0]).astype(np.int64)

    return tally


def _step(model):
    """The compiled function of a model; kept as long as the model lives, so that nothing is compiled twice."""
    known, backend = _steps.setdefault(model, {}), keras.backend.backend()
    if backend not in _COMPILERS:
        raise ValueError(f"Smoothing needs KERAS_BACKEND=tensorflow or jax. Received: {backend}")
    if backend not in known:
        known[backend] = _COMPILERS[backend](weakref.ref(model))
    return known[backend]


def _count(call, noise, state, image, sigma, blocks):
    """Adds some blocks of noisy copies to the state: (votes (2, num_classes), copies whose logits are not finite)."""
    logits = ops.cast(call(ops.reshape(image + sigma * noise, (-1, *image.shape[1:]))), "float32")
    num_classes, sizes = logits.shape[1], ops.cast(blocks[:, 4], "int32")
    counts = ops.cast(ops.arange(BLOCK) < sizes[:, None], "float32")[..., None]
    votes = ops.reshape(ops.one_hot(ops.argmax(logits, axis=1), num_classes), (-1, BLOCK, num_classes))
    broken = ops.reshape(ops.cast(~ops.all(ops.isfinite(logits), axis=1), "float32"), (-1, BLOCK, 1))
    stages = ops.one_hot(ops.cast(blocks[:, 2], "int32"), 2)[..., None]
    votes = ops.sum(stages * ops.sum(counts * votes, axis=1)[:, None], axis=0)  # sums of whole numbers: exact
    return state[0] + votes, state[1] + ops.sum(counts * broken)


def _compile_for_tensorflow(owner):
    import tensorflow as tf

    @tf.function(autograph=False)
    def step(state, image, sigma, blocks):
        def normal(words):
            return tf.random.stateless_normal((BLOCK, *image.shape[1:]), words, alg="philox")

        words = tf.bitcast(tf.reshape(blocks[:, :4], (-1, 2, 2)), tf.int64)
        noise = tf.map_fn(normal, words, fn_output_signature=tf.float32)
        return _count(lambda images: owner()(images, training=False), noise, state, image, sigma, blocks)

    return step


def _compile_for_jax(owner):
    import jax

    @jax.jit
    def step(values, state, image, sigma, blocks):
        def normal(words):
            key = jax.random.key(words[0], impl="threefry2x32")
            for word in words[1:4]:
                key = jax.random.fold_in(key, word)
            return jax.random.normal(key, (BLOCK, *image.shape[1:]), "float32")

        def call(images):
            with keras.StatelessScope(state_mapping=list(zip(owner().variables, values, strict=True))):
                return owner()(images, training=False)

        return _count(call, jax.vmap(normal)(blocks), state, image, sigma, blocks)

    return lambda *arguments: step([variable.value for variable in owner().variables], *arguments)


_COMPILERS = {"tensorflow": _compile_for_tensorflow, "jax": _compile_for_jax}


def _check_indices(indices, n):
    indices = np.arange(n) if indices is None else np.asarray(indices)
    whole = np.issubdtype(indices.dtype, np.integer) and indices.shape == (n,)
    if not whole or ((indices < 0) | (indices >= 2**32)).any():
        raise ValueError(
            f"`indices` must be integers from 0 to 2**32 - 1 of shape ({n},), the number of each image. "
            f"Received: dtype {indices.dtype} and shape {indices.shape}, starting with {indices.ravel()[:3].tolist()}"
        )
    return indices


def _check_finite(model, broken, draws):
    if broken:
        raise ValueError(
            f"`model` must give finite logits under noise. Received: NaN or infinity from {model.name} for {broken} of "
            f"{draws} noisy copies of an image; the training has diverged, or float16 overflows: compute in float32."
        )
