"""Classify keys and columns by name: which change what a question asks, and which only describe it.

A name is read by its words, in any case and number and with any separators: ``ImageURLs`` ends with ``url`` and is
about an ``image``. A column that is not read may hold numbers, or have a name that is known to say something *about* a
question. Any other text may be a part of what is asked, so that whoever keeps the file says that it is none.
"""

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any

from ringfence.core.errors import RingfenceError


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_LABELS = _set(
    "category count date difficulty domain guid hash id idx index kind label lang language len length num number sha "
    "size split subset tag topic type uid uuid version"
)
"""last words of names that are about a question whatever comes before them, as in ``tool_type``"""
_ABOUT = _LABELS | _set(
    "annotation annotator answer area author bad benchmark canary chosen citation class cluster comment completion "
    "correct created creator criteria criterion dataset dir directory doi expected explanation filename flag folder "
    "gold good group harm judge justification keyword level licence license link meta metadata metric model name note "
    "origin output paper path rank rating rationale reason reference rejected remark repo response risk rubric score "
    "seed set severity solution source status subject target theme timestamp title truth updated uri url weight"
)
"""last words of names that are about a question, unless another word says more"""
_ASKS = _set(
    "attachment audio character choice context conversation demo demonstration developer dialog dialogue document few "
    "format function history image input instruction kwarg logit message option paragraph passage persona preamble "
    "prefill prefix previous prior role scenario schema setting shot stop suffix template tool turn video"
)
"""words of names that are a part of what is asked, or of how it is answered"""


def require_askable(
    others: Mapping[Any, Any], known: Collection[str], where: str, without: Collection[str] = ()
) -> None:
    """Raise :class:`RingfenceError`, led by ``where``, unless a question is asked as meant without the keys ``others``.

    One that looks like a key of ``known`` may be that key misspelt. ``without`` are those that the user leaves out.
    """
    for key, value in {str(key): value for key, value in others.items()}.items():
        if key in without or _is_empty(value):
            continue
        if near := difflib.get_close_matches(key.casefold(), known, n=1, cutoff=0.85):
            raise RingfenceError(f"{where}: unknown key `{key}`. Did you mean `{near[0]}`?")
        require_nothing_asked({key: value}, where)
        if isinstance(value, str | list | dict) and _ABOUT.isdisjoint(_words(key)[-1:]):
            raise RingfenceError(
                f"{where}: `{key}` may be a part of what is asked, and is not read: if each question is complete "
                f"without it, {_leave_out(key)}."
            )


def require_nothing_asked(values: Mapping[Any, Any], where: str) -> None:
    """Raise :class:`RingfenceError`, led by ``where``, if a name or a value plainly is a part of what is asked.

    Objects are looked through, as one of ``metadata`` may hold a system message.
    """
    for key, value in _leaves({str(key): value for key, value in values.items()}):
        if _asks(key.rpartition(".")[2]) or _are_turns(value):
            raise RingfenceError(
                f"{where}: `{key}` changes what is asked or answered, and cannot be done here: take such rows out, or, "
                f"if each question is complete without it, {_leave_out(key.partition('.')[0])}."
            )


def _leave_out(column: str) -> str:
    return f"leave it out by `ringfence suites add NAME FILE --without {column}`"


def _leaves(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The values that are no numbers and not empty, by their dotted names; each object itself before what is in it."""
    found = []
    for key, value in values.items():
        if isinstance(value, str | list | dict) and not _is_empty(value):
            found.append((key, value))
            if isinstance(value, dict):
                found += _leaves({f"{key}.{inner}": item for inner, item in value.items()})
    return found


def _is_empty(value: Any) -> bool:
    return value in (None, [], {}) or (isinstance(value, str) and not value.strip())


def _asks(name: str) -> bool:
    words = _words(name)
    if "".join(words).startswith("sys") or "system" in words:
        return True
    return bool(words) and words[-1] not in _LABELS and not _ASKS.isdisjoint(words)


def _are_turns(value: Any) -> bool:
    """Whether ``value`` is a conversation: turns by ``role`` and ``content``, or by ``from`` and ``value``."""
    turns = value if isinstance(value, list) else [value]
    return any(
        isinstance(turn, dict) and ({"role", "content"} <= set(turn) or {"from", "value"} <= set(turn))
        for turn in turns
    )


def _words(name: str) -> list[str]:
    """The words of ``name`` in lower case and in the singular, without digits."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return [_singular(word) for word in re.findall(r"[^\W\d_]+", apart.casefold())]


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return word.removesuffix("s") if not word.endswith(("ss", "us", "is")) and len(word) > 3 else word
