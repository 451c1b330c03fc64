"""Export: hands a student over as a file for a device, once the file has proven itself on the device's runtime.

`tfnoisekd.export.saved_model`, `.tflite` and `.onnx` are the functions; `FORMATS` has them by name.
"""

from tfnoisekd.export.onnx import onnx
from tfnoisekd.export.saved_model import saved_model
from tfnoisekd.export.tflite import tflite
from tfnoisekd.export.verify import ExportRejected, ExportReport

FORMATS = {"saved_model": saved_model, "tflite": tflite, "onnx": onnx}

__all__ = ["FORMATS", "ExportRejected", "ExportReport", "onnx", "saved_model", "tflite"]
