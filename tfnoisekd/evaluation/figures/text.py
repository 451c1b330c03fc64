"""Legends and captions: outside of the axes, so that nothing lies over the data."""

import textwrap

from tfnoisekd.evaluation.figures.style import FONT_SIZE, GREY, SMALL

CHARACTER = 0.56  # mean width of a character, in units of the font size
HANDLE = 3.6 * FONT_SIZE  # points that a legend entry takes beside its text
LINE = 1.5 * FONT_SIZE / 72  # height of a line of the legend, in inches


def legend(figure, handles, labels):
    """A legend above the axes, in as many columns as fit, for which the figure grows; none for a single entry."""
    if len(labels) < 2:
        return None
    labels = [wrapped(label, _width(figure) - HANDLE) for label in labels]
    rows = 1
    while rows < len(labels) and _legend_width(labels, rows) > _width(figure):
        rows += 1
    lines = rows * max(label.count("\n") + 1 for label in labels)
    figure.set_figheight(figure.get_figheight() + (lines - 1) * LINE)
    columns = -(-len(labels) // rows)
    return figure.legend(handles, labels, loc="outside upper center", ncols=columns, columnspacing=1.2)


def caption(figure, parts):
    """Lines below everything that say what was measured, of how many images, and what the bands are."""
    width = _width(figure)
    room = int(width / (CHARACTER * SMALL))
    lines = [""]
    for part in filter(None, parts):
        joined = f"{lines[-1]}; {part}" if lines[-1] else part
        lines = [*lines[:-1], joined] if len(joined) <= room else [*lines, part]
    lines = [wrapped(line, width, SMALL) for line in lines if line]
    return figure.supxlabel("\n".join(lines), fontsize=SMALL, color=GREY) if lines else None


def wrapped(text, points, size=FONT_SIZE):
    """A text in lines that are at most so many points wide."""
    return textwrap.fill(text, max(1, int(points / (CHARACTER * size))))


def _width(figure):
    return 72 * figure.get_figwidth() - 6


def _legend_width(labels, rows):
    """Points that a legend of so many rows is wide; Matplotlib fills it column by column."""
    columns = [labels[start : start + rows] for start in range(0, len(labels), rows)]
    longest = [max(len(line) for label in column for line in label.splitlines()) for column in columns]
    return sum(each * CHARACTER * FONT_SIZE + HANDLE for each in longest)
