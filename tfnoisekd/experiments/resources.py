"""What a worker process may use of its machine: threads, kernels and GPUs, as environment variables.

They must be set before TensorFlow or NumPy is imported, and so in the process that starts the worker.
"""

import os

# OpenMP, OpenBLAS and MKL belong to NumPy and SciPy; the others to TensorFlow.
THREAD_VARIABLES = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
THREAD_VARIABLES += ("MKL_NUM_THREADS",)

# TensorFlow takes the kernels of oneDNN by itself only on x86 processors with AVX512-VNNI or AMX. On those with no more
# than AVX2 they are faster too: small networks train about one and a half times as fast (benchmarks/README.md).
KERNELS = "TF_ENABLE_ONEDNN_OPTS"


def prefer_onednn():
    """Lets TensorFlow take the kernels of oneDNN on every x86 processor. The user's own setting wins."""
    os.environ.setdefault(KERNELS, "1")


def cores():
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(threads, gpu=None):
    """Environment variables of a worker.

    Args:
        threads: Number of threads, at least 1.
        gpu: Number of the one GPU that it may see, as a text; None leaves that as it is.

    Returns:
        A dict of texts.
    """
    variables = {name: str(threads) for name in THREAD_VARIABLES} | {KERNELS: os.environ.get(KERNELS, "1")}
    if gpu is not None:
        variables["CUDA_VISIBLE_DEVICES"] = str(gpu)
    return variables


def divided(workers=None, threads=None):
    """(workers, threads each), so that all cores are used once: one thread a worker unless one of them is given.

    Small networks gain little from a second thread, and everything from a second run.

    Raises:
        ValueError: If either is below 1.
    """
    for name, value in (("workers", workers), ("threads", threads)):
        if value is not None and value < 1:
            raise ValueError(f"`{name}` must be at least 1. Received: {name}={value}")
    threads = threads or (max(1, cores() // workers) if workers else 1)
    return workers or max(1, cores() // threads), threads
