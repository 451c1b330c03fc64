"""Figures on disk: a PNG and an SVG that are whole or not there."""

import contextlib
import io
import os
from pathlib import Path

from tfnoisekd.evaluation.figures import style

DPI = 300
# What would differ between two runs, or two versions, is left out.
FORMATS = {
    "png": {"dpi": DPI, "metadata": {"Software": None}},
    "svg": {"metadata": {"Date": None, "Creator": None}},
}


def save(path, draw, *args):
    """Draws a figure in the common style, and writes it.

    Args:
        path: Path without suffix; folders that it lacks are made.
        draw: Function of `args` that returns a `matplotlib.figure.Figure`.

    Returns:
        The paths of the PNG and the SVG.

    Raises:
        ValueError: If `path` has one of their suffixes, or what `draw` raises; then nothing is written.
    """
    path = Path(path)
    if path.suffix.lower() in (".png", ".svg"):
        raise ValueError(
            f"`path` must have no suffix, since both a PNG and an SVG are written. Received: path={str(path)!r}; "
            f"take {str(path.with_suffix(''))!r}"
        )
    with style.context():
        figure = draw(*args)
        contents = {name: _encoded(figure, name, options) for name, options in FORMATS.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not with_suffix: the name may hold a number with a point, such as "sigma-0.05".
    return tuple(_write(path.with_name(f"{path.name}.{name}"), content) for name, content in contents.items())


def _encoded(figure, name, options):
    buffer = io.BytesIO()
    figure.savefig(buffer, format=name, **options)
    return buffer.getvalue()


def _write(path, content):
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    return path
