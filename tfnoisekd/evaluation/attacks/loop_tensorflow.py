"""The steps of projected gradient descent on TensorFlow, as one compiled loop over cleverhans' own functions."""

import weakref

import numpy as np

PRIMITIVES = "cleverhans.tf2.utils"
ORDERS = {"linf": np.inf, "l2": 2}  # cleverhans' names of the norms


def compiled(model, norm, shape):
    """A function that takes steps of PGD on a model, compiled once for every batch size and all settings.

    It is cleverhans' `projected_gradient_descent` with the cross-entropy of the true labels, from a given start and
    within [0, 1]: the same functions of `cleverhans.tf2.utils` in the same order, so that it gives the same images.

    Args:
        model: A `keras.Model`; it is not kept alive.
        norm: "linf" or "l2".
        shape: (height, width, channels) of the images.

    Returns:
        A function of (images, current, labels, epsilon, step_size, steps, stop): clean images and current ones, float32
        (batch, height, width, channels) in [0, 1]; labels int32 (batch,); three numbers; and whether an image stays as
        it is from where it is first misclassified. It returns the images after `steps` more steps, their logits, and
        the sum of the absolute gradients of each over the steps, (batch,): 0 where the attack got no direction at all,
        not finite where a gradient was not.
    """
    import tensorflow as tf

    def logits_of(images):
        return tf.cast(owner()(images, training=False), tf.float32)

    owner = weakref.ref(model)
    step = _make_step(logits_of, ORDERS[norm])
    images = tf.TensorSpec((None, *shape))  # an open batch size, so that no other one is compiled anew
    labels, number, count = tf.TensorSpec((None,), tf.int32), tf.TensorSpec(()), tf.TensorSpec((), tf.int32)
    signature = [images, images, labels, number, number, count, tf.TensorSpec((), tf.bool)]

    @tf.function(autograph=False, input_signature=signature)  # without autograph, as Keras compiles a training step
    def loop(images, current, labels, epsilon, step_size, steps, stop):
        def body(i, current, strength, _):
            moved, gradients, done = step(images, current, labels, epsilon, step_size, stop)
            return i + 1, moved, strength + gradients, done

        start = (tf.constant(0), current, tf.zeros(tf.shape(labels)), tf.constant(False))
        _, current, strength, _ = tf.while_loop(lambda i, *state: (i < steps) & ~state[-1], body, start)
        return current, logits_of(current), strength

    return loop


def _make_step(logits_of, order):
    """A function that takes one step: the images, the sum of absolute gradients of each, and whether all stay."""
    import tensorflow as tf
    from cleverhans.tf2 import utils

    gradient_of = utils.compute_gradient.python_function  # the caller compiles it; its own cache would keep all models

    def step(images, current, labels, epsilon, step_size, stop):
        seen = []

        def loss(labels, logits):
            seen.append(logits)
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)

        gradient = gradient_of(logits_of, loss, current, labels, False)
        if gradient is None:  # no way from the images to the loss
            gradient = tf.zeros_like(current)
        moved = tf.clip_by_value(current + utils.optimize_linear(gradient, step_size, order), 0.0, 1.0)
        moved = tf.clip_by_value(images + utils.clip_eta(moved - images, order, epsilon), 0.0, 1.0)
        stays = stop & (tf.argmax(seen[0], axis=1, output_type=tf.int32) != labels)
        moved = tf.where(stays[:, None, None, None], current, moved)
        return moved, tf.reduce_sum(tf.abs(gradient), axis=(1, 2, 3)), tf.reduce_all(stays)

    return step
