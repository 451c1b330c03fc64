"""Several devices of one machine: what a training is run on, and in which precision."""

import contextlib

import keras


def prepare(count):
    """Makes sure that there are `count` devices; before anything runs, which is when TensorFlow can still split a CPU.

    Raises:
        ValueError: If there are not so many devices.
    """
    if count > 1:
        _jax_devices(count) if keras.backend.backend() == "jax" else _tensorflow_devices(count)


@contextlib.contextmanager
def distributed(count):
    """Within it, models are made for `count` devices, which share each batch; nothing changes for 1.

    On TensorFlow by `tf.distribute.MirroredStrategy`, on JAX by `keras.distribution.DataParallel`. GPUs are used where
    there are enough; otherwise the CPU is split in so many logical devices, which is no faster, but shows the same
    arithmetic.

    Args:
        count: Number of devices, at least 1.

    Raises:
        ValueError: If there are not so many devices.
    """
    if count == 1:
        yield
    elif keras.backend.backend() == "jax":
        before = keras.distribution.distribution()
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=_jax_devices(count)))
        try:
            yield
        finally:
            keras.distribution.set_distribution(before)
    else:
        with _mirrored(tuple(_tensorflow_devices(count))).scope():
            yield


@contextlib.contextmanager
def precision(name):
    """Within it, models are made to compute in "float32", "bfloat16" or "float16"; their weights stay float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name if name == "float32" else f"mixed_{name}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


_strategies = {}


def _mirrored(names):
    """One strategy for each set of devices: TensorFlow keeps its collective keys for the life of a process."""
    import tensorflow as tf

    if names not in _strategies:
        _strategies[names] = tf.distribute.MirroredStrategy(list(names))
    return _strategies[names]


def _tensorflow_devices(count):
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU") if tf.config.list_physical_devices("GPU") else []
    if len(gpus) >= count:
        return [gpu.name for gpu in gpus[:count]]
    cpu = tf.config.list_physical_devices("CPU")[0]
    if not gpus and not tf.config.get_logical_device_configuration(cpu):
        # Too late if TensorFlow has run anything; then there is one device, and the error below says so.
        with contextlib.suppress(RuntimeError):
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    cpus = tf.config.list_logical_devices("CPU")
    if gpus or len(cpus) < count:
        raise _too_few(count, gpus or cpus, "split the CPU by tf.config.set_logical_device_configuration first")
    return [device.name for device in cpus[:count]]


def _jax_devices(count):
    found = keras.distribution.list_devices()
    if len(found) < count:
        raise _too_few(count, found, f"set XLA_FLAGS=--xla_force_host_platform_device_count={count} before the start")
    return found[:count]


def _too_few(count, found, advice):
    return ValueError(
        f"`devices` must be at most the number of devices. Received: devices={count}, and there "
        f"{'is' if len(found) == 1 else 'are'} {len(found)}; without GPUs, {advice}"
    )
