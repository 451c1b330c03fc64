"""A run's curves as a small SVG: light enough for a page of a thousand runs."""

from markupsafe import Markup, escape

WIDTH, HEIGHT, LEFT, TOP = 220, 84, 34, 14
POINTS = 60  # of one line: more cannot be seen at this size
LINES = {"loss": ("loss", "train"), "accuracy": ("accuracy", "train"), "val_accuracy": ("accuracy", "held-out")}


def curves(curves):
    """Loss and accuracy by epoch.

    Args:
        curves: Dict of `epoch`, and of `loss`, `accuracy`, `val_accuracy` as far as there are.

    Returns:
        `Markup` of one SVG a quantity; empty if there is nothing to draw.
    """
    epochs, panels = curves.get("epoch") or [], {}
    for name, (panel, label) in LINES.items():
        if len(epochs) > 1 and len(curves.get(name) or []) == len(epochs):
            panels.setdefault(panel, []).append((label, curves[name]))
    return Markup("").join(_panel(name, epochs, lines) for name, lines in panels.items())


def _panel(name, epochs, lines):
    values = [value for _, each in lines for value in each if value == value]
    if not values:
        return Markup("")
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    parts = []
    for number, (_, each) in enumerate(lines):
        points = " ".join(
            f"{LEFT + round(WIDTH * place / (len(epochs) - 1))},{round(TOP + HEIGHT * (high - each[place]) / span)}"
            for place in _thinned(len(epochs))
            if each[place] == each[place]
        )
        parts.append(f'<polyline class="l{number}" points="{points}"/>')
    bottom = TOP + HEIGHT
    labels = [(LEFT - 4, TOP + 6, "e", f"{high:.3g}"), (LEFT - 4, bottom, "e", f"{low:.3g}")]
    labels += [(LEFT, bottom + 13, "s", f"epoch {epochs[0]}"), (LEFT + WIDTH, bottom + 13, "e", str(epochs[-1]))]
    title = name if len(lines) == 1 else f"{name}: {', dashed: '.join(label for label, _ in lines)}"
    labels.append((LEFT, TOP - 4, "s", title))
    texts = "".join(f'<text class="{end}" x="{x}" y="{y}">{escape(text)}</text>' for x, y, end, text in labels)
    axis = f'<path d="M{LEFT} {TOP}V{bottom}H{LEFT + WIDTH}"/>'
    spoken = escape(f"{title}, from {lines[0][1][0]:.3g} to {lines[0][1][-1]:.3g} over {len(epochs)} epochs")
    box = f"0 0 {LEFT + WIDTH + 6} {bottom + 18}"
    return Markup(
        f'<svg class="chart" role="img" aria-label="{spoken}" viewBox="{box}">{axis}{"".join(parts)}{texts}</svg>'
    )


def _thinned(count):
    """Positions of at most `POINTS` values, the first and the last among them."""
    if count <= POINTS:
        return range(count)
    return [round(place * (count - 1) / (POINTS - 1)) for place in range(POINTS)]
