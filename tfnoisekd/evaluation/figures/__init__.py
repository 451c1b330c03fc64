"""Figures of evaluations for print: Matplotlib, as PNG and as SVG, of one model or of several side by side.

    from tfnoisekd.evaluation import figures

    figures.robustness_against_steps({"SR": sr["pgd"], "GA": ga["pgd"]}, "figures/steps")

Each function takes `series`, a dict of label -> what an evaluation of one model returned (or what was read back from
its JSON), at most 8 of them, and `path` without suffix. It writes `path`.png and `path`.svg and returns both paths.

Series differ in colour (Okabe and Ito's, which the colour-blind tell apart), and in marker and line style or hatch, so
that they are told apart in black and white too. Texts are readable at 8.5 cm, a column's width; `corruption_bars` and a
`reliability_diagram` of several models take 17.5 cm. Equal results give equal files, byte by byte, with one version of
Matplotlib. Neither `pyplot` nor a display is used, nor are the user's settings of Matplotlib, which stay as they are.

One concept a file: `attacks`, `sigma`, `corrupted`, `reliability`, `risk` and `certified` (the figures), `style`
(what all look like), `lines`, `ticks` and `text` (what they are made of), `series` (checks) and `saving`.
"""

from tfnoisekd.evaluation.figures.attacks import robustness_against_epsilon, robustness_against_steps
from tfnoisekd.evaluation.figures.certified import certified_accuracy
from tfnoisekd.evaluation.figures.corrupted import corruption_bars
from tfnoisekd.evaluation.figures.reliability import reliability_diagram
from tfnoisekd.evaluation.figures.risk import risk_coverage
from tfnoisekd.evaluation.figures.sigma import robustness_against_sigma

__all__ = [
    "certified_accuracy",
    "corruption_bars",
    "reliability_diagram",
    "risk_coverage",
    "robustness_against_epsilon",
    "robustness_against_sigma",
    "robustness_against_steps",
]
