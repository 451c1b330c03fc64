"""Estimates: what a grid takes, by the speed of its networks."""

from types import SimpleNamespace

import pytest

from tfnoisekd import config, methods
from tfnoisekd.experiments import estimate, grid
from tfnoisekd.experiments.estimate import Sizes, Speed
from tfnoisekd.experiments.sweep import Sweep

SPEEDS = {"wrn-10-1": Speed(step=0.2, forward=0.05), "wrn-16-2": Speed(step=1.0, forward=0.3)}
SIZES = Sizes(train=1000, test=500, shape=(32, 32, 3), classes=10)


def resolved(**settings):
    names = {"student": "wrn-10-1", "teacher": "wrn-16-2", "epochs": 3, "batch_size": 128, "data": "digits"}
    return methods.resolve(config.build({**names, **settings}))


def test_a_training_is_its_steps_and_the_teachers_forward_passes():
    steps = 3 * 8  # of 1,000 images in batches of 128
    assert estimate.training_seconds(resolved(method="baseline"), SIZES, SPEEDS) == pytest.approx(steps * 0.2)
    assert estimate.training_seconds(resolved(method="mc"), SIZES, SPEEDS) == pytest.approx(steps * 0.5)
    given = resolved(method="mc", teacher="teacher.keras")  # whose speed nobody knows
    assert estimate.training_seconds(given, SIZES, SPEEDS) == pytest.approx(steps * 0.2)


@pytest.mark.parametrize(
    ("question", "options", "passes"),
    [
        ("pgd", {}, 500 * 20 * 5 * 0.2),  # a gradient costs a step
        ("pgd", {"epsilon": ["1/255", "2/255"], "steps": [1, 10], "restarts": 2, "limit": 100}, 100 * 10 * 2 * 2 * 0.2),
        ("corruptions", {}, 500 * 95 * 0.05),
        ("corruptions", {"corruptions": ["fog"], "severities": [1, 2], "limit": 10_000}, 500 * 2 * 0.05),
        ("ensemble", {"limit": 10, "steps": 7, "queries": 9}, 10 * (70 * 0.2 + 9 * 0.05)),
        ("smoothing", {"n": 1000, "limit": 5}, 5 * 1100 * 0.05),
        ("ood", {"source": "npz:x"}, 21_000 * 0.05),
    ],
)
def test_a_question_is_its_passes_over_the_images(question, options, passes):
    found = estimate.question_seconds(question, options, SIZES, 128, SPEEDS["wrn-10-1"])
    assert found == pytest.approx(passes / 128)


def test_published_sets_need_no_download():
    def load(config):
        raise AssertionError("it was loaded")

    assert estimate.sizes(resolved(data="cifar10"), load) == Sizes(45_000, 10_000, (32, 32, 3), 10)
    assert estimate.sizes(resolved(data="svhn", validation_size=257), load) == Sizes(73_000, 26_032, (32, 32, 3), 10)
    parts = {"train": range(7), "test": range(3), "input_shape": (8, 8, 1), "num_classes": 4}
    found = estimate.sizes(resolved(data="digits"), lambda config: SimpleNamespace(**parts))
    assert found == Sizes(7, 3, (8, 8, 1), 4)


def test_each_network_is_measured_once():
    settings = {"shared": {"data": "digits", "student": "wrn-10-1", "teacher": "wrn-16-2", "epochs": 1}}
    jobs = Sweep([grid.build({**settings, "axes": {"method": ["baseline", "hinton", "ft"]}})]).jobs
    found = estimate.networks(jobs.values())
    assert sorted(found) == [("wrn-10-1", 128, "digits"), ("wrn-16-2", 128, "digits")]


@pytest.mark.slow
def test_a_larger_network_is_measured_slower():
    small, large = (estimate.measure(name, 64, Sizes(64, 64, (16, 16, 3), 10)) for name in ("wrn-10-1", "wrn-16-4"))
    assert 0 < small.step < large.step and 0 < small.forward < large.forward
    assert small.forward < small.step
