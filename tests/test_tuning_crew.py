"""A search by several processes: keras-tuner's chief and workers on this machine and on a real local Ray."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tfnoisekd import config, runs
from tfnoisekd.experiments.tuning import crew, ray_crew, results, roles, search
from tfnoisekd.experiments.tuning.crew import DEATHS, End
from tfnoisekd.experiments.tuning.folder import Folder
from tfnoisekd.experiments.tuning.space import Range

SETTINGS = {"student": "wrn-10-1", "teacher": "wrn-10-1", "batch_size": 40, "validation_size": 40}
RATE = {"rate": Range(low=0, high=0.3)}


@pytest.fixture
def folder(scans, tmp_path):
    chosen = config.build({**SETTINGS, "method": "ga", "data": scans, "epochs": 4})
    return Folder.prepare(tmp_path / "search", search.build(chosen, RATE, "random", 3))


@pytest.fixture
def chiefs(monkeypatch):
    """Chiefs that are no processes: the list of them, and of what each call of their `ended` returns."""
    monkeypatch.setattr(crew, "LOOK", 0)
    made = []

    class Chief(Scripted):
        def __init__(self, folder, options):
            super().__init__(chiefs.scripts.pop(0) if chiefs.scripts else [nobody] * 9)
            self.options = options
            made.append(self)

    def chiefs():
        return made

    chiefs.scripts = []
    monkeypatch.setattr(crew, "Processes", Chief)
    return chiefs


class Scripted:
    """Processes that end as a script says: a list, for each call of `ended`, of functions of those started."""

    host = crew.LOOPBACK

    def __init__(self, script):
        self.script, self.started, self.closed = list(script), [], 0

    def start(self, slot, name, variables):
        self.started.append((slot, name, variables))

    def ended(self):
        return self.script.pop(0)(self.started)

    def close(self):
        self.closed += 1


def nobody(started):
    """None of them ends."""
    return []


def all_done(started):
    """Those that were started since the last chief come to their end."""
    latest = started[-1][1].rpartition("-")[0]
    return [End(name) for name in {name: None for _, name, _ in started} if name.startswith(latest)]


def dies(slot, reason="signal 9"):
    return lambda started: [End(next(name for number, name, _ in started if number == slot), reason)]


def test_a_chief_and_its_workers_have_keras_tuners_variables(folder, chiefs):
    workers = Scripted([all_done])
    crew.carry_out(folder, workers, 2, {"folder": "f", "again": True}, print)
    (chief,) = chiefs()
    (_, name, variables), *others = chief.started
    assert not others and "chief" in name and variables["KERASTUNER_TUNER_ID"] == name
    assert chief.options == {"folder": "f", "again": True}
    place = {key: variables[key] for key in ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "no_grpc_proxy")}
    assert place["KERASTUNER_ORACLE_IP"] == place["no_grpc_proxy"] == "127.0.0.1"
    assert [each[0] for each in workers.started] == [0, 1] and len({each[1] for each in workers.started}) == 2
    for _, worker, variables in workers.started:
        assert variables == {**place, "KERASTUNER_TUNER_ID": worker} and "chief" not in worker
    assert (workers.closed, chief.closed) == (1, 1)


def test_a_worker_that_dies_is_started_again_under_its_name(folder, chiefs):
    workers = Scripted([dies(1), all_done])
    crew.carry_out(folder, workers, 2, {}, print)
    assert [slot for slot, *_ in workers.started] == [0, 1, 1]
    assert workers.started[1] == workers.started[2] and len(chiefs()) == 1


def test_a_trial_that_kills_its_process_each_time_is_given_up(folder, chiefs):
    def begin_and_die(started):
        folder.note("0", status="running", origin={"worker": started[0][1]})
        return dies(0)(started)

    workers = Scripted([begin_and_die] * DEATHS + [dies(0), all_done])
    crew.carry_out(folder, workers, 1, {}, print)
    reason = f"The process that trained it died {DEATHS} times, the last time with signal 9"
    assert folder.entry("0")["given_up"] == reason and len(workers.started) == DEATHS + 2


def test_workers_that_die_of_nothing_they_train_end_the_search(folder, chiefs):
    folder.note("0", status="running", origin={"worker": "of another time"})
    workers = Scripted([dies(0, "exit code 1"), dies(1), dies(0, "exit code 2")])
    with pytest.raises(RuntimeError, match="a worker could not be kept alive: exit code 2"):
        crew.carry_out(folder, workers, 2, {}, print)
    assert workers.closed == 1 and chiefs()[0].closed == 1 and "given_up" not in folder.entry("0")


def test_a_worker_that_says_why_it_can_not_go_on_ends_the_search(folder, chiefs):
    with pytest.raises(RuntimeError, match="broken off: OSError: No space left"):
        crew.carry_out(folder, Scripted([lambda started: [End("a", stopped="OSError: No space left")]]), 2, {}, print)


def test_a_chief_that_dies_is_followed_by_another_with_new_workers(folder, chiefs):
    chiefs.scripts = [[dies(0)], [nobody]]
    # Its workers die of that, which is not held against them.
    workers = Scripted([dies(0, "exit code 1"), all_done])
    crew.carry_out(folder, workers, 2, {"again": True}, print)
    assert [chief.options["again"] for chief in chiefs()] == [True, False] and workers.closed == 2
    names = [name for _, name, _ in workers.started]
    assert len(set(names)) == 4
    chiefs.scripts = [[dies(0, "exit code 3")]] * DEATHS
    with pytest.raises(RuntimeError, match=f"its chief died {DEATHS} times, the last time with exit code 3"):
        crew.carry_out(folder, Scripted([nobody] * DEATHS), 2, {}, print)


def test_each_trial_that_ends_is_told_once(folder, chiefs):
    folder.note("0", status="finished")
    told = []

    def finish(trial, status):
        return lambda started: folder.note(trial, status=status) and []

    workers = Scripted([finish("1", "running"), finish("1", "failed"), finish("2", "finished"), all_done])
    crew.carry_out(folder, workers, 1, {}, lambda entry: told.append((entry["trial"], entry["status"])))
    assert told == [("1", "failed"), ("2", "finished")]


def test_two_processes_do_not_hand_out_the_trials_of_one_folder(folder, chiefs):
    with folder.alone(), pytest.raises(BlockingIOError, match="is being searched by another process"):
        crew.carry_out(folder, Scripted([]), 1, {}, print)


def test_processes_end_with_the_one_that_started_them(folder):
    code = (
        "import sys, time; from tfnoisekd.experiments.tuning import crew, folder, roles\n"
        f"found = folder.Folder({str(folder.path)!r})\n"
        f"workers = crew.Processes(found, {{'folder': {str(folder.path)!r}}})\n"
        "workers.start(0, 'worker', roles.variables('worker', '127.0.0.1', 1))\n"
        "print(workers._processes['worker'].pid, flush=True); time.sleep(600)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment())
    worker = int(driver.stdout.readline())
    os.kill(worker, 0)
    driver.kill()
    driver.communicate()
    assert within(30, lambda: not alive(worker))


@pytest.mark.slow
def test_a_chief_and_two_workers_search_although_one_is_killed(folder, tmp_path):
    options = {"folder": str(folder.path), "root": str(tmp_path)}
    workers, killed, told = crew.Processes(folder, options), [], []
    ended = workers.ended
    workers.ended = lambda: kill_one(folder, killed) or ended()
    crew.carry_out(folder, workers, 2, options, told.append)
    check_search(folder, killed, told)
    assert not workers._processes and len({entry["origin"]["process"] for entry in folder.entries()}) > 1


@pytest.mark.slow
def test_two_workers_on_ray_search_although_one_is_killed(folder, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    options = {"folder": str(folder.path), "root": str(tmp_path)}
    options_of_ray = {"num_cpus": 2, "object_store_memory": 80_000_000, "include_dashboard": False}
    ray.init("local", log_to_driver=False, **options_of_ray)
    try:
        assert ray_crew.connect(None, None, 1, 0.0) == 2
        workers, killed, told = ray_crew.Actors(options), [], []
        ended = workers.ended
        workers.ended = lambda: kill_one(folder, killed) or ended()
        crew.carry_out(folder, workers, 2, options, told.append)
    finally:
        ray.shutdown()
    check_search(folder, killed, told)


def test_a_chief_can_not_be_reached_through_a_ray_client():
    with pytest.raises(
        ValueError, match="`address` must be that of a cluster that this machine is part of.*ray://head"
    ):
        ray_crew.connect("ray://head:10001", 1, 1, 0.0)


def kill_one(folder, killed):
    """Kills, once, a process that has written a checkpoint of its trial and not ended it."""
    for entry in [] if killed else folder.entries():
        path = folder.run_path(entry["trial"])
        if entry["status"] == "running" and (path / "checkpoint.npz").exists():
            killed.append((entry["trial"], entry["origin"]["process"], (path / "history.csv").read_text()))
            os.kill(entry["origin"]["process"], signal.SIGKILL)
            return


def check_search(folder, killed, told):
    """The search is whole, and the trial that was cut off went on from its checkpoint, in another process."""
    ((trial, process, before),) = killed
    outcome = results.outcome(folder)
    assert [entry["trial"] for entry in folder.entries()] == ["0", "1", "2"] and len(outcome.ranked) == 3
    assert sorted(entry["trial"] for entry in told) == ["0", "1", "2"]
    after = (folder.run_path(trial) / "history.csv").read_text()
    assert after.startswith(before) and [line.split(",")[0] for line in after.split()[1:]] == ["0", "1", "2", "3"]
    assert folder.entry(trial)["origin"]["process"] != process
    for entry in folder.entries():
        state = json.loads((folder.path / "oracle" / f"trial_{entry['trial']}" / "trial.json").read_text())
        run = runs.Run.open(folder.run_path(entry["trial"]))
        assert state["status"] == "COMPLETED" and state["hyperparameters"]["values"] == entry["values"]
        assert state["score"] == entry["accuracy"] == run.record["results"]["accuracy"]
        assert run.record["config"]["rate"] == entry["values"]["rate"]


def environment():
    return {name: value for name, value in os.environ.items() if name not in roles.VARIABLES}


def alive(process):
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def within(seconds, condition):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False
