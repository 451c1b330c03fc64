"""Finished evaluations on disk: nothing twice, nothing lost, nothing of another model."""

import json

import pytest

from tfnoisekd.disk import exclusive
from tfnoisekd.ledger import Ledger, Parts

SUBJECT = {"model": "abc", "data": "def"}


def adding(calls, value):
    """A computation that notes each call and gives a value."""

    def compute(parts):
        calls.append(dict(parts))
        return {"value": value}

    return compute


def test_an_answer_is_computed_once_and_says_where_it_comes_from(tmp_path):
    calls = []
    for _ in range(2):
        ledger = Ledger(tmp_path / "evaluation", SUBJECT, command="tfnoisekd evaluate run")
        assert ledger.answer("pgd", {"steps": 20}, adding(calls, 0.5)) == {"value": 0.5}
    assert calls == [{}] and ledger.origins[ledger.path("pgd", {"steps": 20}).name]["command"]
    (path,) = (tmp_path / "evaluation").glob("*.json")
    assert path == ledger.path("pgd", {"steps": 20}) and path.name.startswith("pgd-")
    record = json.loads(path.read_text())
    assert (record["question"], record["settings"], record["subject"]) == ("pgd", {"steps": 20}, SUBJECT)
    assert record["results"] == {"value": 0.5}
    assert record["provenance"]["command"] == "tfnoisekd evaluate run" and record["provenance"]["seconds"] >= 0
    assert {"python", "numpy"} <= set(record["provenance"]["versions"])
    assert not list(path.parent.glob("*.parts"))


def test_another_question_setting_or_subject_is_answered_by_itself(tmp_path):
    calls = []
    for number, (subject, question, settings) in enumerate(
        [
            (SUBJECT, "pgd", {"steps": 20}),
            (SUBJECT, "pgd", {"steps": 21}),
            (SUBJECT, "ood", {"steps": 20}),
            ({**SUBJECT, "model": "trained anew"}, "pgd", {"steps": 20}),
        ]
    ):
        answer = Ledger(tmp_path, subject).answer(question, settings, adding(calls, number))
        assert answer == {"value": number}
    assert len(calls) == 4


def test_again_computes_anew(tmp_path):
    calls = []
    Ledger(tmp_path, SUBJECT).answer("ood", {}, adding(calls, 1))
    Parts(Ledger(tmp_path, SUBJECT).path("ood", {}).with_suffix(".parts"))["old"] = 1
    assert Ledger(tmp_path, SUBJECT, again=True).answer("ood", {}, adding(calls, 2)) == {"value": 2}
    assert Ledger(tmp_path, SUBJECT).answer("ood", {}, adding(calls, 3)) == {"value": 2}
    assert calls == [{}, {}]


def test_a_damaged_answer_is_computed_anew(tmp_path):
    calls, ledger = [], Ledger(tmp_path, SUBJECT)
    ledger.answer("ood", {}, adding(calls, 1))
    path = ledger.path("ood", {})
    path.write_text(path.read_text()[:-20])
    assert ledger.answer("ood", {}, adding(calls, 2)) == {"value": 2}
    assert len(calls) == 2


def test_what_was_interrupted_goes_on(tmp_path):
    seen = []

    def compute(parts, stop_at=None):
        for number in range(4):
            if number == stop_at:
                raise KeyboardInterrupt
            if str(number) not in parts:
                seen.append(number)
                parts[str(number)] = {"square": number**2}
        return [parts[str(number)]["square"] for number in range(4)]

    with pytest.raises(KeyboardInterrupt):
        Ledger(tmp_path, SUBJECT).answer("pgd", {}, lambda parts: compute(parts, stop_at=2))
    assert Ledger(tmp_path, SUBJECT).answer("pgd", {}, compute) == [0, 1, 4, 9]
    assert seen == [0, 1, 2, 3]
    assert [path.suffix for path in tmp_path.iterdir() if path.name != ".lock"] == [".json"]


def test_a_part_that_was_cut_off_is_passed_over_and_written_over(tmp_path):
    path = tmp_path / "pgd.parts"
    parts = Parts(path)
    parts["a"], parts["b"] = [1.5], "two"
    for cut in (1, 5):  # the newline only, or some of the line
        path.write_bytes(path.read_bytes()[:-cut])
        again = Parts(path)
        assert dict(again) == {"a": [1.5]}
        again["b"] = "two"
        assert dict(Parts(path)) == {"a": [1.5], "b": "two"}
    again["a"] = 3  # the last one counts
    assert dict(Parts(path)) == {"a": 3, "b": "two"} and len(again) == 2
    with pytest.raises(TypeError, match="never taken out"):
        del again["a"]


def test_two_evaluations_do_not_write_into_one_folder(tmp_path):
    with (
        exclusive(tmp_path / ".lock", wait=False),
        pytest.raises(BlockingIOError, match="is being written by another evaluation: wait for it, or end it"),
    ):
        Ledger(tmp_path, SUBJECT).answer("pgd", {}, adding([], 1))


def test_nothing_is_written_when_the_question_fails(tmp_path):
    def compute(parts):
        raise ValueError("no gradients")

    with pytest.raises(ValueError, match="no gradients"):
        Ledger(tmp_path, SUBJECT).answer("pgd", {}, compute)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("text", ["garbage", '{"a": 1}\n', '["a"]\n', "[1, 2]\n", "\x00\n"])
def test_a_damaged_file_of_parts_is_written_over(tmp_path, text):
    path = tmp_path / "pgd.parts"
    path.write_text(text)
    parts = Parts(path)
    assert dict(parts) == {}
    parts["a"] = 1
    assert dict(Parts(path)) == {"a": 1}


@pytest.mark.parametrize("text", ["{}", "[]", '{"results": 1}'])
def test_a_record_without_results_or_provenance_is_computed_anew(tmp_path, text):
    ledger = Ledger(tmp_path, SUBJECT)
    ledger.path("ood", {}).write_text(text)
    assert ledger.answer("ood", {}, adding([], 2)) == {"value": 2}


def test_parts_that_are_replaced_again_and_again_do_not_pile_up(tmp_path, monkeypatch):
    monkeypatch.setattr("tfnoisekd.ledger.LEAST_REWRITTEN", 2000)
    path = tmp_path / "pgd.parts"
    parts = Parts(path)
    parts["other"] = "kept"
    sizes = []
    for number in range(200):
        parts["state"] = [number] * 50
        sizes.append(path.stat().st_size)
    assert max(sizes) < 3000 and sizes[-1] < sizes[-2] + 400
    assert dict(Parts(path)) == {"other": "kept", "state": [199] * 50}
