"""Find what texts share: openings, endings and forms. Deterministic, no model.

A token is a word or a single other sign, with the white space beside it. A clause is closed by one of ``: . ! ? ; , ]
) > | -`` and white space, or by a line break.
"""

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

FEW = 3
"""rows; what fewer of them share is chance"""

_CLOSED = re.compile(r"(?:[:.!?;,\])>|—-]\s+|\n\s*)$")
_TOKEN_AND_GAP = re.compile(r"(?:^\s+)?(?:\w+|[^\w\s])\s*")
_GAP_AND_TOKEN = re.compile(r"\s*(?:\w+|[^\w\s])")
_LIST_LINE = re.compile(r"\s*(?:[-*•]|\d+[.)])\s+\S")
_CODE_LINE = re.compile(r"(?:def \w+\(.*\).*:|class \w+.*:|import \w|from [\w.]+ import |#include|function \w+\()")
_STRING = re.compile(r"(?:\w+\s*=\s*)?[rbfu]?[\"']")


def openings(texts: Sequence[str], need: float) -> dict[str, int]:
    """How many of ``texts`` hold each opening (with the white space that follows) that at least ``need`` of them hold.

    It closes a clause, holds a letter or digit, and is not the whole text. Shorter ones come first.
    """
    pieces = [_TOKEN_AND_GAP.findall(text)[:-1] for text in texts]
    found = {}
    for level, group in _shared(pieces, need):
        text = "".join(pieces[group[0]][:level])
        if _CLOSED.search(text) and re.search(r"\w", text):
            found[text] = len(group)
    return found


def endings(texts: Sequence[str], need: float) -> dict[str, int]:
    """How many of ``texts`` hold each ending (with the white space before it) that at least ``need`` of them hold.

    The clause before it is closed in the texts that are counted, it holds a letter or digit, and it is not the whole
    text. White space at the very end does not count. Shorter ones come first.
    """
    backwards = [_GAP_AND_TOKEN.findall(text)[::-1] for text in texts]
    found = {}
    for level, group in _shared([pieces[:-1] for pieces in backwards], need):
        text = "".join(backwards[group[0]][:level][::-1])
        gap = text[: len(text) - len(text.lstrip())]
        closed = sum(bool(gap and _CLOSED.search(backwards[row][level] + gap)) for row in group)
        if closed >= need and re.search(r"\w", text):
            found[text] = closed
    return found


def form(answer: str) -> str:
    """The form of an answer: ``json``, ``python_string``, ``code`` or ``list``; "" for free text."""
    text = answer.strip()
    fenced = re.fullmatch(r"```\w*\n(.*?)\n?```", text, re.DOTALL)
    body = fenced[1].strip() if fenced else text
    if body[:1] in ("{", "[") and _is_json(body):
        return "json"
    if _STRING.match(body) and _is_string(body):
        return "python_string"
    lines = [line for line in text.splitlines() if line.strip()]
    if "```" in text or any(_CODE_LINE.match(line) for line in lines):
        return "code"
    listed = sum(bool(_LIST_LINE.match(line)) for line in lines)
    return "list" if listed >= 2 and 2 * listed >= len(lines) else ""


def _shared(pieces: Sequence[Sequence[str]], need: float) -> Iterator[tuple[int, list[int]]]:
    """``level, rows`` for each group of at least ``need`` rows whose first ``level`` pieces are the same."""
    groups, level = [list(range(len(pieces)))], 0
    while groups:
        level += 1
        longer = []
        for group in groups:
            by_piece = defaultdict(list)
            for row in group:
                if len(pieces[row]) >= level:
                    by_piece[pieces[row][level - 1]].append(row)
            longer += [rows for rows in by_piece.values() if len(rows) >= need]
        groups = longer
        yield from ((level, group) for group in groups)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_string(text: str) -> bool:
    """Whether ``text`` is a Python string, perhaps assigned to a name."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr | ast.Assign):
        return False
    value = tree.body[0].value
    return isinstance(value, ast.JoinedStr) or (
        isinstance(value, ast.Constant) and isinstance(value.value, str | bytes)
    )
