"""A worker process: jobs come in by lines of JSON, what becomes of them goes out by lines of JSON.

    python -m tfnoisekd.experiments.serve OPTIONS

It ends when the process that started it does, even if that was killed.
"""

import json
import os
import queue
import sys
import threading


def main():
    """Serves until the standard input ends."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # What libraries print must not stand between our lines.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    jobs = queue.Queue()
    threading.Thread(target=_read, args=(jobs,), daemon=True).start()
    from tfnoisekd import training  # noqa: F401  TensorFlow, once, and not in the time of the first job
    from tfnoisekd.experiments.work import Worker

    worker = Worker(**json.loads(sys.argv[1]))
    _say(lines, "ready", {})
    while True:
        payload = jobs.get()
        answer = worker.do(payload, lambda share, what: _say(lines, "progress", {"share": share, "what": what}))
        _say(lines, "done", answer)


def _read(jobs):
    for line in sys.stdin.buffer:
        jobs.put(json.loads(line))
    os._exit(0)  # whoever gave the jobs is gone


def _say(lines, kind, content):
    print(json.dumps([kind, content]), file=lines, flush=True)


if __name__ == "__main__":
    main()
