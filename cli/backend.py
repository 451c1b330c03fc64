"""Imports Keras and its backend without their start-up chatter."""

import contextlib
import os
import sys
import tempfile


def load_quietly():
    """Imports Keras and starts its backend; what they print is shown only if that fails."""
    with _captured_stderr():
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices()  # looks for a GPU, loudly
    if "absl.logging" in sys.modules:
        sys.modules["absl.logging"].set_verbosity("error")


@contextlib.contextmanager
def _captured_stderr():
    # C++ code writes to the file descriptor, so replacing sys.stderr is not enough.
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except BaseException:
            captured.seek(0)
            os.write(saved, captured.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
