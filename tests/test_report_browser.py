"""The report in a real browser, opened from disk: it sorts, folds out, fits a phone, and follows the colour scheme."""

import chromium
import collections_made as made
import pytest

from tfnoisekd.report.write import write

FIRST_TABLE = "document.querySelector('#grid-1 table')"
COLUMN = f"[...{FIRST_TABLE}.tBodies[0].rows].map(row => row.cells[{{}}].textContent)"


@pytest.fixture(scope="module")
def tab():
    if chromium.PATH is None:
        pytest.skip("needs Chromium: none of " + ", ".join(chromium.NAMES) + " is on PATH")
    with chromium.browser() as page:
        yield page


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    collection = made.made("table1", "figure2", "figure3", "figure4", None)
    for seed in (0, 10, 20):
        made.forget(collection, made.key_of(collection, "table1", seed=seed, method="ft", dropout=0.2))
    made.fail(collection, made.key_of(collection, "table1", seed=10, method="hinton"), "out of memory " * 30)
    write(collection, folder, ["html"])
    return (folder / "report.html").as_uri()


@pytest.fixture
def show(tab, address):
    """Function that opens the page anew, at a place in it."""

    def show(place="", width=1280, scheme="light"):
        tab.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        tab.send("Emulation.setDeviceMetricsOverride", **metrics)
        tab.open("about:blank")
        tab.open(address + place)
        tab.wait(f"document.readyState == 'complete' && location.href == {address + place!r}")
        return tab

    yield show
    assert tab.errors == []
    assert {url.partition("#")[0] for url in tab.requests} <= {address, "about:blank"}


def press(tab, key, code):
    for kind in ("keyDown", "keyUp"):
        extra = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
        tab.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **extra)


def test_headings_sort_by_click_and_what_is_missing_stays_last(show):
    tab = show()
    click = f"{FIRST_TABLE}.querySelectorAll('thead button')[3].click()"
    tab.run(click)
    accuracies = tab.run(COLUMN.format(3))
    numbers = [float(text.split()[0]) for text in accuracies[:-1]]
    assert numbers == sorted(numbers) and accuracies[-1] == "missing: not trained yet"
    assert tab.run(f"{FIRST_TABLE}.querySelectorAll('th[aria-sort]').length") == 1
    tab.run(click)
    accuracies = tab.run(COLUMN.format(3))
    assert [float(text.split()[0]) for text in accuracies[:-1]] == numbers[::-1]
    assert accuracies[-1] == "missing: not trained yet"
    heading = f"{FIRST_TABLE}.querySelector('th[aria-sort]')"
    assert tab.run(f"[{heading}.getAttribute('aria-sort'), {heading}.textContent]") == ["descending", "Test acc."]


def test_headings_sort_by_keyboard(show):
    tab = show()
    tab.run(f"{FIRST_TABLE}.querySelectorAll('thead button')[0].focus()")
    press(tab, "Enter", 13)
    names = tab.run(COLUMN.format(0))
    assert names == sorted(names) == ["AT", "Baseline", "FT-0.2", "FT-0.4", "Hinton", "RKD-DA"]
    assert tab.run("document.activeElement.tagName") == "BUTTON"


def test_times_sort_by_length(show):
    tab = show()
    table = "document.querySelector('#runs table')"
    tab.run(f"{table}.querySelectorAll('thead button')[4].click()")
    values = tab.run(f"[...{table}.tBodies[0].rows].map(row => row.cells[4].dataset.v)")
    known = [float(value) for value in values if value]
    assert known == sorted(known) and len(known) == len(values) - 1 and values[-1] == ""


def test_a_link_to_a_run_opens_it(show):
    tab = show()
    tab.run("document.querySelector('#grid-1 .sources a').click()")
    tab.wait("location.hash != '' && document.querySelector(location.hash).open")
    assert tab.run("document.getElementById('details').open")
    assert tab.run("document.querySelector(location.hash).getBoundingClientRect().top < innerHeight")
    tab = show("#r3")
    tab.wait("document.getElementById('r3').open")


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_only_tables_scroll_sideways(show, width):
    tab = show(width=width)
    tab.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert tab.run("document.documentElement.scrollWidth") <= width
    if width < 600:
        assert tab.run(f"{FIRST_TABLE}.parentElement.scrollWidth > {FIRST_TABLE}.parentElement.clientWidth")


def luminance(colour):
    parts = [int(part) / 255 for part in colour[4:-1].split(",")[:3]]
    parts = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_figures_can_be_read_in_both_schemes(show, scheme):
    tab = show(scheme=scheme)
    style = "getComputedStyle(document.querySelector('{}')).{}"
    card = tab.run(style.format(".card", "backgroundColor"))
    assert (luminance(card) > 0.5) == (scheme == "light")
    for selector, name in (
        *((f"#grid-1 td.{kind}", "color") for kind in ("ours", "paper", "missing")),
        *((".figure text", "fill"), (".chart text", "fill"), (".remarks", "color"), ("a", "color")),
    ):
        assert contrast(tab.run(style.format(selector, name)), card) > 4.5, selector
    lines = "[...document.querySelectorAll('.figure [stroke^=\"var(--c\"]')].map(each => getComputedStyle(each).stroke)"
    # The yellow of the palette is pale on white; its line has markers and dashes too.
    assert {round(contrast(each, card), 1) > 2 for each in tab.run(lines)} == {True}
    ours, paper = (tab.run(style.format(f"#grid-1 td.{kind}", "fontStyle")) for kind in ("ours", "paper"))
    assert (ours, paper) == ("normal", "italic")
    assert tab.run(style.format("#grid-1 td.ours", "color")) != tab.run(style.format("#grid-1 td.paper", "color"))


def test_figures_have_names_for_those_who_do_not_see_them(show):
    tab = show()
    labels = tab.run("[...document.querySelectorAll('svg[role=img]')].map(each => each.getAttribute('aria-label'))")
    assert sum("Lines: SR, GA" in label for label in labels) == 1 and all(len(label) > 20 for label in labels)
