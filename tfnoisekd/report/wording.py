"""What metrics, methods, data sets and numbers are called, for people: one place for all formats of the report."""

import math
from dataclasses import dataclass
from pathlib import PurePosixPath

PERCENT, NATS, LENGTH = "percent", "nats", "length"
DIGITS = {PERCENT: 2, NATS: 4, LENGTH: 3}
FACTORS = {PERCENT: 100, NATS: 1, LENGTH: 1}
SIGMA = "\N{GREEK SMALL LETTER SIGMA}"
MISSING, DOES_NOT_APPLY = "missing", "\N{EN DASH}"
LEVEL = 1 / 255  # one level of an image of 8 bits


@dataclass(frozen=True)
class Metric:
    """What is known of a metric.

    Attributes:
        label: For people, without its settings.
        unit: `PERCENT` (a share, shown in percent), `NATS` or `LENGTH`.
        of_teacher: Whether it is a number of the teacher, which several students may share.
        question: Which question of `tfnoisekd evaluate` answers it; None if a run's own record does.
    """

    label: str
    unit: str = PERCENT
    of_teacher: bool = False
    question: str | None = None


METRICS = {
    "test_accuracy": Metric("Test accuracy"),
    "teacher_accuracy": Metric("Teacher", of_teacher=True),
    "agreement": Metric("Agreement with teacher"),
    "expected_calibration_error": Metric("Expected calibration error"),
    "negative_log_likelihood": Metric("Negative log-likelihood (nats)", NATS),
    "wrong_label_accuracy": Metric("Wrong training labels repeated"),
    "ood_accuracy": Metric("Accuracy", question="ood"),
    "teacher_ood_accuracy": Metric("Teacher", of_teacher=True, question="ood"),
    "mca": Metric("mCA", question="corruptions"),
    "mca_15": Metric("mCA of 15 corruptions", question="corruptions"),
    "natural_robustness": Metric("Natural robustness", question="corruptions"),
    "corruption_accuracy": Metric("Accuracy", question="corruptions"),
    "robust_accuracy": Metric("PGD", question="pgd"),
    "ensemble_robust_accuracy": Metric("Strong attacks", question="ensemble"),
    "smoothed_accuracy": Metric("Smoothed accuracy", question="smoothing"),
    "average_certified_radius": Metric("Average certified radius (l2)", LENGTH, question="smoothing"),
}
DATA = {"cifar10": "CIFAR-10", "svhn": "SVHN", "tfds:cinic10/imagenet_sample": "CINIC-10 (ImageNet part)"}
METHODS = {"baseline": "Baseline", "hinton": "Hinton"}
AXES = {"data": "Data", "method": "Method", "dropout": "Dropout", "sigma": SIGMA, "rate": "r"}
NORMS = {"linf": "L∞", "l2": "L2"}
# The axis that a method's name carries, as the paper writes it: FT-0.4.
OF_METHODS = {"ft": "dropout", "sr": "sigma", "ga": "sigma", "mc": "rate"}
UNSEEN = ("seed", "data")


def known_metric(name):
    """The `Metric` of a name; one that is not in the table is shown as a share under its own name."""
    return METRICS.get(name) or Metric(sentence(name))


def sentence(name):
    """A name of a program as the start of a sentence: "Label corruption"."""
    text = str(name).replace("_", " ")
    return text[:1].upper() + text[1:]


def axis_label(name):
    """What an axis is called."""
    return AXES.get(name) or sentence(name)


def method_label(name):
    """What a method is called: "Hinton", "RKD-DA", "AT+FT"."""
    return METHODS.get(name) or str(name).upper()


def data_label(name):
    """What a data set is called: without its kind, folder and suffix."""
    if name is None:
        return ""
    kind, colon, rest = str(name).partition(":")
    if name in DATA or not colon:
        return DATA.get(name) or str(name)
    return rest if kind == "tfds" else PurePosixPath(rest.rstrip("/")).name.removesuffix(".npz")


def axis_value(name, value):
    """A value of an axis."""
    return {"data": data_label, "method": method_label}.get(name, number)(value)


def number(value):
    """A setting: numbers without needless digits, everything else as it is."""
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def cell_label(axes, without=UNSEEN):
    """Axes as a name: "FT-0.4", "SR, σ 0.05", "MC, r 0.1, label corruption 0.2"."""
    rest = {name: value for name, value in axes.items() if name not in without}
    method = rest.pop("method", None)
    parts = [] if method is None else [method_label(method)]
    if method == "ft" and "dropout" in rest:
        parts = [f"FT-{number(rest.pop('dropout'))}"]
    own = OF_METHODS.get(method)
    for name in sorted(rest, key=lambda name: name != own):
        label = axis_label(name)
        parts.append(f"{label[0].lower()}{label[1:]} {axis_value(name, rest[name])}")
    return ", ".join(parts) or "all"


def length(value):
    """A length in units of images in [0, 1]: "8/255" where it is a whole number of levels."""
    count = round(value / LEVEL)
    return f"{count}/255" if count and math.isclose(value, count * LEVEL, rel_tol=1e-6) else f"{value:g}"


def attack_parts(settings, without=()):
    """How an attack was made, as a list of texts: ["L∞", "ε = 8/255", "step 0.003", "5 restarts", "20 steps"]."""
    shown = {
        "norm": lambda value: NORMS.get(value, value),
        "epsilon": lambda value: f"ε = {length(value)}",
        "step_size": lambda value: f"step {length(value)}",
        "restarts": lambda value: f"{value} restart{'s' if value != 1 else ''}",
        "steps": lambda value: f"{value:,} step{'s' if value != 1 else ''}",
    }
    return [text(settings[name]) for name, text in shown.items() if name in settings and name not in without]


def metric_label(metric, settings):
    """A metric with the settings that it depends on."""
    label, settings = known_metric(metric).label, settings or {}
    if metric == "robust_accuracy":
        return ", ".join([f"PGD-{settings.get('steps', '?')}", *attack_parts(settings, without=("steps",))])
    if metric == "ensemble_robust_accuracy":
        return ", ".join([label, *attack_parts(settings)])
    if metric == "teacher_ood_accuracy":
        return f"Teacher, {data_label(settings.get('source'))}"
    if metric == "ood_accuracy":
        return f"{label}, {data_label(settings.get('source'))}"
    rest = [f"{AXES.get(name, name)} {str(number(value)).replace('_', ' ')}" for name, value in settings.items()]
    if metric == "corruption_accuracy" and "corruption" in settings:
        rest = [settings["corruption"].replace("_", " ")]
    return ", ".join([label, *rest])


def shown(value, unit):
    """A value with the digits of its unit, without the unit."""
    return f"{FACTORS[unit] * value:.{DIGITS[unit]}f}"


def mean_and_deviation(mean, std, unit):
    """ "94.28 ± 0.09", or the mean alone where there is no standard deviation."""
    return shown(mean, unit) if std is None else f"{shown(mean, unit)} ± {shown(std, unit)}"


def cell_text(cell, unit):
    """Our side of a cell: a number, why it is missing, or a dash where there can be none."""
    if not cell.applies:
        return DOES_NOT_APPLY
    if cell.mean is None:
        return f"{MISSING}: {cell.reason}"
    text = mean_and_deviation(cell.mean, cell.std, unit)
    return text if cell.n == cell.expected else f"{text} (n = {cell.n})"


def row_label(texts):
    """The key columns of a row as one name, without axes that it does not have."""
    return ", ".join(text for text in texts if text != DOES_NOT_APPLY)


def paper_text(cell, unit):
    """The paper's side of a cell; empty where it prints nothing."""
    return "" if cell.paper is None else mean_and_deviation(cell.paper.mean, cell.paper.std, unit)


def compared(comparison):
    """Both sides of a `comparisons.Comparison`."""
    return f"{comparison.of} against {comparison.against}"


def shown_text(comparisons):
    """What counts as shown, and how many of a grid's comparisons do."""
    count, total = sum(each.shown for each in comparisons), len(comparisons)
    return (
        f"{count:,} of {plural(total, 'difference')} shown: paired by seed, p below 0.05 after Holm's correction among "
        "all of this grid. Intervals are not corrected. They speak of other seeds, not of other teachers or images."
    )


def plural(count, what):
    """ "1 run", "1,000 runs"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def duration(seconds):
    """A time for people: "12 s", "3 min 20 s", "5 h 02 min"."""
    if seconds is None:
        return "unknown"
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def magnitude(value, unit):
    """A large count with a prefix: "1.54 TFLOPs"."""
    if value is None:
        return "unknown"
    for factor, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:g} {unit}"
