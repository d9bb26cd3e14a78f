"""Logits from last hidden states: the model's own, rounded as it rounds or not at all, whatever the output layer."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    Cohere2Config,
    CohereConfig,
    Gemma2Config,
    GraniteConfig,
    LlamaConfig,
    Qwen2Config,
)

import tiny
from ringfence.models import output_head
from ringfence.models.activations import capture_hidden_states, without_adapters
from ringfence.models.output_head import OutputHead

IDS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 0]])
SMALL = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "pad_token_id": 0,
}
CONFIGS = {
    "llama": (LlamaConfig(**SMALL), 1.0, None),
    "qwen2": (Qwen2Config(**SMALL, tie_word_embeddings=True), 1.0, None),
    "gemma2": (Gemma2Config(**SMALL, final_logit_softcapping=0.5), 1.0, 0.5),
    "cohere": (CohereConfig(**SMALL, logit_scale=0.25), 0.25, None),
    "cohere2": (Cohere2Config(**SMALL, logit_scale=3.0), 3.0, None),
    "granite": (GraniteConfig(**SMALL, logits_scaling=8.0), 0.125, None),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_output_layer_gives_the_models_own_logits(name: str) -> None:
    config, scale, softcap = CONFIGS[name]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(20)
    with capture_hidden_states(model, [], last=True) as found:
        logits = model(input_ids=IDS, use_cache=False).logits
    head = OutputHead.of(model)
    assert (head.scale, head.softcap) == (scale, softcap)
    assert head.bias is None
    z = scale * found.last @ head.weight.T
    torch.testing.assert_close(z if softcap is None else softcap * torch.tanh(z / softcap), logits)
    assert logits.abs().max() > 0.3
    with torch.no_grad():
        for rounded in (False, True):
            torch.testing.assert_close(head.logits(found.last.flatten(0, 1), rounded).view_as(logits), logits)


def test_the_output_layer_under_an_adapter_is_that_in_force() -> None:
    model = get_peft_model(tiny.model(), LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"]))
    with torch.no_grad():
        model.get_output_embeddings().modules_to_save["default"].weight.add_(1)
    own = OutputHead.of(model).weight
    with without_adapters(model):
        base = OutputHead.of(model).weight
    assert torch.equal(base, tiny.model().lm_head.weight)
    assert torch.equal(own, base + 1)


def states(positions: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(positions, 16, generator=torch.Generator().manual_seed(1)).to(dtype)


def test_an_adapter_on_the_output_layer_takes_part() -> None:
    model = get_peft_model(tiny.model(), LoraConfig(r=2, target_modules=["lm_head"]))
    nn.init.normal_(model.get_output_embeddings().lora_B["default"].weight)
    hidden = states(3, torch.float32)
    with torch.no_grad():
        found = OutputHead.of(model).logits(hidden)
        assert torch.equal(found, model.get_output_embeddings()(hidden))
        with without_adapters(model):
            base = OutputHead.of(model).logits(hidden)
    assert torch.equal(base, tiny.model().lm_head(hidden))
    assert not torch.equal(found, base)


@pytest.mark.parametrize("vocabulary_slice", [7, 2**15])
def test_half_precision_is_rounded_by_the_layer_or_not_at_all(
    vocabulary_slice: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_head, "VOCABULARY_SLICE", vocabulary_slice)
    model, hidden = tiny.model().bfloat16(), states(5, torch.bfloat16)
    head, weight = OutputHead.of(model), model.lm_head.weight
    with torch.no_grad():
        exact, rounded = head.logits(hidden), head.logits(hidden, rounded=True)
        assert torch.equal(rounded, model.lm_head(hidden).float())
    wanted = hidden.double() @ weight.double().T
    torch.testing.assert_close(exact.double(), wanted, rtol=1e-6, atol=1e-7)
    assert (rounded - wanted).abs().max() > 100 * (exact - wanted).abs().max()
    assert (exact.dtype, rounded.dtype) == (torch.float32, torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scale_cap_and_bias_and_the_slope(dtype: torch.dtype) -> None:
    """z = 2 (h w + b), then 3 tanh(z / 3), whose derivative in h w + b is 2 (1 - tanh^2)."""
    weight, bias, hidden = states(9, dtype), torch.linspace(-1, 1, 9).to(dtype), states(4, dtype)
    head = OutputHead(weight, bias, 2.0, 3.0)
    z = 2 * (hidden @ weight.T + bias)
    torch.testing.assert_close(head.logits(hidden), 3 * torch.tanh(z / 3))
    product = head.product(hidden, dtype)
    slope = head.bend(product)
    torch.testing.assert_close(slope, 2 * (1 - torch.tanh(z / 3) ** 2))
    assert product.dtype == dtype
    assert OutputHead(weight, bias, 2.0).bend(z) == 2.0


def test_an_uncapped_head_of_no_layer_multiplies() -> None:
    weight, hidden = states(9, torch.float32), states(4, torch.float32)
    head: Any = OutputHead(weight, None)
    assert torch.equal(head.logits(hidden, rounded=True), hidden @ weight.T)
