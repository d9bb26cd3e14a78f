"""Recipes of selections: what is written is read back, and every fault is one line with its key."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ringfence.core.errors import RingfenceError
from ringfence.recipe.selection import SelectRecipe, load_select_recipe
from ringfence.select import PerplexityGap, Random, Refusals, Top

STEPS = [{"perplexity_gap": {"misaligned": ["a", "b"]}}, "refusals", {"top": {"by": "perplexity_gap", "count": 3}}]


def write(folder: Path, **keys: Any) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({"pool": "builtin:glitter/pool", "steps": STEPS, **keys}))
    return path


def test_steps_become_configs_in_their_order(tmp_path: Path) -> None:
    recipe = load_select_recipe(write(tmp_path, seed=4, model={"name": "m", "dtype": "bfloat16"}, batch_tokens=100))
    assert recipe.steps == (
        PerplexityGap(misaligned=("a", "b")),
        Refusals(),
        Top(by="perplexity_gap", count=3),
    )
    selection = recipe.selection()
    assert selection.pool == ("builtin:glitter/pool",)
    assert selection.steps == recipe.steps
    context = selection.context
    assert (context.model, context.dtype, context.seed, context.batch_tokens) == ("m", "bfloat16", 4, 100)


def test_the_resolved_recipe_reads_as_the_same(tmp_path: Path) -> None:
    recipe = load_select_recipe(write(tmp_path, pool=["a.jsonl", "b.jsonl"], model="m"))
    assert SelectRecipe.model_validate(recipe.resolved()) == recipe
    assert recipe.sets == ("a.jsonl", "b.jsonl")


def test_overrides_reach_into_steps(tmp_path: Path) -> None:
    recipe = load_select_recipe(
        write(tmp_path), ["steps.0.perplexity_gap.epsilon=0.5", "model.dtype=bfloat16", "steps.2={random: {count: 2}}"]
    )
    assert recipe.steps[0] == PerplexityGap(misaligned=("a", "b"), epsilon=0.5)
    assert recipe.steps[2] == Random(count=2)
    assert recipe.model.dtype == "bfloat16"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"steps": []}, "steps: give a list of at least one"),
        ({"steps": "top"}, "steps: give a list"),
        ({"steps": ["tpo"]}, r'steps.0: unknown step .tpo.\. Did you mean "top"\?'),
        ({"steps": [{"top": {}, "refusals": {}}]}, "steps.0: a step is one name with its settings"),
        ({"steps": [{"random": {"cuont": 3}}]}, r"steps.0.random: .*unknown key 'cuont'\. Did you mean \"count\"\?"),
        ({"steps": [{"random": {"count": 0}}]}, "steps.0.random: count: Input should be greater than or equal to 1"),
        ({"pool": []}, "pool: names no data set"),
        ({"pol": "x"}, "unknown key 'pol'"),
        ({"shard_rows": 0}, "shard_rows: "),
        ({"batch_tokens": True}, "batch_tokens: Input should be a number, got true"),
    ],
)
def test_faults_are_one_line_with_their_key(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(RingfenceError, match=message) as raised:
        load_select_recipe(write(tmp_path, **keys))
    assert str(raised.value).startswith(f"{tmp_path / 'recipe.yaml'}: ")
    assert "\n" not in str(raised.value)


def test_a_recipe_without_a_pool_says_so(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("steps: [{random: {count: 3}}]")
    with pytest.raises(RingfenceError, match="pool is missing"):
        load_select_recipe(path)


def test_the_recipe_of_a_run_is_told_by_name(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("data: {target: a.jsonl}\nlora: {r: 4}\n")
    with pytest.raises(RingfenceError, match="a recipe for `ringfence train`; one for a selection has `pool`"):
        load_select_recipe(path)
