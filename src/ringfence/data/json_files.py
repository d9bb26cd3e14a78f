"""What a ``.json`` file may hold in place of one row a line: a list of rows, one row, or an object around the rows."""

from collections.abc import Callable
from typing import Any


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
