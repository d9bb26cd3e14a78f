"""What a recipe's `lora` may say."""

from typing import Any

import pytest

from ringfence.core.lora_arguments import BOUNDS, REFUSALS, check_lora
from ringfence.core.source_fields import LORA_CONFIG, fields_in


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("r", 0, "must be at least 1, got 0"),
        ("lora_alpha", 0, "must be at least 1"),
        ("lora_dropout", 3.0, "must be at least 0 and below 1"),
        ("lora_dropout", float("nan"), "must be at least 0 and below 1"),
        ("peft_type", "x", "a LoRA adapter and no other"),
        ("task_type", "SEQ_CLS", "a causal language model"),
        ("auto_mapping", {"a": 1}, "leave it out"),
        ("base_model_name_or_path", "x", "`model.name`"),
        ("revision", "main", "`model.revision`"),
        ("inference_mode", True, "can be trained"),
        ("eva_config", {"rho": 2}, "an object of PEFT's"),
    ],
)
def test_what_is_no_setting_is_refused_with_its_key(key: str, value: Any, why: str) -> None:
    with pytest.raises(ValueError, match=rf"^\.{key}: .*{why}"):
        check_lora({key: value})


def test_settings_pass_and_so_does_what_changes_nothing() -> None:
    check_lora({"r": 1, "lora_alpha": 1, "lora_dropout": 0.0, "target_modules": ["q_proj"], "use_dora": True})
    check_lora({"peft_type": "LORA", "task_type": "CAUSAL_LM", "inference_mode": False, "revision": None})


def test_all_that_is_looked_at_is_a_field() -> None:
    assert {*BOUNDS, *REFUSALS} <= set(fields_in(LORA_CONFIG))
