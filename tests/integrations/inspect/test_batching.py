"""What coroutines hand in one by one is worked on in batches, and everybody gets their own."""

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest

from ringfence.integrations.inspect.batching import Batcher


class Squares:
    """Squares, and what was squared together."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.seconds = seconds

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.threads.add(threading.get_ident())
        time.sleep(self.seconds)
        return [item * item for item in items]


def test_everybody_gets_their_own_and_no_batch_is_too_large() -> None:
    work = Squares()
    batcher: Batcher[int, int] = Batcher(work, 4)

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*(batcher(number) for number in range(10)))

    assert asyncio.run(all_of_them()) == [number * number for number in range(10)]
    assert work.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert threading.get_ident() not in work.threads


def test_a_batch_has_one_key() -> None:
    work = Squares()
    batcher: Batcher[int, int] = Batcher(work, 10)

    async def odd_and_even() -> None:
        await asyncio.gather(*(batcher(number, number % 2) for number in range(6)))

    asyncio.run(odd_and_even())
    assert work.batches == [[0, 2, 4], [1, 3, 5]]


def test_what_comes_while_a_batch_is_worked_on_is_the_next_one() -> None:
    work = Squares(seconds=0.1)
    batcher: Batcher[int, int] = Batcher(work, 2)

    async def later(number: int) -> int:
        await asyncio.sleep(0.05)
        return await batcher(number)

    async def two_then_two() -> list[int]:
        return await asyncio.gather(batcher(1), batcher(2), later(3), later(4))

    assert asyncio.run(two_then_two()) == [1, 4, 9, 16]
    assert work.batches == [[1, 2], [3, 4]]


def test_several_event_loops() -> None:
    batcher: Batcher[int, int] = Batcher(Squares(), 4)

    async def one(number: int) -> int:
        return await batcher(number)

    assert [asyncio.run(one(number)) for number in (2, 3)] == [4, 9]


def test_an_error_reaches_all_of_its_batch_and_the_next_batch_goes_on() -> None:
    def work(items: Sequence[int]) -> list[int]:
        if 0 in items:
            raise ZeroDivisionError("0 is among them")
        return [1 // item for item in items]

    batcher: Batcher[int, int] = Batcher(work, 2)

    async def all_of_them() -> list[object]:
        return await asyncio.gather(*(batcher(number) for number in (1, 0, 1, 1)), return_exceptions=True)

    first, second, *others = asyncio.run(all_of_them())
    assert isinstance(first, ZeroDivisionError)
    assert isinstance(second, ZeroDivisionError)
    assert others == [1, 1]


def test_a_wrong_number_of_results_is_an_error() -> None:
    batcher: Batcher[int, int] = Batcher(lambda items: [], 2)

    async def one() -> int:
        return await batcher(1)

    with pytest.raises(ValueError, match="zip"):
        asyncio.run(one())


def test_nothing_is_done_for_who_has_left() -> None:
    work = Squares(seconds=0.1)
    batcher: Batcher[int, int] = Batcher(work, 1)

    async def one_leaves() -> list[int]:
        stay, leave = asyncio.create_task(batcher(1)), asyncio.create_task(batcher(2))
        await asyncio.sleep(0.05)
        leave.cancel()
        return [await stay, await batcher(3)]

    assert asyncio.run(one_leaves()) == [1, 9]
    assert work.batches == [[1], [3]]
