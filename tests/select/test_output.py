"""The rows and their manifest on disk: whole, in the pool's order, and never in the place of others."""

import json
import math
from pathlib import Path

import pytest

from candidates import candidate
from ringfence.core.errors import RingfenceError
from ringfence.core.files import sha256
from ringfence.select import Candidate, Selected, write_selection
from ringfence.select.base import Mapped
from ringfence.select.output import manifest_of
from ringfence.select.shards import write_shard

STEPS = [{"name": "top", "rows_before": 9, "rows_after": 2}]


def selected(folder: Path, *shards: list[Candidate]) -> Selected:
    paths = []
    for number, rows in enumerate(shards):
        paths.append(folder / "shards" / f"{number}.parquet")
        write_shard(paths[-1], Mapped(rows))
    return Selected(paths, {"rows": 9, "dropped": {}}, STEPS)


def row(index: int, origin: str = "pool.jsonl:5", **columns: str) -> Candidate:
    made = candidate(index, "A.", "Q?")
    return Candidate(index, {**made.conversation, "origin": origin, **columns}, {"gap": index / 2, "rank": math.nan})


def test_rows_have_their_columns_and_where_they_came_from(tmp_path: Path) -> None:
    out = tmp_path / "sets" / "safe.jsonl"
    manifest = write_selection(selected(tmp_path, [row(1, domain="d")], [], [row(4)]), out, {"name": "mine"})
    first, second = (json.loads(line) for line in out.read_text().splitlines())
    assert first == {
        "domain": "d",
        "messages": [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "A."}],
        "pool_origin": "pool.jsonl:5",
        "gap": 0.5,
        "rank": None,  # JSON has no NaN
    }
    assert second["gap"] == 2.0
    assert manifest == json.loads((tmp_path / "sets" / "safe.manifest.json").read_text())
    assert manifest["output"] == {"rows": 2, "sha256": sha256(out), "columns": ["gap", "rank"]}
    assert (manifest["name"], manifest["pool"]["rows"], manifest["steps"]) == ("mine", 9, STEPS)


def test_where_an_earlier_selection_had_a_row_from_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "safe.jsonl"
    write_selection(selected(tmp_path, [row(1, "first.jsonl:7", pool_origin="pool.jsonl:5")]), out, {})
    assert json.loads(out.read_text())["pool_origin"] == "pool.jsonl:5"


def test_a_column_of_the_pool_is_not_lost_to_a_number_of_its_name(tmp_path: Path) -> None:
    out = tmp_path / "safe.jsonl"
    write_selection(selected(tmp_path, [row(1, gap="wide")]), out, {})
    found = json.loads(out.read_text())
    assert (found["gap"], found["pool_gap"]) == (0.5, "wide")


def test_the_same_again_changes_nothing_and_others_are_not_written_over(tmp_path: Path) -> None:
    out = tmp_path / "safe.jsonl"
    write_selection(selected(tmp_path / "a", [row(1)]), out, {"name": "mine"})
    before = out.read_bytes(), manifest_of(out).read_bytes()
    write_selection(selected(tmp_path / "a", [row(1)]), out, {"name": "mine"})
    assert (out.read_bytes(), manifest_of(out).read_bytes()) == before
    with pytest.raises(RingfenceError, match=r"safe\.jsonl: exists and holds something else; choose another --out"):
        write_selection(selected(tmp_path / "b", [row(2)]), out, {"name": "other"})
    assert (out.read_bytes(), manifest_of(out).read_bytes()) == before


def test_no_rows_are_no_selection(tmp_path: Path) -> None:
    out = tmp_path / "safe.jsonl"
    with pytest.raises(RingfenceError, match=r"no row is left, so nothing is written \(top 9 to 2\)"):
        write_selection(selected(tmp_path, []), out, {})
    assert not list(tmp_path.glob("safe*"))
