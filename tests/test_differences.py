"""Differences over seeds: against independent references and known results, and what the words claim."""

import math

import numpy as np
import pytest
from reference import differences as reference
from scipy import stats

from tfnoisekd.report import differences
from tfnoisekd.report.differences import Difference, Summary, holm, in_order, paired, shown, summarise
from tfnoisekd.report.verdicts import amount, beside_paper, verdict

# Hours of sleep gained under two drugs (Student, 1908): t = 4.0621, p = 0.002833, interval 0.7001142 to 2.4598858.
DRUG_2 = dict(enumerate([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]))
DRUG_1 = dict(enumerate([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]))


def seeds(*values):
    return dict(zip((0, 10, 20, 30, 40), values, strict=False))


def against_zero(*values, **options):
    return paired(seeds(*values), seeds(*[0.0] * len(values)), **options)


def test_summary_is_mean_and_sample_deviation():
    assert summarise([0.5, 0.75]) == Summary(2, 0.625, pytest.approx(0.25 / math.sqrt(2)))
    values = np.random.default_rng(0).normal(size=7)
    assert summarise(values) == pytest.approx((7, np.mean(values), np.std(values, ddof=1)))
    assert summarise([0.9]) == (1, 0.9, None)
    assert summarise([0.1] * 3).std == 0


@pytest.mark.parametrize("values", [[], [0.5, math.nan], [math.inf]])
def test_a_summary_needs_finite_values(values):
    with pytest.raises(ValueError, match="`values` must be at least one finite number. Received: (none|.*nan|inf)"):
        summarise(values)


def test_a_known_paired_test():
    result = paired(DRUG_2, DRUG_1)
    assert result.n == 10 and result.mean == pytest.approx(1.58)
    assert (result.low, result.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-7)
    assert result.p_value == pytest.approx(0.00283289, abs=1e-8)


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_intervals_and_p_values_equal_the_references(n, confidence, rng):
    first, second = rng.normal(0.9, 0.01, n), rng.normal(0.895, 0.01, n)
    result = paired(dict(enumerate(first)), dict(enumerate(second)), confidence)
    test = stats.ttest_rel(first, second)
    assert (result.low, result.high) == pytest.approx(tuple(test.confidence_interval(confidence)))
    found = list(first - second)
    assert result.p_value == pytest.approx(test.pvalue)
    assert result.p_value == pytest.approx(reference.p_value(found), rel=1e-6)
    at_the_end = [each - result.low for each in found]  # what the interval's end says: p is 1 - confidence there
    assert reference.p_value(at_the_end) == pytest.approx(1 - confidence, rel=1e-6)


def test_two_seeds_by_hand():
    result = against_zero(0.01, 0.03)  # quantile 12.7062 of one degree of freedom, times 0.01
    assert (result.low, result.high) == pytest.approx((0.02 - 0.127062, 0.02 + 0.127062), abs=1e-7)
    assert result.p_value == pytest.approx(1 - 2 / math.pi * math.atan(2))  # Cauchy


def test_only_seeds_that_both_have_are_paired():
    result = paired({"20": 0.7, "5": 0.5, "10": 0.8, "99": 0.0}, {"10": 0.7, "20": 0.65, "5": 0.35, "1": 1.0})
    assert result.seeds == ("5", "10", "20") and result.n == 3
    assert result.mean == pytest.approx((0.15 + 0.1 + 0.05) / 3)
    assert in_order([30, 5, 10]) == (5, 10, 30)


def test_swapping_the_sides_mirrors_the_difference():
    for interval in ("t", "bootstrap"):
        there, back = paired(DRUG_2, DRUG_1, interval=interval), paired(DRUG_1, DRUG_2, interval=interval)
        assert (back.mean, back.p_value) == pytest.approx((-there.mean, there.p_value))
        assert (-back.high, -back.low) == pytest.approx((there.low, there.high), abs=0.05)


def test_one_seed_has_no_interval():
    assert against_zero(0.02) == Difference(1, (0,), 0.02, None, None, None)


def test_no_common_seed_is_an_error():
    with pytest.raises(ValueError, match="must have a seed in common. Received: seeds 0, 1 and none"):
        paired({0: 0.5, 1: 0.5}, {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence": 95}, "`confidence` must be above 0 and below 1. Received: confidence=95"),
        ({"confidence": 0}, "`confidence` must be above 0"),
        ({"interval": "bca"}, "`interval` must be one of t, bootstrap. Received: interval=bca"),
    ],
)
def test_bad_options_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        against_zero(0.1, 0.2, **options)


def test_values_must_be_finite():
    with pytest.raises(ValueError, match="`against` must be at least one finite number. Received: 0.1, nan"):
        paired(seeds(0.1, 0.2), seeds(0.1, math.nan))


@pytest.mark.parametrize("interval", ["t", "bootstrap"])
def test_differences_that_do_not_vary_have_no_interval(interval):
    same = paired(seeds(0.91, 0.92, 0.93), seeds(0.91, 0.92, 0.93), interval=interval)
    assert same[:6] == (3, (0, 10, 20), 0.0, None, None, None)
    assert len({0.9 - 0.8, 0.4 - 0.3, 0.2 - 0.1}) == 3  # floating point, not a spread
    constant = paired(seeds(0.9, 0.4, 0.2), seeds(0.8, 0.3, 0.1), interval=interval)
    assert constant.mean == pytest.approx(0.1) and constant[3:6] == (None, None, None)
    noise = paired(seeds(0.3, 0.5), seeds(0.1 + 0.2, 0.5), interval=interval)
    assert noise.mean == 0.0 and noise.p_value is None


def test_one_image_of_ten_thousand_is_a_spread():
    result = paired(seeds(0.9, 0.9, 0.9001), seeds(0.9, 0.9, 0.9))
    assert result.low < 0 < result.high and result.p_value == pytest.approx(
        0.42264973
    )  # t = 1, two degrees: 1 - 1/sqrt 3


def test_the_bootstrap_is_that_of_all_resamples():
    two = against_zero(0.01, 0.03, interval="bootstrap")
    assert (two.low, two.high) == pytest.approx((0.01, 0.03))
    values = [0.011, 0.025, 0.016, 0.002, 0.021]
    five = against_zero(*values, interval="bootstrap")
    low, high = np.quantile(reference.resampled_means(values), [0.025, 0.975])
    assert (five.low, five.high) == pytest.approx((low, high), abs=4e-4)
    assert five.p_value == against_zero(*values).p_value  # of the t test
    narrower = against_zero(*values, interval="bootstrap", confidence=0.5)
    assert five.low < narrower.low < narrower.high < five.high


def test_the_bootstrap_repeats_itself_by_seed():
    values, draw = [0.011, 0.025, 0.0164, 0.002, 0.0213], {"interval": "bootstrap"}
    results = {seed: against_zero(*values, seed=seed, **draw) for seed in (0, 1)}
    assert results[0] == against_zero(*values, **draw) != results[1]


@pytest.mark.parametrize(("interval", "coverage"), [("t", 0.95), ("bootstrap", 0.75)])
def test_how_often_an_interval_of_three_seeds_holds_the_truth(interval, coverage, monkeypatch):
    monkeypatch.setattr(differences, "RESAMPLES", 999)
    rng, held = np.random.default_rng(1), 0
    for values in rng.normal(0.3, 1.0, (1000, 3)):
        result = against_zero(*values, interval=interval)
        held += result.low <= 0.3 <= result.high
    assert held / 1000 == pytest.approx(coverage, abs=0.03)


def test_holm_in_known_cases():
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([0.02, 0.02]) == [0.04, 0.04]
    assert holm([0.2]) == [0.2] and holm([]) == []


def test_holm_equals_the_references(rng):
    for _ in range(20):
        p_values = list(rng.uniform(0, 0.1, rng.integers(1, 12)).round(2))
        assert holm(p_values) == pytest.approx(reference.holm(p_values))


def test_holm_equals_statsmodels(rng):
    multiple = pytest.importorskip("statsmodels.stats.multitest")
    p_values = rng.uniform(0, 0.1, 25)
    assert holm(list(p_values)) == pytest.approx(multiple.multipletests(p_values, method="holm")[1])


def test_what_was_not_tested_does_not_count_for_holm():
    assert holm([None, 0.01, None, 0.04]) == [None, 0.02, None, 0.04]
    assert holm([None]) == [None]


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_holm_refuses_what_is_no_p_value(p):
    with pytest.raises(ValueError, match="`p_values` must be between 0 and 1, or None. Received: "):
        holm([0.5, p])


def made(mean, low, high, p_value, n=3, **more):
    return Difference(n, tuple(range(n)), mean, low, high, p_value, **more)


SHOWN = made(0.021, 0.014, 0.028, 0.004)


@pytest.mark.parametrize(
    ("difference", "adjusted_p", "unit", "words"),
    [
        (SHOWN, None, "points", "sr above ga by 2.1 points, 95% interval 1.4 to 2.8"),
        (SHOWN, 0.04, "points", "sr above ga by 2.1 points, 95% interval 1.4 to 2.8"),
        (
            made(-0.021, -0.028, -0.014, 0.004),
            None,
            "points",
            "sr below ga by 2.1 points, 95% interval 1.4 to 2.8",
        ),
        (
            SHOWN,
            0.12,
            "points",
            "not distinguishable with 3 seeds (sr minus ga: 2.1 points, 95% interval 1.4 to 2.8, "
            "Holm-adjusted p = 0.12)",
        ),
        (
            made(-0.0042, -0.0131, 0.0047, 0.2, n=5),
            1.0,
            "points",
            "not distinguishable with 5 seeds (sr minus ga: -0.42 points, 95% interval -1.31 to 0.47)",
        ),
        (
            made(0.0211, 0.0002, 0.042, 0.049),
            None,
            "points",
            "sr above ga by 2.11 points, 95% interval 0.02 to 4.20",  # 0.0 would look like no difference
        ),
        (
            made(0.03, 0.00001, 0.06, 0.04999),
            None,
            "points",
            "sr above ga by 3.000 points, 95% interval 0.001 to 6.000",
        ),
        (made(0.002, -1e-9, 0.004, 0.0501), None, "points", None),
        (
            made(-0.214, -0.3, -0.128, 0.01),
            None,
            "nats",
            "sr below ga by 0.21 nats, 95% interval 0.13 to 0.30",
        ),
        (made(0.0314, 0.02, 0.0428, 0.01), None, "l2", "sr above ga by 0.03 in l2, 95% interval 0.02 to 0.04"),
        (
            made(0.021, 0.014, 0.028, 0.0004, confidence=0.999),
            None,
            "points",
            "sr above ga by 2.1 points, 99.9% interval 1.4 to 2.8",
        ),
        (
            made(0.021, 0.014, 0.028, 0.004, interval="bootstrap"),
            None,
            "points",
            "sr above ga by 2.1 points, 95% bootstrap interval 1.4 to 2.8 (too narrow with 3 seeds)",
        ),
        (
            made(0.021, 0.014, 0.028, 0.004, n=20, interval="bootstrap"),
            None,
            "points",
            "sr above ga by 2.1 points, 95% bootstrap interval 1.4 to 2.8",
        ),
        (
            made(0.021, 0.014, 0.028, 0.08, interval="bootstrap"),
            None,
            "points",
            "not distinguishable with 3 seeds (sr minus ga: 2.1 points, 95% bootstrap interval 1.4 to 2.8 "
            "(too narrow with 3 seeds), p = 0.08 by the t test)",
        ),
        (made(0.021, None, None, None, n=1), None, "points", "one seed: no interval (sr above ga by 2.1 points)"),
        (made(-0.5, None, None, None, n=1), None, "nats", "one seed: no interval (sr below ga by 0.50 nats)"),
        (made(0.0, None, None, None, n=1), None, "points", "one seed: no interval (no difference)"),
        (made(0.0, None, None, None), None, "points", "no difference between sr and ga with any of 3 seeds"),
        (
            made(0.0025, None, None, None),
            None,
            "points",
            "sr above ga by 0.25 points with each of 3 seeds: no spread, so no interval",
        ),
    ],
)
def test_verdicts(difference, adjusted_p, unit, words):
    said = verdict(difference, "sr", "ga", adjusted_p, unit)
    if words is None:  # an end that rounds to 0 from below
        assert "interval 0.000 to 0.400" in said
    else:
        assert said == words


def test_a_difference_is_shown_by_its_adjusted_p_alone():
    assert shown(SHOWN) and shown(SHOWN, 0.049) and not shown(SHOWN, 0.051)
    assert not shown(made(0.02, 0.01, 0.03, 0.05))  # at 1 - 0.95, which in floating point is a little more
    assert not shown(made(0.02, None, None, None))
    assert not shown(SHOWN._replace(confidence=0.999)) and shown(made(0.1, -0.1, 0.3, 0.15, confidence=0.8))


def test_a_verdict_from_runs():
    result = paired(seeds(0.92, 0.93, 0.925), seeds(0.90, 0.91, 0.904))
    assert verdict(result, "sr", "ga") == "sr above ga by 2.0 points, 95% interval 1.9 to 2.2"
    assert verdict(result, "sr", "ga", holm([result.p_value] * 200)[0]).startswith("not distinguishable with 3 seeds")


def test_an_unknown_unit_is_an_error():
    with pytest.raises(ValueError, match="`unit` must be one of points, nats, l2. Received: unit=percent"):
        verdict(SHOWN, "sr", "ga", unit="percent")


def test_amounts():
    words = [amount(value) for value in (0.0213, -0.0042, 0.0, -1e-9)]
    assert words == ["2.1 points", "-0.42 points", "0.00 points", "0.000 points"]
    assert amount(1.25, "nats") == "1.2 nats"


def test_the_papers_difference_beside_ours():
    assert beside_paper(SHOWN, 0.0149) == "the paper prints +1.49 points, inside the 95% interval"
    assert beside_paper(SHOWN, -0.0079) == "the paper prints -0.79 points, outside the 95% interval"
    assert beside_paper(SHOWN, 0.0281).endswith("outside the 95% interval")
    assert beside_paper(made(0.02, None, None, None, n=1), 0.0039) == "the paper prints +0.39 points"
    assert beside_paper(None, 0.0039) == "the paper prints +0.39 points"
    assert beside_paper(SHOWN, None) == ""
