"""Verdict: how far a file may be from its Keras model, by quantisation, and the report or rejection that follows."""

import dataclasses

import numpy as np

from tfnoisekd.evaluation import accuracy


@dataclasses.dataclass(frozen=True)
class Limits:
    """How far a file may be from its Keras model; None asks nothing.

    Args:
        difference: Largest difference of an output, relative to max(1, the largest |output| of the Keras model).
            Plain absolute it would reject good files of confident models: float32 resolves a logit of 40 to 4e-6, and
            the order of summation differs from runtime to runtime.
        top1_agreement: Smallest share of the images that file and model put into the same class. Below 1 it always
            allows one image, however few there are: that one can lie just between two classes.
        accuracy_drop: How much lower the accuracy of the file may be, 0.01 for one percentage point. Without labels
            it asks for a top-1 agreement of 1 - accuracy_drop instead: accuracy can't fall by more than the share of
            images whose class has changed, so that the same promise is kept.
    """

    difference: float | None = None
    top1_agreement: float | None = None
    accuracy_drop: float | None = None

    def agreement(self, n, has_labels):
        """The smallest top-1 agreement on `n` images, 0 to 1."""
        limit = self.top1_agreement or 0.0
        if limit < 1:
            limit = min(limit, 1 - 1 / n)
        if self.accuracy_drop is None or has_labels:
            return limit
        return max(limit, 1 - self.accuracy_drop)


def limits_of(quantize, accuracy_drop=0.01):
    """The `Limits` of "none", "float16", "dynamic", "int8" or "int8-io"; the last three allow an `accuracy_drop`.

    Raises:
        ValueError: If `accuracy_drop` is not in [0, 1).
    """
    if not 0 <= accuracy_drop < 1:
        raise ValueError(
            "`accuracy_drop` must be at least 0 and below 1, 0.01 for one percentage point. "
            f"Received: accuracy_drop={accuracy_drop!r}"
        )
    if quantize == "none":
        return Limits(difference=1e-4, top1_agreement=1.0)
    if quantize == "float16":  # rounds each weight to 5e-4 of itself; what is off by more was not only rounded
        return Limits(difference=0.02, top1_agreement=0.999)
    return Limits(accuracy_drop=accuracy_drop)


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """What was written, and how well it agrees with the Keras model; `dataclasses.asdict(report)` is ready for JSON.

    Args:
        format: saved_model, tflite or onnx.
        quantize: none, float16, dynamic, int8 or int8-io.
        path: Where the file (for saved_model: the folder) lies.
        bytes: Its size on disk.
        input_dtype: What it takes: float32 in [0, 1], uint8 in 0..255, or int8, quantised from [0, 1].
        output: What it gives, "logits" or "probabilities".
        n: Number of images that it was verified on.
        max_difference: Largest absolute difference of an output between file and Keras model.
        difference_limit: What that had to stay within; None if there is no such limit.
        top1_agreement: Share of the images that both put into the same class.
        agreement_limit: What that had to reach; 0 if only accuracy decides.
        accuracy: Accuracy of the file on these images; None without labels.
        keras_accuracy: Accuracy of the Keras model on these images; None without labels.
        accuracy_limit: What the accuracy of the file had to reach; None if that does not decide.
    """

    format: str
    quantize: str
    path: str
    bytes: int
    input_dtype: str
    output: str
    n: int
    max_difference: float
    difference_limit: float | None
    top1_agreement: float
    agreement_limit: float
    accuracy: float | None = None
    keras_accuracy: float | None = None
    accuracy_limit: float | None = None

    @property
    def max_logit_difference(self):
        """`max_difference`, under the name it has for files that give logits."""
        return self.max_difference


class ExportRejected(RuntimeError):
    """A file was written, but does not do what the Keras model does; it was kept aside for inspection.

    Args:
        message: The reason, with the numbers.
        report: The `ExportReport` of the file that was kept aside; None if it could not be run.
    """

    def __init__(self, message, report=None):
        super().__init__(message)
        self.report = report


class ConversionFailed(RuntimeError):
    """A converter could not write the model in a format: mostly an operation that the format does not have."""


def measure(outputs, expected, labels, limits):
    """The numbers of an `ExportReport` that compare a file with its Keras model, and their limits.

    Args:
        outputs: What the file gives: several arrays (n, num_classes), of which the worst counts; the accuracy is that
            of the last.
        expected: What it ought to give, (n, num_classes).
        labels: Integer array (n,), or None.
        limits: A `Limits`.

    Returns:
        A dict of floats (or None) with the names of `ExportReport`.
    """
    expected = np.asarray(expected, np.float64)
    differences = [np.abs(output - expected).max() for output in outputs]  # max keeps a NaN
    agreements = [np.mean(output.argmax(axis=1) == expected.argmax(axis=1)) for output in outputs]
    measured = {
        "max_difference": float(np.max(differences)),
        "difference_limit": limits.difference and float(limits.difference * max(1.0, np.abs(expected).max())),
        "top1_agreement": float(min(agreements)),
        "agreement_limit": limits.agreement(len(expected), labels is not None),
    }
    if labels is not None and np.isfinite(outputs[-1]).all():
        keras = accuracy.top1(expected, labels)
        limit = None if limits.accuracy_drop is None else max(0.0, keras - limits.accuracy_drop)
        found = accuracy.top1(outputs[-1], labels)
        measured |= {"accuracy": found, "keras_accuracy": keras, "accuracy_limit": limit}
    return measured


def reason_to_reject(outputs, measured, kind="logits"):
    """The reason to reject a file, in words with all numbers, or None.

    Args:
        outputs: Array (n, num_classes), what the file gives.
        measured: What `measure` returns.
        kind: "logits" or "probabilities".
    """
    bad = int((~np.isfinite(outputs)).any(axis=1).sum())
    difference, difference_limit = measured["max_difference"], measured["difference_limit"]
    agreement, agreement_limit = measured["top1_agreement"], measured["agreement_limit"]
    found, limit = measured.get("accuracy"), measured.get("accuracy_limit")
    # Asked this way round because every comparison with NaN is False, and NaN must not pass.
    close = difference_limit is None or difference <= difference_limit
    right = limit is None or found >= limit - 1e-9  # 0.98 - 0.01 is a little more than 0.97
    if close and right and agreement >= agreement_limit - 1e-9 and not bad:
        return None
    parts = [
        f"max {kind[:-1] if kind == 'logits' else 'probability'} difference {difference:.3g}{_limit(difference_limit)}",
        f"top-1 agreement {agreement:.2%} (limit {agreement_limit:.2%})",
    ]
    if found is not None:
        percent = "" if limit is None else f", limit {limit:.2%}"
        parts.append(f"accuracy {found:.2%} (Keras model {measured['keras_accuracy']:.2%}{percent})")
    return ", ".join([*parts, f"{bad} of {len(outputs)} images with NaN or infinite {kind}"])


def _limit(value):
    return "" if value is None else f" (limit {value:.3g})"
