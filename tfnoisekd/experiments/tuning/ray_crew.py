"""Workers of a search as actors of a Ray cluster, on machines that share the search's folder."""

import os

from tfnoisekd.experiments import ray_pool
from tfnoisekd.experiments.resources import environment
from tfnoisekd.experiments.tuning.crew import LOOPBACK, End


class Actors:
    """What `crew.Processes` is, on a Ray cluster that `ray_pool.connect` has joined.

    Args:
        options: Dict of `serve.work`'s arguments; all machines must see its `folder` and `root` under these paths.
        address: Of the cluster; None where it is this machine alone.
        threads: Cores of each worker.
        gpus: GPUs of each worker, a share too.

    Attributes:
        host: Address of this machine, where the chief is, as the workers see it.
    """

    def __init__(self, options, address=None, threads=1, gpus=0.0):
        import ray

        self._ray, self._options, self._threads = ray, options, threads
        self._resources = {"num_cpus": threads, "num_gpus": gpus}
        self._actors, self._answers = {}, {}
        self.host = ray.util.get_node_ip_address() if address else LOOPBACK

    def start(self, slot, name, variables):
        """Starts a worker; see `crew.Processes.start`."""
        actor = self._ray.remote(Actor).options(
            **self._resources, runtime_env={"env_vars": {**environment(self._threads), **variables}}
        )
        self._actors[name] = actor.remote(os.getcwd())
        self._answers[self._actors[name].work.remote(self._options)] = name

    def ended(self):
        """List of the `crew.End`s of workers since the last call."""
        if not self._answers:
            return []
        ready, _ = self._ray.wait(list(self._answers), num_returns=len(self._answers), timeout=0)
        return [self._end(reference, self._answers.pop(reference)) for reference in ready]

    def close(self):
        """Ends all workers, in the middle of a trial too."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        self._answers.clear()

    def _end(self, reference, name):
        try:
            end = End(name, stopped=self._ray.get(reference))
        except self._ray.exceptions.RayError as error:  # its process died, or raised
            end = End(name, " ".join(str(error).split())[-300:])
        self._ray.kill(self._actors.pop(name))
        return end


class Actor:
    """What runs on the cluster: one worker, in the folder that the search was started in."""

    def __init__(self, folder):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        if os.path.isdir(folder):
            os.chdir(folder)

    def work(self, options):
        """Takes part in the search; see `serve.work`."""
        from tfnoisekd.experiments.tuning.serve import work

        return work(**options)


def connect(address, workers, threads, gpus):
    """As `ray_pool.connect`; this machine must be one of the cluster's, because the chief is here.

    Raises:
        ValueError: Also if the address is that of a Ray client, whose workers can't reach this machine.
    """
    if address and address.startswith("ray://"):
        raise ValueError(
            f"`address` must be that of a cluster that this machine is part of, HOST:PORT or auto. Received: {address}"
        )
    return ray_pool.connect(address, workers, threads, gpus)
