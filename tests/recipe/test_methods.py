"""What `training` may say by method: fields of the other one are named, and so is what this machine lacks."""

from collections.abc import Callable
from typing import Any

import pytest

from ringfence.recipe.methods import checked_training, require_fitting, require_packages


def refused(check: Callable[..., Any], method: str, values: dict[str, Any]) -> str:
    with pytest.raises(ValueError, match=r"^\.") as raised:
        check(method, values)
    return str(raised.value)


@pytest.mark.parametrize(
    ("method", "values", "said"),
    [
        ("sft", {"num_generations": 4}, ".num_generations: a field of GRPO; set method: grpo, or leave it out"),
        ("grpo", {"packing": True}, ".packing: a field of SFT; with method: grpo leave it out"),
        ("grpo", {"max_length": 8}, ".max_length: a field of SFT; with method: grpo use max_completion_length"),
    ],
)
def test_a_field_of_the_other_method_is_named(method: str, values: dict[str, Any], said: str) -> None:
    assert refused(checked_training, method, values) == said


def test_a_field_of_none_is_left_to_the_nearest_name() -> None:
    assert 'Did you mean "learning_rate"?' in refused(checked_training, "sft", {"learning_rte": 1})


def test_each_method_has_its_own_bounds_and_types() -> None:
    assert checked_training("grpo", {"num_generations": 4, "beta": 0.1}) == {"num_generations": 4, "beta": 0.1}
    assert refused(checked_training, "grpo", {"num_generations": 1}).startswith(".num_generations: ")
    assert checked_training("sft", {"learning_rate": "1e-4"}) == {"learning_rate": 1e-4}


def test_what_a_stage_has_together_goes_by_the_method() -> None:
    require_fitting("sft", {"packing": True})
    assert refused(require_fitting, "sft", {"packing_strategy": "bfd"}).startswith(".packing_strategy: without effect")
    assert refused(require_fitting, "grpo", {"sync_ref_model": True}).startswith(".sync_ref_model: without effect")


def test_packages_of_both_and_of_grpo_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for method in ("sft", "grpo"):
        assert refused(require_packages, method, {"deepspeed": "a.json"}).startswith(".deepspeed needs the package")
    assert "'.[vllm]'" in refused(require_packages, "grpo", {"use_vllm": True})
    require_packages("sft", {"use_vllm": True})  # no field of it: refused as one before
