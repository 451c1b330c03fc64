"""Comparisons of a grid: which cells meet, what is said of them, and among how many."""

import math

import pytest
from scipy import stats

from tfnoisekd.report.comparisons import compare, compare_grid, labels
from tfnoisekd.report.differences import holm

TEST = {"metric": "test_accuracy", "settings": {}}
SR_GA = [{"of": {"method": "sr"}, "against": {"method": "ga"}}]


def pgd(steps, step_size=0.003):
    settings = {"attack": "pgd", "norm": "linf", "epsilon": 8 / 255, "steps": steps, "restarts": 5}
    return {"metric": "robust_accuracy", "settings": {**settings, "step_size": step_size}}


def grid_of(axes, comparisons, metrics=(TEST,), seeds=(0, 10, 20), **more):
    """A grid of cells with these axes; the run of a cell's seed is named "PLACE-SEED"."""
    cells = [
        {"axes": each, "runs": {str(seed): f"{place}-{seed}" for seed in seeds}} for place, each in enumerate(axes)
    ]
    return {
        "name": "grid",
        "paper": None,
        "stands_for": None,
        "cells": cells,
        "comparisons": comparisons,
        "metrics": list(metrics),
        **more,
    }


def measured(metric, *cells, seeds=(0, 10, 20)):
    """Measurements of a metric: for each cell, in order, its values by seed; None where there is none."""
    return [
        {"run": f"{place}-{seed}", **metric, "value": value, "n": 1000}
        for place, values in enumerate(cells)
        for seed, value in zip(seeds, values, strict=True)
        if value is not None
    ]


def collection(*measurements):
    return {"runs": {}, "measurements": [each for some in measurements for each in some]}


def noise(*levels):
    return [{"method": method, "sigma": sigma} for sigma in levels for method in ("ga", "sr")]


def test_one_comparison_in_full():
    grid = grid_of(noise(0.05, 0.1), SR_GA, paper="table3", stands_for="cifar10")
    found = compare_grid(
        grid, collection(measured(TEST, [0.5, 0.51, 0.52], [0.53, 0.55, 0.54], [0.4] * 3, [0.41, 0.4, 0.41]))
    )
    assert [(each.of, each.against, each.where) for each in found] == [
        ("sr sigma 0.05", "ga sigma 0.05", "sigma 0.05"),
        ("sr sigma 0.1", "ga sigma 0.1", "sigma 0.1"),
    ]
    first, second = found
    assert (first.of_axes, first.against_axes) == (
        {"method": "sr", "sigma": 0.05},
        {"method": "ga", "sigma": 0.05},
    )
    assert (first.metric, first.settings, first.unit, first.unpaired) == ("test_accuracy", {}, "points", ())
    test = stats.ttest_rel([0.53, 0.55, 0.54], [0.5, 0.51, 0.52])
    assert first.difference.seeds == ("0", "10", "20") and first.difference.p_value == pytest.approx(test.pvalue)
    assert (first.difference.low, first.difference.high) == pytest.approx(tuple(test.confidence_interval()))
    assert first.adjusted_p == pytest.approx(2 * test.pvalue) and first.adjusted_p > 0.05 and not first.shown
    assert first.verdict == (
        "not distinguishable with 3 seeds (sr minus ga: 3.0 points, 95% interval 0.5 to 5.5, Holm-adjusted p = 0.07)"
    )
    assert first.paper == 0.0043  # Table 3: 92.57 and 92.14
    assert first.beside_paper == "the paper prints +0.43 points, outside the 95% interval"
    assert second.paper == 0.0079 and second.beside_paper.endswith("inside the 95% interval")


def test_holm_counts_all_comparisons_of_all_metrics(rng):
    metrics = [TEST, pgd(1), pgd(20)]
    grid = grid_of(noise(0.02, 0.05, 0.1), SR_GA, metrics)
    values = [rng.normal([0.5, 0.52] * 3, 0.005, (3, 6)).T for _ in metrics]
    found = compare_grid(
        grid, collection(*(measured(metric, *each) for metric, each in zip(metrics, values, strict=True)))
    )
    raw = [stats.ttest_rel(each[2 * i + 1], each[2 * i]).pvalue for each in values for i in range(3)]
    assert [each.difference.p_value for each in found] == pytest.approx(raw)
    assert [each.adjusted_p for each in found] == pytest.approx(holm(raw)) and len(found) == 9
    assert [each.shown for each in found] == [p < 0.05 for p in holm(raw)]
    assert {p < 0.05 for p in raw} != {each.shown for each in found} or len({each.shown for each in found}) == 2
    same = compare(grid, collection(*map(measured, metrics, *zip(*values, strict=True))), **pgd(20))
    assert same == found[6:] and same[0].adjusted_p > same[0].difference.p_value
    assert compare(grid, collection(*map(measured, metrics, *zip(*values, strict=True))), "mca") == []


def test_cells_meet_where_they_agree_on_what_neither_side_names():
    axes = [
        {"data": data, "method": method, **more}
        for data in ("cifar10", "svhn")
        for method, more in (("hinton", {}), ("ft", {"dropout": 0.2}), ("ft", {"dropout": 0.4}), ("at", {}))
    ]
    grid = grid_of(axes, [{"of": {"method": ["ft", "at"]}, "against": {"method": "hinton"}}])
    found = compare_grid(grid, collection(measured(TEST, *[[0.5, 0.6, 0.8]] * 8)))
    assert [(each.of, each.against) for each in found] == [
        (f"{name} on {data}", f"hinton on {data}")
        for data in ("cifar10", "svhn")
        for name in ("ft dropout 0.2", "ft dropout 0.4", "at")
    ]
    assert found[0].verdict == "no difference between ft dropout 0.2 and hinton with any of 3 seeds"
    assert found[0].where == "on cifar10"


def test_cells_along_an_axis_that_both_sides_name():
    grid = grid_of(
        [{"method": "sr", "sigma": sigma} for sigma in (0.1 + 0.2, 0.1, 0.2)],
        [{"of": {"sigma": 0.3}, "against": {"sigma": [0.1, 0.2]}}, {"of": {"sigma": 0.3}, "against": {}}],
    )
    found = compare_grid(grid, collection(measured(TEST, [0.5] * 3, [0.6] * 3, [0.4] * 3)))
    assert [(each.of, each.against) for each in found] == [
        ("sr sigma 0.3", "sr sigma 0.1"),
        ("sr sigma 0.3", "sr sigma 0.2"),
    ]
    assert found[0].where == ""
    assert (
        found[0].verdict == "sigma 0.3 below sigma 0.1 by 10.0 points with each of 3 seeds: no spread, so no interval"
    )


def test_missing_runs_and_numbers_are_told():
    axes = noise(0.02, 0.05, 0.1, 0.2)
    grid = grid_of(axes, SR_GA)
    grid["cells"][1]["runs"]["20"] = None
    found = compare_grid(
        grid,
        collection(
            measured(
                TEST,
                *([0.5, 0.6, 0.7], [0.52, 0.61, None]),
                *([0.5, None, None], [None, 0.5, 0.6]),
                *([0.5, 0.6, math.nan], [0.5, 0.6, 0.7]),
                *([None] * 3, [None] * 3),
            )
        ),
    )
    assert compare_grid(grid, collection([{"run": "0-0", **TEST, "value": None, "n": None}])) == []
    first, second, third = found  # and none for sigma 0.2, of which there is nothing
    assert first.difference.n == 2 and first.unpaired == ("20",)
    assert first.verdict.startswith("not distinguishable with 2 seeds (sr minus ga: 1.5 points")
    assert second.difference is None and second.verdict == "no seed that both have"
    assert second.unpaired == ("0", "10", "20") and not second.shown and second.adjusted_p is None
    assert third.difference is None and third.verdict == "no finite value with seed 20"
    assert first.adjusted_p == first.difference.p_value  # the only test that was made


def test_each_pair_is_compared_once():
    twice = [*SR_GA, {"of": {"method": "sr", "sigma": 0.05}, "against": {"method": "ga"}}]
    found = compare_grid(grid_of(noise(0.05), twice), collection(measured(TEST, [0.5, 0.6, 0.7], [0.5, 0.7, 0.9])))
    assert len(found) == 1 and found[0].adjusted_p == found[0].difference.p_value


def test_settings_tell_metrics_apart():
    grid = grid_of(noise(0.05), SR_GA, [pgd(20, 0.003), pgd(20, 0.03)])
    numbers = collection(
        measured(pgd(20, 0.003), [0.1, 0.2, 0.3], [0.2, 0.3, 0.5]),
        measured(pgd(20, 0.03), [0.0] * 3, [0.1] * 3),
        measured(pgd(10, 0.003), [0.9] * 3, [0.1] * 3),
    )
    assert [each.difference.mean for each in compare_grid(grid, numbers)] == pytest.approx([0.4 / 3, 0.1])
    (one,) = compare(grid, numbers, "robust_accuracy", {**pgd(20)["settings"], "steps": 20.0})
    assert one.difference.mean == pytest.approx(0.4 / 3)


def test_units_follow_the_metric():
    nats = {"metric": "negative_log_likelihood", "settings": {}}
    error = {"metric": "expected_calibration_error", "settings": {}}
    radius = {"metric": "average_certified_radius", "settings": {"sigma": 0.25}}
    grid = grid_of(noise(0.05), SR_GA, [nats, error, radius])
    values = [[0.31, 0.30, 0.32], [0.21, 0.20, 0.23]]
    found = compare_grid(grid, collection(*(measured(metric, *values) for metric in (nats, error, radius))))
    assert [each.verdict for each in found] == [
        "sr below ga by 0.10 nats, 95% interval 0.08 to 0.11",
        "sr below ga by 9.7 points, 95% interval 8.2 to 11.1",
        "sr below ga by 0.10 in l2, 95% interval 0.08 to 0.11",
    ]


def test_the_papers_numbers_are_those_of_the_cells_data_set():
    axes = [
        {"data": data, "method": method, "sigma": 0.1} for data in ("svhn", "npz:part.npz") for method in ("ga", "sr")
    ]
    grid = grid_of(axes, [*SR_GA, {"of": {"data": "svhn"}, "against": {"data": "npz:part.npz"}}], paper="table3")
    found = compare_grid(grid, collection(measured(TEST, *[[0.5, 0.6, 0.7]] * 4)))
    assert [each.paper for each in found] == [0.0046, None, None, None]
    assert found[-1].verdict == "no difference between on svhn and on npz:part.npz with any of 3 seeds"


def test_options_reach_the_interval():
    grid = grid_of(noise(0.05), SR_GA)
    numbers = collection(measured(TEST, [0.5, 0.6, 0.7], [0.52, 0.63, 0.71]))
    (one,) = compare_grid(grid, numbers, confidence=0.8, interval="bootstrap")
    assert one.difference.confidence == 0.8 and one.shown
    assert "80% bootstrap interval 1.3 to 2.7 (too narrow with 3 seeds)" in one.verdict
    assert compare(grid, numbers, "test_accuracy", confidence=0.8, interval="bootstrap") == [one]


def test_labels_name_what_differs():
    assert labels([{"axes": each} for each in noise(0.05, 0.1)]) == [
        "ga sigma 0.05",
        "sr sigma 0.05",
        "ga sigma 0.1",
        "sr sigma 0.1",
    ]
    data = {"data": "cifar10"}  # the same in all
    mixed = [{**data, "method": "hinton"}, {**data, "method": "ft", "dropout": 0.4, "epochs": 52}]
    assert labels([{"axes": each} for each in mixed]) == ["hinton", "ft dropout 0.4"]
    long = [{**data, "method": "hinton"}, {**data, "method": "hinton", "epochs": 52}]  # told apart by nothing else
    assert labels([{"axes": each} for each in long]) == ["hinton", "hinton epochs 52"]
    messy = [{"label_corruption": share, "data": name, "method": "mc"} for share in (0.0, 0.2) for name in ("a", "b")]
    assert labels([{"axes": each} for each in messy])[:3] == [
        "mc label corruption 0 on a",
        "mc label corruption 0 on b",
        "mc label corruption 0.2 on a",
    ]
    assert labels([{"axes": {}}, {"axes": {"temperature": 8}}]) == ["default", "temperature 8"]


def test_what_is_not_asked_of_both_cells_is_not_compared():
    cells = [{"method": "hinton"}, {"method": "mc"}, {"method": "ft"}]
    against = [{"of": {"method": ["mc", "ft"]}, "against": {"method": "hinton"}}]
    limited = {**pgd(20), "where": {"method": ["hinton", "mc"]}}
    numbers = collection(measured(TEST, *[[0.5, 0.6, 0.7]] * 3), measured(pgd(20), [0.1, 0.2, 0.3], [0.2, 0.2, 0.2]))
    found = compare_grid(grid_of(cells, against, [TEST, limited]), numbers)
    assert [(each.metric, each.of) for each in found] == [
        ("test_accuracy", "mc"),
        ("test_accuracy", "ft"),
        ("robust_accuracy", "mc"),
    ]
