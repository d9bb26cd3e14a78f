"""The YAML of a sweep: what it takes, and that every fault is one line with its key."""

from pathlib import Path
from typing import Any

import pytest

import sweeps
from ringfence.core.errors import RingfenceError
from ringfence.sweep.config import load_inputs, load_sweep

GRID = {"method": {"none": {}, "kl": {"defenses": ["kl"]}}, "training.weight_decay": [0, 0.1]}


def test_a_sweep_is_read_and_counted(tmp_path: Path) -> None:
    config = load_sweep(sweeps.write(tmp_path, grid=GRID, seeds=[1, 2, 3]))
    assert (config.size, config.seeds, config.recipe) == (2 * 2 * 3, (1, 2, 3), "recipe.yaml")
    assert config.grid["method"] == GRID["method"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"gird": {}}, "sweep.yaml: unknown key 'gird'"),
        (
            {"recipe": "recipe.yaml", "sets": {"a": "b"}},
            "give one of recipe .with a grid., sweeps and sets, not recipe and",
        ),
        ({"sweeps": [], "recipe": None}, "give one of recipe .with a grid., sweeps and sets"),
        ({"sets": {"a": "b"}, "grid": GRID}, "grid: without effect without a recipe"),
        ({"grid": GRID, "direction": "v"}, "direction: is for sets"),
        ({"grid": {"method": {}}}, "grid.method: give a mapping of levels"),
        ({"grid": {"method": 5}}, "grid.method: give a mapping of levels"),
        ({"grid": {"method": {"kl": 5}}}, "grid.method.kl: give a mapping of changes, {} for none, or `base`"),
        ({"grid": {"method": {5: {}}}}, "grid.method.5: a level's name is a text"),
        ({"grid": {"a.b": {"x": {}}}}, "grid.a.b: a name of letters"),
        ({"grid": {"seed": {"x": {}}}}, "grid.seed: seeds have a key of their own"),
        ({"grid": {"method": {"a b": {}}}}, "grid.method.a b: a level's name is a text"),
        ({"grid": GRID, "averaged": ["metod"]}, 'averaged: .metod. is no axis of the grid. Did you mean "method"'),
        ({"grid": GRID, "seeds": []}, "seeds: "),
        ({"grid": GRID, "seeds": [1, 1]}, "seeds: a seed is there twice"),
        ({"grid": GRID, "seeds": [-1]}, "seeds.0: Input should be greater than or equal to 0"),
        ({"grid": GRID, "inputs": {"a": {}}}, "inputs.a: give one of yours, select, persona, train, direction, run"),
        ({"grid": GRID, "inputs": {"a": {"yours": "x", "run": "y"}}}, "inputs.a: give one of .*, not yours and run"),
        (
            {"grid": GRID, "inputs": {"a": {"yours": "x", "changes": {"b": 1}}}},
            "inputs.a: changes: yours has no recipe",
        ),
        (
            {"grid": GRID, "inputs": {"a": {"run": "x", "sha256": "0" * 64}}},
            "inputs.a: sha256, git_blob, rows: of what you",
        ),
        ({"grid": GRID, "inputs": {"a": {"yours": "x", "sha256": "0"}}}, "inputs.a.sha256: String should match"),
        ({"grid": GRID, "inputs": {"a": {"direction": ["x", "y"]}}}, "inputs.a: model: belongs to direction"),
    ],
)
def test_faults_are_one_line_with_their_key(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(RingfenceError, match=message) as raised:
        load_sweep(sweeps.write(tmp_path, **keys))
    assert "\n" not in str(raised.value)


def test_a_recipe_is_not_taken_for_a_sweep(tmp_path: Path) -> None:
    sweeps.write(tmp_path, grid=GRID)
    with pytest.raises(RingfenceError, match=r"recipe.yaml: a recipe for `ringfence train`; a sweep has"):
        load_sweep(tmp_path / "recipe.yaml")


def test_inputs_may_stand_in_files_of_which_the_first_counts(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a.yaml").write_text("x: {yours: first}\n")
    (tmp_path / "b.yaml").write_text("x: {yours: second}\ny: {select: s.yaml}\n")
    path = sweeps.write(tmp_path, grid=GRID, inputs_from=["far/a.yaml", "b.yaml"])
    found = load_inputs(load_sweep(path), path)
    assert {name: (one.how, folder) for name, (one, folder) in found.items()} == {
        "x": ("yours", tmp_path / "far"),
        "y": ("select", tmp_path),
    }
    assert found["x"][0].yours == "first"
    (tmp_path / "b.yaml").write_text("x: {mine: second}\n")
    with pytest.raises(RingfenceError, match=r"b.yaml: unknown key 'x.mine'"):
        load_inputs(load_sweep(path), path)
