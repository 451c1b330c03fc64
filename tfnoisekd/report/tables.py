"""Tables as data: what stands where, whose number it is, and what is missing. Every format is made from them."""

from dataclasses import dataclass, replace

from tfnoisekd.report.cells import canonical, fill
from tfnoisekd.report.wording import PERCENT, cell_label, data_label, known_metric, metric_label


@dataclass(frozen=True)
class Column:
    """A column of numbers; where the paper prints any of them, a second one of the paper's stands beside it.

    Attributes:
        group: Heading over several columns; may be empty.
        label: Its own heading.
        metric: Name of the metric, which decides unit and digits.
    """

    group: str
    label: str
    metric: str = "test_accuracy"

    @property
    def unit(self):
        return known_metric(self.metric).unit

    @property
    def heading(self):
        """Both headings in one, for formats that have a single line of them."""
        return ": ".join(filter(None, (self.group, self.label)))


@dataclass(frozen=True)
class Place:
    """Where a number belongs, before it is looked up.

    Attributes:
        row: Texts of the key columns.
        column: `Column`.
        cell: A cell of the grid.
        metric, settings: Which of its numbers.
        where: See `cells.fill`.
    """

    row: tuple
    column: Column
    cell: dict
    metric: str
    settings: dict
    where: dict | None = None


@dataclass(frozen=True)
class Layout:
    """A table without its numbers, as the views make it.

    Attributes:
        name: Part of file names, unique in a report.
        title: One line.
        keys: Headings of the key columns.
        places: List of `Place`.
        remarks: Sentences below the table.
        extra: Whether it holds what the view's own tables have no place for.
    """

    name: str
    title: str
    keys: tuple
    places: list
    remarks: tuple = ()
    extra: bool = False


@dataclass(frozen=True)
class Table:
    """A table with its numbers.

    Attributes:
        name, title, keys, extra: As those of `Layout`.
        note: On what scale, as the grid says it.
        columns: List of `Column`.
        with_paper: The columns of which the paper prints numbers, as a set.
        rows: List of (texts of the key columns, list of `cells.Cell`).
        remarks: List of sentences that a reader needs to understand the numbers.
    """

    name: str
    title: str
    note: str
    keys: tuple
    columns: list
    with_paper: frozenset
    rows: list
    remarks: list
    extra: bool = False


def assemble(index, grid, layout):
    """A `Table` from a `Layout`: rows and columns in order of appearance, columns of one group beside each other."""
    rows = list(dict.fromkeys(place.row for place in layout.places))
    columns = list(dict.fromkeys(place.column for place in layout.places))
    groups = list(dict.fromkeys(column.group for column in columns))
    columns.sort(key=lambda column: groups.index(column.group))
    there = {
        (place.row, place.column): fill(index, grid, place.cell, place.metric, place.settings, place.where)
        for place in layout.places
    }
    absent = fill(index, grid, None, None, None)
    filled = [(row, [there.get((row, column), absent) for column in columns]) for row in rows]
    with_paper = frozenset(place[1] for place, cell in there.items() if cell.paper is not None)
    return Table(
        layout.name,
        layout.title,
        grid.get("note") or "",
        layout.keys,
        columns,
        with_paper,
        filled,
        _remarks(index, grid, layout, columns, filled, bool(with_paper)),
        layout.extra,
    )


def tables_of(index, grid):
    """The tables of a grid: those of its view, and one for what else it asks for.

    Args:
        index: `cells.Index` of the collection.
        grid: One of its grids.

    Returns:
        List of `Table`.
    """
    from tfnoisekd.report.views import layouts

    return [assemble(index, grid, layout) for layout in layouts(index, grid) if layout.places]


def asked(grid, *names):
    """Entries of the grid's metrics with one of these names."""
    return [each for each in grid["metrics"] if each["metric"] in names]


def put(grid, rows):
    """Resolves cells that would share a place: the later ones get a row of their own, with what sets them apart.

    Args:
        grid: The grid.
        rows: List of `Place`.

    Returns:
        List of `Place`, each in a place of its own.
    """
    taken, found = {}, []
    for place in rows:
        first = taken.setdefault((place.row, place.column), place.cell)
        if first is not place.cell:
            differing = [name for name in grid["axes"] if first["axes"].get(name) != place.cell["axes"].get(name)]
            extra = cell_label({name: place.cell["axes"].get(name) for name in differing})
            place = replace(place, row=(*place.row[:-1], f"{place.row[-1]}, {extra}"))
        found.append(place)
    return found


def shown_metrics(places):
    """What is in a table already, as keys."""
    return {(place.metric, canonical(place.settings)) for place in places}


def _remarks(index, grid, layout, columns, rows, with_paper):
    """Sentences on how to read the numbers."""
    seeds = ", ".join(map(str, grid["seeds"]))
    unit = "in percent" if {column.unit for column in columns} == {PERCENT} else "shares in percent"
    if len(grid["seeds"]) > 1:
        ours = f"mean ± sample standard deviation over {len(grid['seeds'])} seeds ({seeds}) unless n is said"
    else:
        ours = f"one seed ({seeds}), so no standard deviation"
    found = [f"Ours: {ours}, {unit}."]
    if any(known_metric(column.metric).of_teacher for column in columns):
        found.append("A teacher is one model for all seeds unless n is said.")
    found += _images(rows)
    if with_paper:
        found.append(_of_paper(grid))
    return found + list(layout.remarks)


def _images(rows):
    """On how many images the numbers are."""
    counts = {}
    for cell in (cell for _, cells in rows for cell in cells):
        for n in cell.images if cell.metric != "wrong_label_accuracy" else ():  # which are training images
            counts.setdefault(n, set()).add(known_metric(cell.metric).question)
    if not counts:
        return []
    words = {None: "test accuracy", "pgd": "attacks", "ensemble": "strong attacks", "ood": "other data"}
    parts = []
    for n in sorted(counts, reverse=True):
        named = sorted(words.get(question, str(question)) for question in counts[n])
        parts.append(f"{n:,}" + (f" for {' and '.join(named)}" if len(counts) > 1 else ""))
    return [f"Test images: {', '.join(parts)}."]


def _of_paper(grid):
    words = "paper: printed there, over five seeds, not measured here"
    if not grid.get("stands_for"):
        return f"{words}."
    return f"{words}; of {data_label(grid['stands_for'])} in the paper's setting, which is not ours."


def title_of(metric):
    """A metric's own heading, from an entry of the grid's metrics."""
    return metric_label(metric["metric"], metric["settings"])
