"""Jobs and workers, with workers that are made up: order, deaths, failures, other processes."""

import pytest

from tfnoisekd import methods
from tfnoisekd.config import Config
from tfnoisekd.experiments import schedule as module
from tfnoisekd.experiments.local import Event
from tfnoisekd.experiments.plan import Job
from tfnoisekd.experiments.schedule import Schedule, Silent, carry_out
from tfnoisekd.experiments.store import Store

CONFIG = methods.resolve(Config(method="baseline", data="digits"))


class Pool:
    """Workers that answer at once; `script` says what, job by job, and what is said last counts from then on."""

    def __init__(self, slots, **script):
        self.slots, self.script = slots, {key: list(answers) for key, answers in script.items()}
        self.sent, self.most, self.closed, self._busy = [], 0, False, {}

    def send(self, slot, payload):
        assert slot not in self._busy
        self._busy[slot] = payload["key"]
        self.sent.append(payload["key"])
        self.most = max(self.most, len(self._busy))

    def events(self, timeout):
        found = []
        for slot, key in list(self._busy.items()):
            del self._busy[slot]
            answers = self.script.get(key, ["finished"])
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if answer in ("died", "not started"):
                found.append(Event(slot, "died", {"reason": "signal 9", "started": answer == "died"}))
            else:
                found.append(Event(slot, "done", {"status": answer, "error": f"{answer} {key}", "accuracy": 0.5}))
        return found

    def close(self):
        self.closed = True


class Watch(Silent):
    def __init__(self):
        self.ended_with = []

    def ended(self, slot, job, answer):
        self.ended_with.append((job.key, answer["status"]))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "grid", create=True)


@pytest.fixture
def jobs():
    made = [Job("t", "teacher", CONFIG, 0), Job("u", "teacher", CONFIG, 1)]
    made += [Job("a", "student", CONFIG, 0, ("t", "u")), Job("b", "student", CONFIG, 0, ("t",))]
    made += [Job("c", "student", CONFIG, 0)]
    return {job.key: job for job in made}


def work(jobs, store, pool, again=False):
    watch = Watch()
    outcome = carry_out(Schedule(jobs, store, again), pool, watch)
    assert pool.closed
    return outcome, watch.ended_with


def test_students_wait_for_their_teachers_and_workers_are_never_idle(jobs, store):
    pool = Pool(2)
    outcome, _ = work(jobs, store, pool)
    assert outcome.finished == set(jobs) and not outcome.failed and not outcome.blocked
    assert pool.sent == ["t", "u", "a", "b", "c"] and pool.most == 2
    pool = Pool(4)
    work(jobs, store, pool)
    assert pool.sent == ["t", "u", "c", "a", "b"] and pool.most == 3


def test_a_failure_stops_only_what_needs_it(jobs, store):
    outcome, ended = work(jobs, store, Pool(1, u=["failed"]))
    assert outcome.failed == {"u": "failed u"} and outcome.blocked == {"a": "u"}
    assert outcome.finished == {"t", "b", "c"} and ("u", "failed") in ended


def test_what_failed_before_is_tried_again_only_if_asked(jobs, store):
    store.note("u", status="failed", error="E")
    pool = Pool(1)
    outcome, _ = work(jobs, store, pool)
    assert pool.sent == ["t", "b", "c"] and outcome.failed == {"u": "E"} and outcome.blocked == {"a": "u"}
    pool = Pool(1)
    outcome, _ = work(jobs, store, pool, again=True)
    assert "u" in pool.sent and outcome.finished == set(jobs)


def test_a_job_whose_process_died_is_begun_again_at_once(jobs, store):
    pool = Pool(1, t=["died", "died", "finished"])
    outcome, _ = work(jobs, store, pool)
    assert pool.sent[:3] == ["t", "t", "t"] and outcome.finished == set(jobs)


def test_a_job_that_kills_its_process_is_given_up(jobs, store):
    pool = Pool(2, t=["died"])
    outcome, _ = work(jobs, store, pool)
    assert pool.sent.count("t") == module.DEATHS
    assert "died 3 times, the last time with signal 9" in outcome.failed["t"]
    assert outcome.blocked == {"a": "t", "b": "t"} and outcome.finished == {"u", "c"}
    assert store.entry("t")["status"] == "failed"


def test_workers_that_cannot_start_end_the_sweep(jobs, store):
    pool = Pool(1, t=["not started"])
    outcome, _ = work(jobs, store, pool)
    assert pool.sent == ["t"] and "could not be started: signal 9" in outcome.stopped


def test_an_error_of_the_machine_ends_the_sweep(jobs, store):
    pool = Pool(1, t=["stopped"])
    outcome, _ = work(jobs, store, pool)
    assert pool.sent == ["t"] and outcome.stopped == "stopped t" and not outcome.failed


def test_what_another_process_does_is_looked_at_again(jobs, store, monkeypatch):
    monkeypatch.setattr(module, "LOOK_AGAIN", 0.0)
    pool = Pool(1, t=["busy", "busy", "finished"])
    outcome, _ = work(jobs, store, pool)
    assert outcome.finished == set(jobs)
    assert pool.sent.count("t") == 3 and pool.sent.index("a") > 2


def test_the_pool_is_closed_when_something_goes_wrong(jobs, store):
    pool = Pool(1)
    pool.events = lambda timeout: 1 / 0
    with pytest.raises(ZeroDivisionError):
        carry_out(Schedule(jobs, store), pool, Watch())
    assert pool.closed
