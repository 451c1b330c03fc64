"""The paper's numbers: all of them as printed, and none where nothing was printed."""

import pytest
from reference import paper_tables

from tfnoisekd.report import paper
from tfnoisekd.report.paper import Printed, dataset_of, printed, printed_difference

SR, GA = {"method": "sr", "sigma": 0.05}, {"method": "ga", "sigma": 0.05}
FT = {"method": "ft", "dropout": 0.4}
PGD = {"attack": "pgd", "norm": "linf", "epsilon": 8 / 255, "steps": 20, "step_size": 0.003, "restarts": 5}


def test_every_number_of_the_tables_is_found_as_it_is_printed():
    found, sections = 0, {"table1": 70, "table2": 30, "table3": 60, "table4": 56, "table5": 60}
    for view, data, axes, metric, settings, mean, std in paper_tables.cells():
        expected = Printed(pytest.approx(mean / 100, abs=1e-9), std and pytest.approx(std / 100, abs=1e-9), "")
        result = printed(view, data, axes, metric, settings)
        assert result == expected._replace(place=f"Table {view[-1]}"), (view, data, axes, metric, settings)
        found += 1
    assert found == sum(sections.values())
    assert {name: len(section) for name, section in paper._facts().items()} == {**sections, "text": 2}


@pytest.mark.parametrize(
    ("view", "dataset", "axes", "metric", "settings", "expected"),
    [
        ("table1", "cifar10", {"method": "baseline"}, "test_accuracy", {}, (0.9395, 0.0018, "Table 1")),
        ("table1", "cifar10", FT, "test_accuracy", {}, (0.9467, 0.0009, "Table 1")),
        ("table1", "cifar10", FT, "teacher_accuracy", {}, (0.9518, None, "Table 1")),
        ("table1", "svhn", {"method": "rkd-da"}, "teacher_accuracy", {}, (0.9678, None, "Table 1")),
        ("table1", "cifar10", {"method": "rkd-a"}, "mca", {}, (0.7533, 0.0022, "Table 1")),
        ("table2", "cifar10", {"method": "at"}, "test_accuracy", {}, (0.945, 0.0018, "Table 2")),
        ("table2", "cifar10", {"method": "at+h"}, "test_accuracy", {}, (0.9463, 0.0024, "Table 2")),
        ("table2", "cifar10", {"method": "at+ft", "dropout": 0.4}, "test_accuracy", {}, (0.9483, 0.0005, "Table 2")),
        ("table2", "cifar10", {"method": "rkd-d+ft"}, "ood_accuracy", {}, (0.696, 0.0007, "Table 2")),
        ("table3", "cifar10", SR, "test_accuracy", {}, (0.9257, 0.0022, "Table 3")),
        ("table3", "svhn", {"method": "ga", "sigma": 0.5}, "test_accuracy", {}, (0.8048, 0.0053, "Table 3")),
        ("table3", "cifar10", {"method": "ga", "sigma": 0.3}, "ood_accuracy", {}, (0.5455, 0.0034, "Table 3")),
        ("table4", "cifar10", SR, "robust_accuracy", PGD, (0.1556, 0.0044, "Table 4")),
        ("table4", "cifar10", GA, "robust_accuracy", {**PGD, "steps": 200}, (0.0007, 0.0002, "Table 4")),
        ("table5", "cifar10", SR, "robust_accuracy", {**PGD, "epsilon": 10 / 255}, (0.1303, 0.0047, "Table 5")),
    ],
)
def test_known_numbers(view, dataset, axes, metric, settings, expected):
    assert printed(view, dataset, axes, metric, settings) == expected


def test_what_the_text_prints_comes_before_the_tables_for_figure_2_alone():
    axes = {"method": "sr", "sigma": 0.2}
    result = printed("figure2", "svhn", axes, "robust_accuracy", PGD)
    assert result.mean == 0.5139 and result.std is None
    assert result.place == "text of section 4.2 (Table 4 prints 24.14 for sr, 12.19 for ga)"
    assert printed("figure2", "svhn", {**axes, "method": "ga"}, "robust_accuracy", PGD).mean == 0.2594
    assert printed("table4", "svhn", axes, "robust_accuracy", PGD) == (0.2414, 0.0063, "Table 4")
    assert printed("figure2", "cifar10", SR, "robust_accuracy", PGD) == (0.1556, 0.0044, "Table 4")
    assert printed("figure2", "cifar10", SR, "test_accuracy", {}).place == "Table 3"


def test_a_view_knows_the_cells_of_other_tables_that_it_shows():
    hinton = {"method": "hinton", "label_corruption": 0.0}
    assert printed("figure3", "cifar10", hinton, "mca", {}) == (0.7457, 0.0029, "Table 1")
    assert printed("figure4", "svhn", hinton, "test_accuracy", {}) == (0.968, 0.0008, "Table 1")
    assert printed("table5", "cifar10", GA, "test_accuracy", {}) == (0.9214, 0.0026, "Table 3")


@pytest.mark.parametrize("epsilon", [8 / 255, 0.031, 0.03137, "8/255", 0.031000000000000003])
def test_the_papers_epsilon_has_several_spellings(epsilon):
    assert printed("table4", "cifar10", SR, "robust_accuracy", {**PGD, "epsilon": epsilon}).mean == 0.1556


@pytest.mark.parametrize("step_size", [0.003, 0.03, "0.003"])
def test_both_readings_of_the_step_size_are_the_papers(step_size):
    assert printed("table4", "cifar10", SR, "robust_accuracy", {**PGD, "step_size": step_size}).mean == 0.1556


def test_axes_are_compared_with_tolerance():
    axes = {"method": "ga", "sigma": 0.1 + 0.2, "label_corruption": 1e-12, "temperature": 4}
    assert 0.1 + 0.2 != 0.3 and printed("table3", "cifar10", axes, "test_accuracy").mean == 0.78


def test_scale_makes_no_difference():
    scale = {"epochs": 52, "student": "wrn-10-1", "teacher": "wrn-16-2", "data": "npz:other.npz"}
    assert printed("table2", "cifar10", {"method": "sp+ft", **scale}, "test_accuracy").mean == 0.9466
    assert printed("table4", "cifar10", SR, "robust_accuracy", {**PGD, "restarts": 1}).mean == 0.1556


@pytest.mark.parametrize(
    ("view", "dataset", "axes", "metric", "settings"),
    [
        (None, "cifar10", FT, "test_accuracy", {}),
        ("table9", "cifar10", FT, "test_accuracy", {}),
        ("table1", None, FT, "test_accuracy", {}),
        ("table1", "digits", FT, "test_accuracy", {}),
        ("table1", "svhn", FT, "mca", {}),
        ("table1", "cifar10", FT, "mca_15", {}),
        ("table1", "cifar10", FT, "expected_calibration_error", {}),
        ("table1", "cifar10", FT, "ood_accuracy", {"source": "tfds:stl10"}),
        ("table1", "cifar10", {"method": "baseline"}, "teacher_accuracy", {}),
        ("table1", "cifar10", {}, "test_accuracy", {}),
        ("table1", "cifar10", {"method": "mc", "rate": 0.1}, "test_accuracy", {}),
        ("table1", "cifar10", {"method": "ft"}, "test_accuracy", {}),
        ("table1", "cifar10", {**FT, "dropout": 0.45}, "test_accuracy", {}),
        ("table1", "cifar10", {**FT, "dropout": "much"}, "test_accuracy", {}),
        ("table1", "cifar10", {**FT, "sigma": 0.05}, "test_accuracy", {}),
        ("table1", "cifar10", {"method": "hinton", "dropout": 0.4}, "test_accuracy", {}),
        ("table1", "cifar10", {"method": "hinton", "temperature": 1}, "test_accuracy", {}),
        ("figure4", "cifar10", {"method": "hinton", "label_corruption": 0.2}, "test_accuracy", {}),
        ("table2", "cifar10", {"method": "at+ft", "dropout": 0.3}, "test_accuracy", {}),
        ("table2", "svhn", {"method": "at+h"}, "test_accuracy", {}),
        ("table3", "cifar10", {"method": "sr", "sigma": 0.06}, "test_accuracy", {}),
        ("table3", "cifar10", SR, "robust_accuracy", PGD),
        ("table4", "cifar10", SR, "robust_accuracy", {}),
        ("table4", "cifar10", SR, "robust_accuracy", {**PGD, "steps": 1000}),
        ("table4", "cifar10", SR, "robust_accuracy", {**PGD, "norm": "l2"}),
        ("table4", "cifar10", SR, "robust_accuracy", {**PGD, "attack": "square"}),
        ("table4", "cifar10", SR, "robust_accuracy", {**PGD, "step_size": 0.01}),
        ("table4", "cifar10", SR, "robust_accuracy", {**PGD, "epsilon": 7.9 / 255}),
        ("table5", "cifar10", SR, "robust_accuracy", {**PGD, "epsilon": 200 / 255}),
        ("table5", "cifar10", SR, "robust_accuracy", {**PGD, "epsilon": 10 / 255, "steps": 10}),
        ("table4", "cifar10", SR, "ensemble_robust_accuracy", {"norm": "linf", "epsilon": 8 / 255}),
    ],
)
def test_nothing_is_printed_for_other_cells(view, dataset, axes, metric, settings):
    assert printed(view, dataset, axes, metric, settings) is None


def test_the_papers_difference_is_that_of_its_means():
    assert printed_difference("table3", "svhn", {**SR, "sigma": 0.1}, {**GA, "sigma": 0.1}, "test_accuracy") == 0.0046
    assert printed_difference("table1", "cifar10", FT, {"method": "hinton"}, "test_accuracy", {}) == 0.0039
    assert printed_difference("table3", "svhn", {**SR, "sigma": 0.5}, {**GA, "sigma": 0.5}, "test_accuracy") == -0.0079
    assert printed_difference(
        "figure2", "svhn", {**SR, "sigma": 0.2}, {**GA, "sigma": 0.2}, "robust_accuracy", PGD
    ) == (0.2545)
    assert printed_difference("table1", "cifar10", FT, {"method": "mc"}, "test_accuracy") is None
    assert printed_difference("table1", "cifar10", {"method": "mc"}, FT, "test_accuracy") is None


def test_whose_numbers_stand_beside_a_cell():
    assert dataset_of({"stands_for": None}, {"data": "svhn"}) == "svhn"
    assert dataset_of({"stands_for": "cifar10"}, {"data": "npz:part.npz"}) == "cifar10"
    assert dataset_of({"stands_for": "cifar10"}, {"data": "svhn"}) == "svhn"
    assert dataset_of({}, {"data": "tfds:svhn_cropped"}) == "svhn"
    assert dataset_of({"stands_for": None}, {"method": "ft"}) is None


def test_the_numbers_are_read_once_and_without_keras(run_python):
    run_python(
        "import sys\n"
        "from tfnoisekd.report import paper\n"
        "for _ in range(2):\n"
        "    paper.printed('table1', 'cifar10', {'method': 'hinton'}, 'mca')\n"
        "assert paper._facts.cache_info().misses == 1\n"
        "loaded = {'keras', 'tensorflow', 'jax', 'numpy', 'scipy'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
