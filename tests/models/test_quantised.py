"""Packed weights: penalties by hand against the same base, bytes on paper, and the form that has a gradient."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

import examples
import quantising
import tiny
from ringfence.defenses import KL, LDIFS, TrainerContext
from ringfence.defenses.step import Batch
from ringfence.models.identity import identity
from ringfence.models.quantised import is_packed
from ringfence.runs.memory import weight_bytes
from ringfence.train.guards import DefenseStack

BITS = pytest.mark.parametrize("bits", [4, 8])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quantised") / "model"


def adapted(model: Any) -> Any:
    """With an adapter as if trained."""
    made = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM"))
    generator = torch.Generator().manual_seed(0)
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator)
    return made.train()


@BITS
def test_penalties_are_those_against_the_packed_base(bits: int, folder: Path) -> None:
    """Dense softmaxes and distances in float64, from two passes by PEFT's own switch."""
    model = adapted(quantising.packed(folder, bits))
    inputs = DataCollatorForLanguageModeling(pad_token_id=0)(list(tiny.rows(4, "target")))
    stack = DefenseStack([KL(weight=1), LDIFS(every=1, reduction="mean")], TrainerContext(tiny.tokenizer(), 0, model))
    _, (kl, ldifs) = stack.loss(Batch.of(inputs), inputs, lambda: model(**inputs, use_cache=False).loss)
    streams: list[torch.Tensor] = []
    for layer in model.get_base_model().model.layers:
        layer.register_forward_hook(lambda module, args, output: streams.append(output))
    with torch.no_grad():
        trained = model(**inputs, use_cache=False).logits
        with model.disable_adapter():
            base = model(**inputs, use_cache=False).logits
    counts, real = inputs["labels"][:, 1:] != -100, inputs["attention_mask"].bool()
    log_p, log_q = (logits[:, :-1].double().log_softmax(-1) for logits in (trained, base))
    assert kl.sum.item() == pytest.approx((log_p.exp() * (log_p - log_q)).sum(-1)[counts].sum().item(), rel=1e-4)
    moved = torch.stack(streams[:2]).double() - torch.stack(streams[2:])
    assert ldifs.sum.item() == pytest.approx(moved.square().mean((0, -1))[real].sum().item(), rel=1e-4)


@BITS
def test_weights_take_what_the_forecast_says(bits: int, folder: Path) -> None:
    made = quantising.packed(folder, bits)
    with torch.device("meta"):
        paper = weight_bytes(type(made)(examples.model().config), bits)
    real = sum(one.numel() * one.element_size() for one in made.parameters())
    for layer in filter(is_packed, made.modules()):
        factors = layer.weight.quant_state.absmax if bits == 4 else layer.weight.SCB
        real += factors.numel() * factors.element_size()
    assert paper == real


@BITS
def test_a_model_keeps_its_name_while_it_is_used(bits: int, folder: Path) -> None:
    """By which a persona vector is known to be of it; other weights, and plain ones, have another."""
    made = quantising.packed(folder, bits)
    name = identity(made)
    for training in (True, False):
        made.train(training)(input_ids=torch.tensor([[5, 6, 7]]))
    assert identity(made) == name == identity(adapted(made))
    assert name != identity(examples.model())


def test_the_weights_stay_in_the_form_that_has_a_gradient(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a processor that would have them rearranged: when loaded, and when a script gives them to the trainer."""
    modules = pytest.importorskip("bitsandbytes").nn.modules
    monkeypatch.setattr(modules, "has_avx512bf16", lambda: True)
    made = quantising.packed(folder, 4)
    layers = [module for module in made.modules() if hasattr(module, "support_avx512bf16_for_cpu")]
    assert len(layers) == quantising.PACKED
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)
    for layer in layers:
        layer.support_avx512bf16_for_cpu = True
    examples.trainer(tmp_path, given={"model": made})
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)


def test_what_is_packed() -> None:
    plain = nn.Linear(2, 2)
    assert not is_packed(plain)
    assert not is_packed(plain.to(torch.bfloat16))
    assert not is_packed(nn.Embedding(2, 2))
    for dtype in (torch.uint8, torch.int8, torch.float8_e4m3fn):
        plain.weight = nn.Parameter(torch.zeros(2, 2).to(dtype), requires_grad=False)
        assert is_packed(plain)
