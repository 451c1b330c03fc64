"""The paper's tables as printed, read from paper_tables.txt row by row: independent of the package's own file."""

from pathlib import Path

TEXT = Path(__file__).with_name("paper_tables.txt")
STEPS, EPSILONS = (1, 5, 10, 15, 20, 100, 200), (1, 2, 10, 20, 25, 50, 100, 200)
DATA = {"CIFAR-10": "cifar10", "SVHN": "svhn"}
OTHER = {"source": "tfds:cinic10/imagenet_sample"}


def cells():
    """Every printed number: (view, data set, axes, metric, settings, mean as printed, deviation as printed or None)."""
    view = None
    for line in TEXT.read_text(encoding="utf-8").splitlines()[2:]:
        if line.startswith("Table"):
            view = f"table{line.split()[1]}"
        elif line:
            for data, axes, metric, settings, number in ROWS[view](*line.split()):
                if number != "-":
                    mean, _, std = number.partition("±")
                    yield view, data, axes, metric, settings, float(mean), float(std) if std else None


def _table1(method, teacher, test, other, mca, svhn_teacher, svhn_test):
    axes = {"method": method.lower()}
    if method.startswith("FT-"):
        axes = {"method": "ft", "dropout": float(method[3:])}
    yield "cifar10", axes, "teacher_accuracy", {}, teacher
    yield "cifar10", axes, "test_accuracy", {}, test
    yield "cifar10", axes, "ood_accuracy", OTHER, other
    yield "cifar10", axes, "mca", {}, mca
    yield "svhn", axes, "teacher_accuracy", {}, svhn_teacher
    yield "svhn", axes, "test_accuracy", {}, svhn_test


def _table2(method, *numbers):
    for column, number in enumerate(numbers):
        axes = {"method": method.lower() + ("", "+h", "+ft")[column % 3]}
        yield "cifar10", axes, *(("test_accuracy", {}) if column < 3 else ("ood_accuracy", OTHER)), number


def _table3(sigma, *numbers):
    for column, number in enumerate(numbers):
        axes = {"method": ("ga", "sr")[column % 2], "sigma": float(sigma)}
        metric, settings = ("ood_accuracy", OTHER) if column in (2, 3) else ("test_accuracy", {})
        yield "svhn" if column > 3 else "cifar10", axes, metric, settings, number


def _table4(data, sigma, method, *numbers):
    for steps, number in zip(STEPS, numbers, strict=True):
        settings = {"attack": "pgd", "norm": "linf", "epsilon": 8 / 255, "steps": steps, "step_size": 0.003}
        yield DATA[data], {"method": method.lower(), "sigma": float(sigma)}, "robust_accuracy", settings, number


def _table5(data, sigma, method, *numbers):
    assert len(numbers) == (8 if data == "SVHN" else 7)
    for epsilon, number in zip(EPSILONS, numbers, strict=False):
        settings = {"attack": "pgd", "norm": "linf", "epsilon": epsilon / 255, "steps": 20, "step_size": 0.003}
        yield DATA[data], {"method": method.lower(), "sigma": float(sigma)}, "robust_accuracy", settings, number


ROWS = {"table1": _table1, "table2": _table2, "table3": _table3, "table4": _table4, "table5": _table5}
