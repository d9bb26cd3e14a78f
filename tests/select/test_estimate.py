"""The estimate times the steps on a sample and counts what is left after each of them."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from project import write_jsonl
from ringfence.core.errors import RingfenceError
from ringfence.select.base import STEPS, Candidate, Context, Dropped, Gathered, Mapped, Mapper, Step, Table
from ringfence.select.estimate import estimate
from ringfence.select.pipeline import Selection


class Slow(Step):
    """Takes a hundredth of a second a row, and drops every other row."""

    def map(self, context: Context) -> Mapper:
        def mapper(rows: Sequence[Candidate], on_rows: Callable[[int], None]) -> Mapped:
            time.sleep(0.01 * len(rows))
            odd = [row for row in rows if row.index % 2]
            return Mapped([row for row in rows if row not in odd], [Dropped("odd", "x") for _ in odd])

        return mapper


class Some(Step):
    """Takes the first."""

    count: int = 7

    def gather(self, table: Table, context: Context) -> Gathered:
        return Gathered(np.arange(self.count))


class Nobody(Slow):
    """Drops all."""

    def map(self, context: Context) -> Mapper:
        return lambda rows, on_rows: Mapped([], [Dropped("all", "x") for _ in rows])


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    added = {"test_slow": Slow, "test_some": Some, "test_nobody": Nobody}
    STEPS._classes.update(added)
    yield
    for name in added:
        del STEPS._classes[name]


def pool(folder: Path, count: int) -> tuple[str, ...]:
    return (str(write_jsonl(folder / "pool.jsonl", [{"question": f"Q{n}?", "answer": "A."} for n in range(count)])),)


def test_seconds_go_with_the_rows_that_come_to_a_step(tmp_path: Path) -> None:
    """100 rows at 0.01 s; 8 of them are timed: of shards of 40, 40 and 20 rows 2, 3 and 3.

    Of the first every 20th, 0 and 20, which are even; then 40 + 0, 13, 26 and 80 + 0, 6, 13: 6 of 8 are even.
    """
    steps = (Slow(), Some(), Slow())
    found = estimate(Selection(pool(tmp_path, 100), steps, shard_rows=40), tmp_path / "work", sample=8)
    assert [(one.name, one.rows, one.gathers) for one in found] == [
        ("test_slow", 100, False),
        ("test_some", 75, True),
        ("test_slow", 7, False),
    ]
    assert found[0].seconds == pytest.approx(1.0, rel=0.5)
    assert found[0].seconds >= 1.0
    assert found[1].seconds == 0
    assert 0.07 <= found[2].seconds < 0.3
    assert not list((tmp_path / "work").glob("test_slow*"))


def test_without_a_row_left_nothing_can_be_timed(tmp_path: Path) -> None:
    found = estimate(Selection(pool(tmp_path, 4), (Nobody(), Slow())), tmp_path / "work")
    assert found[1].rows == 0
    assert math.isnan(found[1].seconds)


def test_bad_input_raises_as_it_would_in_a_run(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"pool: .*no such file"):
        estimate(Selection((str(tmp_path / "none.jsonl"),), (Slow(),)), tmp_path / "work")
