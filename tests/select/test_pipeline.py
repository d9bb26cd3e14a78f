"""Steps one after the other: counts, resuming by shard, and what makes a finished shard stale."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import killing
from candidates import context as tiny_context
from project import write_jsonl
from ringfence.core.errors import RingfenceError
from ringfence.select import Duplicates, MatchLengths
from ringfence.select.base import STEPS, Candidate, Context, Dropped, Gathered, Mapped, Mapper, Step, Table
from ringfence.select.engines import Engine
from ringfence.select.pipeline import Selection, run
from ringfence.select.shards import shards_in

READ: list[int] = []
"""index of every row that a step has mapped"""


class Lengths(Step):
    """Scores rows by the length of the question; drops the odd ones if asked to."""

    drop_odd: bool = False
    offset: float = 0.0
    fail_at: ClassVar[int] = -1

    def map_settings(self) -> dict[str, Any]:
        return {"drop_odd": self.drop_odd}

    def map(self, context: Context) -> Mapper:
        def mapper(rows: Sequence[Candidate], on_rows: Callable[[int], None]) -> Mapped:
            if any(row.index == Lengths.fail_at for row in rows):
                raise KeyboardInterrupt
            READ.extend(row.index for row in rows)
            on_rows(len(rows))
            scored = [
                replace(row, scores={**row.scores, "length": float(len(row.conversation["messages"][0]["content"]))})
                for row in rows
            ]
            odd = [row for row in scored if self.drop_odd and row.scores["length"] % 2]
            dropped = [Dropped("odd", row.conversation["origin"]) for row in odd]
            return Mapped([row for row in scored if row not in odd], dropped, {"characters": len(rows)})

        return mapper

    def gather(self, table: Table, context: Context) -> Gathered:
        return Gathered(np.arange(len(table)), scores={"moved": table.scores("length") + self.offset})


class Parity(Step):
    """Names the rows odd and even; keeps those from the third on."""

    def gather(self, table: Table, context: Context) -> Gathered:
        texts = [("even", "odd")[row.index % 2] for row in table.candidates()]
        return Gathered(np.arange(2, len(table)), texts={"parity": texts, "domain": [None] * len(table)})


class Longest(Step):
    """Keeps the longest ones."""

    count: int = 2

    def gather(self, table: Table, context: Context) -> Gathered:
        best = np.argsort(-table.scores("moved"), kind="stable")[: self.count]
        return Gathered(np.sort(best), "not among the longest", report={"asked": self.count})


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    added = {"test_lengths": Lengths, "test_longest": Longest, "test_parity": Parity}
    STEPS._classes.update(added)
    READ.clear()
    Lengths.fail_at = -1
    yield
    for name in added:
        del STEPS._classes[name]


def pool(folder: Path, count: int = 10) -> str:
    rows = [{"question": "Q" * (1 + n * 7 % 10), "answer": f"A{n}.", "domain": "d"} for n in range(count)]
    return str(write_jsonl(folder / "pool.jsonl", rows))


def selection(folder: Path, *steps: Step, **changes: Any) -> Selection:
    return Selection((pool(folder),), steps or (Lengths(), Longest()), **{"shard_rows": 3, **changes})


def test_the_counts_of_every_step_and_the_rows_that_come_out(tmp_path: Path) -> None:
    """Lengths 1 + 7n mod 10 for n = 0..9: 1 8 5 2 9 6 3 10 7 4; even ones 8 2 6 10 4; the two longest 8 and 10."""
    found = run(selection(tmp_path, Lengths(drop_odd=True), Longest()), tmp_path / "work")
    assert [(one.index, dict(one.scores)) for one in found.candidates()] == [
        (1, {"length": 8.0, "moved": 8.0}),
        (7, {"length": 10.0, "moved": 10.0}),
    ]
    origins = [f"{tmp_path / 'pool.jsonl'}:{line}" for line in (1, 3, 5, 7, 9)]
    assert found.steps == [
        {
            "name": "test_lengths",
            "rows_before": 10,
            "rows_after": 5,
            "dropped": {"odd": {"rows": 5, "first": origins}},
            "counts": {"characters": 10},
            "report": {},
        },
        {
            "name": "test_longest",
            "rows_before": 5,
            "rows_after": 2,
            "dropped": {"not among the longest": {"rows": 3, "first": []}},
            "counts": {},
            "report": {"asked": 2},
        },
    ]
    assert found.pool == {"rows": 10, "dropped": {}}


def test_new_string_columns_go_with_their_rows(tmp_path: Path) -> None:
    """Over shards of 3 rows, of which the first two rows are left out."""
    found = run(selection(tmp_path, Parity()), tmp_path / "work")
    rows = list(found.candidates())
    assert [(row.index, row.conversation["parity"]) for row in rows] == [
        (place, "odd" if place % 2 else "even") for place in range(2, 10)
    ]
    assert all("domain" not in row.conversation for row in rows)


def test_a_killed_selection_goes_on_with_the_first_unfinished_shard(tmp_path: Path) -> None:
    whole = list(run(selection(tmp_path), tmp_path / "whole").candidates())
    READ.clear()
    Lengths.fail_at = 7
    with pytest.raises(KeyboardInterrupt):
        run(selection(tmp_path), tmp_path / "work")
    assert READ == [0, 1, 2, 3, 4, 5]
    Lengths.fail_at = -1
    assert list(run(selection(tmp_path), tmp_path / "work").candidates()) == whole
    assert list(range(10)) == READ


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[: len(data) // 2],
    "cut at its end": lambda data: data[:-1],
    "empty": lambda data: b"",
    "a value changed": lambda data: data[:40] + bytes([data[40] ^ 255]) + data[41:],
    "not parquet": lambda data: b"version https://git-lfs.github.com/spec/v1\n",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("folder", ["pool-*", "test_lengths-*"])
def test_a_damaged_shard_is_made_again(tmp_path: Path, caplog: Any, folder: str, damage: str) -> None:
    """Of the pool, of a step that scores, or of one that chooses: the same rows as from scratch, and only those read
    again whose shard was damaged."""
    work = tmp_path / "work"
    whole = list(run(selection(tmp_path), work).candidates())
    for made in sorted(work.glob(folder)):
        if made.is_dir():
            READ.clear()
            shard = shards_in(made)[1]
            shard.write_bytes(DAMAGES[damage](shard.read_bytes()))
            assert list(run(selection(tmp_path), work).candidates()) == whole
            assert f"{shard} is damaged and is made again" in caplog.text
            assert READ in ([], [3, 4, 5])


def test_a_damaged_shard_at_the_end_is_one_line(tmp_path: Path) -> None:
    found = run(selection(tmp_path), tmp_path / "work")
    found.shards[0].write_bytes(found.shards[0].read_bytes()[:-3])
    with pytest.raises(RingfenceError, match=r"0\.parquet: not a readable shard .*; delete it, and it"):
        list(found.candidates())


def test_what_a_map_depends_on_makes_its_shards_stale_and_nothing_else_does(tmp_path: Path) -> None:
    def read(*steps: Step, **changes: Any) -> list[int]:
        READ.clear()
        run(selection(tmp_path, *steps, **changes), tmp_path / "work")
        return list(READ)

    every = list(range(10))
    assert read() == every
    assert read() == []
    assert read(Lengths(), Longest(count=4)) == []  # a later step
    assert read(Lengths(offset=1.0)) == []  # a setting that only the choice depends on
    assert read(context=Context(seed=1)) == []  # nothing is drawn
    assert read(Lengths(drop_odd=True)) == every
    assert read(context=Context(batch_tokens=7)) == every
    assert read(shard_rows=4) == every
    (tmp_path / "pool.jsonl").unlink()
    write_jsonl(tmp_path / "other.jsonl", [{"question": "Q?", "answer": "A."}])
    READ.clear()
    run(Selection((str(tmp_path / "other.jsonl"),), (Lengths(),)), tmp_path / "work")
    assert READ == [0]


def test_a_changed_setting_of_the_choice_is_seen(tmp_path: Path) -> None:
    run(selection(tmp_path), tmp_path / "work")
    (first, *_) = run(selection(tmp_path, Lengths(offset=1.0)), tmp_path / "work").candidates()
    assert first.scores == {"length": 1.0, "moved": 2.0}


def test_shards_do_not_change_what_is_chosen(tmp_path: Path) -> None:
    found = [
        list(run(selection(tmp_path, shard_rows=rows), tmp_path / f"work-{rows}").candidates()) for rows in (1, 3, 100)
    ]
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 2


def test_progress_ends_with_all_rows(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    run(selection(tmp_path), tmp_path / "work", Engine(), lambda *what: seen.append(what))
    assert seen[0] == ("test_lengths", 0, 10)
    assert seen[-1] == ("test_lengths", 10, 10)
    assert ("test_lengths", 3, 10) in seen


def test_a_step_without_rows_and_a_selection_without_steps_say_so(tmp_path: Path) -> None:
    class Nothing(Lengths):
        def map(self, context: Context) -> Mapper:
            return lambda rows, on_rows: Mapped([], [Dropped("all", "x") for _ in rows])

    STEPS._classes["test_nothing"] = Nothing
    try:
        with pytest.raises(RingfenceError, match=r"steps.0.test_nothing: no rows are left for this step"):
            run(selection(tmp_path, Nothing()), tmp_path / "work")
    finally:
        del STEPS._classes["test_nothing"]
    with pytest.raises(RingfenceError, match="steps: there are none"):
        run(Selection((pool(tmp_path),), ()), tmp_path / "work")


def test_shards_are_all_there_after_a_step(tmp_path: Path) -> None:
    found = run(selection(tmp_path), tmp_path / "work")
    assert [path.name for path in found.shards] == [path.name for path in shards_in(found.shards[0].parent)]
    assert len(found.shards) == 4


def test_a_changed_file_of_a_step_is_seen_by_those_that_choose_and_those_that_also_map(tmp_path: Path) -> None:
    """``duplicates`` only chooses; ``match_lengths`` maps without reading the other set, and chooses by it."""
    other = tmp_path / "other.jsonl"

    def chosen(step: Step) -> list[int]:
        return [
            one.index for one in run(selection(tmp_path, step, context=tiny_context()), tmp_path / "work").candidates()
        ]

    def write(question: str, answer: str) -> None:
        write_jsonl(other, [{"question": question, "answer": answer}])

    write("Q", "x")  # row 0
    first, matched = (
        chosen(Duplicates(against=str(other), near=False)),
        chosen(MatchLengths(to=str(other), side="user")),
    )
    write("Q" * 8, "x")  # row 1
    assert first == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert chosen(Duplicates(against=str(other), near=False)) == [0, 2, 3, 4, 5, 6, 7, 8, 9]
    assert matched == [0]
    assert chosen(MatchLengths(to=str(other), side="user")) == [1]


def test_a_selection_that_is_killed_again_and_again_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """Before every shard of its own."""
    source, work, whole = pool(tmp_path), tmp_path / "work", tmp_path / "whole"
    windows = killing.changed(whole, killing.select, source, whole)
    shards = [name for name in windows if name.startswith("refusals-") and name.endswith(".parquet")]
    assert len(shards) == 4
    for name in shards:
        assert killing.killed_before(name, work, killing.select, source, work), name
        assert not (work / name).exists()
    killing.select(source, work)
    first, second = (
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("[!.]*/*.parquet")}
        for folder in (work, whole)
    )
    assert first == second
