"""What an answer is kept by: settings in full, and digests of what they name."""

import hashlib
import inspect
from pathlib import Path

# What decides how a question is worked on, or is no setting at all: not part of what its answer is kept by.
NO_SETTINGS = {"batch_size", "progress", "done", "workers", "results", "ensemble", "teacher"}


def file_digest(path):
    """SHA-256 (hex) of a file, such as a `.keras` one with architecture and weights."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def completed(function, options):
    """The options with the function's defaults for the others, so that equal questions have equal settings."""
    parameters = inspect.signature(function).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    unknown = set(options) - {each.name for each in parameters}
    if unknown:
        raise TypeError(f"{function} takes no {', '.join(sorted(unknown))}")
    chosen = {name: value for name, value in {**defaults, **options}.items() if name not in NO_SETTINGS}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in chosen.items()}


def files_of(folder):
    """What tells the contents of a folder from others without reading them: each file's name, size and time."""
    found = [(each.name, each.stat()) for each in sorted(Path(folder).expanduser().glob("*")) if each.is_file()]
    return [[str(Path(folder).resolve()), name, stat.st_size, stat.st_mtime_ns] for name, stat in found]
