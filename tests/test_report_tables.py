"""Tables hold the right numbers in the right places, and say of every number that is missing why."""

import collections_made as made
import numpy as np
import pytest

from tfnoisekd.report import tables, wording
from tfnoisekd.report.cells import Index, fill


def values(collection, name, metric, settings, **axes):
    """What the runs of a grid's cell were measured, straight from the collection."""
    grid = next(each for each in collection["grids"] if each["name"] == name)
    (cell,) = [each for each in grid["cells"] if axes.items() <= each["axes"].items()]
    keys = set(cell["runs"].values())
    found = collection["measurements"]
    return [e["value"] for e in found if e["run"] in keys and e["metric"] == metric and e["settings"] == settings]


def tables_of(collection, name):
    grid = next(each for each in collection["grids"] if each["name"] == name)
    return tables.tables_of(Index(collection), grid)


def table(collection, name):
    return tables_of(collection, name)[0]


def cell(table, row, heading):
    (cells,) = [cells for texts, cells in table.rows if texts == row]
    (place,) = [place for place, column in enumerate(table.columns) if column.heading == heading]
    return cells[place]


def headings(table):
    return [column.heading for column in table.columns]


def rows(table):
    return [texts for texts, _ in table.rows]


def check(found, expected, printed=None):
    assert found.mean == pytest.approx(np.mean(expected), rel=1e-12)
    assert found.std == pytest.approx(np.std(expected, ddof=1), rel=1e-9)
    assert found.n == len(expected)
    assert (found.paper and (found.paper.mean, found.paper.std)) == printed


def test_table_1_has_the_papers_layout_and_both_numbers():
    collection = made.made("table1")
    found = table(collection, "table1")
    assert found.keys == ("Method",)
    assert rows(found) == [("Baseline",), ("Hinton",), ("AT",), ("RKD-DA",), ("FT-0.2",), ("FT-0.4",)]
    data = "cifar10-exact-train"
    names = ["Teacher", "Test acc.", "cinic10-imagenet-sample acc.", "mCA"]
    assert headings(found) == [f"{data}: {name}" for name in names]
    assert len(found.with_paper) == 4
    ft = values(collection, "table1", "test_accuracy", {}, method="ft", dropout=0.4)
    check(cell(found, ("FT-0.4",), f"{data}: Test acc."), ft, (0.9467, 0.0009))
    ood = values(collection, "table1", "ood_accuracy", {"source": made.SOURCE}, method="at")
    check(cell(found, ("AT",), f"{data}: cinic10-imagenet-sample acc."), ood, (0.6923, 0.0018))
    mca = values(collection, "table1", "mca", {}, method="hinton")
    check(cell(found, ("Hinton",), f"{data}: mCA"), mca, (0.7457, 0.0029))
    assert "In the paper's table and not in this grid: SP, RKD-D, RKD-A, FT-0.1, FT-0.3, FT-0.5." in found.remarks


def test_a_teacher_of_all_seeds_counts_once_and_a_student_without_one_has_none():
    found = table(made.made("table1"), "table1")
    teacher = cell(found, ("Hinton",), "cifar10-exact-train: Teacher")
    assert (teacher.mean, teacher.std, teacher.n, teacher.expected) == (0.70, None, 1, 1)
    assert wording.cell_text(teacher, "percent") == "70.00"
    assert teacher.paper.mean == 0.9511
    baseline = cell(found, ("Baseline",), "cifar10-exact-train: Teacher")
    assert not baseline.applies and wording.cell_text(baseline, "percent") == wording.DOES_NOT_APPLY


def test_several_teachers_are_told_apart_by_their_weights():
    collection = made.made("table1")
    for seed, value in ((0, 0.70), (10, 0.72), (20, 0.72)):
        key = made.key_of(collection, "table1", seed=seed, method="hinton")
        collection["runs"][key]["teacher"]["weights_sha256"] = f"teacher {value}"
        found = [each for each in collection["measurements"] if each["run"] == key]
        next(each for each in found if each["metric"] == "teacher_accuracy")["value"] = value
    teacher = cell(table(collection, "table1"), ("Hinton",), "cifar10-exact-train: Teacher")
    assert (teacher.n, teacher.expected) == (2, 2)
    assert teacher.mean == pytest.approx(0.71) and teacher.std == pytest.approx(np.std([0.70, 0.72], ddof=1))


def test_table_2_puts_what_is_added_beside_the_method():
    collection = made.made("table2")
    found = table(collection, "table2")
    assert rows(found) == [("AT",), ("SP",)]
    assert headings(found)[:3] == ["Test acc.: original", "Test acc.: +H", "Test acc.: +FT"]
    assert headings(found)[3:] == [f"cinic10-imagenet-sample acc.: {name}" for name in ("original", "+H", "+FT")]
    check(cell(found, ("SP",), "Test acc.: +FT"), values(collection, "table2", "test_accuracy", {}, method="sp+ft"),
          (0.9466, 0.0009))  # fmt: skip
    check(cell(found, ("AT",), "Test acc.: +H"), values(collection, "table2", "test_accuracy", {}, method="at+h"),
          (0.9463, 0.0024))  # fmt: skip


def test_table_3_has_a_row_for_each_sigma():
    collection = made.made("table3")
    found = table(collection, "table3")
    assert found.keys == (wording.SIGMA,) and rows(found) == [("0.02",), ("0.05",)]
    assert headings(found)[:2] == ["Test acc.: GA", "Test acc.: SR"]
    sr = values(collection, "table3", "test_accuracy", {}, method="sr", sigma=0.05)
    check(cell(found, ("0.05",), "Test acc.: SR"), sr, (0.9257, 0.0022))
    ga = values(collection, "table3", "ood_accuracy", {"source": made.SOURCE}, method="ga", sigma=0.02)
    check(cell(found, ("0.02",), "cinic10-imagenet-sample acc.: GA"), ga, (0.6898, 0.0014))


def test_two_data_sets_stand_beside_each_other_each_with_its_own_printed_numbers():
    collection = made.made("table3", data=["cifar10", "svhn"])
    for each in list(collection["measurements"]):
        config = collection["runs"][each["run"]]["config"]
        if each["metric"] == "ood_accuracy" and config["data"] == "svhn":
            collection["measurements"].remove(each)
    found = table(collection, "table3")
    assert headings(found) == [
        *("CIFAR-10: Test acc.: GA", "CIFAR-10: Test acc.: SR"),
        *(f"CIFAR-10: cinic10-imagenet-sample acc.: {name}" for name in ("GA", "SR")),
        *("SVHN: Test acc.: GA", "SVHN: Test acc.: SR"),  # nobody was asked about other data
    ]
    svhn = values(collection, "table3", "test_accuracy", {}, data="svhn", method="sr", sigma=0.02)
    check(cell(found, ("0.02",), "SVHN: Test acc.: SR"), svhn, (0.9679, 0.0012))
    assert not any("setting, which is not ours" in remark for remark in found.remarks)


def test_table_4_is_a_table_for_each_step_size_and_finds_the_settings():
    collection = made.made("table4")
    short, long, rest = tables_of(collection, "table4")
    assert (short.name, long.name, rest.name) == ("table4-1", "table4-2", "table4-more")
    assert short.title.endswith("(PGD, L∞, ε = 8/255, step 0.003, 5 restarts)")
    assert long.title.endswith("(PGD, L∞, ε = 8/255, step 0.03, 5 restarts)")
    assert headings(short) == ["Steps of PGD: 1", "Steps of PGD: 5", "Steps of PGD: 20"]
    for found, step_size in ((short, 0.003), (long, 0.03)):
        settings = made.attack(20, step_size=step_size)
        sr = values(collection, "table4", "robust_accuracy", settings, method="sr", sigma=0.05)
        check(cell(found, ("0.05", "SR"), "Steps of PGD: 20"), sr, (0.1556, 0.0044))
    assert rest.extra and headings(rest) == ["Test accuracy", "Teacher"]
    assert "Test images: 1,000." in short.remarks and "Test images: 2,167." in rest.remarks


def test_table_5_has_a_column_for_each_epsilon():
    collection = made.made("table5")
    found = table(collection, "table5")
    assert headings(found) == ["ε · 255: 1", "ε · 255: 2", "ε · 255: 10"]
    ga = values(collection, "table5", "robust_accuracy", made.attack(20, 2 / 255), method="ga", sigma=0.05)
    check(cell(found, ("0.05", "GA"), "ε · 255: 2"), ga, (0.4826, 0.0071))


def test_figure_3_has_a_row_for_each_corruption():
    collection = made.made("figure3")
    found = table(collection, "figure3")
    assert rows(found)[:3] == [("clean images",), ("all 19 (mCA)",), ("gaussian noise",)] and len(rows(found)) == 21
    fog = values(collection, "figure3", "corruption_accuracy", {"corruption": "fog"}, method="sr", sigma=0.1)
    check(cell(found, ("fog",), f"SR, {wording.SIGMA} 0.1"), fog)


def test_figure_4_and_5_have_a_column_for_each_line():
    collection = made.made("figure4", "figure5")
    found = table(collection, "figure4")
    names = ["Teacher", "Baseline", "Hinton (r = 0)", "MC, r = 0.1", "MC, r = 0.3"]
    assert headings(found) == [f"Test acc.: {name}" for name in names]
    assert rows(found) == [("0",), ("0.2",), ("0.4",)]
    mc = values(collection, "figure4", "test_accuracy", {}, method="mc", rate=0.3, label_corruption=0.4)
    check(cell(found, ("0.4",), "Test acc.: MC, r = 0.3"), mc)
    assert cell(found, ("0.4",), "Test acc.: Teacher").mean == pytest.approx(0.58)
    other = table(collection, "figure5")
    settings = {"source": made.SOURCE}
    ood = values(collection, "figure5", "ood_accuracy", settings, method="baseline", label_corruption=0.2)
    check(cell(other, ("0.2",), "cinic10-imagenet-sample acc.: Baseline"), ood)


def test_wrong_labels_are_no_question_where_all_labels_are_right():
    (found,) = [each for each in tables_of(made.made("figure4"), "figure4") if each.extra]
    assert not cell(found, ("0", "Hinton", wording.DOES_NOT_APPLY), "Wrong training labels repeated").applies
    assert cell(found, ("0.2", "Hinton", wording.DOES_NOT_APPLY), "Wrong training labels repeated").n == 3


def test_any_other_grid_has_its_axes_as_rows_and_its_metrics_as_columns():
    collection = made.made(None)
    (found,) = tables_of(collection, "custom")
    assert found.keys == ("Temperature", "Alpha") and not found.with_paper
    nll = "Negative log-likelihood (nats)"
    assert headings(found) == ["Test accuracy", nll, f"Average certified radius (l2), {wording.SIGMA} 0.25"]
    expected = values(collection, "custom", "negative_log_likelihood", {}, temperature=1.0, alpha=0.9)
    check(cell(found, ("1", "0.9"), nll), expected)
    text = wording.cell_text(cell(found, ("1", "0.9"), nll), found.columns[1].unit)
    assert text == f"{np.mean(expected):.4f} ± {np.std(expected, ddof=1):.4f}"
    assert "In all rows: Method Hinton." in found.remarks


def test_what_is_missing_is_said_with_its_reason():
    collection = made.made("table3")
    for seed in (0, 10, 20):
        made.forget(collection, made.key_of(collection, "table3", seed=seed, method="sr", sigma=0.02))
        made.fail(collection, made.key_of(collection, "table3", seed=seed, method="ga", sigma=0.02))
        made.unmeasure(
            collection, made.key_of(collection, "table3", seed=seed, method="sr", sigma=0.05), "ood_accuracy"
        )
    found = table(collection, "table3")
    texts = {
        "Test acc.: SR": "missing: not trained yet",
        "Test acc.: GA": "missing: failed",
    }
    for heading, text in texts.items():
        place = cell(found, ("0.02",), heading)
        assert wording.cell_text(place, "percent") == text
        assert place.paper is not None and place.mean is None  # the paper's number never stands in for ours
    other = cell(found, ("0.05",), "cinic10-imagenet-sample acc.: SR")
    assert wording.cell_text(other, "percent") == "missing: not evaluated"


def test_with_some_seeds_missing_the_number_says_how_many_there_are():
    collection = made.made("table3")
    made.fail(collection, made.key_of(collection, "table3", seed=10, method="sr", sigma=0.02))
    place = cell(table(collection, "table3"), ("0.02",), "Test acc.: SR")
    left = values(collection, "table3", "test_accuracy", {}, method="sr", sigma=0.02)
    check(place, left, (0.9407, 0.0016))
    mean, std = 100 * np.mean(left), 100 * np.std(left, ddof=1)
    assert wording.cell_text(place, "percent") == f"{mean:.2f} ± {std:.2f} (n = 2)"
    made.forget(collection, made.key_of(collection, "table3", seed=20, method="sr", sigma=0.02))
    place = cell(table(collection, "table3"), ("0.02",), "Test acc.: SR")
    (left,) = values(collection, "table3", "test_accuracy", {}, method="sr", sigma=0.02)
    assert place.std is None and wording.cell_text(place, "percent") == f"{100 * left:.2f} (n = 1)"
    assert [gap[:2] for gap in place.gaps] == [("10", "failed"), ("20", "not trained yet")]


def test_one_seed_has_no_standard_deviation():
    found = table(made.made("table3", seeds=(7,)), "table3")
    place = cell(found, ("0.02",), "Test acc.: SR")
    assert place.std is None and wording.cell_text(place, "percent") == f"{100 * place.mean:.2f}"
    assert found.remarks[0] == "Ours: one seed (7), so no standard deviation, in percent."


def test_a_training_that_diverged_is_not_left_out_of_the_mean():
    collection = made.made(None)
    key = made.key_of(collection, "custom", seed=10, temperature=1.0, alpha=0.5)
    found = [each for each in collection["measurements"] if each["run"] == key]
    next(each for each in found if each["metric"] == "negative_log_likelihood")["value"] = float("nan")
    place = cell(table(collection, "custom"), ("1", "0.5"), "Negative log-likelihood (nats)")
    assert place.mean is None and wording.cell_text(place, "nats") == "missing: not finite with seed 10"


def test_cells_that_would_share_a_place_get_rows_of_their_own():
    collection = made.made("table1")
    grid = collection["grids"][0]
    axes = {"method": "ft", "dropout": 0.4, "epochs": 52}
    runs = {str(seed): made.add_run(collection, axes, seed, grid["metrics"]) for seed in grid["seeds"]}
    grid["cells"].append({"axes": axes, "runs": runs})
    grid["axes"].append("epochs")
    found = table(collection, "table1")
    assert rows(found)[-2:] == [("FT-0.4",), ("FT-0.4, epochs 52",)]
    expected = values(collection, "table1", "test_accuracy", {}, epochs=52)
    assert cell(found, ("FT-0.4, epochs 52",), "cifar10-exact-train: Test acc.").mean == np.mean(expected)


def test_a_question_that_is_asked_of_some_cells_only_is_not_missing_in_the_others():
    collection = made.made("table3", data=["cifar10", "svhn"])
    index, grid = Index(collection), collection["grids"][0]
    svhn = next(each for each in grid["cells"] if each["axes"]["data"] == "svhn")
    asked = fill(index, grid, svhn, "mca", {}, {"data": ["svhn", "cifar10"]})
    assert asked.applies and asked.reason == "not evaluated"
    assert not fill(index, grid, svhn, "mca", {}, {"data": "cifar10"}).applies


def test_a_grid_that_is_not_begun_is_a_table_of_gaps_beside_the_papers_numbers():
    collection = made.made("table1")
    for key in list(collection["runs"]):
        made.forget(collection, key)
    found = table(collection, "table1")
    place = cell(found, ("Hinton",), "Test acc.") if "Test acc." in headings(found) else found.rows[1][1][1]
    assert wording.cell_text(place, "percent") == "missing: not trained yet" and place.paper.mean == 0.9428


@pytest.mark.parametrize(
    ("value", "text"),
    [(8 / 255, "8/255"), (1 / 255, "1/255"), (0.003, "0.003"), (0.031, "0.031"), (0.5, "0.5")],
)
def test_lengths_are_levels_where_they_are(value, text):
    assert wording.length(value) == text


def test_names():
    assert wording.cell_label({"method": "ft", "dropout": 0.4}) == "FT-0.4"
    assert (
        wording.cell_label({"label_corruption": 0.2, "method": "mc", "rate": 0.1}) == "MC, r 0.1, label corruption 0.2"
    )
    assert wording.cell_label({"method": "rkd-da+ft", "data": "svhn"}) == "RKD-DA+FT"
    assert wording.data_label("folder:data/flowers/") == "flowers"
    assert wording.metric_label("robust_accuracy", made.attack(20)) == "PGD-20, L∞, ε = 8/255, step 0.003, 5 restarts"
    assert wording.metric_label("my_metric", {"k": 5}) == "My metric, k 5"
    assert (wording.duration(None), wording.duration(7.25), wording.duration(200), wording.duration(18120)) == (
        "unknown",
        "7.2 s",
        "3 min 20 s",
        "5 h 02 min",
    )
    assert (wording.magnitude(1.54e12, "FLOPs"), wording.magnitude(12, "MACs")) == ("1.54 TFLOPs", "12 MACs")
