"""Tables as LaTeX with booktabs: a file for each, and a document that compiles with pdflatex."""

import re

from tfnoisekd.report.wording import cell_text, compared, metric_label, paper_text, shown_text

ROWS = 40  # of one table; longer ones go on in another
SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "\N{GREEK SMALL LETTER SIGMA}": r"$\sigma$",
    "ε": r"$\varepsilon$",
    "∞": r"$\infty$",
    "·": r"$\cdot$",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{MINUS SIGN}": "$-$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
}
# Two characters that LaTeX would join to another one.
JOINED = re.compile(r"(?<=[-?!`',])(?=[-`',])")
FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
PREAMBLE = r"""\documentclass[10pt]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{textcomp}
\usepackage{booktabs}
\usepackage{graphicx}
\usepackage[margin=2cm]{geometry}
\setlength{\emergencystretch}{3em}
\begin{document}
"""


def table_text(table):
    """A `tables.Table` as one or more `table` environments; the paper's columns are in italics under "paper"."""
    parts = [table.rows[start : start + ROWS] for start in range(0, len(table.rows), ROWS)]
    return "\n".join(_environment(table, rows, place, len(parts)) for place, rows in enumerate(parts))


def _environment(table, rows, place, count):
    more = f" (part {place + 1} of {count})" if count > 1 else ""
    caption = " ".join(filter(None, [f"{table.title}{more}.", table.note, *table.remarks]))
    label = f"tab:{re.sub('[^A-Za-z0-9]+', '-', table.name)}{f'-{place + 1}' if place else ''}"
    columns = "l" * len(table.keys) + "".join("rr" if each in table.with_paper else "r" for each in table.columns)
    body = [_row(table, texts, cells) for texts, cells in rows]
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escaped(caption)}}}",
        rf"\label{{{label}}}",
        FIT,
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *_headings(table),
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def _width(table, column):
    return 2 if column in table.with_paper else 1


def _headings(table):
    """Lines of headings: groups, columns, and whose numbers they are."""
    lines = []
    if any(column.group for column in table.columns):
        lines += _groups(table)
    cells = [rf"\multicolumn{{{_width(table, each)}}}{{c}}{{{escaped(each.label)}}}" for each in table.columns]
    keys = [escaped(key) for key in table.keys]
    if not table.with_paper:
        return [*lines, _line([*keys, *cells])]
    whose = [name for each in table.columns for name in ("ours", r"\textit{paper}")[: _width(table, each)]]
    return [*lines, _line([""] * len(keys) + cells), _line([*keys, *whose])]


def _groups(table):
    """The line of groups, and the rules below it."""
    cells, rules, at = [""] * len(table.keys), [], len(table.keys) + 1
    place = 0
    while place < len(table.columns):
        group = table.columns[place].group
        width = 0
        while place < len(table.columns) and table.columns[place].group == group:
            width += _width(table, table.columns[place])
            place += 1
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escaped(group)}}}")
        rules.append(rf"\cmidrule(lr){{{at}-{at + width - 1}}}")
        at += width
    return [_line(cells), "".join(rules)]


def _row(table, texts, cells):
    line = [escaped(text) for text in texts]
    for column, cell in zip(table.columns, cells, strict=True):
        line.append(escaped(cell_text(cell, column.unit)))
        if column in table.with_paper:
            text = paper_text(cell, column.unit)
            line.append(rf"\textit{{{escaped(text)}}}" if text else "")
    return _line(line)


def _line(cells):
    return " & ".join(cells) + r" \\"


def document(contents, inputs, figures):
    """A document of all tables, figures and verdicts.

    Args:
        contents: `contents.Contents`.
        inputs: Dict of table's name -> path of its file, relative to the document.
        figures: Dict of figure's name -> path of its PNG, relative to the document.
    """
    parts = [PREAMBLE, "Numbers under \\textit{paper} were printed by the paper; all others were measured here.\n"]
    for section in contents.sections:
        parts.append(rf"\section*{{{escaped(section.grid['title'] or section.grid['name'])}}}")
        parts.append(escaped(section.grid["note"] or "") + "\n")
        parts += [rf"\input{{{inputs[table.name]}}}" for table in section.tables]
        parts += [_figure(each, figures[each.name]) for each in section.figures]
        parts += [_verdicts(section)] if section.comparisons else []
        parts.append(r"\clearpage")
    return "\n".join([*parts, r"\end{document}", ""])


def _figure(figure, path):
    caption = escaped(f"{figure.title}. Our numbers alone.")
    return "\n".join(
        [
            r"\begin{figure}[htbp]\centering",
            rf"\includegraphics[width=0.8\linewidth]{{{path}}}",
            rf"\caption{{{caption}}}",
            r"\end{figure}",
        ]
    )


def _verdicts(section):
    lines = [escaped(shown_text(section.comparisons)), r"\begin{itemize}"]
    for each in section.comparisons:
        words = f"{metric_label(each.metric, each.settings)}, {compared(each)}: {each.verdict}."
        printed = rf" \textit{{{escaped(each.beside_paper)}.}}" if each.beside_paper else ""
        lines.append(rf"\item {escaped(words)}{printed}")
    return "\n".join([*lines, r"\end{itemize}"])


def escaped(text):
    """A text that LaTeX sets as it is. What pdflatex's fonts lack becomes its code, such as [U+732B]."""
    parts = JOINED.split(" ".join(str(text).split()))
    return "{}".join("".join(map(_character, part)) for part in parts)


def _character(character):
    if character in SPECIAL:
        return SPECIAL[character]
    known = character.isprintable() and ord(character) < 0x180 and not 0x80 <= ord(character) < 0xC0
    return character if known else f"[U+{ord(character):04X}]"
