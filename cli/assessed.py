"""Puts the questions of the command line to one run or model file."""

from pathlib import Path

import click

from tfnoisekd.assessment import Assessment, file_digest
from tfnoisekd.cli.progress import shown_work
from tfnoisekd.cli.subject import find_subject
from tfnoisekd.evaluation.logits import without_softmax

NOISE = ("method", "sigma", "rate", "dropout")


def assess(path, questions, *, overrides, root, teacher_path, folder, again, batch_size, command):
    """The answers of one model, ready for JSON.

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
        A dict: `model`, `data`, `run` (method and noise, for a run), what `Assessment.clean` returns, under the
        name of each question that was asked its answer, and `provenance`, that of each file they are kept in.
    """
    subject = find_subject(path, root, overrides)
    assessment = Assessment(
        _logits_of(subject.load_model(), subject.model_path),
        subject.data,
        folder or _folder(subject),
        file_digest(subject.model_path),
        teacher=_teacher(subject, teacher_path),
        samples=questions.samples,
        batch_size=batch_size,
        again=again,
        command=command,
        show=shown_work,
    )
    results = {"model": str(subject.model_path), "data": subject.data.name}
    if subject.run is not None:
        config = subject.run.record["config"]
        results["run"] = {"path": str(subject.run.path), **{name: config[name] for name in NOISE}}
    results |= assessment.clean()
    results |= _attacked(assessment, questions)
    if questions.corruptions is not None:
        results["corruptions"] = assessment.corruptions(**questions.corruptions, data_dir=_data_dir(subject, questions))
    if questions.ood:
        data_dir = subject.config.data_dir
        results["ood"] = [assessment.out_of_distribution(source, data_dir) for source in questions.ood]
    if questions.smoothing:
        results["smoothing"] = [assessment.smoothing(**options) for options in questions.smoothing]
    return {**results, "provenance": assessment.ledger.origins}


def _attacked(assessment, questions):
    """The answers about attacks, and what the checks say of them."""
    results = {}
    if questions.pgd is not None:
        results["pgd"] = assessment.pgd(**questions.pgd)
    if questions.ensembles:
        results["ensemble"] = [assessment.ensemble(**options) for options in questions.ensembles]
    if questions.self_checks:
        limit = (questions.pgd or questions.ensembles[0]).get("limit")
        results["self_checks"] = assessment.self_checks(results.get("pgd"), results.get("ensemble"), limit)
    return results


def _folder(subject):
    if subject.run is not None:
        return subject.run.path / "evaluation"
    return subject.model_path.with_name(f"{subject.model_path.stem}-evaluation")


def _data_dir(subject, questions):
    return subject.config.data_dir if questions.corruptions.get("source") == "tfds" else None


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
