"""Differences in words, which claim no more than the numbers do."""

from tfnoisekd.report.differences import shown

UNITS = {"points": (100, "points"), "nats": (1, "nats"), "l2": (1, "in l2")}  # name -> factor, words
ENOUGH = 20  # seeds, from which on the bootstrap's interval is about as wide as it says


def verdict(difference, of, against, adjusted_p=None, unit="points"):
    """A difference in words, which say nothing of which side is better.

    Args:
        difference: `Difference`.
        of, against: Names of the two settings.
        adjusted_p: Its p value among others, from `holm`; its own counts where this is None. The interval is not
            adjusted: it may be without 0 where the words are "not distinguishable", and p stands beside it then.
        unit: "points" for shares, which are shown times 100, "nats", or "l2" for distances.

    Raises:
        ValueError: If there is no such unit.

    Example:

    >>> verdict(paired({0: 0.92, 1: 0.93, 2: 0.925}, {0: 0.90, 1: 0.91, 2: 0.904}), "sr", "ga")
    'sr above ga by 2.0 points, 95% interval 1.9 to 2.2'
    """
    if unit not in UNITS:
        raise ValueError(f"`unit` must be one of {', '.join(UNITS)}. Received: unit={unit}")
    n, sides = difference.n, f"{of} {'below' if difference.mean < 0 else 'above'} {against}"
    size = amount(abs(difference.mean), unit, difference)
    if n == 1:
        return f"one seed: no interval ({f'{sides} by {size}' if difference.mean else 'no difference'})"
    if difference.low is None and not difference.mean:
        return f"no difference between {of} and {against} with any of {n} seeds"
    if difference.low is None:
        return f"{sides} by {size} with each of {n} seeds: no spread, so no interval"
    if shown(difference, adjusted_p):
        return f"{sides} by {size}, {_interval(difference, unit, flipped=difference.mean < 0)}"
    signed = amount(difference.mean, unit, difference)
    tail = _why_not(difference, adjusted_p)
    return f"not distinguishable with {n} seeds ({of} minus {against}: {signed}, {_interval(difference, unit)}{tail})"


def beside_paper(difference, printed, unit="points"):
    """How the paper's difference lies to a measured one, in words; "" where the paper printed none.

    Args:
        difference: `Difference`, or None where nothing is measured yet.
        printed: Difference of the paper's means, in the unit of the values.
        unit: As `verdict` takes it.
    """
    if printed is None:
        return ""
    words = f"the paper prints {_number(printed * UNITS[unit][0], 2, sign='+')} {UNITS[unit][1]}"
    if difference is None or difference.low is None:
        return words
    inside = difference.low <= printed <= difference.high
    return f"{words}, {'inside' if inside else 'outside'} the {_percent(difference)} interval"


def amount(value, unit="points", difference=None):
    """A value with its unit, such as "2.1 points", in as many digits as it and the numbers of `difference` need."""
    factor, words = UNITS[unit]
    return f"{_number(value * factor, _digits(value, unit, difference))} {words}"


def _interval(difference, unit, flipped=False):
    ends = (-difference.high, -difference.low) if flipped else (difference.low, difference.high)
    digits = _digits(difference.mean, unit, difference)
    low, high = (_number(end * UNITS[unit][0], digits) for end in ends)
    narrow = difference.interval == "bootstrap" and difference.n < ENOUGH
    kind = "bootstrap interval" if difference.interval == "bootstrap" else "interval"
    note = f" (too narrow with {difference.n} seeds)" if narrow else ""
    return f"{_percent(difference)} {kind} {low} to {high}{note}"


def _percent(difference):
    return f"{100 * difference.confidence:g}%"


def _why_not(difference, adjusted_p):
    """Why a difference whose interval is without 0 is not shown."""
    if difference.low <= 0 <= difference.high:
        return ""
    if adjusted_p is None or adjusted_p == difference.p_value:
        return f", p = {difference.p_value:.2g} by the t test"
    return f", Holm-adjusted p = {adjusted_p:.2g}"


def _digits(value, unit, difference):
    """Digits after the point: few, and enough that nothing but 0 is shown as 0, so far as three digits can."""
    factor = UNITS[unit][0]
    ends = () if difference is None else (difference.mean, difference.low, difference.high)
    numbers = [abs(each) * factor for each in (value, *ends) if each]
    least = 1 if abs(value) * factor >= 1 else 2
    return next((digits for digits in range(least, 3) if all(round(each, digits) for each in numbers)), 3)


def _number(value, digits, sign=""):
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"  # + 0.0: never "-0.0"
