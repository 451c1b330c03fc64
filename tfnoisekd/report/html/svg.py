"""Matplotlib's SVG for a page: no styles, which its policy forbids, names of its own, and colours of the page."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from markupsafe import Markup, escape

from tfnoisekd.evaluation.figures.style import COLORS

SCALE = 2.0  # pixels of the screen for a point of print: its smallest texts are 6.5 points
COLOURS = {color.lower(): f"var(--c{number})" for number, color in enumerate(COLORS)}
COLOURS |= {"#000000": "var(--text)", "#595959": "var(--quiet)", "#dddddd": "var(--line)", "#ffffff": "var(--card)"}
PAGE = 300  # points, above which a figure is too wide for a phone, and scrolls
DROPPED = ("metadata", "style")
REFERENCE = re.compile(r"url\(#([^)]+)\)")


def inlined(path, prefix, description):
    """An SVG file as an element of the page.

    Args:
        path: The file, as Matplotlib wrote it.
        prefix: For the ids in it, so that those of several figures do not meet.
        description: What it shows, for those who do not see it.

    Returns:
        `Markup`. Style properties have become attributes, and colours variables of the page's style sheet.
    """
    root = ElementTree.fromstring(Path(path).read_bytes())
    wide, high = (float(root.get(name).removesuffix("pt")) for name in ("width", "height"))
    attributes = {
        "class": "figure wide" if wide > PAGE else "figure",
        "role": "img",
        "aria-label": description,
        "viewBox": root.get("viewBox"),
        "width": f"{SCALE * wide:.0f}",
        "height": f"{SCALE * high:.0f}",
        "fill": "var(--text)",
        "stroke-linejoin": "round",
    }
    return Markup(f"<svg{_written(attributes)}>{''.join(_element(child, prefix) for child in root)}</svg>")


def _element(element, prefix):
    name = element.tag.rpartition("}")[2]
    if name in DROPPED:
        return ""
    attributes = {}
    for key, value in element.attrib.items():
        key = key.rpartition("}")[2]
        if key == "style":
            attributes |= _properties(value)
        elif key == "id":
            attributes["id"] = prefix + value
        elif key == "href":
            attributes["href"] = f"#{prefix}{value.removeprefix('#')}"
        else:
            attributes[key] = REFERENCE.sub(lambda match: f"url(#{prefix}{match[1]})", " ".join(value.split()))
    inner = escape((element.text or "").strip() if name != "tspan" else element.text or "")
    inner = f"{inner}{''.join(_element(child, prefix) for child in element)}"
    return f"<{name}{_written(attributes)}>{inner}</{name}>"


def _properties(style):
    """The properties of a style as attributes, which SVG has for all that Matplotlib uses."""
    found = {}
    for part in filter(str.strip, style.split(";")):
        name, _, value = part.partition(":")
        value = value.strip()
        found[name.strip()] = COLOURS.get(value.lower(), value)
    return found


def _written(attributes):
    return "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
