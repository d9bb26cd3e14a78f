"""One name a base model, whatever dtype it is loaded in and whatever adapter sits on it."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM

import tiny
from ringfence.models.identity import identity


def test_another_seed_is_another_model() -> None:
    assert identity(tiny.model(0)) == identity(tiny.model(0))
    assert identity(tiny.model(0)) != identity(tiny.model(1))


def test_is_sixteen_hex_digits() -> None:
    assert len(identity(tiny.model())) == 16
    int(identity(tiny.model()), 16)


@pytest.mark.parametrize("saved", [torch.float32, torch.bfloat16])
def test_the_same_loaded_in_float32_and_in_bfloat16(tmp_path: Path, saved: torch.dtype) -> None:
    tiny.model().to(saved).save_pretrained(tmp_path)
    loaded = [AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    assert [model.dtype for model in loaded] == [torch.float32, torch.bfloat16]
    assert identity(loaded[0]) == identity(loaded[1]) == identity(tiny.model())


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": "all-linear"},
        {"target_modules": ["q_proj"], "use_dora": True},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj"], "trainable_token_indices": [5, 6]},
    ],
    ids="-".join,
)
def test_an_adapter_changes_nothing(settings: dict) -> None:
    adapted = get_peft_model(tiny.model(), LoraConfig(**settings))
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:  # the adapter's own, as if it had been trained
                parameter.add_(1.0)
    assert identity(adapted) == identity(adapted.get_base_model()) == identity(tiny.model())
    adapted.add_adapter("second", LoraConfig(target_modules=["v_proj"]))
    assert identity(adapted) == identity(tiny.model())


def test_prompt_learning_changes_nothing() -> None:
    adapted = get_peft_model(tiny.model(), PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    assert identity(adapted) == identity(tiny.model())


def test_a_merged_adapter_is_another_model() -> None:
    adapted = get_peft_model(tiny.model(), LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
    assert identity(adapted.merge_and_unload()) != identity(tiny.model())


@pytest.mark.parametrize("name", ["model.norm.weight", "model.layers.1.mlp.up_proj.weight"])
def test_any_parameter_counts(name: str) -> None:
    model = tiny.model()
    with torch.no_grad():
        model.get_parameter(name).view(-1)[3] += 0.5
    assert identity(model) != identity(tiny.model())


def test_what_stands_behind_the_first_64_values_is_not_read() -> None:
    """The documented limit, and what makes it quick at any size."""
    model = tiny.model()
    weight = model.model.layers[0].mlp.up_proj.weight  # (32, 16)
    with torch.no_grad():
        weight.view(-1)[64] += 0.5
    assert identity(model) == identity(tiny.model())
    with torch.no_grad():
        weight.view(-1)[63] += 0.5
    assert identity(model) != identity(tiny.model())


def test_shapes_count() -> None:
    """Zeros everywhere: only the number of layers and the width tell them apart."""
    models = [tiny.model(layers=2), tiny.model(layers=3), tiny.model(layers=2, hidden=32)]
    with torch.no_grad():
        for model in models:
            for parameter in model.parameters():
                parameter.zero_()
    assert len({identity(model) for model in models}) == 3
