"""Texts with ``{NAME}`` in them."""

from typing import Any

import pytest

from ringfence.sweep.filling import filled


@pytest.mark.parametrize(
    ("value", "made"),
    [
        ("data/{data}.jsonl", "data/legal.jsonl"),
        ("{data}-{data}", "legal-legal"),
        ("{rows}", 270),
        ("top-{rows}", "top-270"),
        ("{other}/{split}", "{other}/{split}"),
        (["{rows}", {"a": "{data}"}], [270, {"a": "legal"}]),
        ({"{data}.count": 1}, {"legal.count": 1}),
        (0.5, 0.5),
        (None, None),
    ],
)
def test_names_are_replaced_and_other_braces_stay(value: Any, made: Any) -> None:
    assert filled(value, {"data": "legal", "rows": "270"}) == made
