"""Checks of what is to be drawn, so that a mistake is named before it is a figure."""

from collections.abc import Mapping

from tfnoisekd.evaluation.figures.style import MOST


def check_series(series, name="series"):
    """A dict of label -> results as it is, or a ValueError."""
    if not isinstance(series, Mapping) or not 0 < len(series) <= MOST:
        received = f"{len(series)} entries" if isinstance(series, Mapping) else type(series).__name__
        raise ValueError(
            f"`{name}` must be a dict of label -> results, with 1 to {MOST} entries: more cannot be told apart. "
            f"Received: {received}; make several figures."
        )
    for label in series:
        if not isinstance(label, str) or not label.strip():
            raise ValueError(f"`{name}` must have texts as keys, the labels of the figure. Received: {label!r}")
    return series


def check_keys(label, results, keys, source, name="series"):
    """Raises a ValueError unless some results are a dict with all these keys; `source` says where to get such."""
    missing = [key for key in keys if key not in results] if isinstance(results, Mapping) else list(keys)
    if missing:
        received = sorted(map(str, results)) if isinstance(results, Mapping) else type(results).__name__
        raise ValueError(
            f"`{name}` must hold what {source} returns. Received: for {label!r} {received}, "
            f"without {', '.join(missing)}"
        )
    return results


def common(rows, key, what="compared", name="series"):
    """The one value that all rows have under a key, or a ValueError that shows the values."""
    values = list(dict.fromkeys(row[key] for row in rows))
    if len(values) > 1:
        shown = ", ".join(map(str, values))
        raise ValueError(f"`{name}` must have the same `{key}` to be {what}. Received: {shown}; make several figures.")
    return values[0]


def span(values):
    """Counts as text: "1,000" if they are all the same, else "1,000 to 10,000"."""
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
