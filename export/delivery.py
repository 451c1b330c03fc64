"""Delivery: all files of a student that were asked for, each proven, with what they cost and what they withstand."""

from dataclasses import dataclass
from pathlib import Path

from tfnoisekd.evaluation import accuracy, prediction
from tfnoisekd.export import cost, macs, model_card, report, robustness
from tfnoisekd.export.onnx import onnx
from tfnoisekd.export.saved_model import saved_model
from tfnoisekd.export.tflite import INTEGER, tflite
from tfnoisekd.export.web import web

SUFFIXES = {"tflite": ".tflite", "onnx": ".onnx", "saved_model": "_saved_model"}


@dataclass(frozen=True)
class Order:
    """What is to be written.

    Args:
        files: Pairs (format, quantisation), such as ("tflite", "int8"); quantisation is "none" but for TFLite.
        include: What is folded into the files: "preprocessing", "softmax".
        opset: Version of the ONNX operators, 13 to 18.
        channels_first: Whether the ONNX file takes (batch, channels, height, width).
        accuracy_drop: How much lower the accuracy of an int8 or dynamic file may be.
        overwrite: Whether files that are there may be replaced.
        costs: Whether latency, throughput and memory are measured.
        robustness: Number of test images that robustness after quantisation is measured on; None for not at all.
        epsilon: Largest perturbation of that attack.
        web: Whether a page that runs the ONNX file in a browser is written too; `files` must have one.
    """

    files: tuple
    include: tuple = ()
    opset: int = 17
    channels_first: bool = False
    accuracy_drop: float = 0.01
    overwrite: bool = False
    costs: bool = True
    robustness: int | None = None
    epsilon: float | str = "8/255"
    web: bool = False


def deliver(model, data, folder, order, *, stem="student", teacher=None, description=None, command=None, show=None):
    """Writes the files of an order, and `export.json` beside them.

    Args:
        model: The student, a `keras.Model`.
        data: The `data.ImageData` whose test part files are proven on; int8 ranges are taken from its training part.
        folder: Where the files go; made if needed.
        order: An `Order`.
        stem: Name of the files, to which quantisation and suffix are added.
        teacher: A `keras.Model` to stand beside the student in the report, or None.
        description: A `Description` that goes into every file, and into MODEL_CARD.md and labels.txt beside them; None
            for neither.
        command: The command line to record.
        show: Function of a title, called before each piece of work.

    Returns:
        The report, as `report.build` makes it. The files that were written are under `files`.

    Raises:
        ExportRejected, ConversionFailed, FileExistsError, ValueError: As the formats do. What was written before stays.

    Example:

    >>> deliver(student, dataset, "export", Order((("tflite", "none"), ("tflite", "int8"))))["files"][1]["accuracy"]
    """
    show, folder, test = show or (lambda title: None), Path(folder), data.test
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for format, quantize in order.files:
        name = stem if quantize == "none" else f"{stem}-{quantize}"
        show(f"writing and proving {name}{SUFFIXES[format]}")
        target = folder / f"{name}{SUFFIXES[format]}"
        written.append(_write(format, quantize, model, target, data, order, description))
    if order.web:
        show("writing the page for browsers")
        _page(next(each for each in written if each.format == "onnx"), folder / f"{stem}-web", data, order)
    found = _robustness(model, written, test, order, show)
    entries = []
    for exported in written:
        show(f"measuring {Path(exported.path).name}")
        costs = cost.measure(exported.format, exported.path, test.images) if order.costs else None
        entries.append(report.entry(exported, costs, found.get(exported.path)))
    show("measuring the Keras models")
    blocks = {"student": _block(model, test, order, _float32_cost(entries), found.get(robustness.KERAS))}
    if teacher is not None:
        blocks["teacher"] = _block(teacher, test, order)
    result = report.build(entries, folder=folder, command=command, data=data.name, **blocks)
    report.write(folder, result)
    if description is not None:
        model_card.write(folder, description, written)
    return result


def _write(format, quantize, model, path, data, order, description):
    options = {"include": order.include, "overwrite": order.overwrite, "description": description}
    if format == "tflite":
        options |= {"quantize": quantize, "accuracy_drop": order.accuracy_drop}
        if quantize in INTEGER:
            options["representative"] = data.train.images
        return tflite(model, path, data.test.images, data.test.labels, **options)
    if format == "onnx":
        options |= {"opset": order.opset, "channels_first": order.channels_first}
        return onnx(model, path, data.test.images, data.test.labels, **options)
    return saved_model(model, path, data.test.images, data.test.labels, **options)


def _page(exported, folder, data, order):
    measured = {"accuracy": exported.accuracy, "num_test_images": exported.n}
    web(exported.path, folder, class_names=data.class_names, **measured, overwrite=order.overwrite)


def _robustness(model, written, test, order, show):
    """Path of each file, and "keras" -> what it withstands; empty if that was not asked for."""
    if order.robustness is None:
        return {}
    limit = min(order.robustness, len(test))
    show("attacking the Keras student")
    attacked = robustness.attack(model, test, limit=limit, epsilon=order.epsilon)
    show("corrupting images")
    paths = {each.path: (each.format, each.path) for each in written}
    corrupted = robustness.under_corruptions(model, paths, test, limit=limit)
    models = corrupted.pop("models")
    found = {
        robustness.KERAS: {"pgd": attacked.keras, "corruptions": {**models[robustness.KERAS], "settings": corrupted}}
    }
    for path, (format, _) in paths.items():
        transfer = robustness.of_file(format, path, attacked.images, attacked.labels)
        found[path] = {"transfer": transfer, "corruptions": models[path]}
    return found


def _float32_cost(entries):
    """The cost of the float32 TFLite file, if there is one: it need not be converted and measured once more."""
    wanted = ("tflite", "none", "float32")
    keys = ("format", "quantize", "input_dtype")
    return next((each["cost"] for each in entries if tuple(each[key] for key in keys) == wanted), None)


def _block(model, test, order, measured=None, withstood=None):
    """What the report says of a Keras model; its cost is that of a float32 TFLite file of it."""
    costs = measured or (cost.of_model(model, test.images) if order.costs else None)
    logits = prediction.predict_logits(model, test.images)
    return {
        "name": model.name,
        "accuracy": accuracy.top1(logits, test.labels),
        "macs": macs.count(model, test.images.shape[1:]),
        "cost": costs,
        "robustness": withstood,
    }
