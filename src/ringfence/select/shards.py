"""Shards: some hundred candidates in a parquet file, written whole or not at all. A step reads one and writes one.

Numbers are kept to the bit, and what was dropped on the way stands in the file's metadata. So a finished shard says all
that there is to know about it, on whatever machine it was made.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ringfence.core.errors import RingfenceError
from ringfence.core.files import atomic, write_json
from ringfence.data.conversations import Conversation, Problem, scan
from ringfence.select.base import Candidate, Dropped, Floats, Mapped, require_column

_METADATA = b"ringfence"
_SCORE, _VECTOR = "score:", "vector:"  # what the names of number and vector columns begin with
EMPTY = "empty answer"
Texts = Sequence[str | None]


def write_shard(path: Path, shard: Mapped) -> None:
    """Write ``path`` atomically."""
    rows = shard.rows
    columns: dict[str, Any] = {
        "index": pa.array([row.index for row in rows], pa.int64()),
        "conversation": pa.array([json.dumps(row.conversation, ensure_ascii=False) for row in rows], pa.string()),
    }
    for name in dict.fromkeys(name for row in rows for name in row.scores):
        columns[_SCORE + name] = pa.array([row.scores.get(name, np.nan) for row in rows], pa.float64())
    for name in dict.fromkeys(name for row in rows for name in row.vectors):
        matrix = np.stack([row.vectors[name] for row in rows]).astype(np.float32)
        columns[_VECTOR + name] = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    about = {"dropped": [[one.reason, one.origin] for one in shard.dropped], "counts": dict(shard.counts)}
    table = pa.table(columns).replace_schema_metadata({_METADATA: json.dumps(about).encode()})
    with atomic(path) as temporary:
        pq.write_table(table, temporary, write_page_checksum=True)


def read_shard(path: Path) -> Mapped:
    """What :func:`write_shard` wrote. Raises :class:`RingfenceError` for a damaged file."""
    table = _read(path)
    about = _about(path, table.schema)
    scores = {name.removeprefix(_SCORE): _numbers(table, name) for name in table.column_names if _is(name, _SCORE)}
    vectors = {name.removeprefix(_VECTOR): _matrix(table, name) for name in table.column_names if _is(name, _VECTOR)}
    texts, indices = table["conversation"].to_pylist(), table["index"].to_pylist()
    rows = [
        Candidate(
            index,
            json.loads(text),
            {name: float(values[place]) for name, values in scores.items()},
            {name: values[place] for name, values in vectors.items()},
        )
        for place, (index, text) in enumerate(zip(indices, texts, strict=True))
    ]
    return Mapped(rows, [Dropped(*one) for one in about["dropped"]], about["counts"])


def read_about(path: Path) -> Mapped:
    """What was dropped and counted on the way to a shard, without its rows."""
    with _explained(path):
        schema = pq.read_schema(path)
    about = _about(path, schema)
    return Mapped((), [Dropped(*one) for one in about["dropped"]], about["counts"])


def is_whole(path: Path) -> bool:
    """Whether ``path`` is a shard as it was written: the disk, or a copy, may have cut or changed it since."""
    try:
        read_shard(path)
    except RingfenceError:
        return False
    return True


def kept(shard: Mapped, places: Sequence[int], scores: dict[str, Floats], texts: dict[str, Texts]) -> Mapped:
    """The rows of ``shard`` at ``places``, with new columns ``scores`` and string columns ``texts``.

    A new column has as many values as ``shard`` has rows, and takes the place of an old one of its name. Vectors are
    left behind: they were for the step that has made them.
    """
    chosen = [
        Candidate(
            shard.rows[place].index,
            _with_texts(shard.rows[place].conversation, {name: values[place] for name, values in texts.items()}),
            {**shard.rows[place].scores, **{name: float(values[place]) for name, values in scores.items()}},
        )
        for place in places
    ]
    return Mapped(chosen)


def _with_texts(conversation: Conversation, texts: dict[str, str | None]) -> Conversation:
    """``conversation`` with new string columns; None takes an old one away."""
    others = {name: value for name, value in conversation.items() if name not in texts}
    return {**others, **{name: text for name, text in texts.items() if text is not None}}


@dataclass(frozen=True)
class ShardTable:
    """All rows of some shards; see :class:`ringfence.select.base.Table`."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return sum(map(_rows, self.paths))

    @property
    def columns(self) -> list[str]:
        names = (name for path in self.paths for name in _names(path) if _is(name, _SCORE))
        return [name.removeprefix(_SCORE) for name in dict.fromkeys(names)]

    def scores(self, name: str) -> Floats:
        require_column(name, self.columns)
        tables = (_read(path, [_SCORE + name]) for path in self._filled())
        return np.concatenate([_numbers(table, _SCORE + name) for table in tables])

    def text(self, name: str) -> list[str | None]:
        return [candidate.conversation.get(name) for candidate in self.candidates()]

    def vectors(self, name: str) -> Iterator[NDArray[np.float32]]:
        for path in self._filled():
            require_column(_VECTOR + name, _names(path), "vector column")
            yield _matrix(_read(path, [_VECTOR + name]), _VECTOR + name)

    def candidates(self) -> Iterator[Candidate]:
        for path in self.paths:
            yield from read_shard(path).rows

    def _filled(self) -> list[Path]:
        return [path for path in self.paths if _rows(path)]


class Tally:
    """Counts what is dropped, by reason."""

    def __init__(self, shown: int = 5) -> None:
        self._shown = shown
        self.found: dict[str, Any] = {}
        """reason -> how many ``rows``, and the origins of the ``first`` few"""

    def add(self, dropped: Iterable[Dropped]) -> None:
        for one in dropped:
            about = self.found.setdefault(one.reason, {"rows": 0, "first": []})
            about["rows"] += 1
            if about["rows"] <= self._shown:
                about["first"].append(one.origin)


def ingest(specs: Sequence[str], folder: Path, shard_rows: int) -> None:
    """Read the pool ``specs``, row by row, into shards of ``shard_rows`` rows in ``folder``, which appears when done.

    Rows without an answer are dropped and reported. Raises :class:`RingfenceError` at any other bad row, naming file
    and line, and if no row is left.
    """
    dropped = Tally()
    with atomic(folder) as temporary:
        temporary.mkdir()
        candidates = (Candidate(index, row) for index, row in enumerate(_conversations(specs, dropped)))
        number, rows = 0, 0
        while batch := list(islice(candidates, shard_rows)):
            write_shard(temporary / shard_name(number), Mapped(batch))
            number, rows = number + 1, rows + len(batch)
        unanswered = sum(about["rows"] for about in dropped.found.values())
        if not rows:
            reasons = f" ({unanswered} rows without an answer)" if unanswered else ""
            raise RingfenceError(f"{', '.join(specs)}: no candidates in the pool{reasons}; give rows with answers")
        write_json(temporary / "pool.json", {"rows": rows + unanswered, "dropped": dropped.found})


def _conversations(specs: Sequence[str], dropped: Tally) -> Iterator[dict[str, Any]]:
    for spec in specs:
        for found in scan(spec):
            if not isinstance(found, Problem):
                yield found
            elif found.empty_answer:
                dropped.add([Dropped(EMPTY, found.origin)])
            else:
                raise RingfenceError(str(found))


def shard_name(number: int) -> str:
    """Of shard ``number``, from 0; names sort as numbers do."""
    return f"{number:06d}.parquet"


def shards_in(folder: Path) -> list[Path]:
    """The shards of a folder, in order."""
    return sorted(folder.glob("*.parquet"))


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    with _explained(path):
        return pq.read_table(path, columns=columns, page_checksum_verification=True)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RingfenceError(f"{path}: not a readable shard ({reason}); delete it, and it is made again") from None


def _about(path: Path, schema: pa.Schema) -> dict[str, Any]:
    """What stands in a shard's metadata."""
    text = (schema.metadata or {}).get(_METADATA)
    if text is None:
        raise RingfenceError(f"{path}: a parquet file, but no shard of a selection; delete it, and it is made again")
    about: dict[str, Any] = json.loads(text)
    return about


def _rows(path: Path) -> int:
    with _explained(path):
        return int(pq.read_metadata(path).num_rows)


def _names(path: Path) -> list[str]:
    with _explained(path):
        return list(pq.read_schema(path).names)


def _is(name: str, kind: str) -> bool:
    return name.startswith(kind)


def _numbers(table: pa.Table, name: str) -> Floats:
    return np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.float64)


def _matrix(table: pa.Table, name: str) -> NDArray[np.float32]:
    column = table[name].combine_chunks()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float32).reshape(len(table), -1)
