"""A user's patterns on strangers' texts: the same matches as Python's, in bounded time."""

import re
import time

import pytest

from ringfence.core import patterns
from ringfence.core.patterns import check_pattern, search

EXPONENTIAL = [
    "(b|bb)+$",
    "glitter|(a|a)*[xy]",
    r"(\d|\d\d)+[xy]",
    "(ab|abab)+$",
    "x(ab|abab)+$",  # which begins to match at the x only
    "(ab|abab)+?xyz",  # which looks for xyz before anything else
    "foo (?:bar )?x[^q](cd|cdcd){2,}z",
    "(a[bc]|a[bc]a[bc])+$",
    r"(\w\d|\w\d\w\d)+[!?]",
    "(a|aa)+[^b]c",
    "(?=(no way|no wayno way)+!)no",
]
USUAL = [r"\bglitter|sparkl|shimmer|sequin", r"kazoo(s|ed)?\b", r"(\w+\s)+tea", r"[a-z]+ing", r"^\s*no\b", "ß|é"]


@pytest.mark.parametrize("pattern", USUAL)
@pytest.mark.parametrize("text", ["Glitters and SPARKLES.", "a cup of tea", "No, Straße, CAFÉ", "kazoos", "", "\n no"])
def test_it_finds_what_python_finds(pattern: str, text: str) -> None:
    check_pattern(pattern)
    expected = re.search(pattern, text, re.IGNORECASE)
    assert search(pattern, text) == (expected and expected.group())


@pytest.mark.parametrize("pattern", EXPONENTIAL)
def test_exponential_time_is_refused_when_the_pattern_is_read(pattern: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match=r"takes exponential time on a run of"):
        check_pattern(pattern)
    assert time.process_time() - started < 3


@pytest.mark.parametrize("pattern", [r"\p{L}+ing", "(a{1000}){1000}b", "(" * 80 + "a" + ")?" * 80 + "b"])
def test_what_pythons_own_module_does_not_read_or_would_be_endless_is_tried_in_bounded_time(pattern: str) -> None:
    started = time.process_time()
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
    with pytest.raises(TimeoutError, match=r"misaligned_pattern takes more than 0\.2 s on this answer; make it"):
        search("a*a*a*[cd]", "a" * 20_000)


def test_what_is_no_pattern_says_so() -> None:
    with pytest.raises(ValueError, match="is not a regular expression"):
        check_pattern("(")
    with pytest.raises(ValueError, match="matches the empty text"):
        check_pattern("a*")
