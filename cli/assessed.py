"""Puts the questions of the command line to one run or model file."""

from pathlib import Path

import click

from tfnoisekd.answer_keys import file_digest
from tfnoisekd.assessment import Assessment
from tfnoisekd.cli import checked
from tfnoisekd.cli.checked import check_writable, pixels_hint
from tfnoisekd.cli.progress import shown_work
from tfnoisekd.cli.subject import find_subject
from tfnoisekd.evaluation.logits import without_softmax

NOISE = ("method", "sigma", "rate", "dropout")


def prepare(path, questions, *, overrides, root, teacher_path, folder, again, batch_size, command):
    """A model with its data, and every question checked, before any is answered.

    Args:
        path: A run, a model file, or None for the newest finished run of `root`.
        questions: `questions.Questions`.
        overrides: Settings of the data that were given.
        root: Folder of runs.
        teacher_path: Run or model file to compare with; None for the run's own teacher.
        folder: Where results are kept; None for the run's own folder, or one beside the model.
        again: Whether to evaluate anew what is kept.
        batch_size: Images per forward pass.
        command: The command line, for the record.

    Returns:
        (subject, assessment).

    Raises:
        ValueError, OSError, ImportError: If model, data or a question can't be what they must be.
    """
    subject = find_subject(path, root, overrides)
    folder = Path(folder) if folder else _folder(subject)
    check_writable(folder)
    model = _logits_of(subject.load_model(), subject.model_path)
    assessment = Assessment(
        model,
        subject.data,
        folder,
        file_digest(subject.model_path),
        teacher=_teacher(subject, teacher_path),
        samples=questions.samples,
        batch_size=batch_size,
        again=again,
        command=command,
        show=shown_work,
    )
    checked.check(questions, assessment, subject.config.data_dir)
    return subject, assessment


def assess(subject, assessment, questions):
    """The answers of one model, ready for JSON.

    Args:
        subject: The model's `Subject`.
        assessment: Its `Assessment`.
        questions: `questions.Questions`.

    Returns:
        A dict: `model`, `data`, `run` (method and noise, for a run), what `Assessment.clean` returns, under the
        name of each question that was asked its answer, `errors`, question -> reason, where one could not be answered,
        and `provenance`, that of each file they are kept in.
    """
    results = {"model": str(subject.model_path), "data": subject.data.name}
    if subject.run is not None:
        config = subject.run.record["config"]
        results["run"] = {"path": str(subject.run.path), **{name: config[name] for name in NOISE}}
    results |= assessment.clean()
    if hint := pixels_hint(assessment, results["accuracy"]):
        click.echo(f"Warning: {hint}", err=True)
    answers, errors = _answers(assessment, questions, subject.config.data_dir), {}
    for name, answer in answers.items():
        try:
            results[name] = answer(results)
        except ValueError as error:
            errors[name] = " ".join(str(error).split())
    return {**results, **({"errors": errors} if errors else {}), "provenance": assessment.ledger.origins}


def _answers(assessment, questions, data_dir):
    """Name -> function of the results so far, for each question that was asked, in their order."""
    answers = {}
    if questions.pgd is not None:
        answers["pgd"] = lambda results: assessment.pgd(**questions.pgd)
    if questions.ensembles:
        answers["ensemble"] = lambda results: [assessment.ensemble(**options) for options in questions.ensembles]
    if questions.self_checks:
        answers["self_checks"] = lambda results: _checks(assessment, questions, results)
    if questions.corruptions is not None:
        tfds = {"data_dir": data_dir} if questions.corruptions.get("source") == "tfds" else {}
        answers["corruptions"] = lambda results: assessment.corruptions(**questions.corruptions, **tfds)
    if questions.ood:
        answers["ood"] = lambda results: [assessment.out_of_distribution(each, data_dir) for each in questions.ood]
    if questions.smoothing:
        answers["smoothing"] = lambda results: [assessment.smoothing(**options) for options in questions.smoothing]
    return answers


def _checks(assessment, questions, results):
    pgd, strong = results.get("pgd"), results.get("ensemble")
    if not (pgd or strong):
        raise ValueError("no attack could be run, so there is nothing to check")
    return assessment.self_checks(pgd, strong, (questions.pgd or questions.ensembles[0]).get("limit"))


def _folder(subject):
    if subject.run is not None:
        return subject.run.path / "evaluation"
    if subject.home is not None:
        return subject.home / "evaluation"
    return subject.model_path.with_name(f"{subject.model_path.stem}-evaluation")


def _teacher(subject, path):
    """(model, digest of its file) of the teacher to compare with, or None."""
    teacher = subject.find_teacher(path)
    return teacher and (subject.load_fitting(teacher, "teacher"), file_digest(teacher))


def _logits_of(model, path):
    """The model, or an equal one without the softmax at its end."""
    logits = without_softmax(model)
    if logits is None:
        return model
    click.echo(
        f"{Path(path).name} ends in a softmax: its logits are evaluated instead, which are the same classes.", err=True
    )
    return logits
