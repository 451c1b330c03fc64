"""What a file costs: the statistics by a clock of our own, the memory and the process by real files."""

import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

from tfnoisekd import export
from tfnoisekd.export import cost, stopwatch

QUICK = {"threads": 1, "repetitions": 3, "seconds": 0.01, "batch_size": 4}


class Fake:
    """A clock, and a file whose inferences take the times that it is told, in milliseconds."""

    def __init__(self, durations, batch=None):
        self.now, self.durations, self.batch, self.calls = 0.0, list(durations), batch, []

    def clock(self):
        return self.now

    def prepare(self, image):
        self.now += 100  # what is not to be in the latency
        self.calls.append(("prepare", image))

    def invoke(self):
        self.now += self.durations.pop(0) / 1000
        self.calls.append(("invoke",))

    def run(self, images, batch_size):
        self.now += self.durations.pop(0) / 1000
        self.calls.append(("run", len(images), batch_size))


def test_latency_is_the_median_and_the_95th_percentile_after_the_warm_up():
    file = Fake([5000, *[900] * 9, *range(1, 101)])
    found = stopwatch.latency(file, "image", repetitions=100, seconds=1e-6, clock=file.clock)
    assert found == {"median_ms": pytest.approx(50.5), "p95_ms": pytest.approx(95.05), "n": 100}
    assert file.calls[0] == ("prepare", "image") and file.calls.count(("invoke",)) == 110
    assert file.calls.count(("prepare", "image")) == 1  # once, outside of what is timed


def test_latency_takes_as_many_repetitions_as_fill_the_seconds():
    file = Fake([100] * 50)  # a warm-up of 10, though a tenth of 2.05 s is over after 3
    assert stopwatch.latency(file, "image", 5, 2.05, file.clock)["n"] == 21
    file = Fake([100] * 60)
    stopwatch.latency(file, "image", 5, 20.5, lambda: len(file.calls))  # each call takes one second
    assert file.calls.count(("invoke",)) == 10 + 21


def test_throughput_is_that_of_the_median_batch():
    file = Fake([9000, 100, 400, 200])
    found = stopwatch.throughput(file, np.zeros((3, 2, 2, 1)), 8, 1e-6, file.clock)
    assert found == {"images_per_second": pytest.approx(8 / 0.2), "throughput_batch": 8}
    assert file.calls == [("run", 8, 8)] * 4  # three images, repeated
    file = Fake([1] * 4, batch=1)
    assert stopwatch.throughput(file, np.zeros((8, 2, 2, 1)), 8, 1e-6, file.clock)["throughput_batch"] == 1


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3)).astype("uint8")


@pytest.fixture(scope="module")
def model():
    """4.2 million parameters in one layer: 16 MiB that a process must hold to run it."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(1024),
            layers.Dense(5),
        ]
    )


@pytest.fixture(scope="module")
def paths(model, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    for format in ("tflite", "onnx"):
        export.FORMATS[format](model, folder / format, images)
    return folder


@pytest.mark.parametrize("format, loaded", [("tflite", "ai_edge_litert"), ("onnx", "onnxruntime")])
def test_a_file_in_a_process_of_its_own(paths, images, format, loaded):
    found = cost.measure(format, paths / format, images, **{**QUICK, "threads": (1, 2)})
    assert found["loaded"] == [loaded]  # neither TensorFlow nor Keras
    assert found["bytes"] == (paths / format).stat().st_size and found["format"] == format
    assert found["runtime"]["name"] == {"tflite": "ai-edge-litert", "onnx": "onnxruntime"}[format]
    assert found["input_dtype"] == "float32" and found["batch"] is None
    first, second = found["timings"]
    assert (first["threads"], second["threads"]) == (1, 2)
    for timing in (first, second):
        assert timing["n"] >= 3 and 0 < timing["median_ms"] <= timing["p95_ms"] < 1000
        assert timing["images_per_second"] > 1 and timing["throughput_batch"] == 4 and timing["cores_used"] > 0
    if sys.platform.startswith("linux"):
        weights = 4 * 4_200_000
        assert 0.9 * weights < found["peak_memory_bytes"] < 8 * weights
        # Less than this process, which has TensorFlow: ru_maxrss would not be.
        assert found["process_peak_bytes"] < min(250 * 2**20, stopwatch.peak_memory())


def test_without_a_batch_only_single_images_are_timed(paths, images):
    found = cost.measure("tflite", paths / "tflite", images, **{**QUICK, "batch_size": None})
    assert "images_per_second" not in found["timings"][0] and found["timings"][0]["n"] >= 3


@pytest.mark.slow
def test_a_saved_model_in_a_process_of_its_own(model, images):
    found = cost.of_model(model, images, "saved_model", **QUICK)
    assert "tensorflow" in found["loaded"] and found["runtime"]["name"] == "tensorflow"
    assert found["timings"][0]["threads"] == 1 and found["bytes"] > 4 * 4_200_000


def test_tensorflow_is_told_the_threads(monkeypatch):
    said = []
    threading = SimpleNamespace(
        set_intra_op_parallelism_threads=lambda n: said.append(("intra", n)),
        set_inter_op_parallelism_threads=lambda n: said.append(("inter", n)),
    )
    fake = SimpleNamespace(config=SimpleNamespace(threading=threading), __version__="9")
    monkeypatch.setattr(stopwatch.importlib, "import_module", lambda name: fake)
    assert stopwatch.load_runtime("saved_model", 2)["name"] == "tensorflow"
    assert said == [("intra", 2), ("inter", 1)]


def test_a_runtime_that_is_missing(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(stopwatch.importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"Received: format='onnx'; pip install onnxruntime"):
        stopwatch.load_runtime("onnx", 1)


def test_memory_where_the_system_does_not_say(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "resource", None)
    assert stopwatch.peak_memory() is None


def test_memory_by_units(monkeypatch):
    usage = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: SimpleNamespace(ru_maxrss=3000))
    monkeypatch.setitem(sys.modules, "resource", usage)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert stopwatch.peak_memory() == 3000
    monkeypatch.setattr(sys, "platform", "freebsd14")
    assert stopwatch.peak_memory() == 3000 * 1024


def test_a_file_that_does_not_run(images, tmp_path):
    (tmp_path / "broken").write_bytes(b"no model")
    with pytest.raises(
        cost.MeasurementFailed, match=r"format onnx that runs on `images`. Received: .*broken, .*code 1: "
    ):
        cost.measure("onnx", tmp_path / "broken", images, **QUICK)


def test_images_that_the_file_does_not_take(paths, images):
    with pytest.raises(cost.MeasurementFailed, match=r"`images` must have the shape that the model takes"):
        cost.measure("onnx", paths / "onnx", images[:, :8], **QUICK)


def test_a_process_that_takes_too_long(paths, images):
    with pytest.raises(cost.MeasurementFailed, match=r"`timeout` must leave time .* timeout=0.05; raise it"):
        cost.measure("onnx", paths / "onnx", images, **{**QUICK, "timeout": 0.05})


@pytest.mark.parametrize(
    "options, message",
    [
        ({"format": "onyx"}, r"`format` must be one of tflite, onnx, saved_model. Received: format='onyx'"),
        ({"threads": ()}, r"`threads` must be different integers of at least 1. Received: threads=\(\)"),
        ({"threads": (1, 0)}, r"threads=\(1, 0\)"),
        ({"threads": (2, 2)}, r"threads=\(2, 2\)"),
        ({"threads": True}, r"threads=\(True,\)"),
        ({"repetitions": 0}, r"`repetitions` must be an integer of at least 1. Received: repetitions=0"),
        ({"batch_size": 0}, r"`batch_size` must be an integer of at least 1. Received: batch_size=0"),
        ({"seconds": 0}, r"`seconds` must be a number of seconds above 0. Received: seconds=0"),
        ({"timeout": float("nan")}, r"`timeout` must be a number of seconds above 0. Received: timeout=nan"),
    ],
)
def test_arguments_that_are_refused(paths, images, options, message):
    with pytest.raises(ValueError, match=message):
        cost.measure(**{"format": "tflite", "path": paths / "tflite", "images": images, **QUICK, **options})


def test_a_file_that_is_not_there(images, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent', which is not there"):
        cost.measure("tflite", tmp_path / "absent", images)
    with pytest.raises(ValueError, match="`images` must have shape"):
        cost.measure("tflite", tmp_path, np.zeros((2, 4, 4), "uint8"))
