"""Imports Keras and its backend without their start-up chatter."""

import sys

from tfnoisekd.export.files import quiet


def load_quietly():
    """Imports Keras and starts its backend; what they print is shown only if that fails."""
    with quiet():
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices()  # looks for a GPU, loudly
            tf.get_logger().setLevel("ERROR")  # it calls it a retracing when each of several models is evaluated
    if "absl.logging" in sys.modules:
        sys.modules["absl.logging"].set_verbosity("error")
