"""Metadata: a `Description` inside the file that it describes, where the format has a place for it.

| format | place |
| tflite | metadata of the model, `tfnoisekd.json`; its signature, tensors and operators stay as they are |
| onnx | `metadata_props`: `tfnoisekd.json`, and short keys beside it that any viewer shows |
| saved_model | `assets.extra/tfnoisekd.json`, the folder that SavedModel leaves to others |
"""

import contextlib
from pathlib import Path

from tfnoisekd.export import checks, description, files

NAME = "tfnoisekd.json"


def embed(format, path, described, quantize="none"):
    """Completes a description with what can be read off a file, and puts it inside.

    An export does so before it proves the file, so that what is proven is what is handed over. A description that is
    already inside is replaced.

    Args:
        format: "tflite", "onnx" or "saved_model".
        path: The file, or the folder of a SavedModel.
        described: A `Description`.
        quantize: Name of the file's quantisation.

    Returns:
        The `Description` that is now inside.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ImportError: If the runtime of the format is not installed.
        ValueError: If there is no such format, or the file has other classes than the description names.

    Example:

    >>> embed("tflite", "student.tflite", of_model(model, ["cat", "dog"]))
    >>> read("tflite", "student.tflite").class_names
    ('cat', 'dog')
    """
    path = Path(path)
    described = described.of_file(format, path, quantize)
    WRITERS[format](path, described)
    return described


def read(format, path):
    """The `Description` inside a file.

    Args:
        format: "tflite", "onnx" or "saved_model".
        path: The file, or the folder of a SavedModel.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ValueError: If there is no such format, or no description inside.
    """
    path = Path(path)
    files.check_exported(format, path, READERS)
    text = READERS[format](path)
    if text is None:
        raise ValueError(
            f"`path` must be a file with a description. Received: {path}, which has none; export the model again with "
            "one, or put one inside with `embed`."
        )
    return description.from_json(text)


def _write_tflite(path, described):
    import flatbuffers

    schema = _schema()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(path.read_bytes(), 0))
    text = described.to_json().encode()
    known = [entry for entry in model.metadata or [] if entry.name == NAME.encode()]
    if known:
        model.buffers[known[0].buffer].data = _array(text)
    else:
        model.buffers.append(schema.BufferT(data=_array(text)))
        entry = schema.MetadataT(name=NAME.encode(), buffer=len(model.buffers) - 1)
        model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(path.stat().st_size + len(text))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    _replace(path, bytes(builder.Output()))


def _read_tflite(path):
    model = _schema().Model.GetRootAsModel(path.read_bytes(), 0)
    for entry in map(model.Metadata, range(model.MetadataLength())):
        if entry.Name() == NAME.encode():
            return model.Buffers(entry.Buffer()).DataAsNumpy().tobytes().decode()
    return None


def _schema():
    """The classes of a TFLite file: LiteRT's, or TensorFlow's where LiteRT is not installed."""
    with contextlib.suppress(ImportError):
        from ai_edge_litert import schema_py_generated

        return schema_py_generated
    from tensorflow.lite.python import schema_py_generated

    return schema_py_generated


def _array(text):
    import numpy as np

    return np.frombuffer(text, np.uint8)


def _write_onnx(path, described):
    onnx = checks.require("onnx", "onnx", "onnx")
    proto = onnx.load(path)
    props = {entry.key: entry.value for entry in proto.metadata_props}  # `layout` among them, which a runtime needs
    onnx.helper.set_model_props(proto, {**props, **_short(described), NAME: described.to_json()})
    proto.doc_string = f"{described.name}: image classifier, {described.output.num_classes} classes"
    _replace(path, proto.SerializeToString())


def _read_onnx(path):
    proto = checks.require("onnx", "onnx", "onnx").load(path)
    return {entry.key: entry.value for entry in proto.metadata_props}.get(NAME)


def _short(described):
    """The same in keys and lines of text, for viewers and for programs that read no JSON."""
    image = described.input
    lines = {
        "name": described.name,
        "class_names": "\n".join(described.class_names),
        "image": f"{image.dtype}, {image.height}x{image.width}x{image.channels}, {image.minimum} to {image.maximum}",
        "prepare": image.prepare,
        "output": described.output.name,
        "licence": described.licence,
    }
    if described.training:
        lines["training"] = " ".join([described.training.method, *described.training.noise])
    return lines


def _write_saved_model(path, described):
    folder = path / "assets.extra"
    folder.mkdir(exist_ok=True)
    _replace(folder / NAME, described.to_json().encode())


def _read_saved_model(path):
    file = path / "assets.extra" / NAME
    return file.read_text(encoding="utf-8") if file.is_file() else None


def _replace(path, content):
    """Writes a file whole or not at all."""
    with files.partial_sibling(path) as partial:
        partial.write_bytes(content)
        files.replace(partial, path)


WRITERS = {"tflite": _write_tflite, "onnx": _write_onnx, "saved_model": _write_saved_model}
READERS = {"tflite": _read_tflite, "onnx": _read_onnx, "saved_model": _read_saved_model}
