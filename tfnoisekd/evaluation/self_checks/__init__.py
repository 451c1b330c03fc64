"""Warnings about itself: whether a figure of adversarial robustness can be trusted.

    from tfnoisekd.evaluation import self_checks

    for check in self_checks.run(student, data.test, epsilon="8/255"):
        print(check["status"], check["check"], check["evidence"])

An attack that fails says nothing about a model, it may have been too weak. Each check is a symptom of that, of the
lists in Athalye, Carlini & Wagner, "Obfuscated Gradients Give a False Sense of Security" (ICML 2018, section 3.1), and
Carlini et al., "On Evaluating Adversarial Robustness" (2019). A pass proves nothing; a warning says that
robust accuracy may well be lower than it was measured.

One concept a file: `checklist` (what is done, in which order), `measures` (what is computed on the model), `verdicts`
and `strength` (what follows from it), `finding` (its form), `sweeps` (what follows from evaluations at hand) and
`chance` (what luck may do).
"""

from tfnoisekd.evaluation.self_checks.checklist import NAMES, run

__all__ = ["NAMES", "run"]
