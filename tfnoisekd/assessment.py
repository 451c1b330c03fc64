"""Assessment: the questions of `evaluation` put to one model, each answered once and kept in a ledger."""

import contextlib
import functools
import hashlib
from numbers import Real

import keras

from tfnoisekd.answer_keys import completed, files_of
from tfnoisekd.evaluation import (
    accuracy,
    adversarial,
    calibration,
    corruptions,
    ensemble,
    noisy_votes,
    out_of_distribution,
    selective,
    self_checks,
    smoothing,
)
from tfnoisekd.evaluation.attacks.settings import parse_length
from tfnoisekd.evaluation.averaged import averaged
from tfnoisekd.evaluation.corruptions.catalog import check_names
from tfnoisekd.ledger import Ledger

CHECKED, CHECKED_STEPS = 100, 100  # examples and steps, at most, of the checks of an attack
BY_STEPS = ("steps-flatten", "single-step-stronger")  # the checks that need the steps of the evaluation
CURVE_POINTS = 200  # of a risk-coverage curve: enough for a figure


class Assessment:
    """One model and its test images.

    Each method answers one question and returns results ready for JSON. What was answered before is read from the
    ledger's folder; what was interrupted goes on where it was.

    Args:
        model: A `keras.Model`: images in [0, 1] -> logits (batch, num_classes).
        data: The `data.ImageData` whose test part the model is judged on.
        folder: Folder of the ledger.
        identity: Text that tells this model from others, such as `answer_keys.file_digest` of its file.
        teacher: `(model, identity)` to compare with, or None.
        samples: Number of draws that the outputs of a model which varies are averaged over under attack (expectation
            over transformation); None for a model that does not.
        batch_size: Images per forward pass.
        again: Whether to answer anew what is in the ledger.
        command: Command line to record.
        show: Function of a title that returns a context manager, whose value is a function of (done, total).

    Example:

    >>> assessment = Assessment(student, data, "runs/sr-1/evaluation", file_digest("runs/sr-1/student.keras"))
    >>> assessment.pgd(epsilon=["8/255"], steps=[1, 5, 20], limit=1000)[-1]["robust_accuracy"]
    """

    def __init__(
        self,
        model,
        data,
        folder,
        identity,
        *,
        teacher=None,
        samples=None,
        batch_size=256,
        again=False,
        command=None,
        show=None,
    ):
        self.model, self.data, self.teacher = model, data, teacher
        self.samples, self.batch_size = samples, batch_size
        self._others = {}
        self._show = show or (lambda title: contextlib.nullcontext())
        subject = {"model": identity, "data": data.test.fingerprint, "classes": list(data.class_names)}
        self.ledger = Ledger(folder, {**subject, "backend": keras.backend.backend()}, again, command)

    def clean(self):
        """Accuracy, calibration, selective risk and, with a teacher, fidelity on the clean test images.

        Returns:
            What `accuracy.evaluate` returns, with `brier_score`, `adaptive_expected_calibration_error`,
            `maximum_calibration_error`, `reliability` (a table of bins), `selective` (see `selective.evaluate`; its
            `curve` has at most 200 points) and, with a teacher, `fidelity`.
        """
        settings = {"teacher": self.teacher and self.teacher[1]}
        return self._ask("accuracy", settings, lambda watch: self._clean())

    def _clean(self):
        teacher, test = self.teacher and self.teacher[0], self.data.test
        options = {"teacher": teacher, "batch_size": self.batch_size}
        logits, teacher_logits = accuracy.predict_split(self.model, test, self.data.class_names, **options)
        results = accuracy.of_logits(logits, test.labels, self.data.class_names, teacher_logits)
        for figure in (
            calibration.brier_score,
            calibration.adaptive_expected_calibration_error,
            calibration.maximum_calibration_error,
            calibration.reliability,
        ):
            results[figure.__name__] = figure(logits, test.labels)
        curve = selective.risk_coverage_curve(logits, test.labels)
        every = -(-len(test) // CURVE_POINTS)
        curve = {name: values[::-every][::-1] for name, values in curve.items()}
        results["selective"] = {**selective.evaluate(logits, test.labels), "curve": curve}
        if teacher is not None:
            results["fidelity"] = selective.fidelity(logits, teacher_logits, test.labels)
        return results

    def pgd(self, **options):
        """`adversarial.sweep` with the options that are given: a list of results. Each epsilon is a question."""
        epsilons = options.pop("epsilon", adversarial.EPSILON)
        epsilons = [epsilons] if isinstance(epsilons, (str, Real)) else epsilons
        rows = []
        for epsilon in map(parse_length, epsilons):
            title = f"PGD, epsilon {epsilon:.3g}"
            rows += self._attack("pgd", title, adversarial.sweep, {**options, "epsilon": [epsilon]})
        return rows

    def ensemble(self, **options):
        """`ensemble.evaluate` with the options that are given: APGD and Square, worst case."""
        return self._attack("ensemble", "stronger attacks", ensemble.evaluate, options)

    def self_checks(self, pgd=None, strong=None, limit=None):
        """`self_checks.run` on what `pgd` and `ensemble` found, of which at least one is needed.

        Args:
            pgd: What `pgd` returned. Of several settings the first epsilon is checked, with its most steps (at most
                100, for the time it takes); all of them are evidence.
            strong: List of what `ensemble` returned.
            limit: Number of examples, at most 100.
        """
        rows = pgd or strong
        checked, most = {name: rows[0][name] for name in ("norm", "epsilon", "seed")}, 0
        if pgd:
            most = max(row["steps"] for row in pgd if row["epsilon"] == rows[0]["epsilon"])
            checked |= {name: rows[0][name] for name in ("step_size", "iterate")} | {"steps": min(most, CHECKED_STEPS)}
        else:  # a PGD of its own, whose steps reach every point of the ball
            checked |= {"steps": adversarial.STEPS, "step_size": 2.5 * checked["epsilon"] / adversarial.STEPS}
        strong = next((each for each in strong or () if each["epsilon"] == checked["epsilon"]), None)
        found = hashlib.sha256(repr((pgd, strong)).encode()).hexdigest()
        function = functools.partial(self_checks.run, results=pgd, ensemble=strong)
        options = {**checked, "limit": min(limit or CHECKED, CHECKED)}
        checks = self._attack("self-checks", "checks of the attack", function, options, found=found)
        if most > CHECKED_STEPS:
            note = f" The checks took {CHECKED_STEPS} of the {most} steps of the evaluation, for the time."
            checks = [{**each, "evidence": each["evidence"] + note * (each["check"] in BY_STEPS)} for each in checks]
        return checks

    def corruptions(self, **options):
        """`corruptions.evaluate` with the options that are given."""
        settings = completed(corruptions.evaluate, options)
        if settings["corruptions"]:  # in one order, so that the question is the same whatever order it is put in
            settings["corruptions"] = sorted(check_names(settings["corruptions"]), key=corruptions.NAMES.index)
        source, frost = settings["source"], settings["frost"]
        folders = [source.removeprefix("folder:") if source and source.startswith("folder:") else None, frost]

        def compute(watch):
            given = {**settings, **watch, "workers": options.get("workers"), "batch_size": self.batch_size}
            return corruptions.evaluate(self.model, self.data.test, self.data.class_names, **given)

        files = [files_of(folder) for folder in folders if folder]
        return self._ask("corruptions", {**settings, "files": files}, compute, "corruptions")

    def out_of_distribution(self, source, data_dir=None):
        """`out_of_distribution.evaluate` on a data set such as "npz:cinic10.npz", its images in the model's size."""
        other, names = self.other_images(source, data_dir), self.data.class_names
        settings = {"source": source, "part": other.part, "images": other.split.fingerprint}
        settings |= {"class_names": list(other.class_names), "teacher": self.teacher and self.teacher[1]}

        def compute(watch):
            return out_of_distribution.evaluate(
                self.model,
                other.split,
                other.class_names,
                trained_class_names=names,
                source=source,
                part=other.part,
                teacher=self.teacher and self.teacher[0],
                batch_size=self.batch_size,
            )

        return self._ask("ood", settings, compute)

    def other_images(self, source, data_dir=None):
        """The images of another data set; loaded once.

        Raises:
            ValueError, OSError: As `out_of_distribution.load` does.
        """
        if source not in self._others:
            shape = self.data.input_shape
            options = {"image_size": shape[0] if shape[0] == shape[1] else None, "data_dir": data_dir}
            names = self.data.class_names
            loaded = out_of_distribution.load(source, input_shape=shape, trained_class_names=names, **options)
            self._others[source] = loaded
        return self._others[source]

    def smoothing(self, **options):
        """`smoothing.evaluate` with the options that are given, of which `sigma` is needed."""
        settings = completed(smoothing.evaluate, options)

        def compute(watch):
            batch_size = max(self.batch_size, noisy_votes.BLOCK)
            return smoothing.evaluate(self.model, self.data.test, batch_size=batch_size, **settings, **watch)

        return self._ask("smoothing", settings, compute, f"smoothing, sigma {settings['sigma']:g}")

    def _attack(self, question, title, function, options, **more):
        options = {name: _length(name, value) for name, value in options.items()}
        settings = completed(function, options)

        def compute(watch):
            return function(self._attacked, self.data.test, batch_size=self.batch_size, **settings, **watch)

        return self._ask(question, {**settings, "samples": self.samples, **more}, compute, title)

    @functools.cached_property
    def _attacked(self):
        return averaged(self.model, self.samples) if self.samples else self.model

    def _ask(self, question, settings, compute, title=None):
        """The answer from the ledger, or computed under a progress bar."""

        def watched(parts):
            if title is None:
                return compute({})
            with self._show(title) as progress:
                return compute({"progress": progress, "done": parts})

        return self.ledger.answer(question, settings, watched)


def _length(name, value):
    """A text such as "8/255" as a number, alone or in a list."""
    if name not in ("epsilon", "step_size"):
        return value
    return [parse_length(each, name) for each in value] if isinstance(value, list) else parse_length(value, name)
