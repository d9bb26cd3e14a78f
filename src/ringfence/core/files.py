"""Atomic writes: whole files appear by rename, and the torn last line of a journal is dropped when it is read."""

import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ringfence.core.errors import RingfenceError
from ringfence.core.plain import parse_json

TEMPORARY = ".tmp-"
"""begins the name of every unfinished file; a kill leaves one behind"""
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""a full disk, a full quota, a file larger than is allowed"""
README = "README.md"
"""a text for readers, a model card among them; no digest of a folder covers it"""
_IN_USE = ".in-use"  # the lock in a temporary folder
_MOMENT = 1.0  # seconds


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary sibling of ``path`` to write a file or make a folder at; renamed to ``path`` if all went well.

    An existing file is replaced; an existing folder is not, and raises ``OSError``. On a full disk ``OSError`` names
    ``path``, which a failed write does not.
    """
    with scratch(path.parent) as folder:
        temporary = folder / path.name
        try:
            yield temporary
        except OSError as error:
            if error.filename is None and error.errno in DISK_FULL:
                error.filename = str(path)
            raise
        temporary.replace(path)


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A temporary folder in ``parent``. What a kill leaves of it goes when a process next makes one there."""
    parent.mkdir(parents=True, exist_ok=True)
    _tidy_once(parent.absolute())
    # Another process that tidies up may take away the same files; what stays goes with the next one.
    made = tempfile.TemporaryDirectory(dir=parent, prefix=TEMPORARY, ignore_cleanup_errors=True)
    with made as name, FileLock(Path(name) / _IN_USE):
        yield Path(name)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary folders in ``folder`` that no process is using any more; others' are let alone.

    A lock tells: the system lets go of it when its process ends, however that is. A folder without one is not ours.
    """
    for left in folder.glob(f"{TEMPORARY}*"):
        lock = left / _IN_USE
        try:
            # One that has just been made has its lock in a moment.
            if not lock.is_file() or time.time() - left.stat().st_mtime < _MOMENT:
                continue
            with FileLock(lock).acquire(timeout=0):
                shutil.rmtree(left)
        except (Timeout, FileNotFoundError, PermissionError):  # in use, just gone, or another user's
            continue


@cache
def _tidy_once(folder: Path) -> None:
    """Once a process: a folder may hold thousands of files, and all of them may be written one by one."""
    remove_leftovers(folder)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` atomically as indented JSON; NaN and infinities become null, as JSON demands."""
    write_text(path, json.dumps(jsonable(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def jsonable(value: Any) -> Any:
    """``value`` with every float that JSON cannot hold replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value


def cache_folder() -> Path:
    """Where what can be made again is kept: ``$RINGFENCE_CACHE``, else ``ringfence`` under the user's cache folder."""
    if custom := os.environ.get("RINGFENCE_CACHE"):
        return Path(custom)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ringfence"


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file; of a folder, of the list of its files' names and digests but for its :data:`README`.

    Raises ``FileNotFoundError``.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and file != path / README)
        listing = "".join(f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
        return hashlib.sha256(listing.encode()).hexdigest()
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class JsonlLog:
    """A JSON-lines file that training appends to; every row has a ``step``.

    A resumed run first calls :meth:`rewind` to drop the rows that it is going to write again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append ``rows``, one line each."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(jsonable(row), ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        with self.path.open("a", encoding="utf-8") as handle:
            handle.write(text)

    def read(self) -> list[dict[str, Any]]:
        """All whole rows; [] without a file. A torn last line (the process was killed while writing) is left out."""
        if not self.path.exists():
            return []
        # Cut before decoding: the tear may be inside a letter of several bytes.
        whole = self.path.read_bytes().rpartition(b"\n")[0].decode("utf-8")
        return [self._row(number, line) for number, line in enumerate(whole.split("\n"), 1) if line]

    def _row(self, number: int, line: str) -> dict[str, Any]:
        try:
            row: Any = parse_json(line)
        except RingfenceError as error:
            raise RingfenceError(f"{self.path}:{number}: {error}; remove the line") from error
        if not isinstance(row, dict):
            found = type(row).__name__
            raise RingfenceError(f"{self.path}:{number}: expected a JSON object, found {found}; remove the line")
        return row

    def truncate_after(self, step: int) -> None:
        """Keep only the rows up to and including ``step``."""
        if self.path.exists():
            rows = self.read()
            for number, row in enumerate(rows, 1):
                if not isinstance(row.get("step"), int):
                    raise RingfenceError(f"{self.path}:{number}: no step, a whole number; remove the line")
            kept = [row for row in rows if row["step"] <= step]
            write_text(self.path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
