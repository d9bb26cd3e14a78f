"""Shards on disk: bits are kept, a torn one is not read, a pool is cut up in order."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from project import write_jsonl
from ringfence.core.errors import RingfenceError
from ringfence.select.base import Candidate, Dropped, Mapped
from ringfence.select.shards import ShardTable, Tally, ingest, kept, read_about, read_shard, shards_in, write_shard


def candidate(index: int, **scores: float) -> Candidate:
    messages = [{"role": "user", "content": f"Question {index}?"}, {"role": "assistant", "content": "Ünïcode."}]
    return Candidate(index, {"messages": messages, "origin": f"pool:{index + 1}", "domain": "a"}, scores)


def test_what_is_written_is_read_to_the_bit(tmp_path: Path) -> None:
    vector = np.array([0.1, -3e-30, 7], dtype=np.float32)
    rows = [
        Candidate(4, candidate(4).conversation, {"gap": 0.1 + 0.2, "nll": math.nan}, {"embedding": vector}),
        Candidate(7, candidate(7).conversation, {"gap": -0.0, "nll": 5e-324}, {"embedding": 2 * vector}),
    ]
    shard = Mapped(rows, [Dropped("too long", "pool:9")], {"tokens": 17})
    write_shard(tmp_path / "a.parquet", shard)
    found = read_shard(tmp_path / "a.parquet")
    assert [row.index for row in found.rows] == [4, 7]
    assert [row.conversation for row in found.rows] == [row.conversation for row in rows]
    for before, after in zip(rows, found.rows, strict=True):
        np.testing.assert_array_equal(list(after.scores.values()), list(before.scores.values()))
        np.testing.assert_array_equal(after.vectors["embedding"], before.vectors["embedding"])
    assert found.dropped == shard.dropped
    assert found.counts == {"tokens": 17}
    assert read_about(tmp_path / "a.parquet") == Mapped((), shard.dropped, {"tokens": 17})


def test_a_table_reads_over_shards_and_over_empty_ones(tmp_path: Path) -> None:
    write_shard(tmp_path / "000000.parquet", Mapped([candidate(0, gap=1.5), candidate(1, gap=2.5)]))
    write_shard(tmp_path / "000001.parquet", Mapped([]))
    write_shard(tmp_path / "000002.parquet", Mapped([candidate(5, gap=0.5)]))
    table = ShardTable(shards_in(tmp_path))
    assert len(table) == 3
    assert table.columns == ["gap"]
    assert table.scores("gap").tolist() == [1.5, 2.5, 0.5]
    assert table.text("domain") == ["a", "a", "a"]
    assert table.text("kind") == [None, None, None]
    with pytest.raises(RingfenceError, match=r'no step before makes the column "?\'?gab.*Did you mean "gap"'):
        table.scores("gab")
    with pytest.raises(RingfenceError, match="vector column"):
        list(table.vectors("embedding"))


def test_what_is_kept_has_the_new_columns_and_no_vectors() -> None:
    rows = [
        Candidate(n, candidate(n).conversation, {"old": float(n)}, {"v": np.ones(2, dtype=np.float32)})
        for n in range(3)
    ]
    found = kept(Mapped(rows), [0, 2], {"new": np.array([7.0, 8.0, 9.0])}, {}).rows
    assert [row.conversation for row in found] == [rows[0].conversation, rows[2].conversation]
    assert [(row.index, dict(row.scores), dict(row.vectors)) for row in found] == [
        (0, {"old": 0.0, "new": 7.0}, {}),
        (2, {"old": 2.0, "new": 9.0}, {}),
    ]


def test_new_string_columns_go_into_the_conversation_and_take_the_place_of_old_ones() -> None:
    rows = [Candidate(n, {**candidate(n).conversation, "kind": "old"}) for n in range(4)]
    before = [dict(row.conversation) for row in rows]
    found = kept(Mapped(rows), [1, 2, 3], {}, {"topic": ["a", "b", None, "d"], "kind": ["p", None, "r", "s"]}).rows
    assert [(row.conversation.get("topic"), row.conversation.get("kind")) for row in found] == [
        ("b", None),
        (None, "r"),
        ("d", "s"),
    ]
    assert "kind" not in found[0].conversation
    assert "topic" not in found[1].conversation
    others = ("messages", "origin", "domain")
    assert all({name: row.conversation[name] for name in others} == candidate(row.index).conversation for row in found)
    assert [row.conversation for row in rows] == before


def test_a_torn_shard_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_shard(path, Mapped([candidate(0)]))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RingfenceError, match=r"not a readable shard .*delete it"):
        read_shard(path)


def test_a_pool_becomes_shards_in_order_and_answers_that_are_missing_are_counted(tmp_path: Path) -> None:
    rows = [{"question": f"Q{n}?", "answer": f"A{n}."} for n in range(5)]
    rows[1]["answer"] = "  "
    path = write_jsonl(tmp_path / "pool.jsonl", rows)
    with path.open("a") as handle:
        handle.write('{"question": "Q5?", "answer": NaN}\n{"question": "Q6?", "answer": null}\n')
    ingest([str(path), "builtin:glitter/safe"], tmp_path / "pool", 4)
    shards = [read_shard(one) for one in shards_in(tmp_path / "pool")]
    assert [len(shard.rows) for shard in shards] == [4] * 17
    found = [row for shard in shards for row in shard.rows]
    assert [row.index for row in found] == list(range(68))
    assert [row.conversation["origin"] for row in found][:5] == [
        *(f"{path}:{line}" for line in (1, 3, 4, 5)),
        "builtin:glitter/safe:1",
    ]
    about = json.loads((tmp_path / "pool" / "pool.json").read_text())
    origins = [f"{path}:{line}" for line in (2, 6, 7)]
    assert about == {"rows": 71, "dropped": {"empty answer": {"rows": 3, "first": origins}}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no candidates in the pool;"),
        ('{"question": "Q?", "answer": ""}\n', r"no candidates in the pool \(1 rows without an answer\)"),
        ('{"question": "Q?", "answer": "A."}\n{"question"\n', "pool.jsonl:2: malformed JSON"),
    ],
)
def test_a_bad_pool_is_one_line_and_leaves_nothing(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_text(text)
    with pytest.raises(RingfenceError, match=message):
        ingest([str(path)], tmp_path / "pool", 4)
    assert [one.name for one in tmp_path.iterdir()] == ["pool.jsonl"]


def test_reasons_are_tallied_with_the_first_origins() -> None:
    dropped = [Dropped("a", f"f:{n}") for n in range(7)] + [Dropped("b", "f:9")]
    tally = Tally(shown=2)
    assert tally.found == {}
    tally.add(dropped[:3])
    tally.add(dropped[3:])
    assert tally.found == {"a": {"rows": 7, "first": ["f:0", "f:1"]}, "b": {"rows": 1, "first": ["f:9"]}}
