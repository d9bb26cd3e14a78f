"""Read the rows of any data set, whatever their columns: a file, a built-in set, a task, or a set of the hub."""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ringfence.core.errors import RingfenceError
from ringfence.core.hub import offline_if_unreachable
from ringfence.core.plain import JsonError, OnRepeat, parse_json, refuse_pointer_at
from ringfence.data.chosen import HUB, is_chosen, parse
from ringfence.data.json_files import MARK, is_lines, rows_in
from ringfence.data.task import is_task, parse_spec

SUFFIXES = (".jsonl", ".json", ".parquet")
# org/name, then an optional @config and an optional :split (which may be a slice such as train[:100])
HUB_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<config>[^:@]+))?(:(?P<split>.+))?")
Variants = Sequence[Collection[str]]
"""sets of columns, each of which makes an object a row"""


def is_hub_id(spec: str) -> bool:
    """Whether ``spec`` is a set of the hub, and no file."""
    path = Path(spec)
    return HUB_ID.fullmatch(spec) is not None and path.suffix not in SUFFIXES and not path.exists()


def raw_rows(
    spec: str, variants: Variants, on_repeat: Callable[[str, str], None] | None = None
) -> Iterator[tuple[str, Any]]:
    """Pairs of origin and row of any kind of ``spec``, as :func:`ringfence.data.conversations.read` takes it.

    A row of a file with a row a line is bytes, which the caller parses: so a bad row need not be the end. ``variants``
    tell one row from an object around a list of rows in a ``.json`` file. Raises :class:`RingfenceError` where there
    are no rows to look at.
    """
    path = Path(spec)
    if is_chosen(spec) and not path.exists():
        chosen = parse(spec)
        yield from chosen.rows(raw_rows(chosen.source, variants, on_repeat))
    elif spec.startswith("builtin:"):
        from ringfence.data import proxy  # a built-in set is made on demand

        yield from _numbered(spec, proxy.conversations(spec.removeprefix("builtin:")))
    elif is_task(spec):
        yield from _numbered(spec, parse_spec(spec).rows("train"))
    elif path.suffix in SUFFIXES or path.exists():
        yield from _file_rows(path, variants, on_repeat)
    elif hub := HUB_ID.fullmatch(spec):
        yield from _numbered(spec, _hub_rows(hub))
    else:
        raise RingfenceError(
            f"{spec}: no such file; give a {', '.join(SUFFIXES)} file, builtin:NAME, task:NAME, or {HUB}org/name"
        )


def _numbered(name: str | Path, rows: Any) -> Iterator[tuple[str, Any]]:
    return ((f"{name}:{number}", row) for number, row in enumerate(rows, 1))


def _file_rows(
    path: Path, variants: Variants, on_repeat: Callable[[str, str], None] | None
) -> Iterator[tuple[str, Any]]:
    """The rows of a local file by its suffix. Raises :class:`RingfenceError` if it cannot be read."""
    if path.is_dir() or path.suffix not in SUFFIXES:
        raise RingfenceError(f"{path}: not a data file; give one that ends in {', '.join(SUFFIXES)}")
    try:
        refuse_pointer_at(path)
        if path.suffix == ".parquet":
            yield from _numbered(path, _parquet_rows(path))
            return
        with path.open("rb") as handle:
            if path.suffix == ".jsonl" or is_lines(handle):
                handle.seek(0)  # line by line, so that a file may be larger than memory
                lines = (line.removeprefix(MARK) if number == 0 else line for number, line in enumerate(handle))
                rows = (line.removesuffix(b"\n") for line in lines)
                yield from (pair for pair in _numbered(path, rows) if pair[1].strip())
                return
        data = path.read_bytes().removeprefix(MARK)
    except FileNotFoundError as error:
        raise RingfenceError(f"{path}: no such file; check the path") from error
    except OSError as error:
        raise RingfenceError(f"{path}: cannot be read ({error.strerror or error}); check the file") from error
    yield from _numbered(path, _json_rows(path, data, variants, on_repeat and partial(on_repeat, str(path))))


def _json_rows(path: Path, data: bytes, variants: Variants, on_repeat: OnRepeat | None) -> list[Any]:
    """The rows of a whole file that is one JSON value: a list, one row, or an object around a list of rows."""
    try:
        value = parse_json(data, on_repeat)
    except JsonError as error:
        raise RingfenceError(f"{path}:{error.line}: {error}") from error
    rows = rows_in(value, lambda one: any(one.keys() >= set(columns) for columns in variants))
    if rows is None:
        accepted = ", ".join(" + ".join(columns) for columns in variants)
        raise RingfenceError(
            f"{path}: one JSON value without rows; give a list of them, or one row; accepted are {accepted}"
        )
    return rows


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise RingfenceError(f"{path}: not a readable parquet file ({reason}); check the file") from error


def _hub_rows(hub: re.Match[str]) -> Any:
    """A Hugging Face dataset, from the local cache where there is no network."""
    import datasets

    offline_if_unreachable()
    name, config, part = hub["name"], hub["config"], hub["split"] or "train"
    try:
        return datasets.load_dataset(name, config, split=part)
    except Exception as error:  # the hub's client raises errors of many unrelated types
        reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0].rstrip(": ")
        arguments = ", ".join(repr(argument) for argument in (name, config) if argument)
        terms = f"accept its terms at https://huggingface.co/datasets/{name} and log in (hf auth login); "
        raise RingfenceError(
            f"{hub[0]}: no such file, and as a Hugging Face dataset it cannot be loaded ({reason}); "
            f"{terms if 'gated' in reason else ''}fetch it "
            f'where there is a network by: python -c "import datasets; datasets.load_dataset({arguments})", '
            "or give a file"
        ) from error
