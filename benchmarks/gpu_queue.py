"""The paper's own setting on a GPU that is lent for minutes: KERAS_BACKEND=jax python benchmarks/gpu_queue.py OUTPUT

Measures first, once: the student's training step (images/s, share of the chip's peak, seconds an epoch), for one seed
and for several in one program, and how fast batches are made. Then it carries out `gpu_queue.yaml` in OUTPUT, a grid
folder as `tfnoisekd sweep` makes them, until all is done or the time is up, and says what is left. The same command
goes on from the last epoch of everything, also on another machine that OUTPUT was copied to. Needs JAX, Keras and
this package, and no TensorFlow. The tables: tfnoisekd report OUTPUT.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from itertools import groupby
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import keras
import numpy as np
import seeds_together

import tfnoisekd
from tfnoisekd import devices, models, training
from tfnoisekd.data import Batches
from tfnoisekd.distillation_losses import Hinton
from tfnoisekd.experiments import grid
from tfnoisekd.experiments.store import Store
from tfnoisekd.experiments.sweep import Sweep
from tfnoisekd.experiments.work import Worker
from tfnoisekd.features import OUTPUTS, Supervised
from tfnoisekd.fitting import seed_everything
from tfnoisekd.optimizers import CoupledSGD

MEASURED = "measured.json"
PEAK = 989  # TFLOP/s of an H100 in bfloat16, without sparsity, says its data sheet


class TimeIsUp(KeyboardInterrupt):
    """Ends a job as Ctrl-C does: what it has done is on disk."""


class Clock:
    """When the machine has to be given back.

    Args:
        minutes: From now.
    """

    def __init__(self, minutes):
        self._end = time.monotonic() + 60 * minutes

    def is_over(self):
        return time.monotonic() >= self._end

    def check(self, share, what):
        """A progress function that ends the job when time is up."""
        if self.is_over():
            raise TimeIsUp(what)


def measure(config, data, counts, steps, peak):
    """The speed of the training step by the number of seeds in one program, and of what it waits for.

    Args:
        config: Resolved `Config`, for the networks, batch size and precision.
        data: `data.ImageData`.
        counts: Numbers of seeds.
        steps: How many steps each is timed for.
        peak: FLOP/s of the chip.

    Returns:
        Dict ready for JSON. Images/s are of all seeds together.
    """
    augmentation = data.augmentation(config.crop_padding, config.flip)
    batches = Batches(data.train, config.batch_size, shuffle=True, **augmentation)
    seconds = [_timed(lambda index=index: batches[index % len(batches)]) for index in range(steps)]
    found = {"batches_per_second": 1 / statistics.median(seconds), "steps": {}}
    images, labels = batches[0]
    with devices.precision(config.precision):
        teacher = models.from_name(config.teacher, data.num_classes, data.input_shape)
        forward = jax.jit(lambda values, x: teacher.stateless_call(*values, x, training=False)[0])
        values = [
            [each.value for each in group] for group in (teacher.trainable_variables, teacher.non_trainable_variables)
        ]
        outputs = np.asarray(forward(values, images), np.float32)
        seconds = [_timed(lambda: jax.block_until_ready(forward(values, images))) for _ in range(steps)]
    found["teacher_images_per_second"] = len(images) / statistics.median(seconds)
    for method, x, y in (("baseline", images, labels), ("hinton", images, Supervised(labels, {OUTPUTS: outputs}))):
        for count in counts:
            found["steps"][f"{method}, {count} seeds"] = _measure_step(config, data, method, (x, y), count, steps, peak)
    return found


def _measure_step(config, data, method, batch, count, steps, peak):
    """One compiled step of `count` seeds on a batch that stays on the chip."""
    states = []
    for seed in range(count):
        seed_everything(seed)
        with devices.precision(config.precision):
            student = models.from_name(config.student, data.num_classes, data.input_shape)
            teacher = models.from_name(config.teacher, data.num_classes, data.input_shape)
        supervision = (teacher, student, Hinton()) if method == "hinton" else (None, student)
        distiller = tfnoisekd.Distiller(*supervision, seed=seed)
        distiller.compile(CoupledSGD(0.1, 0.9, 5e-4), jit_compile=True)
        distiller.optimizer.build(distiller.trainable_variables)
        distiller.evaluate(*seeds_together.plain(batch), verbose=0)
        distiller.reset_metrics()
        states.append(seeds_together.state_of(distiller))
    state, data = jax.device_put((seeds_together.stack(states), seeds_together.stack([batch] * count)))
    start = time.perf_counter()
    step = jax.jit(jax.vmap(distiller.train_step), donate_argnums=0).lower(state, data).compile()
    compiling = time.perf_counter() - start
    seconds = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        logs, state = step(state, data)
        jax.block_until_ready((logs, state))
        seconds.append(time.perf_counter() - start)
    median, images = statistics.median(seconds[2:]), count * len(batch[0])
    # XLA counts a multiplication and an addition as two; it knows nothing of what a chip's own libraries do inside.
    flops = (step.cost_analysis() or {}).get("flops")
    return {
        "seconds": seconds,
        "seconds_to_compile": compiling,
        "images_per_second": images / median,
        "flops_per_image": flops and flops / images,
        "share_of_peak": flops and flops / median / peak,
    }


def _timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def show(found, images):
    """Prints what was measured; seconds of an epoch are for one seed's share of it."""
    print(f"{found['device']}, JAX {found['versions']['jax']}, {found['precision']}, batch {found['batch_size']}")
    print(f"batches are made at {found['batches_per_second']:.0f}/s in one thread")
    print(f"the teacher answers {found['teacher_images_per_second']:,.0f} images/s")
    for name, each in found["steps"].items():
        share = f"{each['share_of_peak']:.1%} of peak" if each["share_of_peak"] else "FLOPs unknown"
        speed = each["images_per_second"]
        print(f"{name:20} {speed:10,.0f} images/s  {share}  {images / speed:.2f} s an epoch and seed")


def best_count(found):
    """How many seeds in one program train the most images a second."""
    speeds = {name: each["images_per_second"] for name, each in found["steps"].items() if name.startswith("hinton")}
    return int(max(speeds, key=speeds.get).split()[1])


def carry_out(sweep, store, data, clock, together, command):
    """Does the queue in its order; returns the keys of what is left."""
    worker = Worker(store.path, "gpu", command)
    students = [job for job in sweep.jobs.values() if job.role == "student"]
    try:
        for _, group in groupby(students, key=lambda job: job.config.model_copy(update={"seed": 0})):
            missing = [job for job in group if not store.is_done(job) and not store.has_failed(job)]
            for need in dict.fromkeys(need for job in missing for need in job.needs):
                _do(worker, sweep.jobs[need], clock)
            for start in range(0, len(missing), together):
                some = missing[start : start + together]
                if together > 1 and not seeds_together.train(some, store, data, command, is_over=clock.is_over):
                    raise TimeIsUp
                for job in some:  # trained or not: what is missing, and the questions
                    _do(worker, job, clock)
    except TimeIsUp:
        print("The time is up.")
    return [key for key, job in sweep.jobs.items() if not store.is_done(job)]


def _do(worker, job, clock):
    clock.check(0, job.key)
    answer = worker.do(job.payload(), clock.check)
    done = answer["status"] if answer["accuracy"] is None else f"accuracy {answer['accuracy']:.2%}"
    print(f"{job.key}: {answer['error'] or done}", flush=True)


def main(arguments=None):
    """Measures and carries out the queue; returns the keys of what is left."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", help="grid folder")
    parser.add_argument("--minutes", type=float, default=9, help="time that this call may take")
    parser.add_argument("--seeds-together", type=int, help="seeds in one program; as many as were fastest by default")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 5], help="numbers of seeds to measure")
    parser.add_argument("--steps", type=int, default=50, help="steps that each measurement takes")
    parser.add_argument("--peak", type=float, default=PEAK, help="TFLOP/s of the chip")
    parser.add_argument("--grid", default=Path(__file__).with_suffix(".yaml"), help="YAML file of the queue")
    options = parser.parse_args(arguments)
    clock, command = Clock(options.minutes), " ".join(["python", *sys.argv])
    if keras.backend.backend() != "jax":
        raise SystemExit(f"This runs on JAX: set KERAS_BACKEND=jax. Received: {keras.backend.backend()}")
    sweep, store = Sweep([grid.load(options.grid)]), Store(options.output, create=True)
    sweep.note(store, command)
    config = next(iter(sweep.jobs.values())).config
    data = training.load_data(config)
    path = store.path / MEASURED
    if not path.exists():
        found = {
            "command": command,
            "device": jax.devices()[0].device_kind,
            "versions": {"python": platform.python_version(), "jax": jax.__version__, "keras": keras.__version__},
            "precision": config.precision,
            "batch_size": config.batch_size,
            "networks": [config.teacher, config.student],
            **measure(config, data, options.counts, options.steps, 1e12 * options.peak),
        }
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    found = json.loads(path.read_text(encoding="utf-8"))
    show(found, len(data.train))
    left = carry_out(sweep, store, data, clock, options.seeds_together or best_count(found), command)
    print(f"{len(sweep.jobs) - len(left)} of {len(sweep.jobs)} jobs are done; next: {left[0] if left else 'nothing'}")
    return left


if __name__ == "__main__":
    main()
