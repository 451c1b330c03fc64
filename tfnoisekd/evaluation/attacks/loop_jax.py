"""The steps of projected gradient descent on JAX, compiled.

`cleverhans.jax` (4.0.0) cannot be used: its attacks import `jax.experimental.stax`, which is gone since JAX 0.3.16; its
`clip_eta` passes `a_min` and `a_max`, which `jax.numpy.clip` has dropped; its random start calls `jax.numpy.random`,
which does not exist; and its l2 step has length 1 whatever `eps_iter` is. The formulas are those of `cleverhans.tf2`.
"""

import weakref

import keras

PRIMITIVES = "the formulas of cleverhans.tf2.utils in jax.numpy"
AVOID_ZERO_DIVISION = 1e-12  # cleverhans' floor of a squared norm


def compiled(model, norm, shape):
    """As `loop_tensorflow.compiled`, but compiled once for each batch size."""
    import jax
    from jax import lax
    from jax import numpy as jnp

    owner, step = weakref.ref(model), _make_step(weakref.ref(model), norm)

    @jax.jit
    def whole_loop(values, batch, state, steps):
        def body(counted):
            return counted[0] + 1, step(values, batch, counted[1])

        return lax.while_loop(lambda counted: (counted[0] < steps) & ~counted[1][-1], body, (0, state))[1]

    def loop(images, current, labels, epsilon, step_size, steps, stop):
        values = [variable.value for variable in owner().variables]
        batch, state = (images, labels, epsilon, step_size, stop), (current, jnp.zeros(len(images)), False)
        if in_one_program():
            state = whole_loop(values, batch, state, steps)
        else:
            for _ in range(int(steps)):
                state = step(values, batch, state)
                if stop and state[-1]:
                    break
        return state[0], logits_of(values, state[0]), state[1]

    logits_of = jax.jit(_make_logits(owner))
    return loop


def in_one_program():
    """Whether all steps are one program; XLA runs convolutions five times slower within a loop on the CPU (JAX #12868).

    Else each step is one; while it runs, JAX has the next one ready.
    """
    import jax

    return jax.default_backend() != "cpu"


def _make_logits(owner):
    def logits_of(values, images):
        model = owner()
        with keras.StatelessScope(state_mapping=zip(model.variables, values, strict=True)):
            return model(images, training=False).astype("float32")

    return logits_of


def _make_step(owner, norm):
    """A compiled function of (values, batch, state) that returns the state after one more step."""
    import jax
    from jax import numpy as jnp

    logits_of, (optimize_linear, clip_eta) = _make_logits(owner), _geometry(jnp)[norm]

    def loss(images, values, labels):
        logits = logits_of(values, images)
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).sum(), logits

    @jax.jit
    def step(values, batch, state):
        (images, labels, epsilon, step_size, stop), (current, strength, _) = batch, state
        gradient, logits = jax.grad(loss, has_aux=True)(current, values, labels)
        moved = jnp.clip(current + optimize_linear(gradient, step_size), 0.0, 1.0)
        moved = jnp.clip(images + clip_eta(moved - images, epsilon), 0.0, 1.0)
        stays = stop & (logits.argmax(axis=1) != labels)
        moved = jnp.where(stays[:, None, None, None], current, moved)
        return moved, strength + jnp.abs(gradient).sum(axis=(1, 2, 3)), stays.all()

    return step


def _geometry(jnp):
    """Norm -> (the best step of a given length along a gradient, the projection of a perturbation onto the ball)."""

    def length(x):
        return jnp.sqrt(jnp.maximum(AVOID_ZERO_DIVISION, jnp.square(x).sum(axis=(1, 2, 3), keepdims=True)))

    return {
        "linf": (lambda gradient, size: size * jnp.sign(gradient), lambda eta, size: jnp.clip(eta, -size, size)),
        "l2": (
            lambda gradient, size: size * (gradient / length(gradient)),
            lambda eta, size: eta * jnp.minimum(1.0, size / length(eta)),
        ),
    }
