"""Accuracy on corrupted images, a bar for each corruption: Figure 3 of the paper."""

from tfnoisekd.evaluation.figures import style, text, ticks
from tfnoisekd.evaluation.figures.saving import save
from tfnoisekd.evaluation.figures.series import check_keys, check_series, common, span

GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur"),
    "weather": ("snow", "frost", "fog", "brightness", "spatter"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression", "saturate"),
}
SHORT = {"elastic_transform": "elastic", "jpeg_compression": "JPEG", "gaussian_noise": "Gaussian"}
SHORT |= {"gaussian_blur": "Gaussian"}
KEYS = ("n", "clean_accuracy", "corruptions", "mean_accuracy", "mean_corruption_accuracy")
MOST_ABREAST = 4  # models in one row of groups; with more, their bars get two rows
MOST_IN_COLUMN = 25  # bars that a figure of one column's width has room for
WIDTH = 0.84  # of the bars of a corruption together, where 1 is the distance to the next
DOTS = {"linestyle": "none", "marker": "o", "markersize": 1.9, "color": "black", "markeredgecolor": "white"}
DOTS |= {"markeredgewidth": 0.35}
SPACE = 0.5  # more distance between two groups


def corruption_bars(series, path):
    """Accuracy for each corruption, by group, and the mean over all (mCA).

    Bars are means over the severities, the dots the severities themselves. The clean accuracy stands on the left. Bars
    have no intervals, since a mean over sets of the same images is no share of independent ones; those of each set are
    in the results. More than 4 models get two rows.

    Args:
        series: Dict of label -> what `corruptions.evaluate` returned for one model. Corruptions that a model lacks
            have no bar. Without all 19 corruptions and 5 severities there is no mCA; the mean over what is there is
            shown if it is of the same corruptions for all models.
        path: Path of the files, without suffix.

    Returns:
        The paths of the PNG and the SVG.

    Raises:
        ValueError: If there is nothing to show, or models were evaluated at different severities.

    Example:

    >>> corruption_bars({"SR": corruptions.evaluate(student, data.test, data.class_names)}, "figures/corruptions")
    """
    return save(path, _figure, series)


def _figure(series):
    severities = _severities(check_series(series))
    groups = _groups(series)
    rows = [groups] if len(series) <= MOST_ABREAST else _halves(groups)
    width = style.PAGE if max(_bars(row, len(series)) for row in rows) > MOST_IN_COLUMN else style.COLUMN
    figure = style.new_figure(width, (0.33 * len(rows) + 0.07) * style.PAGE)
    axes = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    for axis, each in zip(axes, rows, strict=True):
        handles = _row(axis, each, len(series))
        ticks.percent_axis(axis, "Accuracy (%)")
        axis.set_ylim(0, 100)
    text.legend(figure, handles, list(series))
    counts = [results["n"] for results in series.values()]
    text.caption(
        figure,
        [
            f"bars: {_shown(severities)}",
            "dots: each severity" if len(severities) > 1 else "",
            f"n = {span(counts)} test images, corrupted in each way",
        ],
    )
    return figure


def _severities(series):
    """The severities that all models were evaluated at, as texts."""
    for label, results in series.items():
        check_keys(label, results, KEYS, "`corruptions.evaluate`")
        if not results["corruptions"]:
            raise ValueError(f"`series` must hold at least one corruption. Received: none for {label!r}")
    entries = [entry for results in series.values() for entry in results["corruptions"].values()]
    return common([{"severities": tuple(sorted(entry["severities"]))} for entry in entries], "severities")


def _shown(severities):
    """What a bar is, by the severities there are."""
    return f"mean over severities {', '.join(severities)}" if len(severities) > 1 else f"severity {severities[0]}"


def _groups(series):
    """List of (title, {corruption: for each model (mean, accuracies of its severities), or None}), clean first."""
    models = list(series.values())
    names = {name for results in models for name in results["corruptions"]}
    groups = [("", {"clean": [(results["clean_accuracy"], ()) for results in models]})]
    for title, members in GROUPS.items():
        shown = {_short(name): [_entry(results, name) for results in models] for name in members if name in names}
        if shown:
            groups.append((title, shown))
    mean = _means(models)
    return [*groups, ("", mean)] if mean else groups


def _short(name):
    """A name as it stands under the axis: without what the title of its group says."""
    return SHORT.get(name) or name.removesuffix("_noise").removesuffix("_blur").replace("_", " ")


def _entry(results, name):
    entry = results["corruptions"].get(name)
    return entry and (entry["accuracy"], [each["accuracy"] for each in entry["severities"].values()])


def _means(models):
    """The last column: mCA where all have it, else the mean where it is of the same corruptions, else nothing."""
    if all(results["mean_corruption_accuracy"] is not None for results in models):
        return {"mCA": [(results["mean_corruption_accuracy"], ()) for results in models]}
    if len({frozenset(results["corruptions"]) for results in models}) > 1 or len(models[0]["corruptions"]) < 2:
        return None
    return {"mean": [(results["mean_accuracy"], ()) for results in models]}


def _halves(groups):
    """The groups as two rows of about equal length; one row if there are few."""
    sizes = [len(columns) for _, columns in groups]
    if sum(sizes) <= 10:
        return [groups]
    split = min(range(1, len(groups)), key=lambda place: abs(sum(sizes[:place]) - sum(sizes[place:])))
    return [groups[:split], groups[split:]]


def _bars(groups, models):
    """How many bars a row has, or as many as the names under it take the place of."""
    return sum(len(columns) for _, columns in groups) * max(models, 2)


def _row(axis, groups, models):
    """Draws groups beside each other, and returns the bars of the legend, one for each model."""
    from matplotlib.patches import Patch

    place, places, names = 0.0, [], []
    for title, columns in groups:
        first = place
        for name, entries in columns.items():
            _column(axis, place, entries, models)
            places.append(place)
            names.append(name)
            place += 1
        axis.text((first + place - 1) / 2, 1.01, title, ha="center", va="bottom", transform=axis.get_xaxis_transform())
        place += SPACE
    axis.set_xticks(places, names, rotation=40, ha="right", rotation_mode="anchor")
    axis.tick_params(axis="x", length=0)
    axis.set_xlim(-0.7, place - SPACE - 0.3)
    return [Patch(**style.bar_look(number)) for number in range(models)]


def _column(axis, place, entries, models):
    """The bars of one corruption, and the dots of its severities."""
    width = WIDTH / models
    for number, entry in enumerate(entries):
        if entry is None:
            continue
        mean, severities = entry
        centre = place + (number - (models - 1) / 2) * width
        axis.bar(centre, 100 * mean, width, **style.bar_look(number))
        axis.plot([centre] * len(severities), [100 * each for each in severities], **DOTS)
