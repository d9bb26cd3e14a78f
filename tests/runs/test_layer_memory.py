"""What a layer keeps by the formula is what autograd saves, counted by its own hooks."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from ringfence.runs.layer_memory import Bytes, Layer, layers_of

ROWS, TOKENS = 2, 64
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SHAPE: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 48,
    "intermediate_size": 160,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 12,
}


def made(layers: int, dtype: torch.dtype, lora: dict[str, Any] | None, family: str = "llama") -> Any:
    config, kind = (Qwen3Config, Qwen3ForCausalLM) if family == "qwen3" else (LlamaConfig, LlamaForCausalLM)
    model = kind(config(**SHAPE, num_hidden_layers=layers)).to(dtype).train()
    return model if lora is None else get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **lora))


def saved(model: Any, autocast: bool) -> int:
    """Bytes that autograd keeps of a forward pass through the layers; each storage once, and without parameters."""
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage  # held, so that no address comes twice
        return tensor

    decoder = (model.get_base_model() if hasattr(model, "get_base_model") else model).get_decoder()
    states = torch.randn(ROWS, TOKENS, SHAPE["hidden_size"], dtype=model.dtype, requires_grad=True)
    around: Any = torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), around:
        decoder(inputs_embeds=states, use_cache=False)
    owned = {one.untyped_storage().data_ptr() for one in model.parameters()}
    return sum(storage.nbytes() for address, storage in kept.items() if address not in owned)


def a_layer(dtype: torch.dtype, lora: dict[str, Any] | None, autocast: bool, family: str) -> float:
    """Bytes of one layer: what two more of them add, halved, so that all else falls out."""
    few, many = (saved(made(layers, dtype, lora, family), autocast) for layers in (2, 4))
    return (many - few) / 2


ALL = {"r": 4, "target_modules": LINEAR}
SOME = {"r": 4, "target_modules": ["q_proj", "v_proj"]}


@pytest.mark.parametrize("family", ["llama", "qwen3"])
@pytest.mark.parametrize(
    ("dtype", "autocast", "lora"),
    [
        (torch.bfloat16, True, ALL),
        (torch.bfloat16, True, SOME),
        (torch.bfloat16, False, ALL),
        (torch.float32, True, ALL),
        (torch.float32, False, ALL),
        (torch.float32, False, SOME),
        (torch.bfloat16, True, None),
        (torch.float32, True, None),
        (torch.float32, False, None),
    ],
)
def test_a_layer_keeps_what_autograd_saves(
    dtype: torch.dtype, autocast: bool, lora: dict[str, Any] | None, family: str
) -> None:
    """Within 8%; logsumexps, reciprocal norms and the like are not in the formula."""
    layer = layers_of(made(1, dtype, lora, family))[0]
    assert layer is not None
    adapter = dtype.itemsize if lora is None else 4
    size = Bytes(dtype.itemsize, 2 if autocast else dtype.itemsize, adapter, autocast)
    formula = ROWS * TOKENS * layer.saved_a_token(size, dropout=False) + layer.saved_at_once(size)
    assert formula == pytest.approx(a_layer(dtype, lora, autocast, family), rel=0.08)


def test_fewer_key_heads_are_counted_as_many_as_query_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a padding mask they are repeated; without one the formula is above."""
    whole = layers_of(made(1, torch.float32, ALL))[0]
    monkeypatch.setitem(SHAPE, "num_key_value_heads", 1)
    layer, size = layers_of(made(1, torch.float32, ALL))[0], Bytes(4, 4, 4, False)
    assert layer is not None
    assert whole is not None
    formula = ROWS * TOKENS * layer.saved_a_token(size, dropout=False)
    assert formula == ROWS * TOKENS * whole.saved_a_token(size, dropout=False)
    least = a_layer(torch.float32, ALL, False, "llama")
    assert least < formula < 1.3 * least


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_that_is_computed_again_keeps_its_input(dtype: torch.dtype) -> None:
    found = []
    for layers in (2, 4):
        model = made(layers, dtype, ALL)
        model.gradient_checkpointing_enable({"use_reentrant": False})
        found.append(saved(model, False))
    expected = ROWS * TOKENS * SHAPE["hidden_size"] * dtype.itemsize
    assert (found[1] - found[0]) / 2 == pytest.approx(expected, rel=0.02)


def test_layers_of_another_kind_are_not_known() -> None:
    dora = made(1, torch.float32, {**ALL, "use_dora": True})
    assert layers_of(dora) == [None]
    layer = layers_of(made(1, torch.float32, SOME))[0]
    assert layer is not None
    assert layer.adapter_weights == 4 * (48 + 48) * 2
    assert layer.weights == 4 * 48 * 48 + 3 * 48 * 160
    assert Layer.of(torch.nn.Linear(2, 2)) is None
