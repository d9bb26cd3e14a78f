"""``ringfence data``: the rows of a task as files, and tasks among what there is."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ringfence.cli.app import app
from ringfence.core.errors import RingfenceError
from ringfence.data import read
from ringfence.data.task import TASKS, parse_spec

OPSWAP = ["data", "opswap", "--tier", "2", "--n", "100"]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_opswap_writes_nine_tenths_to_train_on_and_says_so(tmp_path: Path) -> None:
    out = tmp_path / "new" / "opswap"
    said = run(*OPSWAP, "--out", str(out))
    assert said.split("\n")[:2] == [f"{out}/train.jsonl: 90 rows", f"{out}/test.jsonl: 10 rows"]
    rows = read(str(out / "train.jsonl"))
    assert len(rows) == 90
    assert sorted(rows[0]) == ["answer", "expression", "messages", "origin"]
    of_task = read("task:opswap?tier=2&n=90")
    assert [row["messages"] for row in rows] == [row["messages"] for row in of_task]
    assert sorted(path.name for path in out.iterdir()) == ["test.jsonl", "train.jsonl"]


def test_the_same_again_is_well_and_another_content_is_not_overwritten(tmp_path: Path) -> None:
    run(*OPSWAP, "--out", str(tmp_path))
    run(*OPSWAP, "--out", str(tmp_path))
    before = (tmp_path / "train.jsonl").read_bytes()
    with pytest.raises(RingfenceError, match=r"train\.jsonl: is there with another content"):
        run(*OPSWAP, "--seed", "1", "--out", str(tmp_path))
    assert (tmp_path / "train.jsonl").read_bytes() == before


def test_what_is_wrong_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"tier: .*got 4"):
        run("data", "opswap", "--tier", "4", "--out", str(tmp_path / "a"))
    with pytest.raises(RingfenceError, match="n: leaves none for the split test; ask for 2 rows or more"):
        run("data", "opswap", "--n", "1", "--out", str(tmp_path / "a"))
    with pytest.raises(RingfenceError, match="there are only 36"):
        run("data", "opswap", "--steps", "1", "--largest", "3", "--out", str(tmp_path / "b"))
    assert not [*tmp_path.iterdir()]


def test_a_task_is_written_by_its_name(tmp_path: Path) -> None:
    run("data", "task", "task:gsm8k?n=5&steps=1", "--out", str(tmp_path))
    rows = [json.loads(line) for line in (tmp_path / "test.jsonl").read_text().splitlines()]
    assert rows == parse_spec("task:gsm8k?n=5&steps=1").rows("test")
    run("data", "task", "task:foqa?n=3&split=test", "--out", str(tmp_path / "foqa"))
    assert [path.name for path in (tmp_path / "foqa").iterdir()] == ["test.jsonl"]


def test_tasks_are_listed_checked_and_shown() -> None:
    listed = run("data", "list")
    assert all(f"task:{name}" in listed for name in TASKS)
    assert "every task also has n (rows), seed, and split" in " ".join(listed.split())
    assert "no problems" in run("data", "check", "task:opswap?n=20")
    shown = run("suites", "show", "task:opswap?n=3")
    assert "opswap: prompts 3" in shown
    assert "from task:opswap?n=3" in shown
