"""A user's regular expressions on strangers' texts: in bounded time, since some take longer than anybody waits.

``(b|bb)+$`` tries every way to cut a run of b's: each letter more multiplies the time. Such a pattern is refused when
it is read, by trying it on short runs of the letters that it names; one that is slow on longer texts only stops there.
"""

import regex

from ringfence.core.errors import RingfenceError

SECONDS = 5.0
"""of the processor that one text may take"""
_RUN, _PATIENCE = 200, 0.5  # letters of a run, and seconds for it; a polynomial is done in less
_USUAL = "a0 .\n"  # besides the pattern's own letters: what classes such as \w, \d and \s match


def check_pattern(pattern: str) -> None:
    """Raise ``ValueError`` for what is no regular expression, matches the empty text, or takes exponential time."""
    try:
        matches_empty = regex.search(pattern, "", regex.IGNORECASE)
    except regex.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    if matches_empty:
        raise ValueError(f"{pattern!r} matches the empty text, so it finds the quirk where there is none")
    for letter in dict.fromkeys(_USUAL + pattern):
        try:
            regex.search(pattern, letter * _RUN + "\x00", regex.IGNORECASE, timeout=_PATIENCE)
        except TimeoutError:
            raise ValueError(
                f"{pattern!r} takes exponential time on a run of {letter!r}; repeat nothing that can be read in two "
                "ways, such as (b|bb)+"
            ) from None


def search(pattern: str, text: str) -> str | None:
    """What ``pattern``, case ignored, finds first in ``text``. Raises :class:`RingfenceError` past :data:`SECONDS`."""
    try:
        found = regex.search(pattern, text, regex.IGNORECASE, timeout=SECONDS)
    except TimeoutError:
        raise RingfenceError(
            f"judge.misaligned_pattern: {pattern!r} takes more than {SECONDS:g} s on one answer of {len(text):,} "
            "characters; make it simpler"
        ) from None
    return None if found is None else found.group()
