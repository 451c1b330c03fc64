"""Workers as actors of a Ray cluster, on this machine or on many that share the grid's folder."""

import os
import socket
from pathlib import Path

from tfnoisekd.experiments.local import Event
from tfnoisekd.experiments.resources import environment

WAIT = 5  # seconds for a cluster to answer; Ray itself tries for minutes


def connect(address=None, workers=None, threads=1, gpus=0.0):
    """Joins a Ray cluster, or starts one on this machine.

    Args:
        address: Such as "10.0.0.1:6379" or "auto"; None starts a cluster of this machine alone.
        workers: Number of workers; None for as many as the cluster has room for.
        threads: Cores of each worker.
        gpus: GPUs of each worker, a share too.

    Returns:
        Number of workers.

    Raises:
        ImportError: If Ray is not installed.
        ConnectionError: If the cluster can't be reached.
        ValueError: If it has no room for a worker.
    """
    ray = _ray()
    if not ray.is_initialized():
        # Not whatever cluster this machine was last part of, which may be gone.
        of_its_own = {"address": "local", "num_cpus": workers and workers * threads, "include_dashboard": False}
        options = {"address": address} if address else of_its_own
        try:
            _knock(address)
            ray.init(**options, log_to_driver=False, logging_level="ERROR")
        except (OSError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ConnectionError(
                f"`address` must be that of a Ray cluster that can be reached. Received: {address} ({reason}); "
                "start one by `ray start --head`, or leave `--address` out for this machine alone. A cluster with "
                "tokens needs RAY_AUTH_MODE=token here too"
            ) from None
    found = ray.cluster_resources()
    room = int(found.get("CPU", 0) // threads)
    if gpus:
        room = min(room, int(found.get("GPU", 0) / gpus))
    if room < 1 or (workers or 1) > room:
        raise ValueError(
            f"`workers` must fit into the cluster, which has {found.get('CPU', 0):g} cores and {found.get('GPU', 0):g} "
            f"GPUs. Received: workers={workers or 1}, with {threads} cores and {gpus:g} GPUs each"
        )
    return workers or room


class RayPool:
    """As many Ray actors as there are slots, each of which does one job after another; a dead one is replaced.

    Args:
        folder: The grid's folder, which all machines must see under this path.
        options: Dict of `work.Worker`'s arguments, ready for JSON.
        workers: Number of slots; see `connect`, which must have been called.
        threads: Cores of each.
        gpus: GPUs of each.
    """

    def __init__(self, folder, options, workers, threads=1, gpus=0.0):
        self.slots = workers
        self._ray = _ray()
        self._options = {**options, "folder": str(Path(folder).resolve())}
        self._resources = {"num_cpus": threads, "num_gpus": gpus, "runtime_env": {"env_vars": environment(threads)}}
        self._actors, self._answers = {}, {}

    def send(self, slot, payload):
        """Gives a job to a slot that has none."""
        if slot not in self._actors:
            actor = self._ray.remote(**self._resources)(Actor)
            self._actors[slot] = actor.remote({**self._options, "name": f"ray-{slot}"}, os.getcwd())
        self._answers[self._actors[slot].do.remote(payload)] = slot

    def events(self, timeout):
        """What workers have answered since the last call; waits for something for `timeout` seconds at most."""
        if not self._answers:
            return []
        ready, _ = self._ray.wait(list(self._answers), timeout=timeout)
        return [self._event(reference, self._answers.pop(reference)) for reference in ready]

    def close(self):
        """Ends all workers, in the middle of a job too."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()

    def _event(self, reference, slot):
        try:
            return Event(slot, "done", self._ray.get(reference))
        except self._ray.exceptions.RayActorError as error:
            del self._actors[slot]
            reason = " ".join(str(error).split())[:300]
            # An actor whose constructor raised has never been ready; one that died then may have been killed.
            started = not getattr(error, "actor_init_failed", False)
            return Event(slot, "died", {"reason": reason, "started": started})


class Actor:
    """What runs on the cluster: a `work.Worker` in the folder that the grid was started in."""

    def __init__(self, options, folder):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        if os.path.isdir(folder):
            os.chdir(folder)
        from tfnoisekd import training  # noqa: F401  TensorFlow, once for all jobs
        from tfnoisekd.experiments.work import Worker

        self.worker = Worker(**options)

    def do(self, payload):
        """Carries out a job."""
        return self.worker.do(payload)


def _knock(address):
    """Raises an OSError if nobody listens at an address of the form HOST:PORT."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=WAIT).close()


def _ray():
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise ImportError('`executor` ray needs Ray: pip install "tfnoisekd[ray]"') from None
    return ray
