"""Axes: percent, and ticks at what was measured, of which as many are labelled as fit."""

import math

from tfnoisekd.evaluation.figures.style import FONT_SIZE

CHARACTER = 0.62  # width of a digit, in units of the font size
AIR = 0.5  # least distance of two labels, likewise
MARGIN = 0.65  # inches beside the axes: their labels


def percent_axis(axis, label):
    """A y axis from 0 to 100%, with room for markers at both ends."""
    axis.set_ylim(-4, 104)
    axis.set_yticks(range(0, 101, 20))
    axis.set_ylabel(label)


def measured(axis, labels):
    """Puts a tick at each measured value; one whose label would touch a more important one's has no label.

    On a logarithmic axis, powers of ten are the most important; then come both ends, and the larger of the others.

    Args:
        axis: `matplotlib.axes.Axes` over the whole width of its figure, whose limits of x are set.
        labels: Dict of value -> text.
    """
    logarithmic = axis.get_xscale() == "log"
    place = math.log10 if logarithmic else float
    low, high = map(place, axis.get_xlim())
    points_per_unit = 72 * (axis.figure.get_figwidth() - MARGIN) / (high - low)
    ends = (min(labels), max(labels))
    kept = {}
    for value in sorted(labels, key=lambda v: (not (logarithmic and _is_power(v)), v not in ends, -v)):
        centre, half = place(value) * points_per_unit, len(labels[value]) * CHARACTER * FONT_SIZE / 2
        if all(abs(centre - other) >= half + room + AIR * FONT_SIZE for other, room in kept.values()):
            kept[value] = centre, half
    values = sorted(labels)
    axis.set_xticks(values, [labels[value] if value in kept else "" for value in values])
    axis.minorticks_off()


def _is_power(value):
    """Whether a value is a power of ten, such as 1, 10 and 100."""
    return value > 0 and math.isclose(math.log10(value) % 1, 0, abs_tol=1e-9)
