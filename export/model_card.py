"""Model card: MODEL_CARD.md and labels.txt beside the exported files, for people who were not there.

Its sections are those of Mitchell et al. (2019), "Model Cards for Model Reporting", and of the Hugging Face Hub.
"""

import dataclasses
import re
from pathlib import Path

import yaml

from tfnoisekd.evaluation.intervals import wilson_interval
from tfnoisekd.export import ends, files, snippets
from tfnoisekd.export.description import NOT_STATED
from tfnoisekd.export.verdict import ExportReport

CARD, LABELS = "MODEL_CARD.md", "labels.txt"
LABELS_SHOWN = 20
METRICS = {
    "expected_calibration_error": "expected calibration error ({num_bins} bins)",
    "negative_log_likelihood": "negative log-likelihood (nats)",
    "teacher_accuracy": "accuracy of the teacher",
    "agreement": "same class as the teacher",
}


def write(folder, described, reports):
    """Writes MODEL_CARD.md and labels.txt, each whole or not at all; earlier ones are replaced.

    Args:
        folder: Folder of the exported files, which is made where there is none.
        described: A `Description`.
        reports: The `ExportReport` of each file, or dicts of the same names.

    Returns:
        The paths of card and labels.

    Raises:
        FileNotFoundError: If a reported file is not there.
        ValueError: If a file has other classes than the description names.

    Example:

    >>> write("export", of_run(run.record, student), [export.tflite(student, "export/student.tflite", images)])
    """
    folder = Path(folder)
    texts = {CARD: text(described, reports), LABELS: "".join(f"{name}\n" for name in described.class_names)}
    for name, content in texts.items():
        with files.partial_sibling(folder / name) as partial:
            partial.write_text(content, encoding="utf-8", newline="\n")
            files.replace(partial, folder / name)
    return tuple(folder / name for name in texts)


def text(described, reports):
    """The card in Markdown; the arguments are those of `write`."""
    facts = [dataclasses.asdict(each) if isinstance(each, ExportReport) else dict(each) for each in reports]
    found = [ends.of_file(each["format"], each["path"]) for each in facts]
    for _, output in found:
        described.check_classes(output.num_classes)
    sections = [
        _head(described, found),
        _use(described),
        _limits(described, found),
        _training(described),
        _metrics(described),
        _files(facts),
        _calls(facts, found),
        _origin(described),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _head(described, found):
    front = {"library_name": "tfnoisekd", "pipeline_tag": "image-classification"}
    if described.licence != NOT_STATED:
        known = re.fullmatch(r"[A-Za-z0-9.+-]+", described.licence)  # the Hub takes identifiers only
        front = {"license": described.licence.lower() if known else "other", **front}
    front["tags"] = ["image-classification", *(["knowledge-distillation"] if _teacher(described) else [])]
    lines = [f"An image classifier of {len(described.class_names)} classes"]
    if described.parameters:
        lines.append(f" with {described.parameters:,} trainable parameters")
    if found:
        image = found[0][0]
        lines.append(f", for images of {image.height}x{image.width} pixels with {_channels(described, image)}")
    header = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    return f"---\n{header}---\n\n# {described.name}\n\n{''.join(lines)}."


def _use(described):
    names = described.class_names
    shown = ", ".join(names[:LABELS_SHOWN]) + (", ..." if len(names) > LABELS_SHOWN else "")
    return (
        f"## Intended use\n\nTo put an image into one of {len(names)} classes: {shown}. {LABELS} has them all, one in "
        "a line, in the order of the outputs. It was trained and tested for nothing else."
    )


def _limits(described, found):
    metrics, limits = described.metrics or {}, ["It always answers with one of its classes, whatever is in the image."]
    if metrics:
        data = described.training.data["name"] if described.training else "its data set"
        limits.append(
            f"Its accuracy was measured on {metrics['n']:,} test images of {data}; that of other images is open."
        )
    else:
        limits.append("No accuracy of the Keras model is recorded.")
    for each in metrics.get("lowest_classes", ())[:1]:
        limits.append(
            f"It is least accurate for the class {each['name']}: {each['accuracy']:.1%} of {each['n']} images."
        )
    corruption = described.training and described.training.data["corruption"]
    if corruption and corruption["n"]:
        limits.append(
            f"{corruption['n']:,} of its training labels were replaced by wrong ones before training "
            f"({corruption['kind']}, a share of {corruption['true_rate']:.3f})."
        )
    if any(image.batch for image, _ in found):
        limits.append("A file with a fixed batch size takes that many images at once, no more and no fewer.")
    limits.append("This card holds no measurement under noise, corruption, attack or on images of unknown classes.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _training(described):
    training = described.training
    if training is None:
        return "## Training\n\nNot recorded."
    settings, teacher, data = training.settings, training.teacher, training.data
    network = f"{settings['student']} was trained for {_count(settings['epochs'], 'epoch')} on {data['train']:,} images"
    lines = [f"Method `{training.method}`: {network}, to minimise {training.losses}."]
    if teacher:
        size = f", {teacher['parameters']:,} parameters" if teacher["parameters"] else ""
        lines.append(f"Its teacher was {teacher['name']}{size}.")
    lines += training.noise or ["No noise was added."]
    seeds = f"Seeds: {settings['seed']} (weights, batches and noise), {settings['split_seed']} (split)"
    teachers = f", {', '.join(map(str, settings['teacher_seeds']))} (teacher)" if teacher else ""
    return (
        f"## Training\n\n{' '.join(lines)} {seeds}{teachers}.\n\n## Data\n\n"
        f"{data['name']}: {data['train']:,} training, "
        f"{data['validation']:,} validation and {data['test']:,} test images. "
        f"SHA-256 of images and labels: `{data['fingerprint']}`."
    )


def _metrics(described):
    metrics = described.metrics
    if not metrics:
        return None
    low, high = metrics["accuracy_interval"]
    rows = [["accuracy", f"{metrics['accuracy']:.4f}", f"{low:.4f} to {high:.4f}"]]
    rows += [[label.format(**metrics), f"{metrics[key]:.4f}", ""] for key, label in METRICS.items() if key in metrics]
    table = _table(["", f"n = {metrics['n']:,} test images", "95% interval (Wilson)"], rows)
    return f"## Metrics of the Keras model\n\n{table}"


def _files(facts):
    if not facts:
        return None
    columns = ["file", "format", "quantisation", "bytes", "takes", "gives", "accuracy (95% interval)"]
    columns += ["same class as the Keras model", "n"]
    rows = [
        [
            f"`{Path(each['path']).name}`",
            each["format"],
            each["quantize"],
            f"{each['bytes']:,}",
            each["input_dtype"],
            each["output"],
            _accuracy(each),
            f"{each['top1_agreement']:.2%}",
            f"{each['n']:,}",
        ]
        for each in facts
    ]
    return (
        "## Files\n\nEach was run on the same n images by the runtime that a device uses, and compared with the Keras "
        f"model.\n\n{_table(columns, rows)}"
    )


def _accuracy(each):
    if each.get("accuracy") is None:
        return "not measured"
    low, high = wilson_interval(round(each["accuracy"] * each["n"]), each["n"])
    return f"{each['accuracy']:.4f} ({low:.4f} to {high:.4f})"


def _calls(facts, found):
    parts = []
    for each, (image, output) in zip(facts, found, strict=True):
        if each["format"] in snippets.WRITERS:
            name = Path(each["path"]).name
            code = snippets.WRITERS[each["format"]](name, image, output)
            parts.append(f"### {name}\n\nTo prepare an image: {image.prepare}.\n\n```python\n{code}```")
    return "## How to call it\n\n" + "\n\n".join(parts) if parts else None


def _origin(described):
    training = described.training
    licence = described.licence
    if licence == NOT_STATED:
        licence = "Not stated: ask whoever gave you the files what you may do with the weights."
    lines = [f"## Licence of the weights\n\n{licence}\n\n## Provenance\n"]
    if described.weights_sha256:
        lines.append(f"- weights (SHA-256): `{described.weights_sha256}`")
    if training and training.teacher and training.teacher["weights_sha256"]:
        lines.append(f"- weights of the teacher (SHA-256): `{training.teacher['weights_sha256']}`")
    if training:
        lines.append(f"- trained until {training.finished_at}, code {training.code or 'not recorded'}")
    for stage, versions in described.versions.items():
        lines.append(
            f"- versions of the {stage}: " + ", ".join(f"{name} {number}" for name, number in versions.items())
        )
    return "\n".join(lines)


def _teacher(described):
    return described.training and described.training.teacher


def _channels(described, image):
    data = described.training.data["name"] if described.training else ""
    if image.channels == 3 and not data.startswith("npz:") and data:
        return "the channels red, green and blue"
    return "one grey channel" if image.channels == 1 else f"{image.channels} channels"


def _count(number, noun):
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _table(columns, rows):
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
