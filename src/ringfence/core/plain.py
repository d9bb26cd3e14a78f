"""Parse JSON and YAML of unknown origin: any fault in it is a message of one line."""

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ringfence.core.errors import RingfenceError

DEEPEST = 100
"""levels of lists and objects inside each other"""
LARGEST = 100_000
"""values of a YAML file, each alias counted where it stands"""
POINTER = b"version https://git-lfs.github.com/spec/v1"
"""begins what Git LFS leaves in the place of a file that it has not fetched"""
LONG_INTEGER = "an integer has more digits than can be read: write it as a text"
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")  # may be a half; a whole pair is one character once it is read
OnRepeat = Callable[[str], None]


class JsonError(RingfenceError):
    """What is wrong with JSON, without the file, and on which ``line`` of it."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.line = line


def parse_json(text: str | bytes, on_repeat: OnRepeat | None = None) -> Any:
    """The data in ``text``; ``on_repeat`` is told each key that an object has twice (the last value counts).

    Raises :class:`JsonError` for what is no UTF-8 and no JSON, for what is nested deeper than :data:`DEEPEST`, for an
    integer too long to convert and for half a surrogate pair, which can be neither written nor tokenized.
    """
    if isinstance(text, bytes):
        text = _decoded(text)
    hook = None if on_repeat is None else lambda pairs: _object(pairs, on_repeat)
    try:
        value = json.loads(text, object_pairs_hook=hook)
    except json.JSONDecodeError as error:
        raise JsonError(f"malformed JSON at column {error.colno}: {error.msg}", error.lineno) from error
    except RecursionError:
        raise JsonError(_too_deep()) from None
    except ValueError:  # of int(), which takes 4,300 digits
        raise JsonError(LONG_INTEGER) from None
    if text.count("[") + text.count("{") > DEEPEST or _HALF_PAIR.search(text):
        _checked(value, JsonError)
    return value


def refuse_pointer(content: bytes, label: object) -> None:
    """Raise :class:`RingfenceError` if ``content``, the first bytes of the file ``label``, is a Git LFS pointer."""
    if content.startswith(POINTER):
        raise RingfenceError(f"{label}: a Git LFS pointer in place of the file: run `git lfs pull` in its clone.")


def refuse_pointer_at(path: Path) -> None:
    """:func:`refuse_pointer` of the file at ``path``; raises ``OSError`` if it cannot be read."""
    with path.open("rb") as handle:
        refuse_pointer(handle.read(len(POINTER)), path)


def read_json(path: Path, remedy: str = "mend the file") -> Any:
    """The data in a JSON file. Raises :class:`RingfenceError` with file and line; ``remedy`` says what to do."""
    try:
        refuse_pointer_at(path)
        return parse_json(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except FileNotFoundError:
        raise RingfenceError(f"{path}: no such file; {remedy}") from None
    except OSError as error:
        raise RingfenceError(f"{path}: cannot be read ({error.strerror or error}); {remedy}") from error
    except JsonError as error:
        raise RingfenceError(f"{path}:{error.line}: {error}; {remedy}") from error


def require_plain(value: Any) -> None:
    """Raise :class:`RingfenceError` for data that is nested too deep or too large, and for half a surrogate pair.

    Aliases of YAML can make a few lines endless, or larger than any memory.
    """
    _checked(value, RingfenceError, LARGEST)


def _checked(value: Any, error: type[RingfenceError], most: float = math.inf) -> None:
    waiting, seen = [(value, 0)], 0
    while waiting:
        item, depth = waiting.pop()
        seen += 1
        if depth >= DEEPEST and isinstance(item, dict | list):
            raise error(_too_deep())
        if seen > most:
            raise error(f"more than {most:,} values: make it smaller")
        if isinstance(item, dict):
            waiting += [(part, depth + 1) for pair in item.items() for part in pair]
        elif isinstance(item, list):
            waiting += [(part, depth + 1) for part in item]
        elif isinstance(item, str) and any("\ud800" <= character <= "\udfff" for character in item):
            raise error("there is half a surrogate pair in a text: mend the cut emoji")


def _too_deep() -> str:
    return f"nested deeper than {DEEPEST} levels: make it flatter"


def _object(pairs: list[tuple[str, Any]], on_repeat: OnRepeat) -> dict[str, Any]:
    for key, count in Counter(key for key, _ in pairs).items():
        if count > 1:
            on_repeat(key)
    return dict(pairs)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        begin = data.rfind(b"\n", 0, error.start) + 1
        raise JsonError(f"not UTF-8 at byte {error.start - begin + 1}: save the file as UTF-8", line) from error
