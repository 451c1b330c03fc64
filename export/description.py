"""Description: what a stranger must know of an exported model to use it, typed and ready for JSON."""

import contextlib
import dataclasses
import importlib.metadata
import json

from tfnoisekd.export import ends, origin
from tfnoisekd.provenance import provenance

NOT_STATED = "not stated"
RUNTIMES = ("ai-edge-litert", "onnx", "onnxruntime")
SCHEMA = 1  # raise it when a field changes its meaning


@dataclasses.dataclass(frozen=True)
class Description:
    """All that is known of a model; what is unknown is None or empty, and nothing is guessed.

    Args:
        name: A name for people.
        class_names: One for each value of the output, in its order; each one line of text.
        licence: Of the weights, as their owner states it, such as "Apache-2.0".
        parameters: Number of trainable parameters.
        weights_sha256: Digest of the Keras model's weights.
        preprocessing: Layers in the graph that scale pixels, which a caller must not repeat.
        training: An `origin.Training`.
        metrics: What the Keras model reached on the test images, as `evaluation.accuracy.evaluate` names it; instead
            of every class the `lowest_classes`.
        versions: Dict of package -> version, of `training` and `export`.
        format: "tflite", "onnx" or "saved_model"; this and the next three are known once there is a file.
        quantize: "none", "float16", "dynamic", "int8" or "int8-io".
        input: An `ends.Input`.
        output: An `ends.Output`.

    Raises:
        ValueError: If class names or licence are not lines of text.
    """

    name: str
    class_names: tuple[str, ...]
    licence: str = NOT_STATED
    parameters: int | None = None
    weights_sha256: str | None = None
    preprocessing: tuple[str, ...] = ()
    training: origin.Training | None = None
    metrics: dict | None = None
    versions: dict = dataclasses.field(default_factory=dict)
    format: str | None = None
    quantize: str | None = None
    input: ends.Input | None = None
    output: ends.Output | None = None

    def __post_init__(self):
        for line in (self.name, self.licence, *self.class_names):
            if not isinstance(line, str) or line.splitlines() != [line] or not line.strip():
                raise ValueError(
                    "`name`, `licence` and each of `class_names` must be one line of text. "
                    f"Received: {line!r}; a class without a name may be called by its number, as text."
                )

    def check_classes(self, num_classes):
        """Raises a ValueError unless there is one class name for each of the `num_classes` outputs."""
        if len(self.class_names) != num_classes:
            raise ValueError(
                f"`class_names` must name each of the model's {num_classes} classes. Received: "
                f"{len(self.class_names)} names; give one for each output, in their order."
            )

    def of_file(self, format, path, quantize="none"):
        """This description with what can be read off a file: its format, input and output.

        Args:
            format: "tflite", "onnx" or "saved_model".
            path: The file, or the folder of a SavedModel.
            quantize: Name of its quantisation.

        Returns:
            A `Description`.

        Raises:
            ValueError: If the file does not have as many classes as there are class names.
        """
        image, output = ends.of_file(format, path)
        self.check_classes(output.num_classes)
        return dataclasses.replace(self, format=format, quantize=quantize, input=image, output=output)

    def to_json(self):
        """One line of JSON, in UTF-8 and not escaped; `from_json` makes the same description of it."""
        return json.dumps({"schema": SCHEMA, **dataclasses.asdict(self)}, ensure_ascii=False, allow_nan=False)


def from_json(text):
    """The `Description` that `to_json` wrote; a ValueError if it is damaged or of another version of this package."""
    try:
        fields = json.loads(text)
        if fields.pop("schema") != SCHEMA:
            raise ValueError("another schema")
        for name, kind in (("training", origin.Training), ("input", ends.Input), ("output", ends.Output)):
            fields[name] = fields[name] and kind(**fields[name])
        if fields["training"]:
            noise = tuple(fields["training"].noise)
            fields["training"] = dataclasses.replace(fields["training"], noise=noise)
        lists = {name: tuple(fields[name]) for name in ("class_names", "preprocessing")}
        return Description(**{**fields, **lists})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"`text` must be a description of schema {SCHEMA}. Received: {type(error).__name__}: {error}; "
            "export the model again."
        ) from error


def of_model(model, class_names, *, name=None, licence=NOT_STATED):
    """The description of a Keras model of which nothing more is known.

    Args:
        model: A `keras.Model`.
        class_names: One for each output, in their order.
        name: A name for people; None takes the model's.
        licence: Of the weights, as their owner states it.

    Returns:
        A `Description`.

    Raises:
        ValueError: If class names or licence are not lines of text.

    Example:

    >>> of_model(model, ["cat", "dog"], licence="CC-BY-4.0").to_json()
    """
    from tfnoisekd import inspection  # imports keras, which an import of this package must not

    return Description(
        name=name or model.name,
        class_names=tuple(class_names),
        licence=licence,
        parameters=inspection.count_parameters(model),
        weights_sha256=inspection.weights_digest(model),
        preprocessing=tuple(filter(None, map(_scaling, inspection.flatten(model)))),
        versions={"export": _versions()},
    )


def of_run(record, model, *, name=None, licence=NOT_STATED):
    """The description of a run's student.

    What could tell a stranger about the machine of the training, such as paths and the command line, stays out.

    Args:
        record: `runs.Run.record` of a finished run.
        model: Its student.
        name: A name for people; None makes one of student, method and data set.
        licence: Of the weights, as their owner states it.

    Returns:
        A `Description`.

    Raises:
        ValueError: If the run has not finished, or the model is not its student.
    """
    if record["status"] != "finished":
        raise ValueError(
            f"`record` must be of a finished run. Received: one that is {record['status']}; go on with it."
        )
    training = origin.of_record(record)
    name = name or f"{record['config']['student']} ({training.method}, {training.data['name']})"
    plain = of_model(model, record["data"]["class_names"], name=name, licence=licence)
    if plain.weights_sha256 != record["student_weights_sha256"]:
        raise ValueError(
            "`model` must be the student of the run. Received: a model of other weights; describe it by of_model."
        )
    versions = {"training": record["provenance"]["versions"], **plain.versions}
    tested = record.get("split", "test") == "test"  # and no trial of a search, which never saw the test images
    metrics = origin.metrics(record["results"]) if tested else None
    return dataclasses.replace(plain, training=training, metrics=metrics, versions=versions)


def _versions():
    """Package -> version, the runtimes that prove a file among them."""
    versions = dict(provenance()["versions"])
    for package in RUNTIMES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def _scaling(layer):
    """A layer that scales pixels, in words; None of any other layer."""
    kind = type(layer).__name__
    if kind == "Rescaling":
        return f"Rescaling: pixel * {layer.scale} + {layer.offset}"
    if kind == "Normalization":
        mean, variance = (_numbers(value) for value in (layer.mean, layer.variance))
        return f"Normalization: (pixel - mean) / sqrt(variance), mean {mean}, variance {variance}"
    return None


def _numbers(tensor):
    from keras import ops

    return [round(float(number), 6) for number in ops.convert_to_numpy(tensor).ravel()]
