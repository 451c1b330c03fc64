"""Tables and measurements as the page's template takes them."""

from tfnoisekd.report.wording import cell_text, known_metric, number, paper_text, row_label, shown


def table(table, numbers):
    """A `tables.Table` for the template.

    Args:
        table: The table.
        numbers: Dict of run -> its number on the page.

    Returns:
        A dict: `title`, `extra`, `remarks`, `keys`, `groups` (label, width), `headings` (text, of the paper), `rows`
        (texts, cells), and `sources`: for each number, the values it is made of.
    """
    lines = [(texts, list(_cells(table, cells))) for texts, cells in table.rows]
    return {
        "title": table.title,
        "extra": table.extra,
        "remarks": table.remarks,
        "keys": table.keys,
        "groups": _groups(table) if any(column.group for column in table.columns) else [],
        "headings": list(_headings(table)),
        "rows": lines,
        "sources": list(_sources(table, numbers)),
    }


def _headings(table):
    for column in table.columns:
        yield {"text": column.label, "paper": False, "spoken": column.heading}
        if column in table.with_paper:
            yield {"text": "paper", "paper": True, "spoken": f"{column.heading}, paper"}


def _groups(table):
    """(label, number of columns) of each group, in order."""
    found = []
    for column in table.columns:
        width = 2 if column in table.with_paper else 1
        if found and found[-1][0] == column.group:
            found[-1] = (column.group, found[-1][1] + width)
        else:
            found.append((column.group, width))
    return found


def _cells(table, cells):
    for column, cell in zip(table.columns, cells, strict=True):
        kind = "missing" if cell.applies and cell.mean is None else "ours" if cell.applies else "none"
        yield {"text": cell_text(cell, column.unit), "kind": kind}
        if column in table.with_paper:
            yield {"text": paper_text(cell, column.unit), "kind": "paper"}


def _sources(table, numbers):
    """For each number: row, column, and (seed, value or reason, number of the run, whether it is a value) by seed."""
    for texts, cells in table.rows:
        for column, cell in zip(table.columns, cells, strict=True):
            if not cell.values:
                continue
            unit = column.unit
            values = [(seed, shown(value, unit), numbers[key], True) for seed, (value, key) in cell.values.items()]
            values += [(seed, reason, numbers.get(key), False) for seed, reason, key in cell.gaps]
            yield row_label(texts), column.heading, sorted(values, key=lambda each: (len(each[0]), each[0]))


def plain_measurements(measurements):
    """What a run was measured by that depends on nothing else: list of (label, value)."""
    found = []
    for each in measurements:
        metric = known_metric(each["metric"])
        if not each["settings"]:
            found.append((metric.label, shown(each["value"], metric.unit) + (" %" if metric.unit == "percent" else "")))
    return found


def kind(run, teaches):
    """What a run is called that stands in no grid's table."""
    name = (run.get("config") or {}).get("student", "unknown network")
    return f"Teacher {name}" if teaches else f"{name}, of no grid"


def settings(config):
    """Settings as a list of (name, text), without those that are None."""
    found = []
    for name, value in config.items():
        if value is not None:
            found.append((name, ", ".join(map(number, value)) if isinstance(value, (list, tuple)) else number(value)))
    return found


def count(value):
    """A count as a text, with commas; empty where it is not known."""
    return "" if value is None else f"{value:,}"
