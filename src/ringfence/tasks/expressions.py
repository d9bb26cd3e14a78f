"""Sums whose operator signs have another meaning: read them, simplify them step by step, write them.

An expression is a tuple of operands with a sign between each two; an operand is a fraction, or a tuple again where
parentheses stand. Parentheses are done first, from the left, the innermost first; then an operation of the highest
precedence, from the left. Precedence follows what a sign *means*: in tier 2, ``8 × 2 - 2`` is 8 + (2 / 2).
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import cache
from typing import Any

from ringfence.core.errors import RingfenceError, shown

SIGNS = "+-×÷"
"""as expressions are written here"""
READ_AS = {"*": "×", "x": "×", "X": "×", "·": "×", "/": "÷", "−": "-"}
"""what else is read as one of :data:`SIGNS`"""
TIERS: tuple[Mapping[str, str], ...] = (
    {"+": "+", "-": "-", "×": "×", "÷": "÷"},
    {"+": "×", "-": "-", "×": "+", "÷": "÷"},
    {"+": "×", "-": "÷", "×": "+", "÷": "-"},
    {"+": "-", "-": "×", "×": "÷", "÷": "+"},
)
"""by tier: what each sign means"""
LONGEST = 500
"""characters of an expression that is read"""

Operand = Any  # Fraction | Expression, which mypy cannot say of a tuple in which signs and operands alternate
Expression = tuple[Any, ...]
Shape = tuple[Any, ...]
"""an expression in which every number is None, and without the signs"""

_OPERATIONS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": operator.add,
    "-": operator.sub,
    "×": operator.mul,
    "÷": operator.truediv,
}
_FIRST = "×÷"  # operations that come before the others
_TOKEN = re.compile(r"\s*(\d+(?:\.\d+)?|[-+×÷*xX·/−()])")


def require_tier(tier: int) -> None:
    """Raise :class:`RingfenceError` for a tier that there is not."""
    if isinstance(tier, bool) or tier not in range(len(TIERS)):
        raise RingfenceError(f"tier: {shown(tier)} is not one of the tiers 0 to {len(TIERS) - 1}")


def parse(text: str) -> Operand:
    """The expression, or the fraction, in ``text``; signs are :data:`SIGNS` or those of :data:`READ_AS`.

    A minus sign where a number has to come is that number's own. Raises :class:`RingfenceError` for what is no
    expression.
    """
    if len(text) > LONGEST:
        raise RingfenceError(f"{shown(text, 40)}: an expression has at most {LONGEST} characters")
    try:
        open_: list[list[Any]] = [[]]
        for token in _tokens(text):
            _take(token, open_)
        (items,) = open_
        return _closed(items)
    except (ValueError, IndexError):
        signs = "+ - × ÷ (or * x /)"
        raise RingfenceError(
            f"{shown(text)}: not an expression; write numbers with {signs} between them, and parentheses"
        ) from None


def _tokens(text: str) -> Iterator[str]:
    place = 0
    while place < len(text.rstrip()):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ValueError(text[place])
        yield READ_AS.get(match[1], match[1])
        place = match.end()


def _take(token: str, open_: list[list[Any]]) -> None:
    """Put a token at the end of the innermost list that is open; ``ValueError`` if it cannot stand there."""
    items = open_[-1]
    wants_operand = not items or isinstance(items[-1], str)
    if token == "(":
        if not wants_operand:
            raise ValueError(token)
        open_.append([])
    elif token == ")":
        closed = _closed(open_.pop())
        open_[-1].append(closed)
    elif token in SIGNS and not wants_operand:
        items.append(token)
    elif token == "-" and (not items or items[-1] != "negative"):
        items.append("negative")  # a number's own sign, until the number comes
    elif token[0].isdigit() and wants_operand:
        negative = bool(items) and items[-1] == "negative"
        if negative:
            items.pop()
        items.append(-Fraction(token) if negative else Fraction(token))
    else:
        raise ValueError(token)


def _closed(items: list[Any]) -> Operand:
    """What stands between two parentheses; a single operand needs none."""
    if len(items) % 2 == 0 or isinstance(items[-1], str) or "negative" in items:
        raise ValueError(items)
    return items[0] if len(items) == 1 else tuple(items)


def simplify(expression: Expression, tier: int) -> Operand:
    """``expression`` after one operation. Raises ``ZeroDivisionError``."""
    for place in range(0, len(expression), 2):
        if isinstance(expression[place], tuple):
            return (*expression[:place], simplify(expression[place], tier), *expression[place + 1 :])
    meanings = [TIERS[tier][sign] for sign in expression[1::2]]
    chosen = next((place for place, meaning in enumerate(meanings) if meaning in _FIRST), 0)
    left, _, right = expression[2 * chosen : 2 * chosen + 3]
    value = _OPERATIONS[meanings[chosen]](left, right)
    if len(meanings) == 1:
        return value
    return (*expression[: 2 * chosen], value, *expression[2 * chosen + 3 :])


def simplifications(expression: Operand, tier: int) -> list[Operand]:
    """``expression`` and what it becomes with each operation; the last is a fraction. Raises ``ZeroDivisionError``."""
    found = [expression]
    while isinstance(found[-1], tuple):
        found.append(simplify(found[-1], tier))
    return found


def write(expression: Operand) -> str:
    """``expression`` as text: ``(4 + 2) × 1/3``; a negative number that does not come first is in parentheses."""
    if isinstance(expression, Fraction):
        return str(expression)
    parts = []
    for place, item in enumerate(expression):
        if isinstance(item, str):
            parts.append(f" {item} ")
        else:
            bare = isinstance(item, Fraction) and (item >= 0 or place == 0)
            parts.append(write(item) if bare else f"({write(item)})")
    return "".join(parts)


@cache
def shapes(numbers: int) -> tuple[Shape | None, ...]:
    """All ways to put parentheses into an expression of so many numbers, each around two of them at least."""
    if numbers == 1:
        return (None,)
    return tuple(
        (first, *rest)
        for taken in range(1, numbers)
        for first in shapes(taken)
        for rest in (*((one,) for one in shapes(numbers - taken)), *(more for more in shapes(numbers - taken) if more))
    )


def fill(shape: Shape | None, signs: Iterator[str], numbers: Iterator[int]) -> Operand:
    """``shape`` with signs and numbers in it, from the left."""
    if shape is None:
        return Fraction(next(numbers))
    items: list[Any] = []
    for place, part in enumerate(shape):
        items += [next(signs)] if place else []
        items.append(fill(part, signs, numbers))
    return tuple(items)
