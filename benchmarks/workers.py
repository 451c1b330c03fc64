"""Processes that take training steps on demand, one for each framework: for `python benchmarks/train_step.py`.

TensorFlow and PyTorch each have threads of their own, so each gets a process of its own. A worker that is not asked
waits on its pipe and takes no processor time, so that the one that is asked has the whole machine.
"""

import importlib
import multiprocessing
import time
import traceback

ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # By default PyTorch's OpenMP threads spin while they wait: no faster on an idle machine, and far slower on a busy
    # one. TensorFlow has none.
    "OMP_WAIT_POLICY": "PASSIVE",
}


class Peers:
    """Base of what a worker serves: training steps by name. A subclass makes them, in `make_steps`.

    `make_steps` takes the name of a method and returns a mapping of peer -> (function, variance): the function takes
    one step, waits for its end and returns the loss; the variance is that of the teacher's logits, or None.
    """

    steps = None

    def make_steps(self, method):
        raise NotImplementedError

    def prepare(self, method):
        """Makes the steps of a method and takes the first one of each: peer -> its loss and the teacher's variance."""
        self.steps = None  # the last method's memory first
        made = self.make_steps(method)
        self.steps = {name: step for name, (step, _) in made.items()}
        return {name: {"loss": step(), "teacher_variance": variance} for name, (step, variance) in made.items()}

    def step(self, name):
        """Takes one step and times it, by the clock and by the processor time of all threads."""
        processor, start = time.process_time(), time.perf_counter()
        loss = self.steps[name]()
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "cpu_seconds": time.process_time() - processor, "loss": loss}


class Worker:
    """A process that serves the `Peers` of a module.

    Args:
        module: Name of a module here, whose class `Peers` is made there with the arguments.
        *arguments: Anything that can be pickled.

    Raises:
        RuntimeError: By every call, with the worker's traceback, where it failed.
    """

    def __init__(self, module, *arguments):
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, module, arguments), daemon=True)
        self._process.start()
        other.close()  # so that a worker that dies ends the pipe
        self.info = self._receive()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._pipe.close()
        self._process.join()

    def ask(self, method, *arguments):
        """What a method of the worker's `Peers` returns."""
        self._pipe.send((method, arguments))
        return self._receive()

    def _receive(self):
        try:
            done, reply = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"A worker ended with exit code {self._process.exitcode}") from None
        if not done:
            raise RuntimeError(f"A worker failed:\n{reply}")
        return reply


def _serve(pipe, module, arguments):
    """Answers until the other end is closed; the first answer is the `info` of the peers."""
    try:
        peers = importlib.import_module(module).Peers(*arguments)
        pipe.send((True, peers.info))
        while True:
            try:
                method, arguments = pipe.recv()
            except EOFError:
                return
            pipe.send((True, getattr(peers, method)(*arguments)))
    except Exception:
        pipe.send((False, traceback.format_exc()))
