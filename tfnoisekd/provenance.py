"""Where a number comes from: code, versions, device, time."""

import contextlib
import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import tfnoisekd

# Variables that change the last bits of a number, and those of them that choose the kernels.
VARIABLES = ("TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS", "ONEDNN_MAX_CPU_ISA")
KERNELS = ("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA")

# So does the widest of these instruction sets that a processor has: oneDNN chooses its kernels by it.
INSTRUCTIONS = ("avx512f", "avx2", "avx")

PACKAGES = ("tensorflow", "keras", "jax", "numpy", "tensorflow-datasets", "cleverhans", "tf2onnx")


def provenance():
    """Where a number comes from: code, versions, device, time."""
    versions = {"python": platform.python_version(), "tfnoisekd": tfnoisekd.__version__}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "code": _commit(),
        "versions": versions,
        "device": _device(),
        "started_at": now(),
    }


def now():
    """Date and time in UTC, ISO 8601 with microseconds, so that runs sort by it."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")


def processor():
    """Name of the processor and its widest instructions, as in "AMD EPYC with avx2"."""
    widest = next((each for each in INSTRUCTIONS if each in _cpuinfo("flags").split()), None)
    name = _cpuinfo("model name") or platform.processor() or platform.machine()
    return f"{name}{f' with {widest}' if widest else ''}"


def _device():
    variables = ", ".join(f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ)
    device = f"{processor()}, {os.cpu_count()} cores, {platform.system()}"
    return f"{device} ({variables})" if variables else device


def _cpuinfo(field):
    """What Linux says of the first processor under this name; "" where it doesn't."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.partition(":")[0].strip() == field:
                return line.partition(":")[2].strip()
    return ""


def _commit():
    """Commit of the source tree the package runs from, or `None` where it is installed without one."""
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        tracked = subprocess.run(
            ["git", "-C", str(folder), "ls-files", "--error-unmatch", Path(__file__).name],
            capture_output=True,
            timeout=10,
        )
        if tracked.returncode:
            return None
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.TimeoutExpired):
        return None
