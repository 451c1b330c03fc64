"""The proof: a wrong file is caught, whatever is wrong with it, and kept aside; how the limits decide."""

import dataclasses
import importlib
from pathlib import Path

import keras
import numpy as np
import pytest
import test_export_models
from test_export_models import digest, leftovers

from tfnoisekd import export
from tfnoisekd.export import files, verdict, verify

# The package has functions of the same names as these modules.
MODULES = {name: importlib.import_module(f"tfnoisekd.export.{name}") for name in export.FORMATS}
FORMATS = sorted(export.FORMATS)


@pytest.fixture(scope="module")
def held_out():
    return test_export_models.held_out()


@pytest.fixture(scope="module")
def student():
    """The quickest to convert, for the tests of everything around a conversion."""
    return test_export_models.trained("sequential")


# What may be broken in a conversion. Each writes a file that loads and runs, and that is wrong.


def nan_weights(model):
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])


def lost_batchnorm_statistics(model):
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(keras.ops.zeros_like(layer.moving_mean))
            layer.moving_variance.assign(keras.ops.ones_like(layer.moving_variance))


def slightly_wrong_bias(model):
    kernel, bias = model.get_layer("logits").get_weights()
    bias[3] += 0.01
    model.get_layer("logits").set_weights([kernel, bias])


def broken(format, breakage):
    """The real conversion, of a copy of the model with something broken in it."""
    write = getattr(MODULES[format], f"write_{format}")

    def convert(served, *rest):
        copy = keras.models.clone_model(served.model)
        copy.set_weights(served.model.get_weights())
        breakage(copy)
        write(dataclasses.replace(served, model=copy), *rest)

    return convert


@pytest.mark.parametrize(
    "breakage, message",
    [
        (nan_weights, r"max logit difference nan .*297 of 297 images with NaN or infinite logits"),
        (lost_batchnorm_statistics, r"max logit difference \d.* \(limit [\d.e-]+\), top-1 agreement [\d.]+%"),
        (slightly_wrong_bias, r"max logit difference 0\.01 \(limit 0\.00\d+\)"),
    ],
)
@pytest.mark.parametrize("format", FORMATS)
def test_a_broken_conversion_is_rejected_and_kept_aside(
    student, held_out, tmp_path, monkeypatch, format, breakage, message
):
    path = tmp_path / "student"
    monkeypatch.setattr(MODULES[format], f"write_{format}", broken(format, breakage))
    with pytest.raises(export.ExportRejected, match=rf"^`{format}` export must agree.*{message}") as caught:
        export.FORMATS[format](student, path, held_out[0])
    assert str(caught.value).endswith(
        f"nothing was written to {path}, the file is kept for inspection at {path}.rejected"
    )
    assert "\n" not in str(caught.value)
    assert leftovers(tmp_path) == ["student.rejected"]
    assert export.open_file(format, caught.value.report.path).run(held_out[0][:1]).shape == (1, 10)
    assert caught.value.report.bytes == files.size_on_disk(Path(f"{path}.rejected"))


def test_a_rejected_overwrite_leaves_the_older_file_and_replaces_the_older_rejected_one(
    student, held_out, tmp_path, monkeypatch
):
    for format in FORMATS:
        path = tmp_path / format
        export.FORMATS[format](student, path, held_out[0][:4])
        before = digest(path)
        monkeypatch.setattr(MODULES[format], f"write_{format}", broken(format, nan_weights))
        (tmp_path / f"{format}.rejected").write_bytes(b"an older one")
        with pytest.raises(export.ExportRejected):
            export.FORMATS[format](student, path, held_out[0][:4], overwrite=True)
        assert files.size_on_disk(tmp_path / f"{format}.rejected") > 1000
        assert digest(path) == before
    assert leftovers(tmp_path) == sorted([*FORMATS, *(f"{format}.rejected" for format in FORMATS)])


def test_a_file_that_cannot_be_run_is_rejected(student, held_out, tmp_path, monkeypatch):
    def truncated(served, path, opset):
        path.write_bytes(b"half a file")

    monkeypatch.setattr(MODULES["onnx"], "write_onnx", truncated)
    with pytest.raises(export.ExportRejected, match=r"running it fails with InvalidProtobuf: .*nothing was written"):
        export.onnx(student, tmp_path / "student.onnx", held_out[0])
    assert leftovers(tmp_path) == ["student.onnx.rejected"]


class Fake:
    """A file that gives what a function of the batch says."""

    def __init__(self, run):
        self.run = run

    def run_single(self, image):
        return self.run(image[None])


def sums(images):
    total = images.sum(axis=(1, 2))
    return np.concatenate([total, 2 - total], axis=1)


def test_verification_catches_a_frozen_batch_size():
    images = np.random.default_rng(0).random((20, 2, 2, 1), dtype=np.float32)
    for outputs in verify.run_both_ways(Fake(sums), images, sums(images)):
        np.testing.assert_allclose(outputs, sums(images), atol=1e-6)
    for wrong in (lambda batch: len(batch) == 1, lambda batch: len(batch) > 1):
        with pytest.raises(ValueError, match=r"the same alone and in a batch. Received: a difference of 1"):
            verify.run_both_ways(Fake(lambda batch, wrong=wrong: sums(batch) + wrong(batch)), images, sums(images))
    with pytest.raises(ValueError, match=r"20 images must give outputs \(20, 2\). Received: \(1, 2\)"):
        verify.run_both_ways(Fake(lambda batch: sums(batch[:1])), images, sums(images))
    # A difference that is small, but too large for float32, is in the numbers: the worse of both ways.
    found = verify.run_both_ways(Fake(lambda batch: sums(batch) + 0.01 * (len(batch) == 1)), images, sums(images))
    measured = verdict.measure(found, sums(images), None, verify.FLOAT32)
    assert measured["max_difference"] == pytest.approx(0.01, abs=1e-5)
    assert "max logit difference 0.01 " in verdict.reason_to_reject(found[-1], measured)


def judge(outputs, expected, labels=None, limits=verify.FLOAT32):
    """The measures of one array of outputs, and the reason to reject it."""
    measured = verdict.measure([np.asarray(outputs)], np.asarray(expected), labels, limits)
    return measured, verdict.reason_to_reject(np.asarray(outputs), measured)


def test_limits_are_relative_to_large_logits_only_and_nothing_but_a_number_passes():
    small, large = np.array([[0.1, 0.2]]), np.array([[50.0, -80.0]])
    for expected, limit in ((small, 1e-4), (large, 8e-3)):
        measured, reason = judge(expected + 0.9 * limit, expected)
        assert measured["difference_limit"] == pytest.approx(limit)
        assert reason is None
        assert "top-1 agreement 100.00%" in judge(expected + 1.1 * limit, expected)[1]
    for value in (np.nan, np.inf, -np.inf):
        for limits in (verify.FLOAT32, verdict.limits_of("int8")):
            _, reason = judge([[0.1, value]], small, [1], limits)
            assert "1 of 1 images with NaN or infinite logits" in reason
    assert "top-1 agreement 0.00% (limit 100.00%)" in judge(small[:, ::-1], small)[1]


def test_a_quantised_file_is_judged_by_accuracy_or_without_labels_by_agreement():
    expected, labels = np.tile([[0.0, 1.0]], (100, 1)), np.array([1] * 90 + [0] * 10)  # 90% are right

    def flipped(indices):
        outputs = expected.copy()
        outputs[indices] = [9.0, 1.0]
        return outputs

    limits = verdict.limits_of("int8")
    measured, reason = judge(flipped([0]), expected, labels, limits)
    assert (reason, measured["accuracy"], measured["accuracy_limit"]) == (None, 0.89, pytest.approx(0.89))
    _, reason = judge(flipped([0, 1]), expected, labels, limits)
    assert "accuracy 88.00% (Keras model 90.00%, limit 89.00%)" in reason
    assert judge(flipped([0, 1]), expected, labels, verdict.limits_of("int8", accuracy_drop=0.02))[1] is None
    assert judge(flipped([0, 1, 98, 99]), expected, labels, limits)[1] is None  # two lost, two won
    # Without labels the two that changed could both have been right.
    assert judge(flipped([98]), expected, None, limits)[1] is None
    assert "top-1 agreement 98.00% (limit 99.00%)" in judge(flipped([98, 99]), expected, None, limits)[1]
    # float16 allows a small difference, and a class in a thousand.
    limits = verdict.limits_of("float16")
    assert judge(expected + 0.019, expected, labels, limits)[1] is None
    assert "difference 0.021 (limit 0.02)" in judge(expected + 0.021, expected, labels, limits)[1]
    many = np.tile([[0.0, 0.001]], (1000, 1))
    for n in (1000, 297, 2):  # of few images too one may lie between two classes
        for wrong, fine in ((1, True), (2, False)):
            outputs = np.where(np.arange(n)[:, None] < wrong, -many[:n], many[:n])
            assert (judge(outputs, many[:n], None, limits)[1] is None) == fine
    one_of_1000 = np.where(np.arange(1000)[:, None] < 1, -many, many)
    assert "top-1 agreement 99.90% (limit 100.00%)" in judge(one_of_1000, many)[1]  # float32 allows none
