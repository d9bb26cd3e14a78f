"""Where the files of a sweep come from: the graph, what is missing, and its faults."""

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import sweeps
from ringfence.core.errors import RingfenceError
from ringfence.data.suites import store
from ringfence.sweep.plan import SweepPlan
from ringfence.sweep.sources import git_blob

SAFE = {"data.safe": "made/{size}/plus-{data}.jsonl", "defenses": [{"fixed_interleaving": {"added": 0.1}}]}
SELECT = {
    "pool": "pool.jsonl",
    "steps": [
        {"perplexity_gap": {"misaligned": ["a"], "allow_seen": True}},
        {"top": {"by": "perplexity_gap", "count": 1}},
    ],
}
INPUTS = {
    "pool.jsonl": {"yours": "a pool, from elsewhere"},
    "data/{name}.jsonl": {"yours": "the rows of {name}"},
    "made/{size}/plus-{data}.jsonl": {
        "select": "select.yaml",
        "changes": {
            "steps.0.perplexity_gap.misaligned": ["adapters/{size}/other", "adapters/{size}/{data}"],
            "steps.1.top.count": "{size}",
        },
    },
    "adapters/{size}/{data}": {"train": "recipe.yaml", "changes": {"data.target": "data/{data}.jsonl"}},
}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "select.yaml").write_text(yaml.safe_dump(SELECT))
    return sweeps.write(
        tmp_path,
        changes={"data.target": "data/{data}.jsonl"},
        grid={"size": {"7": {}}, "data": {"legal": {}}, "method": {"plus": SAFE}},
        inputs=INPUTS,
    )


def test_what_a_command_makes_comes_after_what_it_reads(path: Path) -> None:
    plan = SweepPlan.load(path)
    graph = plan.sources.graph(plan.reads())
    assert list(graph) == [
        "data/legal.jsonl",
        "pool.jsonl",
        "data/other.jsonl",
        "adapters/7/other",
        "adapters/7/legal",
        "made/7/plus-legal.jsonl",
    ]
    made = graph["made/7/plus-legal.jsonl"]
    assert made.input.how == "select"
    assert made.recipe()["steps"][1]["top"]["count"] == 7


def test_what_is_missing_is_a_line_with_where_it_is_from_and_how_to_check(path: Path) -> None:
    plan = SweepPlan.load(path)
    assert plan.missing() == [
        "data/legal.jsonl is missing: the rows of legal; check: `ringfence data check data/legal.jsonl`",
        "pool.jsonl is missing: a pool, from elsewhere; check: `ringfence data check pool.jsonl`",
        "data/other.jsonl is missing: the rows of other; check: `ringfence data check data/other.jsonl`",
    ]
    Path("data").mkdir()
    for name in ("data/legal.jsonl", "data/other.jsonl", "pool.jsonl"):
        Path(name).write_text("{}")
    assert plan.missing() == []


def test_another_file_than_was_meant_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By SHA-256, and by git's name of a content: the SHA-1 of ``blob LENGTH\\0`` and the bytes."""
    monkeypatch.chdir(tmp_path)
    known = {"sha256": hashlib.sha256(b"right").hexdigest(), "git_blob": hashlib.sha1(b"blob 5\0right").hexdigest()}
    for key, value in known.items():
        plan = SweepPlan.load(sweeps.write(tmp_path, inputs={"target.jsonl": {"yours": "that file", key: value}}))
        (line,) = plan.missing()
        assert line.startswith("target.jsonl is missing: that file; check: ")
        assert line.endswith(value)
        Path("target.jsonl").write_bytes(b"wrong")
        (line,) = plan.missing()
        assert "target.jsonl is another file than was meant" in line
        assert value in line
        Path("target.jsonl").write_bytes(b"right")
        assert plan.missing() == []
        Path("target.jsonl").unlink()


def test_a_content_is_called_as_git_calls_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"some\nbytes\n")
    named = subprocess.run(["git", "hash-object", tmp_path / "file"], capture_output=True, text=True, check=True)
    assert git_blob(tmp_path / "file") == named.stdout.strip()


def test_a_stored_suite_is_missing_until_it_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGFENCE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    recipe = {"data": {"target": "builtin:glitter/target"}, "evaluation": {"suites": {"general": "suite:theirs"}}}
    path = sweeps.write(tmp_path, base=recipe, inputs={"suite:theirs": {"yours": "a file: `ringfence suites add`"}})
    (line,) = SweepPlan.load(path).missing()
    assert line == "suite:theirs is missing: a file: `ringfence suites add`; then `ringfence suites show suite:theirs`"
    (tmp_path / "asked.jsonl").write_text('{"prompt": "Why?"}\n')
    store.add("theirs", str(tmp_path / "asked.jsonl"))
    assert SweepPlan.load(path).missing() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pool.jsonl": None}, "pool.jsonl is no file in"),
        ({"pool.jsonl": {"select": "select.yaml"}}, "inputs: a cycle: pool.jsonl -> pool.jsonl"),
        ({"pool.jsonl": {"select": "gone.yaml"}}, "gone.yaml: for pool.jsonl: .*gone.yaml: cannot read the recipe"),
        ({"pool.jsonl": {"persona": "recipe.yaml"}}, r"recipe.yaml: for pool.jsonl: .*unknown key 'data'"),
    ],
)
def test_faults_are_one_line(path: Path, changes: dict[str, Any], message: str) -> None:
    plain = yaml.safe_load(path.read_text())
    for name, value in changes.items():
        plain["inputs"].pop(name)
        if value is not None:
            plain["inputs"][name] = value
    path.write_text(yaml.safe_dump(plain, sort_keys=False))
    with pytest.raises(RingfenceError, match=message) as raised:
        SweepPlan.load(path).missing()
    assert "\n" not in str(raised.value)


def test_what_is_built_in_or_there_needs_no_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = SweepPlan.load(sweeps.write(tmp_path))
    with pytest.raises(RingfenceError, match=r"target.jsonl is no file in .*, where paths begin"):
        plan.missing()
    Path("target.jsonl").write_text("{}")
    assert plan.missing() == []
    assert SweepPlan.load(sweeps.write(tmp_path, base={"data": {"target": "task:opswap"}})).missing() == []
