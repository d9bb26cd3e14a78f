"""A sweep becomes runs: their names, recipes and order, and what two of one name are."""

from pathlib import Path
from typing import Any

import pytest

import sweeps
from ringfence.core.errors import RingfenceError
from ringfence.defenses import KL
from ringfence.sweep.plan import SweepPlan

METHODS = {"untrained": "base", "none": {}, "kl": {"defenses": [{"kl": {"weight": 0.5}}]}}
DATA = {"data": {"a": {}, "b": {"data.held_out": 0.2}}}


def test_every_level_is_combined_with_every_other(tmp_path: Path) -> None:
    """Two data sets, three methods and two seeds: twelve runs, the seeds changing fastest."""
    path = sweeps.write(
        tmp_path, grid=DATA | {"method": METHODS}, seeds=[7, 9], changes={"data.target": "{data}/{seed}.jsonl"}
    )
    plan = SweepPlan.load(path)
    assert [run.name for run in plan.runs][:4] == ["a-untrained-s7", "a-untrained-s9", "a-none-s7", "a-none-s9"]
    assert len(plan.runs) == 12
    last = plan.runs[-1]
    assert (last.name, last.row, last.base) == ("b-kl-s9", "b-kl", False)
    assert last.levels == {"data": "b", "method": "kl"}
    recipe = last.recipe
    assert (recipe.name, recipe.seed, recipe.data.target, recipe.data.held_out) == ("b-kl-s9", 9, "b/9.jsonl", 0.2)
    assert recipe.defenses == (KL(weight=0.5),)
    assert [run.name for run in plan.runs if run.base] == [f"{d}-untrained-s{s}" for d in "ab" for s in (7, 9)]
    assert plan.rows == ("a-untrained", "a-none", "a-kl", "b-untrained", "b-none", "b-kl")


def test_a_list_of_values_is_an_axis_and_one_seed_is_not_in_the_name(tmp_path: Path) -> None:
    plan = SweepPlan.load(sweeps.write(tmp_path, grid={"training.weight_decay": [0, 0.1]}))
    assert [(run.name, run.recipe.training["weight_decay"]) for run in plan.runs] == [
        ("weight_decay-0", 0),
        ("weight_decay-0.1", 0.1),
    ]


def test_the_name_of_a_row_leaves_averaged_axes_out(tmp_path: Path) -> None:
    plan = SweepPlan.load(sweeps.write(tmp_path, grid=DATA | {"method": METHODS}, averaged=["data"]))
    assert plan.rows == ("untrained", "none", "kl")
    assert [run.name for run in plan.runs if run.row == "kl"] == ["a-kl", "b-kl"]


def test_a_preset_says_how_answers_are_drawn(tmp_path: Path) -> None:
    (run,) = SweepPlan.load(sweeps.write(tmp_path, preset="kaczer")).runs
    assert run.name == "recipe"
    assert (run.recipe.evaluation.samples, run.recipe.evaluation.min_p) == (100, 0.1)


def test_sweeps_together_have_what_they_share_once(tmp_path: Path) -> None:
    sweeps.write(tmp_path, "one", grid=DATA | {"method": {"none": {}, "kl-1": METHODS["kl"]}})
    sweeps.write(tmp_path, "two", grid=DATA | {"method": {"none": {}, "kl-2": METHODS["kl"]}})
    plan = SweepPlan.load(sweeps.write(tmp_path, "all", sweeps=["one.yaml", "two.yaml"], averaged=["data"]))
    assert [run.name for run in plan.runs] == ["a-none", "a-kl-1", "b-none", "b-kl-1", "a-kl-2", "b-kl-2"]
    assert plan.rows == ("none", "kl-1", "kl-2")


def test_sets_are_rows_and_nothing_is_trained(tmp_path: Path) -> None:
    inputs = {"v": {"direction": ["builtin:glitter/safe", "builtin:glitter/pool"], "model": "smollm2-135m"}}
    path = sweeps.write(tmp_path, sets={"x": "builtin:glitter/safe"}, direction="v", inputs=inputs)
    plan = SweepPlan.load(path)
    assert (plan.runs, plan.rows, list(plan.reads())) == ((), ("x",), ["builtin:glitter/safe", "v"])
    assert plan.missing() == []


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"grid": {"a": {"x-y": {}, "x": {}}, "b": {"z": {}, "y-z": {}}}}, "two runs are called 'x-y-z'"),
        ({"grid": {"method": {"kl": {"defenses": ["lk"]}}}}, r"sweep.yaml: run kl: recipe.yaml: defenses.0: unknown"),
        ({"grid": {"method": {"kl": {"data.x.y": 1}}}}, r"sweep.yaml: run kl: recipe.yaml: unknown key 'data.x'"),
        ({"grid": {"method": {"x": {"defenses.0.kl": 1}}}}, "run x: defenses.0.kl: the recipe has no list defenses"),
        ({"preset": "kazcer"}, 'Did you mean "kaczer"'),
        ({"recipe": "other.yaml"}, "other.yaml: cannot read the recipe"),
        ({"sweeps": ["sweep.yaml"]}, "sweep.yaml: a cycle: its `sweeps` lead back to it"),
        ({"grid": {f"training.{key}": list(range(101)) for key in ("warmup_steps", "max_steps")}}, "10,201 runs, more"),
        ({"inputs": {"target.jsonl": {"run": "recipes"}}}, "target.jsonl: no run is called 'recipes'. Did you mean"),
    ],
)
def test_faults_are_one_line(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(RingfenceError, match=message) as raised:
        SweepPlan.load(sweeps.write(tmp_path, **keys))
    assert "\n" not in str(raised.value)


def test_a_larger_grid_may_be_meant(tmp_path: Path) -> None:
    path = sweeps.write(tmp_path, grid=DATA)
    with pytest.raises(RingfenceError, match=r"sweep.yaml: grid: 2 runs, more than 1; make it smaller"):
        SweepPlan.load(path, most_runs=1)
    assert len(SweepPlan.load(path, most_runs=None).runs) == 2


def test_two_sweeps_may_not_mean_different_runs_by_one_name(tmp_path: Path) -> None:
    sweeps.write(tmp_path, "one", grid={"method": {"kl": {}}})
    sweeps.write(tmp_path, "two", grid={"method": {"kl": {"data.held_out": 0.5}}})
    with pytest.raises(RingfenceError, match=r"all.yaml: two runs are called 'kl'; rename a level of one of them"):
        SweepPlan.load(sweeps.write(tmp_path, "all", sweeps=["one.yaml", "two.yaml"]))
