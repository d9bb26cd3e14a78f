"""JSON Schema of recipes: every shipped one fits its own, and mistakes do not."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ringfence.core.settings import read_plain
from ringfence.recipe.schema import RECIPES, schema_of
from ringfence.sweep.config import SweepConfig, is_sweep

ROOT = Path(__file__).parents[2]
SHIPPED = [
    path
    for path in sorted([*ROOT.glob("recipes/*/*.yaml"), *ROOT.glob("src/ringfence/recipe/builtin/*.yaml")])
    if path.name != "inputs.yaml"
]


@cache
def checker(kind: str) -> Draft202012Validator:
    schema = schema_of({**RECIPES, "sweep": SweepConfig}[kind])
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def kind_of(text: str, plain: dict[str, Any]) -> str:
    if is_sweep(text):
        return "sweep"
    return "select" if "steps" in plain else "persona" if "trait" in plain else "run"


def test_every_shipped_recipe_fits() -> None:
    """By its own kind's schema; there are some of each kind."""
    kinds = set()
    for path in SHIPPED:
        plain = read_plain(path)
        kind = kind_of(path.read_text(encoding="utf-8"), plain)
        kinds.add(kind)
        wrong = [f"{path}: {error.json_path}: {error.message}" for error in checker(kind).iter_errors(plain)]
        assert wrong == []
    assert kinds == {"run", "select", "persona", "sweep"}


def recipe(**changes: Any) -> dict[str, Any]:
    return {"data": {"target": "x.jsonl"}, **changes}


@pytest.mark.parametrize(
    "right",
    [
        recipe(),
        recipe(model="smollm2-135m"),
        recipe(defenses=["inoculation", {"kl": {"weight": 0.5}}, {"ldifs": None}]),
        recipe(defenses=["recommended"]),
        recipe(judge={"misaligned_pattern": "x"}),
        recipe(judge={"kind": "api", "model": "m"}),
        recipe(judge={"api": {"model": "m"}}),
        recipe(generator={"kind": "vllm"}),
        recipe(evaluation={"tasks": {"a": "task:opswap?tier=2"}}),
    ],
)
def test_what_may_be_written_in_several_ways(right: dict[str, Any]) -> None:
    assert [error.message for error in checker("run").iter_errors(right)] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "no data"},
        recipe(defences=[]),
        recipe(defenses=["klm"]),
        recipe(defenses=[{"kl": {"wait": 1}}]),
        recipe(defenses=[{"kl": {}, "ldifs": {}}]),
        recipe(defenses=[{"kl": {"weight": -1}}]),
        recipe(judge={"kind": "oracle"}),
        recipe(evaluation={"samples": 0}),
        recipe(model={"name": "x", "dtype": "float8"}),
    ],
)
def test_mistakes_do_not_fit(wrong: dict[str, Any]) -> None:
    assert not checker("run").is_valid(wrong)
