"""What a pattern repeats: texts that it does match, with what stands before and after."""

import re

import pytest

from ringfence.core.repeats import repeated


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        ("x(?:ab|cd)+z", {("x", "ab", "z"), ("x", "cd", "z")}),
        (r"\bq?(a[bc])*\d", {("q", "ab", "0"), ("q", "ac", "0")}),
        ("k{3}[^a-z](?P<one>u)+(?P=one)", {("kkk0", "u", "")}),
        ("(?>t)(?:(?:e)+f)+", {("t", "ef", ""), ("t", "e", "f")}),
        ("(?:gg)+", {("", "g", "")}),
        ("a{2,9}b", set()),
        ("a++b", set()),
        ("[", set()),
    ],
)
def test_before_piece_and_after(pattern: str, texts: set[tuple[str, str, str]]) -> None:
    assert texts <= set(repeated(pattern))
    assert bool(texts) == bool(list(repeated(pattern)))


@pytest.mark.parametrize("pattern", [r"x(ab?|[cd]\s){2,}(y|z)\W", r"(\w[^\d]\S|e)+\D.f", "([A-C]|[^x])*k"])
def test_many_of_a_piece_between_the_two_match(pattern: str) -> None:
    found = list(repeated(pattern))
    assert found
    assert all(re.fullmatch(pattern, before + piece * 12 + after) for before, piece, after in found)
