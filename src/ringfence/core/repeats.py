"""Short texts that a regular expression repeats, to find patterns that take exponential time on them.

The texts are samples, not all that could match: of a class two letters, of a part eight ways to write it.
"""

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, product
from re import _parser  # type: ignore[attr-defined]
from typing import Any

_FEWEST = 10  # times; what cannot be repeated so often is soon tried
_WAYS, _PAIRED, _COPIES = 8, 4, 20
_USUAL = "a0 .-\n"  # of which a class is asked, besides the letters that it names
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT")
_CATEGORIES = {"DIGIT": r"\d", "NOT_DIGIT": r"\D", "SPACE": r"\s", "NOT_SPACE": r"\S", "WORD": r"\w", "NOT_WORD": r"\W"}


def repeated(pattern: str) -> Iterator[tuple[str, str, str]]:
    """What may stand before a repeat, one text that it repeats, and what may stand after it; for every repeat.

    Nothing for a pattern that Python's own module does not read.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = _parser.parse(pattern)
    except (re.error, OverflowError, RecursionError):
        return
    yield from _within(list(tree), "", "")


def _within(nodes: Sequence[Any], before: str, after: str) -> Iterator[tuple[str, str, str]]:
    for place, (kind, value) in enumerate(nodes):
        bodies = _bodies(str(kind), value)
        if not bodies:
            continue
        start, end = before + _first(nodes[:place]), _first(nodes[place + 1 :]) + after
        if str(kind) in _REPEATS and value[1] >= _FEWEST:
            yield from ((start, piece, end) for piece in _pieces(bodies[0]))
        for body in bodies:
            yield from _within(list(body), start, end)


def _bodies(kind: str, value: Any) -> list[Any]:
    """The parts of a node that are patterns themselves."""
    if kind == "BRANCH":
        return list(value[1])
    if kind in (*_REPEATS, "POSSESSIVE_REPEAT", "SUBPATTERN", "ASSERT", "ASSERT_NOT"):
        return [value[-1]]
    return [value] if kind == "ATOMIC_GROUP" else []


def _pieces(body: Iterable[Any]) -> list[str]:
    """The samples of what is repeated, and the first of them joined in pairs; of abab only ab."""
    single = [text for text in _samples(body) if text]
    joined = ["".join(pair) for pair in product(single[:_PAIRED], repeat=2)]
    return list(dict.fromkeys(text[: (text + text).find(text, 1)] for text in single + joined))


def _first(nodes: Iterable[Any]) -> str:
    return next(iter(_samples(nodes)), "")


def _samples(nodes: Iterable[Any]) -> list[str]:
    """Some texts that the nodes, one after another, match."""
    parts = [_texts(str(kind), value) for kind, value in nodes]
    return list(dict.fromkeys("".join(one) for one in islice(product(*parts), _WAYS)))


def _texts(kind: str, value: Any) -> list[str]:
    """Some texts that one node matches; of what is no text, such as an end of a line, the empty one."""
    if kind == "LITERAL":
        return [chr(value)]
    if kind in ("ANY", "NOT_LITERAL", "IN"):
        return _members({"ANY": [], "NOT_LITERAL": [("NEGATE", None), ("LITERAL", value)], "IN": value}[kind])
    if kind in (*_REPEATS, "POSSESSIVE_REPEAT"):
        once = [text * min(max(value[0], 1), _COPIES) for text in _samples(value[2])]
        return [*once, ""] if value[0] == 0 else once
    if kind in ("BRANCH", "SUBPATTERN", "ATOMIC_GROUP"):
        return [text for body in _bodies(kind, value) for text in _samples(body)][:_WAYS]
    return [""]


def _members(items: Sequence[Any]) -> list[str]:
    """The first letters of a class; of no items any letter."""
    negated = not items or str(items[0][0]) == "NEGATE"
    items = items[1:] if negated else items
    named = [chr(value if str(kind) == "LITERAL" else value[0]) for kind, value in items if str(kind) != "CATEGORY"]
    letters = dict.fromkeys([*named, *_USUAL])
    return [letter for letter in letters if negated != any(_is_in(letter, *item) for item in items)][:2]


def _is_in(letter: str, kind: Any, value: Any) -> bool:
    if str(kind) == "CATEGORY":
        return re.match(_CATEGORIES[str(value).removeprefix("CATEGORY_")], letter) is not None
    low, high = value if str(kind) == "RANGE" else (value, value)
    return bool(low <= ord(letter) <= high)
