"""Calibration, selective risk and fidelity: by hand, against slow loops, and on predictors whose value is known."""

import itertools
import json
import math

import numpy as np
import pytest

from tfnoisekd.evaluation import accuracy, calibration, intervals, selective

BINNED = (
    calibration.expected_calibration_error,
    calibration.adaptive_expected_calibration_error,
    calibration.maximum_calibration_error,
    calibration.reliability,
)


def random_case(n=300, classes=4, scale=3.0, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(0, scale, (n, classes)).astype("float32"), random.integers(0, classes, n)


def logits_of(confidences):
    """Logits of two classes whose softmax puts each confidence on class 0."""
    return np.array([[math.log(c / (1 - c)), 0.0] for c in confidences])


def softmax(row):
    exponentials = [math.exp(float(value)) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def confidences_and_correct(logits, labels):
    """For each image, slowly: (largest probability, whether it is that of the label)."""
    pairs = []
    for row, label in zip(logits, labels, strict=True):
        probabilities = softmax(row)
        pairs.append((max(probabilities), probabilities.index(max(probabilities)) == label))
    return pairs


def slow_bins(logits, labels, num_bins):
    pairs = confidences_and_correct(logits, labels)
    return [[pair for pair in pairs if m / num_bins < pair[0] <= (m + 1) / num_bins] for m in range(num_bins)]


@pytest.mark.parametrize("num_bins", [1, 7, 15, 200])
def test_the_reliability_table_equals_the_slow_reference(num_bins):
    logits, labels = random_case()
    table = calibration.reliability(logits, labels, num_bins)
    assert table["n"] == 300
    assert table["edges"] == pytest.approx([m / num_bins for m in range(num_bins + 1)])
    gaps = []
    for row, inside in zip(table["bins"], slow_bins(logits, labels, num_bins), strict=True):
        assert row["n"] == len(inside)
        if not inside:
            assert row["confidence"] is row["accuracy"] is None
            continue
        assert row["confidence"] == pytest.approx(sum(c for c, _ in inside) / len(inside))
        assert row["accuracy"] == pytest.approx(sum(right for _, right in inside) / len(inside))
        gaps.append((abs(row["accuracy"] - row["confidence"]), len(inside)))
    assert calibration.maximum_calibration_error(logits, labels, num_bins) == pytest.approx(max(gaps)[0])
    expected = sum(gap * n for gap, n in gaps) / 300
    assert calibration.expected_calibration_error(logits, labels, num_bins) == pytest.approx(expected)
    assert json.loads(json.dumps(table, allow_nan=False)) == table


def test_reliability_and_the_largest_gap_by_hand():
    # Of four bins, (0.5, 0.75] holds 0.6 and 0.7, right once; (0.75, 1] holds 0.8, 0.9 and 0.9, right three times.
    logits, labels = logits_of([0.9, 0.6, 0.8, 0.7, 0.9]), [0, 1, 0, 0, 0]
    bins = calibration.reliability(logits, labels, num_bins=4)["bins"]
    assert bins[:2] == [{"n": 0, "confidence": None, "accuracy": None}] * 2
    assert bins[2] == pytest.approx({"n": 2, "confidence": 0.65, "accuracy": 0.5})
    assert bins[3] == pytest.approx({"n": 3, "confidence": 2.6 / 3, "accuracy": 1.0})
    assert calibration.maximum_calibration_error(logits, labels, num_bins=4) == pytest.approx(0.15)
    # Among four more, all in the first bins and half of them right, the one image in (0.5, 0.75] has the largest gap.
    logits, labels = logits_of([0.5] * 4 + [0.6]), [0, 1, 0, 1, 1]
    assert calibration.maximum_calibration_error(logits, labels, num_bins=4) == pytest.approx(0.6)


def test_a_confidence_on_an_edge_belongs_to_the_lower_bin():
    bins = calibration.reliability([[0.0, 0.0]], [0], num_bins=2)["bins"]  # exactly 0.5
    assert [row["n"] for row in bins] == [1, 0]


def slow_adaptive_error(logits, labels, num_bins):
    """Bin sizes that differ by at most 1, the larger ones first, over images sorted by confidence."""
    pairs = sorted(confidences_and_correct(logits, labels))
    size, larger = divmod(len(pairs), num_bins)
    error, start = 0.0, 0
    for m in range(num_bins):
        stop = start + size + (m < larger)
        error += abs(sum(c for c, _ in pairs[start:stop]) - sum(right for _, right in pairs[start:stop]))
        start = stop
    return error / len(pairs)


@pytest.mark.parametrize("num_bins", [1, 7, 15, 300, 1000])
def test_the_adaptive_error_equals_the_slow_reference(num_bins):
    logits, labels = random_case()
    assert len({c for c, _ in confidences_and_correct(logits, labels)}) == 300  # no ties
    expected = slow_adaptive_error(logits, labels, num_bins)
    assert calibration.adaptive_expected_calibration_error(logits, labels, num_bins) == pytest.approx(expected)


def test_the_adaptive_error_by_hand():
    # Five images in two bins: 0.6, 0.7, 0.8, right twice, |2 - 2.1|; and 0.9, 0.95, right once, |1 - 1.85|.
    logits, labels = logits_of([0.95, 0.6, 0.8, 0.7, 0.9]), [0, 1, 0, 0, 1]
    error = calibration.adaptive_expected_calibration_error(logits, labels, num_bins=2)
    assert error == pytest.approx((0.1 + 0.85) / 5)


def test_the_adaptive_error_of_ties_does_not_depend_on_their_order():
    # 0.6 once, right; 0.8 three times, right twice, so that each counts 2/3: |1 + 2/3 - 1.4| and |4/3 - 1.6|.
    for order in itertools.permutations(range(4)):
        logits, labels = logits_of([0.6, 0.8, 0.8, 0.8])[list(order)], np.array([0, 0, 0, 1])[list(order)]
        error = calibration.adaptive_expected_calibration_error(logits, labels, num_bins=2)
        assert error == pytest.approx((abs(5 / 3 - 1.4) + abs(4 / 3 - 1.6)) / 4)


def test_saturated_confidences_spread_over_adaptive_bins_only():
    logits, labels = logits_of(np.linspace(0.951, 0.999, 1000)), [0] * 900 + [1] * 100
    assert sum(row["n"] > 0 for row in calibration.reliability(logits, labels)["bins"]) == 1
    equal_width = calibration.expected_calibration_error(logits, labels)
    assert equal_width == pytest.approx(abs(0.9 - 0.975))  # the first 900 and the last 100 offset each other
    adaptive = calibration.adaptive_expected_calibration_error(logits, labels)
    assert adaptive == pytest.approx(slow_adaptive_error(logits, labels, 15))
    assert adaptive > 1.5 * equal_width


@pytest.fixture(scope="module")
def calibrated():
    """A predictor that is calibrated by construction: labels are drawn from its own probabilities."""
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (100_000, 10))
    probabilities = np.exp(calibration.log_softmax(logits))
    labels = (probabilities.cumsum(axis=1) < random.uniform(size=(len(logits), 1))).sum(axis=1)
    return logits, labels, probabilities


def test_a_calibrated_predictor_has_no_more_error_than_sampling_gives(calibrated):
    logits, labels, probabilities = calibrated
    confidence, n = probabilities.max(axis=1), len(labels)
    variance = confidence * (1 - confidence)  # of being right
    bins = np.ceil(confidence * 15).astype(int)
    sizes = np.bincount(bins, minlength=16)
    deviations = np.sqrt(np.bincount(bins, variance, minlength=16))  # of the number of right answers of each bin
    assert calibration.expected_calibration_error(logits, labels) < 2 * deviations.sum() / n < 0.01
    assert calibration.maximum_calibration_error(logits, labels) < 4 * (deviations / np.maximum(sizes, 1)).max()
    parts = np.array_split(variance[np.argsort(confidence)], 15)
    bound = 2 * sum(math.sqrt(part.sum()) for part in parts) / n
    assert calibration.adaptive_expected_calibration_error(logits, labels) < bound < 0.012
    # A predictor that is too sure of itself has far more.
    assert calibration.expected_calibration_error(2 * logits, labels) > 5 * bound
    assert calibration.adaptive_expected_calibration_error(2 * logits, labels) > 5 * bound


def test_the_scores_of_a_calibrated_predictor_are_its_own_uncertainty(calibrated):
    logits, labels, probabilities = calibrated
    n, rows = len(labels), np.arange(len(labels))
    brier = 1 - 2 * probabilities[rows, labels] + np.square(probabilities).sum(axis=1)
    assert calibration.brier_score(logits, labels) == pytest.approx(brier.mean(), rel=1e-12)
    expected = (1 - np.square(probabilities).sum(axis=1)).mean()  # sum over k of p_k (1 - p_k)
    assert abs(calibration.brier_score(logits, labels) - expected) < 4 * brier.std() / math.sqrt(n)
    surprise = -np.log(probabilities[rows, labels])
    entropy = -(probabilities * np.log(probabilities)).sum(axis=1).mean()
    assert abs(calibration.negative_log_likelihood(logits, labels) - entropy) < 4 * surprise.std() / math.sqrt(n)


def test_the_brier_score_by_hand_and_by_a_slow_loop():
    assert calibration.brier_score([[1000.0, 0.0]], [1]) == 2.0
    assert calibration.brier_score([[1000.0, 0.0]], [0]) == 0.0
    assert calibration.brier_score([[0.0] * 10], [3]) == pytest.approx(0.9)
    assert calibration.brier_score(logits_of([0.7]), [0]) == pytest.approx(2 * 0.3**2)
    logits, labels = random_case()
    expected = 0.0
    for row, label in zip(logits, labels, strict=True):
        expected += sum((p - (k == label)) ** 2 for k, p in enumerate(softmax(row)))
    assert calibration.brier_score(logits, labels) == pytest.approx(expected / 300, rel=1e-10)
    assert calibration.brier_score(logits.astype("float64") + 5000, labels) == pytest.approx(expected / 300, rel=1e-9)


@pytest.mark.parametrize("bad", [0, -1, 2.0, True])
def test_the_number_of_bins_is_checked(bad):
    for function in BINNED:
        with pytest.raises(ValueError, match=f"`num_bins` must be an integer of at least 1. Received: num_bins={bad}"):
            function([[0.0, 1.0]], [0], num_bins=bad)


def test_logits_and_labels_that_do_not_fit():
    for function in (*BINNED, calibration.brier_score, selective.evaluate, selective.risk_coverage_curve):
        with pytest.raises(ValueError, match=r"`labels` must lie in 0..1"):
            function([[0.0, 1.0]], [2])
        with pytest.raises(ValueError, match=r"`logits` must be finite.*1 of 2 rows"):
            function([[0.0, 1.0], [np.nan, 0.0]], [0, 0])


def slow_risks(logits, labels):
    """Without ties: the share of errors among the k surest, for k = 1..n."""
    surest_first = sorted(confidences_and_correct(logits, labels), key=lambda pair: -pair[0])
    return [sum(not right for _, right in surest_first[:k]) / k for k in range(1, len(surest_first) + 1)]


def test_the_risk_coverage_curve_equals_the_slow_reference():
    logits, labels = random_case()
    risks = slow_risks(logits, labels)
    curve = selective.risk_coverage_curve(logits, labels)
    assert curve["coverage"] == pytest.approx([k / 300 for k in range(1, 301)])
    assert curve["risk"] == pytest.approx(risks)
    assert json.loads(json.dumps(curve)) == curve
    results = selective.evaluate(logits, labels, coverages=(0.001, 0.07, 0.5, 1))
    assert results["aurc"] == pytest.approx(sum(risks) / 300)
    counts = (1, 21, 150, 300)  # 0.3, 21, 150 and 300 images, rounded up
    for row, coverage, k in zip(results["risk_at_coverage"], (0.001, 0.07, 0.5, 1), counts, strict=True):
        assert row == {"coverage": coverage, "n": k, "risk": pytest.approx(risks[k - 1])}
    assert results["risk_at_coverage"][-1]["risk"] == pytest.approx(1 - accuracy.top1(logits, labels))
    assert json.loads(json.dumps(results)) == results


def test_the_areas_by_hand():
    # Surest first: right, wrong, right, wrong. The best order would be right, right, wrong, wrong.
    logits, labels = logits_of([0.6, 0.9, 0.7, 0.8]), [1, 0, 0, 1]
    results = selective.evaluate(logits, labels, coverages=(0.25, 0.3, 0.5, 1.0))
    assert results["n"] == 4
    assert results["aurc"] == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    assert results["excess_aurc"] == pytest.approx(results["aurc"] - (0 + 0 + 1 / 3 + 2 / 4) / 4)
    risks = [0, 0.5, 0.5, 0.5]
    assert [row["risk"] for row in results["risk_at_coverage"]] == pytest.approx(risks)
    assert [row["n"] for row in results["risk_at_coverage"]] == [1, 2, 2, 4]


def test_the_excess_is_0_for_the_best_order_and_large_for_the_worst():
    logits = logits_of(np.linspace(0.99, 0.6, 100))  # surest first
    best, worst = [0] * 70 + [1] * 30, [1] * 30 + [0] * 70
    assert selective.evaluate(logits, best)["excess_aurc"] == 0.0
    # The closed form of the optimum that Geifman et al. give: r + (1 - r) log(1 - r), in the limit.
    assert selective.evaluate(logits, best)["aurc"] == pytest.approx(0.3 + 0.7 * math.log(0.7), abs=0.002)
    assert selective.evaluate(logits, worst)["excess_aurc"] > 0.5
    for labels, aurc in (([0] * 100, 0.0), ([1] * 100, 1.0)):
        results = selective.evaluate(logits, labels)
        assert (results["aurc"], results["excess_aurc"]) == (aurc, 0.0)


def test_ties_count_as_the_mean_over_all_their_orders():
    confidences, wrong = [0.9, 0.8, 0.8, 0.8, 0.6, 0.6], [0, 1, 0, 0, 1, 0]
    logits, labels = logits_of(confidences), np.array(wrong)
    curves = []
    for order in itertools.permutations(range(6)):
        if all(confidences[a] >= confidences[b] for a, b in itertools.pairwise(order)):
            curves.append(np.cumsum([wrong[i] for i in order]) / np.arange(1, 7))
    assert len(curves) == 12
    expected = np.mean(curves, axis=0)
    assert selective.risk_coverage_curve(logits, labels)["risk"] == pytest.approx(expected.tolist())
    results = selective.evaluate(logits, labels, coverages=(0.5,))
    assert results["aurc"] == pytest.approx(expected.mean())
    assert results["risk_at_coverage"][0]["risk"] == pytest.approx(2 / 3 / 3)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(6)
        assert selective.evaluate(logits[order], labels[order], coverages=(0.5,)) == results


def test_a_model_that_is_equally_sure_of_all_has_the_same_risk_everywhere():
    curve = selective.risk_coverage_curve([[1.0, 0.0]] * 8, [0, 0, 1, 0, 0, 1, 0, 0])
    assert curve["risk"] == pytest.approx([0.25] * 8)


@pytest.mark.parametrize("bad", [0, -0.5, 1.01, math.nan, "0.5", True])
def test_coverages_are_checked(bad):
    with pytest.raises(ValueError, match=r"`coverages` must be shares above 0 and at most 1. Received: "):
        selective.evaluate([[0.0, 1.0]], [0], coverages=(0.5, bad))


def test_fidelity_by_hand():
    labels = [0, 1, 2, 0, 1]
    teacher = np.eye(3)[[0, 1, 1, 2, 0]]  # wrong about the last three
    student = np.eye(3)[[0, 2, 1, 1, 1]]  # copies the first of these errors, makes another, makes none
    results = selective.fidelity(student, teacher, labels)
    assert results["n"] == 5
    assert results["agreement"] == 2 / 5
    assert results["teacher_errors"] == 3
    assert results["copied_errors"] == 1 / 3
    assert results["copied_errors_interval"] == list(intervals.wilson_interval(1, 3))
    e = math.e  # softmax is (e, 1, 1) / (e + 2); where they differ the divergence is (e - 1) / (e + 2)
    assert results["kl_divergence"] == pytest.approx(3 / 5 * (e - 1) / (e + 2))
    assert json.loads(json.dumps(results)) == results


def test_divergence_is_that_of_the_student_from_the_teacher():
    (teacher, labels), (student, _) = random_case(seed=1), random_case(seed=2)
    expected = 0.0
    for t, s in zip(teacher, student, strict=True):
        expected += sum(p * (math.log(p) - math.log(q)) for p, q in zip(softmax(t), softmax(s), strict=True))
    results = selective.fidelity(student, teacher, labels)
    assert results["kl_divergence"] == pytest.approx(expected / 300, rel=1e-6)
    assert results["agreement"] == accuracy.agreement(student, teacher)
    # Not the other way round: a student that is sure where the teacher is not costs more than the reverse.
    sure, unsure = [[10.0, 0.0]], [[0.0, 0.0]]
    assert selective.fidelity(sure, unsure, [0])["kl_divergence"] == pytest.approx(5 - math.log(2), abs=1e-4)
    assert selective.fidelity(unsure, sure, [0])["kl_divergence"] == pytest.approx(math.log(2), abs=1e-3)


def test_a_perfect_copy_and_a_perfect_teacher():
    logits, labels = random_case()
    copy = selective.fidelity(logits + 7, logits, labels)
    assert (copy["agreement"], copy["copied_errors"]) == (1.0, 1.0)
    assert copy["kl_divergence"] == pytest.approx(0, abs=1e-6)
    perfect = selective.fidelity(logits, np.eye(4)[labels], labels)
    assert (perfect["teacher_errors"], perfect["copied_errors"], perfect["copied_errors_interval"]) == (0, None, None)
    extreme = selective.fidelity([[0.0, 2000.0]], [[2000.0, 0.0]], [0])  # log(softmax) would be log(0)
    assert extreme["kl_divergence"] == 2000.0


def test_fidelity_needs_logits_of_the_same_images():
    logits, labels = random_case()
    with pytest.raises(ValueError, match=r"same shape.*\(300, 4\) and \(299, 4\); both need the same images"):
        selective.fidelity(logits, logits[1:], labels)
    with pytest.raises(ValueError, match=r"`teacher_logits` must be finite"):
        selective.fidelity(logits, logits * np.nan, labels)
    with pytest.raises(ValueError, match=r"`labels` must be integers of shape \(300,\)"):
        selective.fidelity(logits, logits, labels[1:])
