"""Numbers in random order, each once; a tenth of all problems is for testing."""

import random
from itertools import islice

from ringfence.tasks.drawing import draw, permuted, size_of_test, split_of


def test_every_number_comes_once_in_an_order_of_the_seed() -> None:
    orders = {tuple(permuted(4, random.Random(seed))) for seed in range(400)}
    assert orders == {order for order in orders if sorted(order) == [0, 1, 2, 3]}
    assert len(orders) == 24, "all orders of four come"


def test_a_space_may_be_larger_than_memory() -> None:
    found = [*islice(permuted(10**60, random.Random(0)), 1_000)]
    assert len({*found}) == 1_000
    assert max(found) > 10**59


def test_numbers_that_stand_for_nothing_are_passed_over() -> None:
    def make(number: int) -> int | None:
        return number if number % 3 == 0 else None

    assert sorted(draw(30, make, None, random.Random(0))) == [*range(0, 30, 3)]
    assert len(draw(30, make, 4, random.Random(0))) == 4
    assert len(draw(30, make, 40, random.Random(0))) == 10


def test_a_tenth_of_all_texts_is_for_testing() -> None:
    """Of 10,000 texts 1,000 plus or minus three standard deviations of 30."""
    assert abs(sum(split_of(str(number)) == "test" for number in range(10_000)) - 1_000) < 90


def test_neither_split_is_empty() -> None:
    assert [size_of_test(n) for n in (1, 2, 5, 14, 26, 10_000)] == [0, 1, 1, 1, 3, 1_000]
