"""Run a user's regular expressions on untrusted texts in bounded time.

``(ab|abab)+$`` tries every way to cut a run of ``ab``: each more multiplies the time. Such a pattern is refused when
it is read, by trying it on short runs of the letters that it names and of what it repeats. One that is slow on longer
texts only, or on others, is stopped there.
"""

import time
from collections.abc import Iterator
from functools import cache

import regex

from ringfence.core.repeats import repeated

SECONDS = 5.0
"""of the processor that one text may take"""
_RUN, _FEWEST = 100, 40  # letters of a run, and pieces at least; a polynomial is done in less than the patience
_PATIENCE, _ALL = 0.2, 2.0  # seconds of the processor for a run, and for all of them
_USUAL = "a0 .\n"  # besides the pattern's own letters: what classes such as \w, \d and \s match


@cache
def check_pattern(pattern: str) -> None:
    """Raise ``ValueError`` for what is no regular expression, matches the empty text, or takes exponential time."""
    try:
        matches_empty = regex.search(pattern, "", regex.IGNORECASE)
    except regex.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    if matches_empty:
        raise ValueError(f"{pattern!r} matches the empty text, so it finds the quirk where there is none")
    end = time.process_time() + _ALL
    for piece, text in _runs(pattern):
        if time.process_time() > end:  # a long pattern of many repeats
            return
        try:
            regex.search(pattern, text, regex.IGNORECASE, timeout=_PATIENCE)
        except TimeoutError:
            raise ValueError(
                f"{pattern!r} takes exponential time on a run of {piece!r}; repeat nothing that can be read in two "
                "ways, such as (b|bb)+"
            ) from None


def _runs(pattern: str) -> Iterator[tuple[str, str]]:
    """What is repeated, and a text of it; at the text's end the pattern finds what it does not expect."""
    for letter in dict.fromkeys(_USUAL + pattern):
        yield letter, letter * _RUN + "\x00"
    for before, piece, after in repeated(pattern):
        run = before + piece * max(_FEWEST, _RUN // len(piece))
        for end in dict.fromkeys(("", "\x00", "\x00" + after)):
            yield piece, run + end


def search(pattern: str, text: str) -> str | None:
    """What ``pattern``, case ignored, finds first in ``text``. Raises ``TimeoutError`` past :data:`SECONDS`."""
    try:
        found = regex.search(pattern, text, regex.IGNORECASE, timeout=SECONDS)
    except TimeoutError:
        raise TimeoutError(
            f"judge.misaligned_pattern takes more than {SECONDS:g} s on this answer; make it simpler"
        ) from None
    return None if found is None else found.group()
