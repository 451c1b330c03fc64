"""tfnoisekd: noise as a resource for knowledge distillation, in Keras.

The public names are imported on first use (PEP 562), so that `import tfnoisekd` and `tfnoisekd --help` load neither
Keras nor TensorFlow.
"""

import importlib

__version__ = "0.1.0"

_HOME = {
    "AttentionTransfer": "distillation_losses",
    "Distiller": "distiller",
    "DistillationLoss": "distillation_losses",
    "Hinton": "distillation_losses",
    "InputNoise": "noise",
    "LabelNoise": "noise",
    "RKD": "distillation_losses",
    "SimilarityPreserving": "distillation_losses",
    "TeacherDropout": "noise",
    "Weighted": "keras_losses",
    "wide_resnet": "models",
}
_MODULES = ("config", "data", "distiller", "evaluation", "losses", "methods", "models", "noise", "runs", "training")

__all__ = [*_HOME, *_MODULES]


def __getattr__(name):
    if name in _HOME:
        return getattr(importlib.import_module(f"tfnoisekd.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"tfnoisekd.{name}")
    raise AttributeError(f"module 'tfnoisekd' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
