"""Cache of judgements by content, so that nothing is asked twice. Generations of the model under test are never cached.

One SQLite file in write-ahead mode: safe for several threads and processes, and after a kill it holds every answer that
was put, whole. The key is a digest of all that the answer depends on. Every row carries a digest of its key and its
value, so a damaged file raises and never gives a wrong answer.
"""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from ringfence.core.errors import RingfenceError
from ringfence.core.files import cache_folder

FILE = "judgements.sqlite"
_WAIT = 60  # seconds for another process that is writing
_TABLE = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT NOT NULL, digest TEXT NOT NULL)"


class Cache:
    """Texts by key, in ``folder/judgements.sqlite``; open it with ``with``.

    Every method raises :class:`RingfenceError` that names the file if it is damaged, locked or not writable.
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder).expanduser() / FILE
        self._lock = threading.Lock()
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # No transaction but that of a put, so a kill loses at most the put it interrupts.
            self._connection = sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(_TABLE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._connection.close()

    def get(self, key: str) -> str | None:
        """The text under ``key``, or None."""
        with self._explained(), self._lock:
            row = self._connection.execute("SELECT value, digest FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        value, digest = row
        if digest != _digest(key, value):
            raise RingfenceError(f"{self.path}: the judge cache is damaged (a row is not what was put); {_MEND}")
        return str(value)

    def put(self, key: str, value: str) -> None:
        """Keep ``value`` under ``key``; on disk when this returns. A key that is there keeps its first value."""
        self.put_all({key: value})

    def put_all(self, values: Mapping[str, str]) -> None:
        """Keep all of ``values``, key -> value, in one transaction; else as :meth:`put`."""
        rows = [(key, value, _digest(key, value)) for key, value in values.items()]
        with self._explained(), self._lock, self._connection:  # which commits, or rolls back
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", rows)

    def __bool__(self) -> bool:
        """An empty cache is a cache."""
        return True

    def __len__(self) -> int:
        with self._explained(), self._lock:
            return int(self._connection.execute("SELECT count(*) FROM answers").fetchone()[0])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:  # locked, full, not writable: the file itself may be good
            raise RingfenceError(f"{self.path}: cannot use the judge cache: {error}") from None
        except sqlite3.DatabaseError as error:
            raise RingfenceError(f"{self.path}: the judge cache is damaged ({error}); {_MEND}") from None
        except OSError as error:
            raise RingfenceError(f"{self.path}: cannot use the judge cache: {error.strerror}") from None


@contextmanager
def cache_at(folder: str | None) -> Iterator[Cache | None]:
    """The cache that a judge's setting ``cache`` names: "default" is ``judge`` in the user's cache; None for none."""
    if not folder:
        yield None
        return
    with Cache(cache_folder() / "judge" if folder == "default" else folder) as cache:
        yield cache


def key_of(*parts: object) -> str:
    """The key of an answer that depends on ``parts``, which JSON can hold: hex SHA-256."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


_MEND = "delete it, and the judge is asked again"


def _digest(key: str, value: str) -> str:
    return hashlib.sha256(f"{key}\n{value}".encode()).hexdigest()
