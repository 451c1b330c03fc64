"""Export: hands a student over as a file for a device, once the file has proven itself on the device's runtime.

`tfnoisekd.export.saved_model`, `.tflite` and `.onnx` are the functions; `FORMATS` has them by name. `open_file` runs
what they wrote, `web` makes a page of an ONNX file, and `deliver` writes several files with a report and a model card.
"""

from tfnoisekd.export.description import Description
from tfnoisekd.export.onnx import onnx
from tfnoisekd.export.runtimes import open_file
from tfnoisekd.export.saved_model import saved_model
from tfnoisekd.export.tflite import QUANTIZATIONS, tflite
from tfnoisekd.export.verdict import ConversionFailed, ExportRejected, ExportReport, Limits
from tfnoisekd.export.web import web

FORMATS = {"saved_model": saved_model, "tflite": tflite, "onnx": onnx}

__all__ = [
    "FORMATS",
    "QUANTIZATIONS",
    "ConversionFailed",
    "Description",
    "ExportRejected",
    "ExportReport",
    "Limits",
    "Order",
    "deliver",
    "onnx",
    "open_file",
    "saved_model",
    "tflite",
    "web",
]


def __getattr__(name):
    # They attack and corrupt, which takes Keras; an import of this package does without.
    if name in ("Order", "deliver"):
        from tfnoisekd.export import delivery

        return getattr(delivery, name)
    raise AttributeError(f"module 'tfnoisekd.export' has no attribute {name!r}")
