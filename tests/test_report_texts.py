"""Markdown, LaTeX and CSV say what the tables hold, whatever characters are in it, the paper's numbers apart."""

import copy
import csv
import io
import json
import re
import shutil
import subprocess

import collections_made as made
import numpy as np
import pytest
from markdown_it import MarkdownIt

from tfnoisekd.report import csv_files, latex, markdown, wording
from tfnoisekd.report.contents import contents
from tfnoisekd.report.write import write

EVIL = '50% of |a|_b & c* <i> #1 $x$ ~ ^ \\ {} `code` [l](m) "q" it\'s -- 猫 &amp; é'


@pytest.fixture
def collection():
    found = made.made("table1", "table4", "figure3")
    made.fail(found, made.key_of(found, "table1", seed=10, method="hinton"), EVIL)
    made.forget(found, made.key_of(found, "table1", seed=20, method="ft", dropout=0.4))
    for seed in (0, 10, 20):
        made.forget(found, made.key_of(found, "table1", seed=seed, method="ft", dropout=0.2))
    return found


def parsed(text):
    """Tables of a Markdown text, each a list of lines of cells: (text, whether it is in italics)."""
    tokens, tables = MarkdownIt("commonmark").enable("table").parse(text), []
    for place, token in enumerate(tokens):
        if token.type == "table_open":
            tables.append([])
        if token.type == "tr_open":
            tables[-1].append([])
        if token.type in ("th_open", "td_open"):
            children = tokens[place + 1].children
            shown = "".join(child.content for child in children)
            tables[-1][-1].append((shown, any(child.type == "em_open" for child in children)))
    return tables


def of_table(found, name):
    return next(each for section in found.sections for each in section.tables if each.name == name)


def test_markdown_tables_hold_our_numbers_and_the_papers_in_columns_of_their_own(collection):
    found = contents(collection)
    table = of_table(found, "table1")
    ((heading, *lines),) = parsed(markdown.table_text(table))
    expected = ["Method"]
    for column in table.columns:
        expected += [column.heading, f"{column.heading} (paper)"]
    assert [text for text, _ in heading] == expected
    assert len(lines) == len(table.rows) == 6
    for line, (texts, cells) in zip(lines, table.rows, strict=True):
        assert [text for text, _ in line[:1]] == list(texts)
        assert [text for text, _ in line[1::2]] == [wording.cell_text(cell, "percent") for cell in cells]
        assert [text for text, _ in line[2::2]] == [wording.paper_text(cell, "percent") for cell in cells]
        assert not any(slanted for _, slanted in line[1::2])
        assert all(slanted for text, slanted in line[2::2] if text)
    assert [text for text, _ in lines[1]][3:5] == [wording.cell_text(table.rows[1][1][1], "percent"), "94.28 ± 0.09"]
    assert lines[4][3] == ("missing: not trained yet", False) and lines[4][4] == ("94.46 ± 0.16", True)


def test_every_table_of_the_report_is_a_table_to_a_parser_of_its_own(collection):
    collection["grids"][0]["title"] = collection["grids"][1]["note"] = EVIL
    found = contents(collection)
    text = markdown.markdown(found)
    tables = parsed(text)
    count = sum(len(section.tables) + bool(section.comparisons) for section in found.sections)
    assert len(tables) == count + 1  # and that of the runs
    for table in tables:
        assert len({len(line) for line in table}) == 1
    flat = MarkdownIt("commonmark").enable("table").parse(text)
    shown = ["".join(child.content for child in token.children) for token in flat if token.type == "inline"]
    assert EVIL in shown  # the heading, as it was written
    assert any(
        f"hinton-{made.key_of(collection, 'table1', seed=10, method='hinton')[7:]}: {EVIL}" == line for line in shown
    )


@pytest.mark.parametrize(
    "text", [EVIL, "1. first", "# no heading", "- no list", "12) twelve", "a | b", "two\nlines", "_x_"]
)
def test_markdown_shows_any_text_as_it_is(text):
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown.escaped(text))
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert "".join(child.content for child in tokens[1].children) == " ".join(text.split())


def test_equal_collections_give_equal_texts(collection):
    other = json.loads(json.dumps(collection))
    first, second = contents(collection), contents(other)
    assert markdown.markdown(first) == markdown.markdown(second)
    assert csv_files.measurements_text(first) == csv_files.measurements_text(second)


def test_verdicts_and_gaps_are_in_words(collection):
    text = markdown.markdown(contents(collection))
    assert "- not trained yet, seeds 0, 10, 20: FT-0.2" in text and "- not trained yet, seed 20: FT-0.4" in text
    assert re.search(r"\*\*sr above ga by \d\.\d points, 95% interval", text)
    assert "after Holm's correction" in text
    assert "*the paper prints +0.33 points" in text


def test_a_section_can_be_taken_alone_for_another_page(collection):
    found = contents(collection)
    parts = markdown.section_parts(found.sections[0], index=found.index, level=3)
    assert parts[0] == "### Table1 in small & more" and parts[2] == markdown.table_text(of_table(found, "table1"))
    assert "#### Failed runs" in parts


SHOWN_BY_LATEX = {
    "50% & more": r"50\% \& more",
    "a_b^c~d": r"a\_b\textasciicircum{}c\textasciitilde{}d",
    "\\input{x} $y$ #1": r"\textbackslash{}input\{x\} \$y\$ \#1",
    "<i> a|b": r"\textless{}i\textgreater{} a\textbar{}b",
    "1 ± 2": r"1 $\pm$ 2",
    "\N{GREEK SMALL LETTER SIGMA} L∞ ε": r"$\sigma$ L$\infty$ $\varepsilon$",
    "a--b '' ?`": "a-{}-b '{}' ?{}`",
    "猫 é": "[U+732B] é",
    "a\x00b\nc": "a[U+0000]b c",
}


@pytest.mark.parametrize("text", SHOWN_BY_LATEX)
def test_latex_escapes(text):
    assert latex.escaped(text) == SHOWN_BY_LATEX[text]


def test_latex_tables_have_as_many_cells_in_each_line_as_columns(collection):
    for section in contents(collection).sections:
        for table in section.tables:
            text = latex.table_text(table)
            (columns,) = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", text)
            body = re.search(r"\\midrule\n(.*)\\bottomrule", text, re.DOTALL)[1].strip().split("\n")
            assert len(body) == len(table.rows)
            for line in body:
                assert line.endswith(r" \\") and len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1
            assert columns.count("r") == len(table.columns) + len(table.with_paper)


def test_latex_marks_the_papers_columns(collection):
    table = of_table(contents(collection), "table1")
    text = latex.table_text(table)
    assert r"Method & ours & \textit{paper} & ours & \textit{paper}" in text
    (line,) = [line for line in text.split("\n") if line.startswith("Hinton")]
    cells = line.removesuffix(r" \\").split(" & ")
    assert cells[4] == r"\textit{94.28 $\pm$ 0.09}"
    assert cells[3] == latex.escaped(wording.cell_text(table.rows[1][1][1], "percent")) and "textit" not in cells[3]


def test_long_tables_go_on_in_another():
    table = of_table(contents(made.large(cells=90, seeds=(0, 10), epochs=2)), "table3-more")
    text = latex.table_text(table)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 3
    assert "(part 2 of 3)" in text and r"\label{tab:table3-more-3}" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_the_document_compiles(collection, tmp_path):
    collection["grids"][0]["title"] = collection["grids"][1]["note"] = EVIL
    write(collection, tmp_path, ["latex"])
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "report.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert b"Overfull" not in done.stdout


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_tables_have_our_numbers_and_the_papers_under_different_names(collection):
    lines = read(csv_files.table_text(of_table(contents(collection), "table1")))
    name = "cifar10_exact_train_test_acc_percent"
    at = next(line for line in lines if line["method"] == "AT")
    keys = [made.key_of(collection, "table1", seed=seed, method="at") for seed in (0, 10, 20)]
    own = [e["value"] for e in collection["measurements"] if e["run"] in keys and e["metric"] == "test_accuracy"]
    assert float(at[name]) == pytest.approx(100 * np.mean(own), rel=1e-5)
    assert float(at[f"{name}_std"]) == pytest.approx(100 * np.std(own, ddof=1), rel=1e-5)
    assert (at[f"{name}_n"], at[f"{name}_missing"]) == ("3", "")
    assert (float(at[f"paper_{name}"]), float(at[f"paper_{name}_std"])) == (94.5, 0.18)
    missing = next(line for line in lines if line["method"] == "FT-0.2")
    assert (missing[name], missing[f"{name}_n"], missing[f"{name}_missing"]) == ("", "0", "not trained yet")
    baseline = lines[0]
    assert baseline["cifar10_exact_train_teacher_percent_missing"] == "does not apply"
    table4 = read(csv_files.table_text(of_table(contents(collection), "table4-1")))
    assert {"sigma", "method", "steps_of_pgd_20_percent", "paper_steps_of_pgd_20_percent"} <= table4[0].keys()


def test_the_file_of_measurements_has_each_once_with_its_provenance(collection):
    lines = read(csv_files.measurements_text(contents(collection)))
    assert len(lines) == len(collection["measurements"])
    key = made.key_of(collection, "table4", seed=20, method="sr", sigma=0.05)
    wanted = {"run": key, "metric": "robust_accuracy", "setting_steps": "20", "setting_step_size": "0.003"}
    (line,) = [line for line in lines if wanted.items() <= line.items()]
    settings = made.attack(20)
    (own,) = [e for e in collection["measurements"] if (e["run"], e["settings"]) == (key, settings)]
    run = collection["runs"][key]
    assert float(line["value"]) == own["value"] and int(line["n"]) == 1000
    assert float(line["setting_epsilon"]) == settings["epsilon"]
    assert (line["seed"], line["sigma"], line["method"]) == ("20", "0.05", "sr")
    assert line["grids"].split() == ["table4", "figure3"]
    assert (float(line["paper_value"]), float(line["paper_std"]), line["paper_place"]) == (0.1556, 0.0044, "Table 4")
    for name in ("code", "device", "command", "started_at"):
        assert line[name] == run["provenance"][name]
    assert json.loads(line["versions"]) == made.VERSIONS
    assert line["data_fingerprint"] == run["data"]["fingerprint"] and float(line["seconds"]) == run["seconds"]
    assert line["evaluation_files"] == run["evaluations"][0]["file"] and line["config_sigma"] == "0.05"
    assert "config_learning_rate" not in line  # all runs share it: the file of runs has it


def test_the_file_of_runs_has_all_settings_and_the_failed_ones_too(collection):
    lines = {line["run"]: line for line in read(csv_files.runs_text(contents(collection)))}
    assert lines.keys() == collection["runs"].keys()
    key = made.key_of(collection, "table4", seed=0, method="ga", sigma=0.02)
    for name, value in collection["runs"][key]["config"].items():
        assert lines[key][f"config_{name}"] == (json.dumps(value) if isinstance(value, list) else str(value))
    assert lines[key]["macs_student"] == "12500000" and lines[key]["macs_teacher"] == ""
    failed = lines[made.key_of(collection, "table1", seed=10, method="hinton")]
    assert (failed["status"], failed["error"], failed["config_method"]) == ("failed", EVIL, "")


def test_nothing_is_changed_in_the_collection(collection):
    before = copy.deepcopy(collection)
    found = contents(collection)
    markdown.markdown(found)
    csv_files.measurements_text(found)
    assert collection == before
