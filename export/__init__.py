"""Export: hands a student over as a file for a device, once the file has proven itself on the device's runtime.

`tfnoisekd.export.saved_model`, `.tflite` and `.onnx` are the functions; `FORMATS` has them by name. `open_file` runs
what they wrote.
"""

from tfnoisekd.export.onnx import onnx
from tfnoisekd.export.runtimes import open_file
from tfnoisekd.export.saved_model import saved_model
from tfnoisekd.export.tflite import QUANTIZATIONS, tflite
from tfnoisekd.export.verdict import ConversionFailed, ExportRejected, ExportReport, Limits

FORMATS = {"saved_model": saved_model, "tflite": tflite, "onnx": onnx}

__all__ = [
    "FORMATS",
    "QUANTIZATIONS",
    "ConversionFailed",
    "ExportRejected",
    "ExportReport",
    "Limits",
    "onnx",
    "open_file",
    "saved_model",
    "tflite",
]
