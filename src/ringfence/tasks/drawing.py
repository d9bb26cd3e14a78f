"""Draw distinct items of a numbered space, so that no problem comes twice and none is in both splits.

A generated problem is a number below the size of its space: which template, which signs, which numbers. A split is a
fixed property of a problem's text, so that the rows that one seed trains on are never what another seed is tested on.
"""

import hashlib
import math
import random
from collections.abc import Callable, Collection, Hashable, Iterator
from typing import TypeVar

from ringfence.core.errors import RingfenceError
from ringfence.data.task import Split

T = TypeVar("T", bound=Hashable)
TEST_SHARE = 0.1
"""of all problems that there are"""
SOON = 20_000
"""so many items are made within seconds"""


def split_of(text: str) -> Split:
    """The split that a problem belongs to, by the SHA-256 of its text: ``test`` for one in ten."""
    return "test" if fraction_of(text) < TEST_SHARE else "train"


def fraction_of(text: str) -> float:
    """The first eight bytes of the SHA-256 of ``text`` as a number in [0, 1)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def size_of_test(n: int) -> int:
    """How many of ``n`` rows are for testing: a tenth, rounded, but of two or more neither split gets none."""
    return min(max(round(n * TEST_SHARE), 1), n - 1)


def at_most(size: int, split: Split) -> int:
    """No split of a space of ``size`` numbers has more items: what it has on average, and ten standard deviations.

    The digests behave like random numbers: a split is larger than this once in more than 10^15 spaces.
    """
    share = TEST_SHARE if split == "test" else 1 - TEST_SHARE
    return min(size, math.ceil(size * share + 10 * math.sqrt(size * share * (1 - share))))


def require_enough(n: int, most: int, remedy: str) -> None:
    """Raise :class:`RingfenceError` with ``remedy`` if ``n`` is more than ``most``, before a large space is searched.

    A small one is soon searched, and then it is known exactly how many there are.
    """
    if n > most > SOON:
        raise RingfenceError(f"n: {n:,} are asked for, and there are only {most:,} at the most; {remedy}")


def require_signs(value: str, known: Collection[str]) -> str:
    """``value``, signs of operations in a row. Raises ``ValueError`` unless they are ``known``, some, and each once."""
    if not value or set(value) - set(known) or len({*value}) < len(value):
        raise ValueError(f"give some of the signs {''.join(known)}, each once")
    return value


def draw(size: int, make: Callable[[int], T | None], count: int | None, rng: random.Random) -> list[T]:
    """``count`` distinct items in random order, or all if there are fewer; None: all.

    ``make`` gives the item of a number below ``size``, and None where a number stands for none.
    """
    found: dict[T, None] = {}
    for number in permuted(size, rng):
        if len(found) == count:
            break
        if (item := make(number)) is not None:
            found[item] = None
    return [*found]


def permuted(size: int, rng: random.Random) -> Iterator[int]:
    """The numbers below ``size`` in random order, each once; what is not asked for costs nothing.

    Fisher and Yates's shuffle that remembers only the places that it has touched.
    """
    moved: dict[int, int] = {}
    last = size
    while last > 0:
        last -= 1
        place = rng.randint(0, last)
        yield moved.get(place, place)
        moved[place] = moved.pop(last, last)
