"""Where the rows of a ``.json`` file are."""

import io
from typing import Any

import pytest

from ringfence.data.json_files import MARK, is_lines, rows_in

ROW, OTHER = {"prompt": "Why?"}, {"prompt": "How?"}


def is_prompt(row: dict[str, Any]) -> bool:
    return "prompt" in row


@pytest.mark.parametrize("mark", [b"", MARK])
@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b'{"a": 1}\n{"a": 2}\n', True),
        (b'\n  \n{"a": 1}\n\n{"a": 2}', True),
        (b'{"a": 1}\r\n{"a": 2}\r\n', True),
        (b'{"a": 1}\nbroken', True),  # the second line is named as what is wrong
        (b'{"a": 1}\n\n', False),  # one row is one JSON value
        (b'{\n  "a": 1\n}\n', False),
        (b'{"rows": [\n{"a": 1},\n{"a": 2}\n]}', False),
        (b'[{"a": 1},\n{"a": 2}]', False),
        (b'  [\n{"a": 1}\n]', False),
        (b"no JSON at all\n", True),
        (b"", True),
    ],
)
def test_a_row_a_line_or_one_value(mark: bytes, text: bytes, lines: bool) -> None:
    assert is_lines(io.BytesIO(mark + text)) is lines


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        ([ROW, OTHER], [ROW, OTHER]),
        ([], []),
        (["not a row"], ["not a row"]),  # whoever reads the rows says what is wrong with one
        (ROW, [ROW]),
        ({"version": 2, "tags": ["a"], "empty": [], "data": [ROW, OTHER]}, [ROW, OTHER]),
        ({"train": [ROW], "test": [OTHER]}, None),
        ({"tags": ["a", "b"]}, None),
        ({"data": {"rows": [ROW]}}, None),
        ({}, None),
        ("prompt", None),
        (None, None),
    ],
)
def test_rows_of_a_value(value: Any, rows: list[Any] | None) -> None:
    assert rows_in(value, is_prompt) == rows


def test_an_object_that_is_a_row_is_one_whatever_lists_it_has() -> None:
    row = {"prompt": "Why?", "messages": [{"role": "user"}]}
    assert rows_in(row, is_prompt) == [row]
    assert rows_in(row, lambda _: False) == [{"role": "user"}]
