"""The page is one well-formed file that loads nothing, and what is written is whole, related and quick."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import collections_made as made
import pytest
from click.testing import CliRunner

from tfnoisekd.cli import report as command_line
from tfnoisekd.report import csv_files, html, markdown, wording
from tfnoisekd.report.contents import contents
from tfnoisekd.report.html import charts, svg
from tfnoisekd.report.write import FORMATS, as_json, related, write

VOID = {"meta", "link", "br", "img", "input", "hr"}
EVIL = '<script>alert("x")</script> & \' {{ 7 * 7 }}'


class Reader(HTMLParser):
    """Reads a page strictly: tags that are not closed in order are an error; keeps tags, ids and table cells."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.cells, self.text = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append([dict(attributes).get("class"), ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.text.append(text)
        if {"td", "th"} & set(self.open):
            self.cells[-1][-1][1] += text


@pytest.fixture
def collection():
    found = made.made("table1", "figure4")
    made.fail(found, made.key_of(found, "table1", seed=10, method="hinton"), EVIL)
    made.forget(found, made.key_of(found, "table1", seed=20, method="ft", dropout=0.4))
    found["grids"][1]["title"] = EVIL
    return found


@pytest.fixture
def page(collection, tmp_path):
    write(collection, tmp_path, ["html"])
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_its_ids_are_unique(page):
    tags = Reader(page).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 60
    targets = [a["href"][1:] for tag, a in tags if tag in ("a", "use") and a["href"].startswith("#")]
    assert set(targets) <= set(ids) and len(targets) > 100


def test_the_page_loads_nothing_and_its_policy_allows_only_its_own_script_and_style(page):
    tags = Reader(page).tags
    (policy,) = [a["content"] for tag, a in tags if a.get("http-equiv") == "Content-Security-Policy"]
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    assert policy == html.policy(script, style) and "default-src 'none'" in policy
    assert page.count("<script") == page.count("<style") == 1
    for tag, attributes in tags:
        assert "src" not in attributes and "style" not in attributes
        assert not any(name.startswith("on") for name in attributes), attributes
        if tag == "link":
            assert attributes["href"] == "data:,"
    assert "http://" not in page and "https://" not in page and "@import" not in style and "url(" not in style


def test_texts_of_users_are_texts(page):
    shown = "".join(Reader(page).text)
    assert EVIL in shown and "alert(" not in re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]


def test_our_numbers_and_the_papers_are_cells_of_their_own_kind(collection, page):
    (table, *_) = contents(collection).sections[0].tables
    lines = {cells[0][1]: cells[1:] for cells in reversed(Reader(page).cells) if cells and cells[0][1]}
    for (name,), cells in table.rows:
        line = lines[name]
        assert [text for _, text in line[0::2]] == [wording.cell_text(cell, "percent") for cell in cells]
        assert [text for _, text in line[1::2]] == [wording.paper_text(cell, "percent") for cell in cells]
        assert {kind for kind, _ in line[1::2]} == {"paper"} and "paper" not in {kind for kind, _ in line[0::2]}
    assert ["paper", "paper"] in Reader(page).cells[1]
    assert ["paper", "94.28 ± 0.09"] in lines["Hinton"] and lines["Hinton"][2][1].endswith("(n = 2)")


def test_every_run_has_its_provenance_on_the_page(collection, page):
    for key, run in collection["runs"].items():
        assert page.count(f'<span class="quiet">{key}</span>') == 1
        if run["status"] == "finished":
            assert run["student_weights_sha256"] in page
    key = made.key_of(collection, "table1", seed=0, method="at")
    part = page[page.index(f'<span class="quiet">{key}</span>') :].split('<details class="run"')[0]
    run = collection["runs"][key]
    for text in (
        run["data"]["fingerprint"],
        run["provenance"]["command"],
        run["finished_at"],
        "environment 1",
        "seed 0",
    ):
        assert text in part
    assert run["evaluations"][0]["file"] in part and "environment 2" in part
    assert part.count("<polyline") == 2 and "74.8 TFLOPs" in part
    assert "tensorflow 2.21.0" in page and "AMD EPYC, 2 cores, Linux" in page


def test_a_run_that_went_on_elsewhere_is_shown_with_both_places(collection):
    key = made.key_of(collection, "table1", seed=0, method="at")
    run = collection["runs"][key]
    elsewhere = {**run["provenance"], "device": "AMD EPYC, 2 cores, Linux (TF_NUM_INTRAOP_THREADS=2)"}
    run["resumed"] = [run["provenance"], elsewhere, elsewhere]
    found = contents(collection)
    first, second = found.trained_in(run)
    assert first == 1 and found.environments[second - 1]["device"] == elsewhere["device"]
    page = html.page(found)
    part = page[page.index(f'<span class="quiet">{key}</span>') :].split('<details class="run"')[0]
    assert f'environment 1</a>, <a href="#e{second}">environment {second}</a></dd>' in part
    (line,) = (line for line in markdown.runs_text(found).splitlines() if f"{key}" in line)
    assert line.endswith(f"| 1, {second} |")
    (row,) = (row for row in csv.DictReader(io.StringIO(csv_files.runs_text(found))) if row["run"] == key)
    assert row["resumed_on"] == f"{run['provenance']['device']}; {elsewhere['device']}"


def test_a_figure_becomes_an_element_with_attributes_in_place_of_styles(tmp_path):
    path = tmp_path / "figure.svg"
    path.write_text(
        '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'width="10pt" height="20pt" viewBox="0 0 10 20"><metadata>x</metadata><defs><style>*{fill: red}</style>'
        '<path id="m" d="M 0 0 \nL 1 1"/></defs><g clip-path="url(#p)" style="fill: #0072b2; opacity: 0.2">'
        '<use xlink:href="#m" style="stroke: #000000"/><text style="fill: #123456">a &lt; b</text></g></svg>'
    )
    found = ElementTree.fromstring(svg.inlined(path, "f1-", 'it "shows" <b>'))
    assert found.attrib["aria-label"] == 'it "shows" <b>' and (found.attrib["width"], found.attrib["height"]) == (
        "20",
        "40",
    )
    group = found.find("g")
    assert group.attrib == {"clip-path": "url(#f1-p)", "fill": "var(--c0)", "opacity": "0.2"}
    assert group.find("use").attrib == {"href": "#f1-m", "stroke": "var(--text)"}
    assert group.find("text").attrib == {"fill": "#123456"} and group.find("text").text == "a < b"
    assert found.find("defs/path").attrib == {"id": "f1-m", "d": "M 0 0 L 1 1"}
    assert found.find("metadata") is None and found.find("defs/style") is None


def test_curves_go_from_corner_to_corner_and_long_ones_keep_both_ends():
    epochs = list(range(1, 501))
    text = str(charts.curves({"epoch": epochs, "loss": [500.0 - at for at in epochs], "accuracy": [0.5] * 500}))
    loss, accuracy = re.findall(r'points="([^"]+)"', text)
    points = [tuple(map(int, point.split(","))) for point in loss.split()]
    assert len(points) == charts.POINTS
    assert points[0] == (charts.LEFT, charts.TOP) and points[-1] == (
        charts.LEFT + charts.WIDTH,
        charts.TOP + charts.HEIGHT,
    )
    assert len({point.split(",")[1] for point in accuracy.split()}) == 1
    assert charts.curves({}) == "" and charts.curves({"epoch": [1], "loss": [0.5]}) == ""
    held = str(charts.curves({"epoch": [1, 2], "accuracy": [0.1, 0.2], "val_accuracy": [0.1, float("nan")]}))
    assert held.count("<polyline") == 2 and "held-out" in held


def test_a_report_is_written_in_all_formats_and_its_runs_are_linked_relatively(tmp_path):
    collection = made.made("figure4")
    for key, run in collection["runs"].items():
        run["path"] = str(tmp_path / "sweep" / "students" / key)
    paths = write(collection, tmp_path / "sweep" / "report")
    names = sorted(path.relative_to(tmp_path / "sweep" / "report").as_posix() for path in paths)
    assert names == [
        "collection.json",
        *("figures/figure4.png", "figures/figure4.svg", "measurements.csv"),
        *("report.html", "report.md", "report.tex", "runs.csv"),
        *("tables/figure4-more.csv", "tables/figure4-more.tex", "tables/figure4.csv", "tables/figure4.tex"),
    ]
    assert all(path.stat().st_size > 100 for path in paths)
    key = next(iter(collection["runs"]))
    written = json.loads((tmp_path / "sweep/report/collection.json").read_text())
    assert written["runs"][key]["path"] == f"../students/{key}"
    assert f'href="../students/{key}/"' in (tmp_path / "sweep/report/report.html").read_text()
    markdown = (tmp_path / "sweep/report/report.md").read_text()
    assert f"](../students/{key})" in markdown and "](figures/figure4.png)" in markdown
    assert str(tmp_path) not in markdown + json.dumps(written)
    assert not list(tmp_path.rglob("*.tmp*"))


def test_a_collection_comes_back_as_it_was(collection):
    assert json.loads(as_json(collection)) == collection
    assert related(collection, "/data/report")["runs"].keys() == collection["runs"].keys()
    assert as_json(collection).count("\n") > len(collection["measurements"])


def test_without_pages_there_are_no_figures(tmp_path):
    write(made.made("figure4"), tmp_path, ["csv", "json"])
    assert not (tmp_path / "figures").exists() and (tmp_path / "measurements.csv").exists()


@pytest.mark.parametrize(
    ("formats", "message"),
    [(["pdf"], "`format` must be among md, latex, csv, html, json. Received: pdf"), ([], "Received: none")],
)
def test_formats_are_checked(formats, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        write(made.made("table3"), tmp_path / "new", formats)
    assert not (tmp_path / "new").exists()


def test_no_grid_is_no_report(tmp_path):
    with pytest.raises(ValueError, match="`collection` must hold at least one grid"):
        write({"format": 1, "grids": [], "runs": {}, "measurements": []}, tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PermissionError, match="`output` .*file can't be made"):
        write(made.made("table3"), tmp_path / "file")


@pytest.mark.slow
def test_a_page_of_a_thousand_runs_has_less_than_10_megabytes(tmp_path):
    collection = made.large()
    assert len(collection["runs"]) == 1000
    write(collection, tmp_path, FORMATS)
    assert (tmp_path / "report.html").stat().st_size < 10_000_000


def call(*words):
    return CliRunner().invoke(command_line.command, list(map(str, words)), catch_exceptions=False)


@pytest.fixture
def file(collection, tmp_path):
    path = tmp_path / "collection.json"
    path.write_text(as_json({**collection, "runs": {k: {**r, "path": None} for k, r in collection["runs"].items()}}))
    return path


def test_the_command_writes_beside_the_file_and_tells_where_and_what(file):
    done = call(file, "--format", "md, csv")
    assert done.exit_code == 0
    assert (file.parent / "report" / "report.md").exists() and not (file.parent / "report" / "report.html").exists()
    lines = done.output.splitlines()
    assert f"Wrote {file.parent / 'report' / 'report.md'}" in lines
    assert any(line.startswith(f"Wrote {file.parent / 'report' / 'figures'}") and "(2 files)" in line for line in lines)
    row = next(line for line in lines if "table1" in line and "│" in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == ["table1", "18", "16", "1", "0", "1", "1 of 15"]
    assert any(re.match(r"table1, .*: hinton above baseline by \d\.\d points, 95% interval", line) for line in lines)


def test_the_command_prints_the_collection_and_writes_nothing(file):
    done = call(file, "--json")
    assert json.loads(done.output) == json.loads(file.read_text())
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_command_names_what_is_wrong(file, tmp_path):
    with pytest.raises(ValueError, match="`format` must be among .*Received: pdf"):
        call(file, "--format", "md,pdf")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        call(tmp_path / "nowhere")
    assert CliRunner().invoke(command_line.command, []).exit_code == 2


def test_the_command_imports_neither_keras_nor_tensorflow(file, run_python):
    run_python(
        "import sys\n"
        "from tfnoisekd.cli.report import command\n"
        f"command([{str(file)!r}, '--output', {str(file.parent / 'out')!r}], standalone_mode=False)\n"
        "loaded = {'keras', 'tensorflow', 'jax'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    assert Path(file.parent / "out" / "report.html").exists()
