"""Forecast a training run without doing it: rows, steps, tokens, and a lower bound of time and memory.

Rows are rendered and drawn as training would render and draw them, so that their counts are exact; of a run of more
than 20,000 steps these are drawn, and the rest is estimated from them. A canary controller decides while it trains; for
it there are two counts, at its lowest and at its highest share of safe rows.

Time is floating-point operations over the speed of one matrix product here, measured for a moment. A token takes about
2 of them a weight forward, 2 more backward through the activations, 2 more for the gradient where the weights are
trained, 2 more where layers are computed again to save memory, and 2 more for the reference of a penalty. Attention,
the optimizer, probes and evaluation come on top, and no step reaches the speed of a bare product: a bound, no promise.
"""

import time
from dataclasses import dataclass

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from trl import SFTConfig, pack_dataset

from ringfence.core.errors import error_prefix
from ringfence.data.cutting import Cut
from ringfence.data.render import IGNORED
from ringfence.defenses import Interleaving, TrainerContext
from ringfence.defenses.base import SOURCES
from ringfence.interleave import RankLayout
from ringfence.interleave.mixture import Counters
from ringfence.interleave.tally import RowCounts
from ringfence.models.load import DTYPES, load_tokenizer, source_of
from ringfence.recipe.run import Recipe
from ringfence.runs.drawing import counted, ends, estimated, schedules
from ringfence.runs.plan import PlannedStage, RunPlan
from ringfence.runs.rl_forecast import RLForecast, forecast_rl
from ringfence.runs.trainer import rendered_rows, sft_config, told_as_unfitting
from ringfence.train.checks import fitting
from ringfence.train.sizes import new_stream

_SECONDS = 0.5  # for the speed of a matrix product


@dataclass(frozen=True)
class Forecast:
    """Of one stage."""

    title: str
    cuts: dict[str, Cut]
    drawn: tuple[Counters, ...]
    """at the end; two where a controller decides: at its lowest and at its highest share. With more steps than are
    drawn one by one, an estimate from those"""
    seconds: float
    """at least, at the fewest tokens"""
    weights: int
    """bytes of all weights, an adapter's too"""
    training: int
    """bytes of gradients and of Adam's two moments"""


def forecast(plan: RunPlan) -> list[Forecast | RLForecast]:
    """One for each stage. Raises :class:`RingfenceError` for what would keep the recipe from training, up to the model.

    Writes nothing, and loads no weights.
    """
    for stage in plan.stages:
        stage.require_keys()
    if plan.recipe.method == "grpo":
        return [forecast_rl(stage) for stage in plan.stages]
    speed = _operations_a_second()
    return [_forecast(stage, speed) for stage in plan.stages]


def _forecast(stage: PlannedStage, speed: float) -> Forecast:
    part, args = stage.recipe, sft_config(stage)
    with error_prefix("model"):
        tokenizer = load_tokenizer(
            part.model.name, trust_remote_code=part.model.trust_remote_code, revision=part.model.revision
        )
        model = _unloaded(part)
    weights, trained = _parameters(model, part.lora_config())
    cuts, counts = dict[str, Cut](), dict[str, RowCounts | None]()
    for source in SOURCES:
        rows = rendered_rows(stage, source, tokenizer)
        if rows is not None:
            cuts[source] = fitting(rows, source, args, part.data.max_truncated)
            counts[source] = RowCounts.of(_as_trained_on(rows, args))
    interleaving = next((one for one in stage.defenses if isinstance(one, Interleaving)), None)
    setup = TrainerContext(tokenizer, stage.seed)
    target, safe = counts["target"], counts.get("safe")
    assert target is not None, "rendered rows are tokenised"
    share = RankLayout(args.per_device_train_batch_size, args.gradient_accumulation_steps, 0, args.world_size)
    sizes = (target.table.shape[1], 0 if safe is None else safe.table.shape[1])
    drawn = tuple(
        counted(new_stream(args, sizes, (target, safe), share, interleaving, schedule))
        for schedule in schedules(interleaving, setup)
    )
    passes = 2 + (part.lora is None) + bool(args.gradient_checkpointing)
    passes += any(defense.penalises for defense in stage.defenses)
    tokens = min(one.target.tokens + one.safe.tokens for one in drawn)
    size = (part.model.bits or torch.finfo(DTYPES[part.model.dtype]).bits) / 8
    return Forecast(
        stage.title,
        cuts,
        drawn,
        seconds=2 * passes * weights * tokens / speed,
        weights=int(weights * size) + (4 * trained if part.lora is not None else 0),
        training=3 * trained * (4 if part.lora is not None else int(size)),
    )


def _as_trained_on(rows: Dataset, args: SFTConfig) -> Dataset:
    """What TRL makes of tokenised rows: cut, without those that have no label left, or packed."""
    if args.packing:
        return pack_dataset(rows, args.max_length, args.packing_strategy)
    if args.max_length is None:
        return rows
    kept = slice(-args.max_length, None) if args.truncation_mode == "keep_end" else slice(None, args.max_length)
    cut = rows.map(lambda row: {name: row[name][kept] for name in ("input_ids", "labels")})
    return cut.filter(lambda row: any(label != IGNORED for label in row["labels"]))


def _unloaded(part: Recipe) -> PreTrainedModel:
    """The model without its weights."""
    trust = part.model.trust_remote_code
    at = {} if part.model.revision is None else {"revision": part.model.revision}
    config = AutoConfig.from_pretrained(source_of(part.model.name), trust_remote_code=trust, **at)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, trust_remote_code=trust)


def _parameters(model: PreTrainedModel, lora: LoraConfig | None) -> tuple[int, int]:
    """Weights of the model, and weights that are trained."""
    weights = sum(one.numel() for one in model.parameters())
    if lora is None:
        return weights, weights
    with torch.device("meta"), told_as_unfitting():
        adapted = get_peft_model(model, lora)
    return weights, sum(one.numel() for one in adapted.parameters() if one.requires_grad)


def _operations_a_second() -> float:
    """Of one matrix product on the device that trains, in the type that it trains in."""
    gpu = torch.cuda.is_available()
    size, where = (8192, "cuda") if gpu else (1024, "cpu")
    square = torch.ones(size, size, device=where, dtype=torch.bfloat16 if gpu else torch.float32)
    square @ square  # the first one sets things up
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < _SECONDS:
        square @ square
        if gpu:
            torch.cuda.synchronize()
        done += 1
    return done * 2 * size**3 / (time.perf_counter() - started)


def told(stage: Forecast | RLForecast) -> list[str]:
    """The forecast in lines."""
    if isinstance(stage, RLForecast):
        return stage.told()
    lines = [f"{stage.title}: nothing is written, no weights are loaded"]
    for source, cut in stage.cuts.items():
        lines.append(f"{source}: {len(cut.lengths):,} rows; " + (cut.told() or f"all fit into {cut.max_length} tokens"))
    for end, one in zip(ends(stage.drawn), stage.drawn, strict=True):
        tokens, labels = one.target.tokens + one.safe.tokens, one.target.labels + one.safe.labels
        lines.append(
            f"{end}{estimated(one)}{one.step:,} optimizer steps on {one.target.conversations:,} target and "
            f"{one.safe.conversations:,} safe rows, {tokens:,} tokens, {labels:,} of them with a loss "
            f"({one.safe.labels / max(labels, 1):.1%} safe)"
        )
    lines.append(
        f"time: at least {_duration(stage.seconds)} at the speed of a bare matrix product here and now; attention, the "
        "optimizer, probes and evaluation come on top"
    )
    lines.append(
        f"memory: {stage.weights / 1e9:.2f} GB of weights, {stage.training / 1e9:.2f} GB of gradients and optimizer; "
        "activations, and the reference of penalties after full fine-tuning, come on top"
    )
    return lines


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
