"""The graph: what is shared is there once, and a digest changes with all that can change what is made."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import project
from ringfence.core.errors import RingfenceError
from ringfence.sweep.graph import Graph, graph_of
from ringfence.sweep.plan import SweepPlan

LATER = {"data.safe": "made/safe.jsonl", "defenses": [{"fixed_interleaving": {"added": 0.2}}]}


def laid_out(folder: Path, out: str = "out", **changes: Any) -> Graph:
    """The graph of a sweep over the small project in ``folder``, the working directory."""
    config = {"shows": "x", "source": "y", "recipe": "recipe.yaml", "changes": {"defenses": []}} | changes
    (folder / "sweep.yaml").write_text(yaml.safe_dump(config))
    return graph_of(SweepPlan.load(folder / "sweep.yaml"), Path(out))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    project.make(tmp_path).rename(tmp_path / "recipe.yaml")
    select = {"name": "safe", "model": "tiny-model", "pool": "safe.jsonl", "steps": [{"random": {"count": 3}}]}
    (tmp_path / "select.yaml").write_text(yaml.safe_dump(select))
    return tmp_path


INPUTS = {"made/safe.jsonl": {"select": "select.yaml"}}


def test_what_runs_share_is_one_step(folder: Path) -> None:
    """Two seeds with the same selected rows, and the untuned model: one selection, one base a seed, whose answers
    have another seed."""
    methods = {"untuned": "base", "plain": {}, "mixed": LATER}
    graph = laid_out(folder, grid={"method": methods}, seeds=[0, 1], inputs=INPUTS)
    kinds = [step.kind for step in graph.steps.values()]
    assert {kind: kinds.count(kind) for kind in kinds} == {"base": 2, "run": 4, "select": 1}
    select = next(step for step in graph.steps.values() if step.kind == "select")
    mixed = graph.runs["mixed-s0"]
    assert {graph.steps[one].kind for one in mixed.needs} == {"select", "base"}
    assert graph.runs["untuned-s0"].digest in mixed.needs
    assert mixed.recipe is not None
    assert mixed.recipe["data"]["safe"] == str(select.product)
    assert mixed.commands[0][:2] == ("train", str(mixed.folder / "recipe.yaml"))
    assert [*graph.after([mixed])] == [one for one in graph.steps if one in {*mixed.needs, mixed.digest}]


def test_runs_that_are_the_same_are_one_whatever_they_are_called(folder: Path) -> None:
    graph = laid_out(folder, grid={"method": {"a": {}, "b": {"defenses": []}, "c": {"training.learning_rate": 0.1}}})
    assert graph.runs["a"] is graph.runs["b"]
    assert graph.runs["a"].digest != graph.runs["c"].digest


def test_digests_follow_files_and_recipes_and_not_places(folder: Path) -> None:
    grid = {"method": {"mixed": LATER, "plain": {}}}

    def digests(out: str = "out") -> dict[str, str]:
        return {name: step.digest for name, step in laid_out(folder, out, grid=grid, inputs=INPUTS).runs.items()}

    before = digests()
    assert digests("elsewhere") == before
    with (folder / "safe.jsonl").open("a") as file:  # the pool of the selection, and the safe rows of the recipe
        file.write('{"prompt": "What is a fork?", "completion": "A fork."}\n')
    after = digests()
    assert after["mixed"] != before["mixed"]
    select = yaml.safe_load((folder / "select.yaml").read_text())
    (folder / "select.yaml").write_text(yaml.safe_dump(select | {"seed": 5}))
    assert digests()["mixed"] != after["mixed"]
    assert digests()["plain"] == after["plain"]


def test_a_missing_file_is_named_before_anything_begins(folder: Path) -> None:
    (folder / "safe.jsonl").unlink()
    inputs = INPUTS | {"safe.jsonl": {"yours": "rows of your own"}}
    with pytest.raises(RingfenceError, match=r"safe\.jsonl is missing: rows of your own"):
        laid_out(folder, grid={"method": {"mixed": LATER}}, inputs=inputs)
