"""Brings the tables of results/README.md and README.md in line with the committed numbers: python results/claims.py

A block between `<!-- claims -->` and its end is the table of the paper's claims and what they came to here; one between
`<!-- table: NAME -->` and its end is a table of the report of `mini/collection.json`; `<!-- ours: NAME -->` is the same
one without the paper's columns, and one between `<!-- differences: NAME -->` and its end has all differences of a grid.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

import yaml

from tfnoisekd.report import markdown
from tfnoisekd.report.comparisons import compare_grid
from tfnoisekd.report.contents import contents
from tfnoisekd.report.differences import holm
from tfnoisekd.report.wording import compared, metric_label

FOLDER = Path(__file__).resolve().parent
COLLECTION, CLAIMS = FOLDER / "mini" / "collection.json", FOLDER / "claims.yaml"
PAGES = (FOLDER / "README.md", FOLDER.parent / "README.md")
BLOCK = re.compile(r"(<!-- (claims|(?:table|ours|differences): [\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def judged(collection, claims):
    """Each comparison that a claim is about: (claim, `Comparison`, p value adjusted among all of them)."""
    grids = {grid["name"]: grid for grid in collection["grids"]}
    found = []
    for claim in claims:
        if claim["grid"] in grids:
            comparisons = compare_grid(grids[claim["grid"]], collection)
            found += [(claim, each) for each in comparisons if _concerns(claim, each)]
    adjusted = holm([each.difference and each.difference.p_value for _, each in found])
    return [(*each, p) for each, p in zip(found, adjusted, strict=True)]


def _concerns(claim, comparison):
    sides = ((claim["of"], comparison.of_axes), (claim["against"], comparison.against_axes))
    fits = all(axes.get(name) == value for wanted, axes in sides for name, value in wanted.items())
    return comparison.metric in claim["metrics"] and fits


def verdict(difference):
    """What a claim that the first side lies higher comes to."""
    if difference is None:
        return "not measured yet"
    if difference.low is None and difference.n > 1 and not difference.mean:
        return f"no difference with any of {difference.n} seeds"
    if difference.low is None:
        return f"can't tell with {difference.n} seed{'s' * (difference.n > 1)}"
    if difference.low > 0:
        return "**holds**"
    return "**does not hold**" if difference.high < 0 else f"can't tell with {difference.n} seeds"


def claims_table(collection, claims):
    """One row for each comparison, in Markdown."""
    lines = ["| Claim | Compared | Ours, points (95% interval) | Paper | Verdict | p |", "|---|---|---:|---:|---|---:|"]
    last = None
    for claim, each, adjusted in judged(collection, claims):
        difference = each.difference
        shown = "" if claim is last else f"{claim['claim']} ({claim['place']})"
        last, ours = claim, _interval(difference)
        paper = "-" if each.paper is None else f"*{_points(each.paper)}*"
        what = markdown.escaped(f"{metric_label(each.metric, each.settings)}: {compared(each)}")
        p = "-" if adjusted is None else f"{adjusted:.2g}"
        lines.append(f"| {shown} | {what} | {ours} | {paper} | {verdict(difference)} | {p} |")
    return "\n".join(lines)


def differences_table(comparisons):
    """One row for each pair of a grid, one column for each measurement, in Markdown; bold is what is shown."""
    metrics, rows = [], {}
    for each in comparisons:
        metric = markdown.escaped(metric_label(each.metric, each.settings))
        metrics += [metric] * (metric not in metrics)
        text = _interval(each.difference)
        rows.setdefault(compared(each), {})[metric] = f"**{text}**" if each.shown else text
    lines = [f"| Compared | {' | '.join(metrics)} |", f"|---|{'---:|' * len(metrics)}"]
    for pair, found in rows.items():
        lines.append(f"| {markdown.escaped(pair)} | {' | '.join(found.get(metric, '-') for metric in metrics)} |")
    return "\n".join(lines)


def _interval(difference):
    if difference is None:
        return "-"
    ends = "" if difference.low is None else f" ({_points(difference.low)} to {_points(difference.high)})"
    return _points(difference.mean) + ends


def _points(share):
    return f"{round(100 * share, 2) + 0.0:+.2f}"


def rebuild(page, collection, claims):
    """The text of a page with every block made anew."""
    sections = {section.grid["name"]: section for section in contents(collection).sections}
    tables = {table.name: table for section in sections.values() for table in section.tables}

    def made(match):
        kind, _, name = match[2].partition(": ")
        if kind == "claims":
            text = claims_table(collection, claims)
        elif kind == "differences":
            text = differences_table(sections[name].comparisons)
        else:
            table = tables[name]
            text = markdown.table_text(table if kind == "table" else replace(table, with_paper=()))
        return f"{match[1]}{text}\n{match[3]}"

    return BLOCK.sub(made, page)


def main():
    """Writes the pages."""
    collection = json.loads(COLLECTION.read_text(encoding="utf-8"))
    claims = yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))
    for path in PAGES:
        path.write_text(rebuild(path.read_text(encoding="utf-8"), collection, claims), encoding="utf-8")


if __name__ == "__main__":
    main()
