"""Bytes on paper against real tensors, and the peak against what was measured on a GPU."""

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM
from trl import SFTConfig
from trl.trainer import utils

import qwen
import tiny
from live_bytes import LiveBytes
from ringfence.defenses import KL, LDIFS, Defense
from ringfence.runs import memory as module
from ringfence.runs.memory import (
    MicroBatch,
    Penalties,
    Training,
    estimate,
    optimizer_bytes,
    trained_tensors,
    weight_bytes,
)
from ringfence.train import DefendedSFTTrainer

GIB = 2**30
MEASURED = Training(torch.bfloat16, None, torch.bfloat16, checkpointing=True, optimizer="adamw_torch_fused")
BATCH = MicroBatch(4, 2048, 4 * 1024)
LORA: dict[str, Any] = {"r": 4, "task_type": "CAUSAL_LM"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "lora",
    [
        {"target_modules": ["q_proj", "v_proj"]},
        {"target_modules": qwen.LINEAR, "layers_to_transform": [1]},
        {"target_modules": "all-linear", "modules_to_save": ["norm"]},
        None,
    ],
    ids=["list", "one layer", "with a saved module", "full"],
)
def test_weights_adapter_gradients_and_moments_are_exact(dtype: torch.dtype, lora: dict[str, Any] | None) -> None:
    """Of real tensors, after one step of the optimizer."""
    model = tiny.model().to(dtype)
    weights = sum(one.numel() * one.element_size() for one in model.parameters())
    with torch.device("meta"):
        paper: Any = type(model)(model.config).to(dtype)
    assert weight_bytes(paper, None) == weights
    real: Any = model if lora is None else get_peft_model(model, LoraConfig(**LORA, **lora))
    if lora is not None:
        with torch.device("meta"):
            paper = get_peft_model(paper, LoraConfig(**LORA, **lora))
    trained = [one for one in real.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    real(input_ids=torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()
    optimizer.step()
    gradients = sum(one.grad.nbytes for one in trained if one.grad is not None)
    states = sum(tensor.nbytes for state in optimizer.state.values() for tensor in state.values())
    found = estimate(weights, paper, replace(MEASURED, dtype=dtype), MicroBatch(1, 3, 2), Penalties())
    assert (found.weights, found.gradients, found.optimizer) == (weights, gradients, states)
    added = sum(one.nbytes for one in real.parameters()) - weights
    assert found.adapter == (0 if lora is None else added)


@pytest.mark.parametrize(
    ("penalties", "gib"), [(Penalties(), 19.7), (Penalties(last=True), 19.7), (Penalties(layers=7), 20.0)]
)
def test_the_peak_is_what_was_measured(penalties: Penalties, gib: float) -> None:
    """docs/results.md, "On a GPU"; `ldifs` there compares every fourth of 28 layers."""
    found = estimate(weight_bytes(qwen.unloaded("7B"), None), qwen.adapted("7B"), MEASURED, BATCH, penalties)
    assert found.peak is not None
    assert found.peak / GIB == pytest.approx(gib, rel=0.02)


ROWS, TOKENS, WIDTH, LAYERS = 2, 96, 96, 4
ALL = LoraConfig(r=4, target_modules=qwen.LINEAR, task_type="CAUSAL_LM")


def small(dtype: torch.dtype) -> Any:
    """A model whose activations are several times its weights."""
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=4,
        tie_word_embeddings=False,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).to(dtype)


def lived(folder: Path, training: Training, lora: LoraConfig | None, defenses: tuple[Defense, ...]) -> int:
    """The most bytes of tensors at once, in two steps of the trainer."""
    ids = torch.randint(3, 300, (2 * ROWS, TOKENS), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[:, : TOKENS // 2] = -100
    args = SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=ROWS,
        max_steps=2,
        max_length=None,
        save_strategy="no",
        report_to=[],
        bf16=training.autocast is not None,
        use_cpu=True,
        gradient_checkpointing=training.checkpointing,
        disable_tqdm=True,
    )
    trainer = DefendedSFTTrainer(
        model=small(training.dtype),
        args=args,
        train_dataset=Dataset.from_dict({"input_ids": ids.tolist(), "labels": labels.tolist()}),
        processing_class=tiny.tokenizer(),
        peft_config=lora,
        defenses=defenses,
    )
    with LiveBytes(*trainer.model.parameters()) as live:
        trainer.train()
    return live.peak


@pytest.mark.parametrize(
    ("dtype", "autocast", "checkpointing", "lora", "defenses", "penalties", "tile"),
    [
        (torch.bfloat16, True, True, ALL, (), Penalties(), 64),
        (torch.bfloat16, True, True, ALL, (), Penalties(), 32768),
        (torch.bfloat16, True, False, ALL, (), Penalties(), 64),
        (torch.float32, False, True, ALL, (), Penalties(), 64),
        (torch.float32, True, True, ALL, (), Penalties(), 64),
        (torch.bfloat16, True, True, None, (), Penalties(), 64),
        (torch.bfloat16, True, True, ALL, (KL(weight=1),), Penalties(last=True), 64),
        (torch.bfloat16, True, True, ALL, (LDIFS(weight=1, every=1),), Penalties(layers=LAYERS), 64),
        (torch.float32, False, False, ALL, (KL(weight=1), LDIFS(weight=1, every=2)), Penalties(True, LAYERS // 2), 64),
    ],
    ids=["usual", "wide tiles", "no checkpointing", "float32", "cast", "full", "kl", "ldifs", "both in float32"],
)
def test_the_peak_is_that_of_the_trainer(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype,
    autocast: bool,
    checkpointing: bool,
    lora: LoraConfig | None,
    defenses: tuple[Defense, ...],
    penalties: Penalties,
    tile: int,
) -> None:
    """In a model so small the tiles of the output layer would be most; narrow ones let the layers decide."""
    monkeypatch.setattr(utils, "_CHUNKED_LOGPROB_CHUNK_SIZE", tile)
    monkeypatch.setattr(module, "_TILE", (4096, tile))
    training = replace(
        MEASURED, dtype=dtype, autocast=torch.bfloat16 if autocast else None, checkpointing=checkpointing
    )
    with torch.device("meta"):
        model: Any = small(dtype)
        weights = weight_bytes(model, None)
        if lora is not None:
            model = get_peft_model(model, lora)
    batch = MicroBatch(ROWS, TOKENS, ROWS * TOKENS // 2)
    peak = estimate(weights, model, training, batch, penalties).peak
    assert peak == pytest.approx(lived(tmp_path, training, lora, defenses), rel=0.1)


@pytest.mark.parametrize("size", qwen.SHAPES)
def test_weights_are_as_many_as_the_model_cards_say(size: str) -> None:
    model = qwen.unloaded(size)
    assert weight_bytes(model, None) / 2 == pytest.approx(qwen.ELEMENTS[size], rel=0.02)


def test_the_table_in_the_docs_is_what_the_script_prints() -> None:
    """Of one row."""
    root = Path(__file__).parents[2]
    script = runpy.run_path(str(root / "benchmarks" / "on_paper.py"))
    assert f"| {' | '.join(script['row']('7B'))} |\n" in (root / "docs" / "scale.md").read_text(encoding="utf-8")


def test_quantised_weights() -> None:
    """By hand: matrices of the two layers in 4 bits with a factor for every 64, or 8 with one a row; the rest as is."""
    with torch.device("meta"):
        model = type(tiny.model())(tiny.model().config).to(torch.bfloat16)
    matrices, rows = 2 * (16 * 16 * 2 + 8 * 16 * 2 + 3 * 16 * 32), 2 * (16 * 2 + 8 * 2 + 32 * 2 + 16)
    rest = 2 * (sum(one.numel() for one in model.parameters()) - matrices)
    assert weight_bytes(model, 4) == rest + matrices // 2 + matrices // 64 * 4
    assert weight_bytes(model, 8) == rest + matrices + 4 * rows


def test_states_of_optimizers() -> None:
    """A large and a small tensor; small ones keep 32 bits in bitsandbytes' 8-bit optimizers."""
    tensors = [(8192, 2), (100, 2)]
    assert optimizer_bytes("adamw_torch", tensors) == 2 * 2 * 8292 + 2 * 4
    assert optimizer_bytes("sgd", tensors) == 0
    assert optimizer_bytes("paged_adamw_32bit", tensors) == 2 * 4 * 8292
    assert optimizer_bytes("adamw_bnb_8bit", tensors) == 2 * (8192 + 4 * 32) + 2 * 400
    assert optimizer_bytes("lion_8bit", tensors) == 8192 + 4 * 32 + 400
    assert optimizer_bytes("galore_adamw", tensors) is None


def test_what_makes_the_peak_larger_or_smaller() -> None:
    weights, model = weight_bytes(qwen.unloaded("0.5B"), None), qwen.adapted("0.5B")

    def peak(training: Training = MEASURED, batch: MicroBatch = BATCH, penalties: Penalties | None = None) -> int:
        found = estimate(weights, model, training, batch, penalties or Penalties()).peak
        assert found is not None
        return found

    usual, gradients = peak(), estimate(weights, model, MEASURED, BATCH, Penalties()).gradients
    assert peak(replace(MEASURED, checkpointing=False)) > 4 * usual
    assert peak(replace(MEASURED, accumulates=True)) == usual + gradients
    assert peak(replace(MEASURED, ranks=2)) == usual + gradients
    assert peak(replace(MEASURED, eager_heads=14)) > usual
    assert peak(replace(MEASURED, dropout=True)) > usual
    assert peak(batch=replace(BATCH, rows=8, labels=8192)) > 1.4 * usual
    assert peak(penalties=Penalties(reference=weights)) == usual + weights
    assert peak(penalties=Penalties(last=True, layers=6)) > peak(penalties=Penalties(last=True)) > usual


def test_what_is_not_known_has_no_peak() -> None:
    model = qwen.adapted("0.5B")
    found = estimate(1, model, replace(MEASURED, optimizer="lomo"), BATCH, Penalties())
    assert (found.peak, found.working, found.unknown) == (
        None,
        None,
        "the states of the optimizer lomo are not known here",
    )
    found = estimate(1, model, MEASURED, None, Penalties())
    assert found.peak is None
    assert "rollouts" in str(found.unknown)
    with torch.device("meta"):
        dora = get_peft_model(qwen.unloaded("0.5B"), LoraConfig(**LORA, use_dora=True, target_modules=["q_proj"]))
    found = estimate(1, dora, MEASURED, BATCH, Penalties())
    assert found.peak is None
    assert "the activations of Qwen2ForCausalLM with this adapter" in str(found.unknown)


def test_an_adapter_on_a_quantised_base_is_in_bfloat16() -> None:
    tensors = trained_tensors(qwen.adapted("0.5B"), replace(MEASURED, bits=4))
    assert {size for _, size in tensors} == {2}
    assert {size for _, size in trained_tensors(qwen.adapted("0.5B"), MEASURED)} == {4}
