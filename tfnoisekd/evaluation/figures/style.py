"""What all figures look like: sizes, fonts, and how series are told apart, in colour and without."""

import contextlib

CENTIMETRE = 1 / 2.54  # in inches, Matplotlib's unit
COLUMN, PAGE = 8.5 * CENTIMETRE, 17.5 * CENTIMETRE
FONT_SIZE, SMALL = 7.5, 6.5  # points, at the size of print
GREY = "#595959"

# Okabe and Ito (2008), with the grey that is often added in place of yellow, which is too pale for lines on paper. The
# first three differ in lightness too: few series need no more to be told apart in black and white.
COLORS = ("#0072B2", "#E69F00", "#000000", "#D55E00", "#009E73", "#56B4E9", "#CC79A7", "#999999")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
SIZES = (5, 4.6, 4.6, 4.2, 4.4, 5, 4.6, 6)  # points: alike to the eye, the first ones larger, to be seen behind others
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (7, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (2, 2)), "-")
HATCHES = ("", "/////", "", "xxxxx", "\\\\\\\\\\", "-----", "+++++", "|||||")
MOST = len(COLORS)

SETTINGS = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with Matplotlib: the same figure everywhere
    "font.size": FONT_SIZE,
    "axes.labelsize": FONT_SIZE,
    "axes.titlesize": FONT_SIZE,
    "xtick.labelsize": FONT_SIZE - 0.5,
    "ytick.labelsize": FONT_SIZE - 0.5,
    "legend.fontsize": FONT_SIZE - 0.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,  # long enough to see the dashes
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "hatch.linewidth": 0.5,
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "text.parse_math": False,  # a label with dollar signs is shown as it is
    "svg.fonttype": "none",  # text stays text: it can be searched, and edited
    "svg.hashsalt": "tfnoisekd",  # equal figures get equal ids
}


@contextlib.contextmanager
def context():
    """Matplotlib's own defaults with `SETTINGS`, whatever the user has set; the user's come back at the end."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def new_figure(width, height):
    """An empty `matplotlib.figure.Figure`, in inches; it belongs to nobody else, as pyplot's would."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def line_look(number):
    """Keywords of a line with markers, of which every other is open."""
    return {
        "markersize": SIZES[number],
        "color": COLORS[number],
        "linestyle": DASHES[number],
        "marker": MARKERS[number],
        "markerfacecolor": "white" if number % 2 else COLORS[number],
        "markeredgecolor": COLORS[number],
        "markeredgewidth": 0.9,
    }


def bar_look(number):
    """Keywords of a bar. Its outline and hatch are black, whatever its colour."""
    # Light grey in place of black, on which neither outline nor dots would show.
    face = "#D9D9D9" if COLORS[number] == "#000000" else COLORS[number]
    return {"facecolor": face, "edgecolor": "black", "linewidth": 0.4, "hatch": HATCHES[number]}
