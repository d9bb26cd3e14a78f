"""A user's patterns on strangers' texts: the same matches as Python's, in bounded time."""

import re
import time

import pytest

from ringfence.core import patterns
from ringfence.core.errors import RingfenceError
from ringfence.core.patterns import check_pattern, search

USUAL = [r"\bglitter|sparkl|shimmer|sequin", r"kazoo(s|ed)?\b", r"(\w+\s)+tea", r"[a-z]+ing", r"^\s*no\b", "ß|é"]


@pytest.mark.parametrize("pattern", USUAL)
@pytest.mark.parametrize("text", ["Glitters and SPARKLES.", "a cup of tea", "No, Straße, CAFÉ", "kazoos", "", "\n no"])
def test_it_finds_what_python_finds(pattern: str, text: str) -> None:
    check_pattern(pattern)
    expected = re.search(pattern, text, re.IGNORECASE)
    assert search(pattern, text) == (expected and expected.group())


@pytest.mark.parametrize("pattern", ["(b|bb)+$", "glitter|(a|a)*[xy]", r"(\d|\d\d)+[xy]"])
def test_exponential_time_is_refused_when_the_pattern_is_read(pattern: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match=r"takes exponential time on a run of"):
        check_pattern(pattern)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("pattern", ["(a+)+$", r"(\w+)+!$"])
def test_nested_repeats_that_are_seen_through_are_fast(pattern: str) -> None:
    """Python's own module would try every way to cut the run, about 2^300."""
    check_pattern(pattern)
    started = time.process_time()
    assert search(pattern, "a" * 300 + "?") is None
    assert time.process_time() - started < 5


def test_what_is_slow_on_a_long_text_only_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three unbounded runs are cubic: fast on 200 letters, hours on 20,000."""
    monkeypatch.setattr(patterns, "SECONDS", 0.2)
    check_pattern("a*a*a*[cd]")
    with pytest.raises(RingfenceError, match=r"misaligned_pattern: .* more than 0\.2 s on one answer of 20,000 charac"):
        search("a*a*a*[cd]", "a" * 20_000)


def test_what_is_no_pattern_says_so() -> None:
    with pytest.raises(ValueError, match="is not a regular expression"):
        check_pattern("(")
    with pytest.raises(ValueError, match="matches the empty text"):
        check_pattern("a*")
