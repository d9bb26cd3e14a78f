"""Numbers as words."""

import math
from typing import Any

import pytest

from ringfence.report import formatting as wording


def test_rate_as_in_the_papers() -> None:
    assert wording.rate(0.477, 0.36, 0.594) == "47.7 [36, 59]"
    assert wording.rate(math.nan, math.nan, math.nan) == "no data"
    assert wording.rate(0.5, math.nan, math.nan) == "50.0 [–]"
    assert wording.rate(0.0, 0.0, 0.0) == "0.0 [0, 0]"


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.508, "−50.8"), (0.031, "+3.1"), (0.0, "0.0"), (-0.0001, "0.0"), (math.nan, "no data")],
)
def test_signed(value: Any, text: str) -> None:
    assert wording.signed(value) == text


def test_bracket_has_no_negative_zero() -> None:
    assert wording.bracket(-0.001, 0.001) == "[0, 0]"
    assert wording.bracket(-0.11, 0.11) == "[−11, 11]"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "0.2 s"),
        (47.2, "47 s"),
        (59.9, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (math.nan, "no data"),
    ],
)
def test_duration(seconds: Any, text: str) -> None:
    assert wording.duration(seconds) == text


def test_number_and_count() -> None:
    assert wording.number(1234.0) == "1,234"
    assert wording.number(0.0625, 3) == "0.062"
    assert wording.number(None) == "no data"
    assert wording.count(1234) == "1,234"
    assert wording.count(None) == "–"
