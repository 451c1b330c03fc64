"""Files: a failure at any moment leaves what was at the path before, and nothing else beside it."""

import contextlib
import os
import shutil
import sys
import tempfile
import uuid


def check_free(path, format, overwrite):
    """Raises a FileExistsError unless `path` is free, or holds an export of this format and may be overwritten."""
    if not (path.exists() or path.is_symlink()):
        return
    if not overwrite:
        raise FileExistsError(
            f"`path` must not exist yet. Received: path={str(path)!r}; choose another, or pass overwrite=True "
            "(command line: --overwrite)."
        )
    # Overwriting removes what is there: never a folder that is anything else than an earlier export.
    ours = (path / "saved_model.pb").is_file() if format == "saved_model" else path.is_file()
    if not ours:
        kind = "a SavedModel folder" if format == "saved_model" else "a file"
        raise FileExistsError(
            f"`path` can be overwritten only where it is {kind}. Received: path={str(path)!r}; choose another path."
        )


def check_exported(format, path, known):
    """Raises a ValueError unless a format is known, and a FileNotFoundError unless there is a file or folder."""
    if format not in known:
        raise ValueError(f"`format` must be one of {', '.join(known)}. Received: format={format!r}")
    if not path.exists():
        raise FileNotFoundError(f"`path` must be an exported file. Received: path={str(path)!r}, which is not there")


@contextlib.contextmanager
def partial_sibling(path):
    """A free path in the same folder, so that moving it to `path` is one step; what is left there is removed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PermissionError(f"{path.parent} can't be written ({error.strerror}): choose another folder") from error
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield partial
    finally:
        remove(partial)


def replace(source, target):
    """Puts a file or folder in the place of another; if that fails, the older one is back where it was."""
    if not target.is_dir():
        os.replace(source, target)
        return
    aside = source.with_suffix(".old")  # a folder that is not empty cannot be replaced in one step
    os.rename(target, aside)
    try:
        os.rename(source, target)
    except BaseException:
        os.rename(aside, target)
        raise
    remove(aside)


def remove(path):
    """Removes a file, a link or a folder; nothing if there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def size_on_disk(path):
    """Bytes of a file, or of all files of a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


@contextlib.contextmanager
def quiet():
    """Holds back what C++ libraries print to stderr; if the block fails, all of it is printed after all."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(stderr, 2)
            log.seek(0)
            os.write(2, log.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
