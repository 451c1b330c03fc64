"""A chief or worker as a process of its own; its environment says which.

    python -m tfnoisekd.experiments.tuning.serve OPTIONS

It ends when the process that started it does, even if that was killed.
"""

import json
import os
import sys
import threading


def main():
    """Takes part in the search that the options name."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # What libraries print must not stand between our lines.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    stopped = work(**json.loads(sys.argv[1]))
    print(json.dumps({"stopped": stopped}), file=answers, flush=True)
    os._exit(0)  # gRPC has threads that would wait for each other


def work(folder, **options):
    """Takes part in a search, in the role that the environment gives.

    Args:
        folder: Path of the search's folder.
        **options: Passed on to `tuner.search`.

    Returns:
        Why it makes no sense to go on, a text; None where the search is over.

    Raises:
        ConnectionError: If a worker's chief is gone.
    """
    from tfnoisekd.experiments.tuning.folder import Folder
    from tfnoisekd.experiments.tuning.trial import CannotGoOn
    from tfnoisekd.experiments.tuning.tuner import search

    try:
        search(Folder(folder), **options)
    except CannotGoOn as error:
        return str(error)
    return None


def _end_with_parent():
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
