"""Trained networks that come with the package, so that `evaluate`, `export` and examples start without a training.

They are plain `.keras` files with float32 weights that were rounded to float16, which makes them half as large. On what
they were trained, and how well they do, stands in `models.json`; see `results/README.md` for the experiments that they
are from.
"""

import json
from pathlib import Path

from tfnoisekd.names import nearest

PREFIX = "pretrained:"
FOLDER = Path(__file__).resolve().parent
CARDS = FOLDER / "models.json"


def names():
    """Names of the networks, in the order of `models.json`."""
    return list(_cards())


def card(name):
    """What is known of a network.

    Args:
        name: One of `names()`.

    Returns:
        A dict ready for JSON: `architecture`, `method`, `data`, `classes`, `n` (test images), `accuracy` (a share, of
        the file as it is), `accuracy_interval`, `weights_licence`, `settings` and `provenance` of its training.

    Raises:
        ValueError: If there is none of that name; the nearest name is given.
    """
    cards = _cards()
    if name not in cards:
        raise ValueError(f"`{PREFIX}NAME` must name one of {', '.join(cards)}. Received: {name}.{nearest(name, cards)}")
    return cards[name]


def path(name):
    """The `.keras` file of a network.

    Raises:
        ValueError: If there is none of that name.

    Example:

    >>> student = keras.saving.load_model(path("student"))
    """
    card(name)
    return FOLDER / f"{name}.keras"


def is_name(text):
    """Whether a text names such a network, as "pretrained:student" does."""
    return str(text).startswith(PREFIX)


def resolved(text):
    """The path that a text stands for: that of a network where it is "pretrained:NAME", else the text itself.

    Raises:
        ValueError: If there is none of that name.
    """
    return path(str(text).removeprefix(PREFIX)) if is_name(text) else Path(text)


def _cards():
    return json.loads(CARDS.read_text(encoding="utf-8"))
