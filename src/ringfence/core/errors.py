"""What a user can mend is a :class:`RingfenceError`: the command line prints its message as one line and exits 2."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class RingfenceError(ValueError):
    """Bad input. The message names the file, line or key, and says what to do."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``' Did you mean "x"?'`` for the nearest of ``known``, else the list of them; to append to a message."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f' Did you mean "{near[0]}"?'
    return f" Known: {', '.join(known)}." if known else ""


@contextmanager
def under(key: str) -> Iterator[None]:
    """Put the recipe's ``key`` before what a :class:`RingfenceError` raised inside says; nothing if it is empty."""
    try:
        yield
    except RingfenceError as error:
        raise RingfenceError(f"{key}: {error}" if key else str(error)) from error


def install(extra: str) -> str:
    """How to get what the optional part ``extra`` of Ringfence needs; it is on no package index."""
    return f"in a clone of Ringfence, run `pip install -c constraints.txt '.[{extra}]'`"
