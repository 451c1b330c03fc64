"""Work spread over processes: results in order, and never many of them at once."""

import os
from collections import deque
from numbers import Integral

import loky

AHEAD = 2  # tasks in work or finished for each worker: enough to keep all busy, and a bound on memory
# One thread in each worker: there are as many workers as cores.
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def in_order(function, tasks, workers):
    """Yields `function(*task)` for each task, computed by `workers` processes, or in this one where `workers` is 1.

    The processes are loky's: they start afresh, without the state, the threads and the accelerator of this process, and
    need no `if __name__ == "__main__"` in the caller's script. They end with the generator.

    Args:
        function: Importable, as all its arguments and results are picklable.
        tasks: Iterable of tuples of arguments, read only as far ahead as needed.
        workers: Number of processes.
    """
    if workers == 1:
        yield from (function(*task) for task in tasks)
        return
    executor = loky.ProcessPoolExecutor(max_workers=workers, env=ONE_THREAD)
    try:
        pending = deque()
        for task in tasks:
            pending.append(executor.submit(function, *task))
            if len(pending) > AHEAD * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(wait=True, kill_workers=True)


def check_workers(workers):
    """Raises ValueError unless `workers` is None or at least 1."""
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, Integral) or workers < 1):
        raise ValueError(
            f"`workers` must be a number of processes, at least 1, or None for one a core. Received: {workers!r}"
        )


def cores():
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
