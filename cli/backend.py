"""Imports Keras and its backend without their start-up chatter."""

import contextlib
import os
import sys
import tempfile


def load_quietly():
    """Imports TensorFlow (or whichever backend Keras uses); shows what it printed only if that fails."""
    with _captured_stderr() as captured:
        import keras  # noqa: F401

    if "absl" in sys.modules:
        from absl import logging

        logging.set_verbosity(logging.ERROR)
    return captured


@contextlib.contextmanager
def _captured_stderr():
    # C++ code writes to the file descriptor, so replacing sys.stderr is not enough.
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield captured
        except BaseException:
            captured.seek(0)
            os.write(saved, captured.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
