"""What is known about a model, and the form in which a check says what follows from it."""

from dataclasses import dataclass, field

import numpy as np

from tfnoisekd.evaluation.attacks.settings import Settings


@dataclass(frozen=True)
class Found:
    """What is known about a model.

    Args:
        parts: Name -> what `measures` returned, or {"error": message}.
        labels: (n,), the true classes of the examples.
        settings: `Settings` of the evaluated attack.
        steps: Its number of steps.
        radii: The larger radii that were tried, ascending.
        results: List of what `adversarial.evaluate` returned.
        ensemble: What an ensemble of attacks returned, or None.
    """

    parts: dict
    labels: np.ndarray
    settings: Settings
    steps: int
    radii: list = field(default_factory=list)
    results: list = field(default_factory=list)
    ensemble: dict | None = None


def growth_part(radius):
    """Name of the part that holds the attack of a larger radius."""
    return f"epsilon_{radius!r}"


def verdict(warn, evidence, advice, numbers):
    """The dict of a check: its status, the evidence in words, what to do if it is a warning, and the numbers."""
    return {
        "status": "warn" if warn else "pass",
        "evidence": evidence,
        **({"advice": advice} if warn else {}),
        **numbers,
    }


def blocked(*parts):
    """The dict of a check whose attacks could not be run, which is a finding by itself; None where all were."""
    error = next((part["error"] for part in parts if "error" in part), None)
    if error is not None:
        return {
            "status": "warn",
            "evidence": f"The attack could not be run: {error}",
            "advice": "Remove what stands in the way of the attack before any figure of robustness is believed.",
        }
    if not all(part["places"] for part in parts):
        return {
            "status": "not run",
            "evidence": "The model is right about none of the examples, so there is nothing to attack.",
            "advice": "Take more examples, or look whether labels and classes are in the same order.",
        }
    return None
