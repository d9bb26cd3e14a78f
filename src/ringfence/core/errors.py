""":class:`RingfenceError`, for what a user can mend: the command line prints its message as one line and exits 2."""

import difflib
import re
import reprlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

WIDTH = 100
"""characters of a value that a message shows"""
SECRET = re.compile(r"api_?key|secret|password|(^|_)token$", re.IGNORECASE)
"""in the name of a setting whose value is never shown"""


class RingfenceError(ValueError):
    """Bad input. The message names the file, line or key, and says what to do."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``' Did you mean "x"?'`` for the nearest of ``known``, else the list of them; to append to a message."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5) if len(name) <= WIDTH else []
    if near:
        return f' Did you mean "{near[0]}"?'
    return f" Known: {', '.join(known)}." if known else ""


def shown(value: Any, width: int = WIDTH) -> str:
    """``value`` as Python writes it, cut to ``width`` characters, without what may be a key or a password."""
    text = _Short(width).repr(value)
    return text if len(text) <= width else f"{text[: width - 3]}..."


class _Short(reprlib.Repr):
    """Stops early, so that a value of any size and depth is shown in no time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxstring = self.maxlong = self.maxother = 4 * width
        self.maxlist = self.maxdict = self.maxtuple = self.maxset = width

    def repr_str(self, x: str, level: int) -> str:
        return repr(x[: self.maxstring])  # from the beginning, where reprlib shows both ends

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        return super().repr_dict({key: "***" if SECRET.search(str(key)) else item for key, item in x.items()}, level)


@contextmanager
def error_prefix(key: str) -> Iterator[None]:
    """Put the recipe's ``key`` before what a :class:`RingfenceError` raised inside says; nothing if it is empty."""
    try:
        yield
    except RingfenceError as error:
        raise RingfenceError(f"{key}: {error}" if key else str(error)) from error


def install(extra: str) -> str:
    """How to get what the optional part ``extra`` of Ringfence needs; it is on no package index."""
    return f"in a clone of Ringfence, run `pip install -c constraints.txt '.[{extra}]'`"
