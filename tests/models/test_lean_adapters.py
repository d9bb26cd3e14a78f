"""Lean LoRA layers compute what PEFT's do, and leave no trace."""

from collections.abc import Callable

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

import tiny
from ringfence.models.lean_adapters import lean_adapters, lean_on_gpu


def adapted(**settings: object) -> PeftModel:
    """A tiny model whose adapter does something."""
    config = LoraConfig(
        **{"r": 4, "lora_alpha": 6, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings}
    )
    model = get_peft_model(tiny.model(), config)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def logits(model: PeftModel) -> torch.Tensor:
    """(2, 7, vocabulary)"""
    with torch.no_grad():
        return model(torch.arange(14).reshape(2, 7)).logits


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True, "lora_dropout": 0.5}])
def test_equal_to_peft(settings: dict[str, object]) -> None:
    model = adapted(**settings)
    expected = logits(model)
    with model.disable_adapter():
        assert not torch.allclose(logits(model), expected, atol=1e-3)  # else the test would show nothing
    with lean_adapters(model) as layers:
        assert layers == len([one for one in model.modules() if hasattr(one, "lora_A")]) > 0
        torch.testing.assert_close(logits(model), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(logits(model), expected)
    assert not [module for module in model.modules() if "forward" in vars(module)]


def test_in_bfloat16_the_difference_is_that_types() -> None:
    model = adapted()
    expected = logits(model)
    with torch.autocast("cpu", torch.bfloat16):
        ordinary = logits(model).float()
        with lean_adapters(model):
            lean = logits(model).float()
    assert (lean - expected).abs().max() <= 2 * (ordinary - expected).abs().max()


@pytest.mark.parametrize(("dtype", "off"), [(torch.bfloat16, True), (torch.float32, False)])
def test_autocast_is_off_where_the_base_model_is_in_half_precision(dtype: torch.dtype, off: bool) -> None:
    model = get_peft_model(tiny.model().to(dtype), LoraConfig(r=4, task_type="CAUSAL_LM"))
    with torch.autocast("cpu", torch.bfloat16):
        with lean_adapters(model):
            assert torch.is_autocast_enabled("cpu") is not off
            logits(model)  # no type clashes with another
        assert torch.is_autocast_enabled("cpu")


def test_dropout_in_training_mode_computes_as_ever() -> None:
    with lean_adapters(adapted(lora_dropout=0.5).train()) as layers:
        assert layers == 0
    with lean_adapters(adapted().train()) as layers:
        assert layers > 0


def test_a_cpu_answers_by_pefts_own_forward() -> None:
    with lean_on_gpu(adapted()) as layers:
        assert layers == 0


def switched_off(model: PeftModel) -> None:
    model.base_model.disable_adapter_layers()


def merged(model: PeftModel) -> None:
    model.merge_adapter()


def second_active(model: PeftModel) -> None:
    model.add_adapter("other", LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    model.base_model.set_adapter(["default", "other"])


@pytest.mark.parametrize("change", [switched_off, merged, second_active])
def test_anything_else_computes_as_ever(change: Callable[[PeftModel], None]) -> None:
    model = adapted()
    change(model)
    expected = logits(model)
    with lean_adapters(model) as layers:
        assert layers == 0
        assert torch.equal(logits(model), expected)


@pytest.mark.parametrize("settings", [{"use_dora": True}, {"lora_bias": True}])
def test_other_kinds_of_lora_compute_as_ever(settings: dict[str, object]) -> None:
    model = adapted(**settings)
    expected = logits(model)
    with lean_adapters(model) as layers:
        assert layers == 0
        assert torch.equal(logits(model), expected)


def test_the_forward_comes_back_after_an_error() -> None:
    model = adapted()
    with pytest.raises(RuntimeError, match="stop"), lean_adapters(model):
        raise RuntimeError("stop")
    assert not [module for module in model.modules() if "forward" in vars(module)]


def test_a_model_without_adapters() -> None:
    with lean_adapters(tiny.model()) as layers:
        assert layers == 0
