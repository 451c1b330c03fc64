"""Reliability diagrams: is a model as often right as it says?"""

from tfnoisekd.evaluation.figures import lines, style, text
from tfnoisekd.evaluation.figures.saving import save
from tfnoisekd.evaluation.figures.series import check_keys, check_series, span
from tfnoisekd.evaluation.intervals import wilson_interval

# Light, so that the hatch of a gap shows on it in black and white too.
ACCURACY = {"facecolor": "#BFE1F6", "edgecolor": "black", "linewidth": 0.4}
GAP = {"facecolor": "none", "edgecolor": "#D55E00", "linewidth": 0.6, "hatch": "//////"}
SHARE = {"facecolor": "#999999", "edgecolor": "black", "linewidth": 0.4}
WIDTHS = {1: style.COLUMN, 2: 12 * style.CENTIMETRE}  # by number of columns, else the page


def reliability_diagram(series, path):
    """Accuracy in bins of confidence, with the gap between the two, and below how many images each bin has.

    The hatched gap goes from the accuracy of a bin to its mean confidence: upwards where the model is too sure. The
    expected calibration error is the mean gap, each weighted by the images of its bin.

    Args:
        series: Dict of label -> what `calibration.reliability` returned for one model, or a dict with that under
            `reliability`. Each has a panel of its own.
        path: Path of the files, without suffix.

    Returns:
        The paths of the PNG and the SVG.

    Raises:
        ValueError: If there is nothing to show, or results are not those of `calibration.reliability`.

    Example:

    >>> reliability_diagram({"SR": calibration.reliability(logits, labels)}, "figures/reliability")
    """
    return save(path, _figure, series)


def _figure(series):
    tables = {label: _table(label, results) for label, results in check_series(series).items()}
    rows = -(-len(tables) // 4)
    columns = -(-len(tables) // rows)
    width = WIDTHS.get(columns, style.PAGE)
    height = rows * min(1.35 * width / columns, 0.95 * style.COLUMN) + 0.5
    titles = [[text.wrapped(label, 72 * width / columns - 40)] if len(tables) > 1 else [] for label in tables]
    lines_of_titles = max(len("".join(title).splitlines()) for title in titles)
    figure = style.new_figure(width, height + rows * lines_of_titles * text.LINE)
    axes = figure.subplots(2 * rows, columns, squeeze=False, sharex=True, sharey="row", height_ratios=[3, 1] * rows)
    for number, (title, table) in enumerate(zip(titles, tables.values(), strict=True)):
        row, column = divmod(number, columns)
        _panel(axes[2 * row, column], table, title)
        _histogram(axes[2 * row + 1, column], table)
    _label(axes, len(tables))
    handles = _handles()
    text.legend(figure, list(handles.values()), list(handles))
    text.caption(figure, [f"n = {span([table['n'] for table in tables.values()])} test images"])
    return figure


def _table(label, results):
    table = results.get("reliability", results) if isinstance(results, dict) else results
    return check_keys(label, table, ("n", "edges", "bins"), "`calibration.reliability`")


def _panel(axis, table, title):
    """One model: bars of accuracy, gaps and intervals, the diagonal, and the expected calibration error."""
    for left, right, row in _filled(table):
        accuracy, confidence = 100 * row["accuracy"], 100 * row["confidence"]
        place = {"x": 100 * left, "width": 100 * (right - left), "align": "edge"}
        axis.bar(height=accuracy, **place, **ACCURACY)
        axis.bar(height=confidence - accuracy, bottom=accuracy, **place, **GAP)
        interval = wilson_interval(row["accuracy"] * row["n"], row["n"])
        lines.bars(axis, 2, [50 * (left + right)], [row["accuracy"]], [interval])
    axis.plot([0, 100], [0, 100], color="black", linewidth=0.8, linestyle=(0, (4, 2)))
    axis.set_ylim(0, 100)
    gaps = (row["n"] * abs(row["accuracy"] - row["confidence"]) for _, _, row in _filled(table))
    error = sum(gaps) / table["n"]
    axis.set_title("\n".join([*title, f"ECE {error:.2%} ({len(table['bins'])} bins)"]))


def _histogram(axis, table):
    for left, right, row in _filled(table):
        axis.bar(100 * left, 100 * row["n"] / table["n"], 100 * (right - left), align="edge", **SHARE)


def _filled(table):
    """(left edge, right edge, bin) of all bins that have images."""
    edges = zip(table["edges"], table["edges"][1:], table["bins"], strict=False)
    return [(left, right, row) for left, right, row in edges if row["n"]]


def _label(axes, count):
    """Names the outer axes only, and takes away those that have no model."""
    columns = axes.shape[1]
    for number in range(axes.size // 2):
        row, column = divmod(number, columns)
        above, below = axes[2 * row, column], axes[2 * row + 1, column]
        if number >= count:
            above.remove()
            below.remove()
            continue
        if number + columns >= count:
            below.set_xlabel("Confidence (%)")
            below.tick_params(labelbottom=True)
        if column == 0:
            above.set_ylabel("Accuracy (%)")
            below.set_ylabel("Images (%)")
        below.set_xlim(0, 100)


def _handles():
    """What the legend shows, by name."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return {
        "accuracy": Patch(**ACCURACY),
        "gap to mean confidence": Patch(**GAP),
        lines.WILSON: Line2D([], [], color="black", linewidth=0.8, marker="|", markersize=6, linestyle="none"),
        "perfect calibration": Line2D([], [], color="black", linewidth=0.8, linestyle=(0, (4, 2))),
    }
