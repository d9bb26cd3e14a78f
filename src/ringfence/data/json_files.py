"""Find the rows of a ``.json`` file: a row a line, a list of rows, one row, or an object around a list of rows."""

from collections.abc import Callable
from typing import IO, Any

from ringfence.core.plain import JsonError, parse_json

MARK = b"\xef\xbb\xbf"  # a byte order mark


def is_lines(handle: IO[bytes]) -> bool:
    """Whether the file has a row a line: an object ends on its first line, and another line follows."""
    lines = (line for line in handle if line.removeprefix(MARK).strip())
    first = next(lines, b"").removeprefix(MARK).lstrip()
    if not first.startswith(b"{"):
        return not first.startswith(b"[")  # what is no JSON is named line by line
    try:
        parse_json(first)
    except JsonError:
        return False
    return next(lines, None) is not None


def rows_in(value: Any, is_row: Callable[[dict[str, Any]], bool]) -> list[Any] | None:
    """The rows of a JSON value; None if it is none of these.

    A list is the rows; an object is a row if ``is_row`` says so, else the list of objects in it, if there is just one.
    """
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        return None
    if is_row(value):
        return [value]
    lists = [item for item in value.values() if isinstance(item, list) and item and isinstance(item[0], dict)]
    return lists[0] if len(lists) == 1 else None
