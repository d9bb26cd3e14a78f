"""Fields read from source are those of the imported classes."""

import dataclasses
import subprocess
import sys
import types
import typing
from typing import Any

import pytest
from peft import LoraConfig
from trl import GRPOConfig, SFTConfig

from ringfence.core.errors import RingfenceError
from ringfence.core.source_fields import GRPO_CONFIG, LORA_CONFIG, SFT_CONFIG, Source, fields_in


def plain(hint: Any) -> bool:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return all(map(plain, typing.get_args(hint)))
    return hint in (int, float, str, bool, type(None))


@pytest.mark.parametrize(
    ("sources", "config"), [(SFT_CONFIG, SFTConfig), (GRPO_CONFIG, GRPOConfig), (LORA_CONFIG, LoraConfig)]
)
def test_names_and_plain_types_are_those_of_the_class(sources: tuple[Source, ...], config: Any) -> None:
    hints = typing.get_type_hints(config)
    expected = {one.name: hints[one.name] for one in dataclasses.fields(config) if one.init}
    assert fields_in(sources) == {name: hint if plain(hint) else None for name, hint in expected.items()}


def test_a_package_without_the_class_says_what_to_install() -> None:
    with pytest.raises(RingfenceError, match=r"the installed trl has no Nothing in trainer/sft_config\.py; install"):
        fields_in((Source("trl", "trainer/sft_config.py", "Nothing"),))
    with pytest.raises(RingfenceError, match="the installed no_such_package has no A"):
        fields_in((Source("no_such_package", "a.py", "A"),))


def test_a_recipe_is_checked_without_torch() -> None:
    """The mistakes of most recipes: a key of the recipe, of SFTConfig, of LoraConfig, of a defense, of the judge."""
    code = """
import sys
from ringfence.core.errors import RingfenceError
from ringfence.recipe.run import parse_recipe
good = {"data": {"target": "a.jsonl"}}
for change, said in (
    ({"sede": 1}, "sede"),
    ({"training": {"lerning_rate": 1}, "defenses": [{"kl": {}}]}, "learning_rate"),
    ({"training": {"lr_scheduler_type": "foo"}, "defenses": [{"kl": {}}]}, "training.lr_scheduler_type"),
    ({"lora": {"r": 0}, "defenses": [{"kl": {}}]}, "lora.r"),
    ({"lora": {"rr": 1}, "defenses": [{"kl": {}}]}, "lora.rr"),
    ({"defenses": [{"fixed_interleaving": {"ratoi": 0.1}}]}, "ratio"),
    ({"method": "grpo", "training": {"num_generation": 4}, "defenses": [{"kl": {}}]}, "num_generations"),
    ({"method": "grpo", "rl": {"rewards": ["tasks"]}, "defenses": [{"kl": {}}]}, "task"),
    ({"defenses": [{"canary_interleaving": {"evry": 1}}]}, "every"),
    ({"judge": {"misaligned": "a"}}, "misaligned_pattern"),
):
    try:
        parse_recipe(good | change, "r.yaml")
    except RingfenceError as error:
        assert said in str(error), error
    else:
        raise AssertionError(change)
print(sorted({"torch", "transformers", "trl", "peft", "datasets", "pandas"} & set(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.stdout.strip(), ran.returncode) == ("[]", 0), ran.stderr[-2000:]
