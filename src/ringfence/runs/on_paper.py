"""A stage on paper: its memory and work on a GPU, from configs alone, before anything is loaded; and who says no."""

import logging
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from trl import SFTConfig

from ringfence.core.errors import RingfenceError, error_prefix
from ringfence.defenses import TrainerContext
from ringfence.models.load import DTYPES, explained, source_of
from ringfence.recipe.sections import ModelConfig
from ringfence.runs.arguments import training_arguments
from ringfence.runs.gpu_cards import Card, Cards
from ringfence.runs.hours import Work
from ringfence.runs.memory import (
    BAND,
    OUTSIDE,
    Memory,
    MicroBatch,
    Penalties,
    Training,
    estimate,
    weight_bytes,
)
from ringfence.runs.plan import PlannedStage, RunPlan
from ringfence.runs.stages import on_base
from ringfence.runs.trainer import told_as_unfitting

logger = logging.getLogger(__name__)

_GIB = 2**30


@dataclass(frozen=True)
class OnPaper:
    """One stage."""

    elements: int
    """of the base weights"""
    memory: Memory
    work: Work | None
    """None where operations are not known"""


def on_paper(plan: RunPlan, stage: PlannedStage, args: Any, batch: MicroBatch | None, ranks: int) -> OnPaper:
    """``args`` are TRL's; ``batch`` is the largest micro-batch of one of ``ranks``, None where nobody knows.

    Raises :class:`RingfenceError` for a model whose config is not to be had, and for an adapter that does not fit it.
    """
    part = stage.recipe
    with error_prefix("model"):
        model = unloaded(part.model)
    weights, elements = weight_bytes(model, part.model.bits), sum(one.numel() for one in model.parameters())
    eager = model.config.get_text_config().num_attention_heads if part.model.attn_implementation == "eager" else 0
    lora = part.lora_config()
    adapted = model if lora is None else _adapted(model, lora)
    penalties = _penalties(plan, stage, adapted, weights)
    training = Training(
        dtype=DTYPES[part.model.dtype],
        bits=part.model.bits,
        autocast=torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None,
        checkpointing=bool(args.gradient_checkpointing),
        optimizer=str(getattr(args.optim, "value", args.optim)),
        dropout=lora is not None and lora.lora_dropout > 0,
        accumulates=args.gradient_accumulation_steps > 1,
        ranks=ranks,
        eager_heads=eager,
    )
    memory = estimate(weights, adapted, training, batch, penalties)
    compared = (penalties.last, penalties.layers > 0)
    return OnPaper(elements, memory, Work.of(adapted, training.checkpointing, compared))


def unloaded(config: ModelConfig) -> PreTrainedModel:
    """The model without its weights, on the meta device, in the type that it would be loaded in."""
    source = source_of(config.name)
    at = {} if config.revision is None else {"revision": config.revision}
    with explained(source):
        found = AutoConfig.from_pretrained(source, trust_remote_code=config.trust_remote_code, **at)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(
                found, trust_remote_code=config.trust_remote_code, dtype=DTYPES[config.dtype]
            )


def _adapted(model: PreTrainedModel, lora: LoraConfig) -> PeftModel:
    with torch.device("meta"), told_as_unfitting():
        return get_peft_model(model, lora)


def _penalties(plan: RunPlan, stage: PlannedStage, adapted: Any, weights: int) -> Penalties:
    """What those of ``stage`` keep; the guards say it for themselves."""
    # Guards look at a model's layers, not at its weights.
    context = TrainerContext(None, stage.seed, adapted)
    guards = [one.guard(context) for one in stage.defenses if one.penalises]
    present = [one for one in guards if one is not None]
    layers = frozenset[int]().union(*(one.layers for one in present))
    return Penalties(any(one.needs_last for one in present), len(layers), _reference(plan, stage, weights))


def _reference(plan: RunPlan, stage: PlannedStage, weights: int) -> int:
    """Bytes of a second model, as :func:`ringfence.runs.trainer.new_trainer` and the guards make one."""
    later = plan.stages[stage.number - 1 :]
    penalised = [one for one in later if any(defense.penalises for defense in one.defenses)]
    if not penalised:
        return 0
    if (other := plan.recipe.reference) is not None:
        with error_prefix("reference"):
            return weight_bytes(unloaded(other), other.bits)
    own = stage.recipe.lora is None or not on_base(plan.stages[: stage.number])
    return weights if own and stage in penalised else 0


def refuse_too_small(plan: RunPlan, cards: Cards) -> None:
    """Raise :class:`RingfenceError` where the weights alone do not fit a card; warn where training may not.

    Rows are not looked at: what is warned of is a micro-batch of rows of ``max_length``.
    """
    for stage in plan.stages:
        if stage.result is not None:
            continue
        args = training_arguments(stage, True)
        longest = args.max_length if isinstance(args, SFTConfig) else None
        rows = args.per_device_train_batch_size
        batch = None if longest is None else MicroBatch(rows, longest, rows * longest)
        paper = on_paper(plan, stage, args, batch, cards.count or args.world_size)
        require_weights_fit(stage, paper.memory, cards.card)
        peak = paper.memory.peak
        if peak is not None and not fits(peak, cards.card) and args.process_index == 0:
            logger.warning(
                "%s may not fit %s: about %s at the peak with %d rows of max_length %s, and %s; see `ringfence train "
                "--dry-run --card` for what takes it",
                stage.title,
                cards.card.name,
                gib(peak),
                rows,
                f"{longest:,}",
                _there_is(cards.card),
            )


def require_weights_fit(stage: PlannedStage, memory: Memory, card: Card) -> None:
    """Raise :class:`RingfenceError` if the weights of ``stage``, and of its reference, are more than a card holds."""
    if memory.weights + memory.reference <= card.memory * _GIB:
        return
    model = stage.recipe.model
    both = f" and {gib(memory.reference)} of the reference" if memory.reference else ""
    kind = f"{model.bits} bits" if model.bits is not None else model.dtype
    raise RingfenceError(
        f"model: {model.name} has {gib(memory.weights)} of weights in {kind}{both}, and {_there_is(card)}; take a "
        "smaller dtype, load_in_4bit with lora, a smaller model or a larger card"
    )


def fits(peak: int, card: Card, band: float = BAND) -> bool:
    """Whether the card has room for the peak, and for what it may be off."""
    return peak * (1 + band) <= (card.memory - OUTSIDE) * _GIB


def gib(count: int) -> str:
    """Bytes, for people."""
    return f"{count / _GIB:,.1f} GiB" if count >= _GIB / 10 else f"{count / 2**20:,.1f} MiB"


def _there_is(card: Card) -> str:
    return f"{card.name} has {card.memory:.1f} GiB"


def told_memory(memory: Memory, batch: MicroBatch | None, ranks: int) -> str:
    """One line."""
    parts = {
        "weights": memory.weights,
        "the reference": memory.reference,
        "the adapter": memory.adapter,
        "gradients": memory.gradients,
        "the optimizer": memory.optimizer or 0,
    }
    each = " on each rank" if ranks > 1 else ""
    if memory.peak is None or batch is None:
        listed = ", ".join(f"{gib(value)} of {name}" for name, value in parts.items() if value)
        return f"memory{each}: {listed}; no peak, since {memory.unknown}"
    del parts["gradients"]
    parts["activations and gradients"] = memory.working or 0
    listed = ", ".join(f"{gib(value)} of {name}" for name, value in parts.items() if value)
    return (
        f"memory{each}: about {gib(memory.peak)} at the peak (+- {BAND:.0%}), with {batch.rows} rows of "
        f"{batch.tokens:,} tokens: {listed}"
    )


def told_card(memory: Memory, card: Card) -> str:
    """One line."""
    there = f"{card.name}: {card.memory:.1f} GiB"
    if memory.weights + memory.reference > card.memory * _GIB:
        return f"{there}, too small: the weights alone are more"
    if memory.peak is None:
        return f"{there}; the weights fit, and no more is known"
    if fits(memory.peak, card):
        return f"{there}, fits"
    if fits(memory.peak, card, -BAND):
        return f"{there}, may not fit: what is left is within the estimate's error"
    return (
        f"{there}, too small; take gradient_checkpointing, a smaller per_device_train_batch_size or max_length, a "
        "smaller dtype, load_in_4bit with lora, or a larger card"
    )
