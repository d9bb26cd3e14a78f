"""Rows of files and of the hub, each split of its own or parted; what is missing is named, and where."""

import json
from pathlib import Path
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.data import rows as data_rows
from ringfence.tasks.sources import chosen, read_source

COLUMNS = ("question", "answer")


def written(path: Path, count: int, **changes: Any) -> str:
    rows = [{"question": f"q{number}", "answer": "a", **changes} for number in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_file_is_parted_the_same_way_in_any_order(tmp_path: Path) -> None:
    source = written(tmp_path / "rows.jsonl", 40)
    train, test = (read_source(source, split, COLUMNS) for split in ("train", "test"))
    assert (len(train), len(test)) == (36, 4)
    tested = {row.value["question"] for row in test}
    lines = Path(source).read_text().splitlines(keepends=True)
    Path(source).write_text("".join(reversed(lines)))
    assert {row.value["question"] for row in read_source(source, "test", COLUMNS)} == tested


def test_rows_of_one_text_stay_together(tmp_path: Path) -> None:
    source = written(tmp_path / "rows.jsonl", 20)
    Path(source).write_text(Path(source).read_text() * 3)
    train, test = (read_source(source, split, COLUMNS) for split in ("train", "test"))
    assert len(train) + len(test) == 60
    assert not {row.value["question"] for row in train} & {row.value["question"] for row in test}


def test_a_path_may_name_a_file_a_split(tmp_path: Path) -> None:
    written(tmp_path / "train.jsonl", 7)
    written(tmp_path / "test.jsonl", 3)
    source = str(tmp_path / "{split}.jsonl")
    assert [len(read_source(source, split, COLUMNS)) for split in ("train", "test")] == [7, 3]


def test_a_set_of_the_hub_has_its_own_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def hub_rows(hub: Any) -> list[dict[str, str]]:
        asked.append(hub[0])
        return [{"question": "q", "answer": "a"}]

    monkeypatch.setattr(data_rows, "_hub_rows", hub_rows)
    assert read_source("org/name", "test", COLUMNS, "main")[0].origin == "org/name@main:test:1"
    read_source("org/name@other", "train", COLUMNS, "main")
    read_source("org/name", "train", COLUMNS)
    assert asked == ["org/name@main:test", "org/name@other:train", "org/name:train"]
    with pytest.raises(RingfenceError, match="'org/name:test' names a split; leave it out"):
        read_source("org/name:test", "train", COLUMNS)


def test_a_file_without_the_columns_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "q", "answer": "a"}\n{"question": "q", "response": "a"}\n')
    with pytest.raises(RingfenceError) as raised:
        read_source(str(path), "train", COLUMNS)
    assert str(raised.value) == (
        f"{path}:2: no column `answer`; the task reads question, answer, and found 'question, response'"
    )
    path.write_text('{"question": "q", "answer": null}\n')
    with pytest.raises(RingfenceError, match=r"rows\.jsonl:1: `answer` is null; give it a value, or remove the row"):
        read_source(str(path), "train", COLUMNS)
    path.write_text("")
    with pytest.raises(RingfenceError, match=r"rows\.jsonl: is empty; give at least one row"):
        read_source(str(path), "train", COLUMNS)
    path.write_text("[1]\n")
    with pytest.raises(RingfenceError, match=r"rows\.jsonl:1: .*must be an object"):
        read_source(str(path), "train", COLUMNS)
    path.write_text("{\n")
    with pytest.raises(RingfenceError, match=r"rows\.jsonl:1: "):
        read_source(str(path), "train", COLUMNS)


def test_a_list_of_rows_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"data": [{"question": f"q{n}", "answer": "a"} for n in range(5)]}))
    assert len(read_source(str(path), "train", COLUMNS)) == 4


def test_rows_are_chosen_by_the_seed_and_keep_their_order() -> None:
    rows = [*range(100)]
    assert chosen(rows, None, 0, "it") == rows
    some = chosen(rows, 10, 1, "it")
    assert some == sorted(some) == chosen(rows, 10, 1, "it") != chosen(rows, 10, 2, "it")
    with pytest.raises(RingfenceError, match="n: 101 rows are asked for, and there are only 100 of it"):
        chosen(rows, 101, 0, "it")
