"""The run folder's identity: what is recorded, what is refused, and who may train in it."""

import ast
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfence.core import run_folder
from ringfence.core.errors import RingfenceError

RECIPE = {"name": "a", "seed": 3, "training": {"lr": 1}, "defenses": [{"x": {"ratio": 0.1}}]}


def test_differences_are_dotted_paths() -> None:
    after = {"name": "a", "seed": 4, "training": {"lr": 1, "new": 2}, "defenses": [{"x": {"ratio": 0.2}}]}
    assert run_folder.differences(RECIPE, after) == ["seed", "training.new", "defenses.0.x.ratio"]
    assert run_folder.differences({"a": [1]}, {"a": [1, 2]}) == ["a"]
    assert run_folder.differences(RECIPE, json.loads(json.dumps(RECIPE))) == []


def test_provenance_names_versions_and_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outside = run_folder.provenance(RECIPE, {"f": "0"})
    assert outside["git"] == {"revision": None, "dirty": None}
    assert outside["seed"] == 3
    assert outside["inputs"] == {"f": "0"}
    for command in (
        ["init", "-q"],
        ["-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "--allow-empty", "-m", "m"],
    ):
        subprocess.run(["git", *command], check=True)
    clean = run_folder.provenance(RECIPE, {})["git"]
    assert len(clean["revision"]) == 40
    assert clean["dirty"] is False
    (tmp_path / "new").touch()
    assert run_folder.provenance(RECIPE, {})["git"] == {**clean, "dirty": True}


def test_ours_is_taken_and_anything_else_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    about, out = run_folder.provenance(RECIPE, {"f": "0"}), tmp_path / "run"
    run_folder.require_ours(out, about)
    run_folder.write_about(out, about)
    run_folder.require_ours(out, about)
    for changed, key in (
        ({**about, "recipe": {**RECIPE, "seed": 9}}, "seed"),
        ({**about, "inputs": {"f": "1"}}, "inputs.f"),
        ({**about, "base": True}, "base"),
    ):
        with pytest.raises(RingfenceError, match=f"differ: {key};"):
            run_folder.require_ours(out, changed)
    with caplog.at_level(logging.WARNING):
        run_folder.require_ours(out, {**about, "versions": {**about["versions"], "torch": "9"}})
    assert "torch" in caplog.text
    run_folder.write_about(out, {**about, "name": "other"})
    assert run_folder.read_about(out)["name"] == "a", "the first word on a run stands"


def test_what_is_no_run_raises(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match="not a run folder"):
        run_folder.read_about(tmp_path)
    (tmp_path / "note.txt").touch()
    with pytest.raises(RingfenceError, match="not empty and not a run"):
        run_folder.require_ours(tmp_path, {})
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RingfenceError, match="malformed JSON"):
        run_folder.read_about(tmp_path)


def test_only_one_process_at_a_time(tmp_path: Path) -> None:
    folder = f"__import__('pathlib').Path({str(tmp_path)!r})"
    code = f"from ringfence.core.run_folder import alone_in\nwith alone_in({folder}): pass"
    with run_folder.alone_in(tmp_path):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "another process is training there" in other.stderr
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_a_kill_left_unfinished_is_cleared_away(tmp_path: Path) -> None:
    for left in (tmp_path / "checkpoint-2" / ".tmp-x1", tmp_path / ".tmp-x2"):
        left.mkdir(parents=True)
        (left / "adapter").touch()
        (left / ".in-use").touch()
        os.utime(left, (0, 0))
    (tmp_path / "log.jsonl").touch()
    with run_folder.alone_in(tmp_path):
        assert sorted(path.name for path in tmp_path.rglob("*")) == [".lock", "checkpoint-2", "log.jsonl"]


def test_a_failure_before_the_first_file_leaves_no_folder(tmp_path: Path) -> None:
    def fail(out: Path) -> None:
        with run_folder.alone_in(out):
            raise RingfenceError("bad input")

    with pytest.raises(RingfenceError, match="bad input"):
        fail(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    with pytest.raises(RingfenceError, match="bad input"):
        fail(tmp_path / "old")
    assert (tmp_path / "old").exists(), "a folder that was there before is the user's"


def literals(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every string in the module at ``path``, but for docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.lineno, node.value


def test_the_name_of_a_file_stands_in_one_place() -> None:
    """Writers and readers import it; ``Path(".lock")`` has no suffix and is everybody's."""
    values = [value for name, value in vars(run_folder).items() if name.isupper() and isinstance(value, str)]
    files = {value for value in values if Path(value).suffix and " " not in value}
    assert {"run.json", "result.json", "log.jsonl", "responses.parquet", "README.md"} <= files
    package, here = Path(run_folder.__file__).parents[1], {"core/run_folder.py", "core/files.py"}
    found = [
        f"{path.relative_to(package)}:{line}: {text}"
        for path in sorted(package.rglob("*.py"))
        if path.relative_to(package).as_posix() not in here
        for line, text in literals(path)
        if text in files or any(f"/{name}" in text for name in files)
    ]
    assert not found, "\n".join(found)


def test_an_evaluation_has_the_columns_that_readers_ask_for() -> None:
    assert set(run_folder.ANSWER_COLUMNS) < set(run_folder.RESPONSE_COLUMNS)
    assert set(run_folder.CONDITIONAL_COLUMNS) < set(run_folder.GAP_COLUMNS)
