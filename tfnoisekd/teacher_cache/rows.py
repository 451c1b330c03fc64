"""Rows of numbers in one sparse file, shared by processes; a row counts only if it is whole and in its own place."""

import json
import os
import threading
import warnings
import weakref
import zlib
from pathlib import Path

import numpy as np

from tfnoisekd import disk

META = "meta.json"
ROWS = "rows.bin"


class Rows:
    """A table of float32 rows on disk, empty at first, that any number of threads and processes read and fill.

    Each row is followed by a checksum over its bytes and its number, so that a row that was half written, damaged or
    moved reads as missing. Where nothing can be written (full or read-only disk), one warning says so, and rows that
    can't be kept stay missing. Reading and writing go through system calls and not through a memory map: on a full
    disk, a store into the map of a sparse file would end the process by a signal.

    Args:
        folder: Folder of its own; made if it isn't there.
        meta: JSON-serialisable mapping that says what the rows are.
        count: Number of rows.
        width: Numbers in a row.
        salt: Integer that sets the rows of this table apart from those of any other.

    Raises:
        ValueError: If the folder holds something else than this table, or a damaged one.
    """

    def __init__(self, folder, meta, count, width, salt):
        self.folder = Path(folder)
        self.width = width
        self._salt = salt
        self._record = 4 * (width + 1)  # bytes of a row with its checksum
        self._descriptor = None
        self._storing = True
        self._warning = threading.Lock()
        try:
            self._create(meta, count * self._record)
        except OSError as error:
            self._stop_storing(error)
        try:
            if (self.folder / META).exists():
                self._check(meta, count * self._record)
                self._open()
        except OSError as error:
            self._stop_storing(error)

    def read(self, rows):
        """Reads some rows.

        Args:
            rows: (B,) integers.

        Returns:
            (values, present): float32 (B, width), and bool (B,): whether the row is there; where not, its values are 0.
        """
        blank = bytes(self._record)
        records, present = [blank] * len(rows), np.zeros(len(rows), bool)
        if self._descriptor is not None:
            try:
                for index, row in enumerate(rows.tolist()):
                    record = os.pread(self._descriptor, self._record, row * self._record)
                    if len(record) == self._record and self._checksum(memoryview(record)[:-4], row) == record[-4:]:
                        records[index], present[index] = record, True
            except OSError as error:  # what could be read so far is good
                self._stop_storing(error)
        values = np.frombuffer(b"".join(records), "<f4").reshape(len(rows), self.width + 1)[:, :-1]
        return np.array(values, np.float32), present

    def write(self, rows, values):
        """Writes some rows: (B,) integers, float32 (B, width)."""
        if not self._storing:
            return
        try:
            for row, value in zip(rows.tolist(), np.ascontiguousarray(values, "<f4"), strict=True):
                data = value.tobytes()
                written = os.pwrite(self._descriptor, data + self._checksum(data, row), row * self._record)
                if written != self._record:
                    raise OSError("only a part of a row could be written")
        except OSError as error:
            self._stop_storing(error)

    def _checksum(self, data, row):
        # Never 0, which is what a row that was never written reads as.
        return (zlib.crc32(data, (self._salt + row) & 0xFFFFFFFF) or 1).to_bytes(4, "little")

    def _create(self, meta, size):
        with disk.exclusive(self.folder / disk.LOCK, wait=True):
            if not (self.folder / META).exists():
                with open(self.folder / ROWS, "wb") as file:
                    file.truncate(size)
                # Last, so that a folder with it is complete.
                with disk.replacing(self.folder / META) as temporary:
                    temporary.write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")

    def _check(self, meta, size):
        try:
            problem = None if json.loads((self.folder / META).read_text(encoding="utf-8")) == meta else "other contents"
        except ValueError as error:
            problem = f"an unreadable {META} ({error})"
        path = self.folder / ROWS
        found = path.stat().st_size if path.is_file() else 0
        if problem is None and found != size:
            problem = f"{found:,} bytes in {ROWS}, where {size:,} were expected"
        if problem:
            raise ValueError(
                f"{self.folder} is not the cache of teacher outputs that it should be. Received: {problem}. "
                "Remove the folder, and it is made anew."
            )

    def _open(self):
        # A cache on a read-only disk is read all the same.
        writable = self._storing and os.access(self.folder / ROWS, os.W_OK)
        self._descriptor = os.open(self.folder / ROWS, os.O_RDWR if writable else os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)
        if self._storing and not writable:
            raise PermissionError(f"{self.folder / ROWS} is read-only")

    def _stop_storing(self, error):
        with self._warning:
            stopped, self._storing = not self._storing, False
        if not stopped:
            warnings.warn(
                f"Teacher outputs can't be kept in {self.folder} ({error.strerror or error}): training goes on, and "
                "asks the teacher anew for each image that isn't there. Make room or name another folder to be faster.",
                stacklevel=2,
            )
