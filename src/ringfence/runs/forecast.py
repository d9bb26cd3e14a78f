"""Forecast a training run without doing it: rows, steps, tokens, memory, and time on a named card.

Rows are rendered and drawn as training would render and draw them, so that their counts are exact; of a run of more
than 20,000 steps these are drawn, and the rest is estimated from them. A canary controller decides while it trains; for
it there are two counts, at its lowest and at its highest share of safe rows.

Without a named card, time is floating-point operations over the speed of one matrix product here, measured for a
moment. A token takes about
2 of them a weight forward, 2 more backward through the activations, 2 more for the gradient where the weights are
trained, 2 more where layers are computed again to save memory, and 2 more for the reference of a penalty. Attention,
the optimizer, probes and evaluation come on top, and no step reaches the speed of a bare product: a bound, no promise.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from trl import SFTConfig, pack_dataset

from ringfence.core.errors import error_prefix
from ringfence.data.cutting import Cut
from ringfence.data.render import IGNORED
from ringfence.defenses import Interleaving, TrainerContext
from ringfence.defenses.base import SOURCES, Source
from ringfence.defenses.together import anchored
from ringfence.interleave import RankLayout
from ringfence.interleave.anchors import AnchorRows
from ringfence.interleave.mixture import Counters
from ringfence.interleave.tally import RowCounts, Tally
from ringfence.models.load import load_tokenizer
from ringfence.runs.arguments import training_arguments
from ringfence.runs.drawing import counted, ends, estimated, schedules
from ringfence.runs.gpu_cards import Cards
from ringfence.runs.hours import BAND, Work, padded, seconds
from ringfence.runs.memory import Memory, MicroBatch
from ringfence.runs.on_paper import on_paper, told_card, told_memory
from ringfence.runs.plan import PlannedStage, RunPlan
from ringfence.runs.rl_forecast import RLForecast, forecast_rl
from ringfence.runs.trainer import rendered_rows
from ringfence.train.checks import cut_anchors, fitting
from ringfence.train.sizes import new_stream

_SECONDS = 0.5  # for the speed of a matrix product


@dataclass(frozen=True)
class Forecast:
    """Of one stage."""

    title: str
    cuts: dict[Source, Cut]
    drawn: tuple[Counters, ...]
    """at the end; two where a controller decides: at its lowest and at its highest share. With more steps than are
    drawn one by one, an estimate from those"""
    seconds: tuple[float, ...]
    """at least, at the fewest tokens; on a named card about, for each of ``drawn``, and none where it is not known"""
    batch: MicroBatch
    """the largest"""
    memory: Memory
    cards: Cards | None
    ranks: int


def forecast(plan: RunPlan, cards: Cards | None = None) -> Sequence[Forecast | RLForecast]:
    """One for each stage, on ``cards`` or here. Raises :class:`RingfenceError` for what would keep the recipe from
    training, up to the model's weights.

    Writes nothing, and loads no weights.
    """
    for stage in plan.stages:
        stage.require_keys()
    if plan.recipe.method == "grpo":
        return [forecast_rl(plan, stage, cards) for stage in plan.stages]
    speed = _operations_a_second() if cards is None else 0.0
    return [_forecast(plan, stage, cards, speed) for stage in plan.stages]


@dataclass(frozen=True)
class _Rows:
    """Those of one stage, as they would be trained on."""

    cuts: dict[Source, Cut]
    counts: dict[Source, RowCounts]

    @classmethod
    def of(cls, stage: PlannedStage, args: SFTConfig, tokenizer: PreTrainedTokenizerBase) -> "_Rows":
        """Render them."""
        cuts, counts = dict[Source, Cut](), dict[Source, RowCounts]()
        for source in SOURCES:
            rows = rendered_rows(stage, source, tokenizer)
            if rows is not None:
                allowed, anchor = stage.recipe.data.max_truncated, source == "anchor"
                cuts[source] = cut_anchors(rows, args, allowed) if anchor else fitting(rows, source, args, allowed)
                count = RowCounts.of(_as_trained_on(rows, args, labelled=not anchor))
                assert count is not None, "rendered rows are tokenised"
                counts[source] = count
        return cls(cuts, counts)

    def largest(self, rows: int) -> MicroBatch:
        """The largest micro-batch of ``rows``."""
        _, tokens, labels = (
            max(int(one.table[row].max(initial=0)) for one in self.counts.values()) for row in range(3)
        )
        return MicroBatch(rows, tokens, rows * labels)

    def padding(self, args: SFTConfig) -> dict[Source, float]:
        """How many times the tokens of each source are computed."""
        flat = args.packing or args.padding_free
        rows = 1 if flat else args.per_device_train_batch_size
        return {source: padded(one.table[1], rows) for source, one in self.counts.items()}


def _forecast(plan: RunPlan, stage: PlannedStage, cards: Cards | None, speed: float) -> Forecast:
    part, args = stage.recipe, training_arguments(stage, cards is not None)
    with error_prefix("model"):
        tokenizer = load_tokenizer(
            part.model.name, trust_remote_code=part.model.trust_remote_code, revision=part.model.revision
        )
    ranks = args.world_size if cards is None or cards.count is None else cards.count
    rows = _Rows.of(stage, args, tokenizer)
    target, safe = rows.counts["target"], rows.counts.get("safe")
    interleaving = next((one for one in stage.defenses if isinstance(one, Interleaving)), None)
    setup = TrainerContext(tokenizer, stage.seed)
    share = RankLayout(args.per_device_train_batch_size, args.gradient_accumulation_steps, 0, ranks)
    sizes = (target.table.shape[1], 0 if safe is None else safe.table.shape[1])
    added, seed = anchored(stage.defenses) or 0.0, args.data_seed if args.data_seed is not None else args.seed
    beside = rows.counts.get("anchor") if added else None
    streams = [new_stream(args, sizes, (target, safe), share, interleaving, s) for s in schedules(interleaving, setup)]
    for stream in streams:
        stream.anchors = AnchorRows(beside.table.shape[1], added, seed, beside) if beside is not None else None
    drawn = tuple(map(counted, streams))
    batch = rows.largest(args.per_device_train_batch_size + math.ceil(args.per_device_train_batch_size * added))
    paper = on_paper(plan, stage, args, batch, ranks)
    compared = [source for source in SOURCES if any(defense.compares(source) for defense in stage.defenses)]
    if cards is None:
        passes = 2 + (part.lora is None) + bool(args.gradient_checkpointing)
        least = min(passes * _tokens(one) + _tokens(one, compared) for one in drawn)
        took: tuple[float, ...] = (2 * paper.elements * least / speed,)
    elif paper.work is None:
        took = ()
    else:
        padding, work = rows.padding(args), paper.work
        took = tuple(seconds(_operations(one, work, padding, compared), cards.card, ranks) for one in drawn)
    return Forecast(stage.title, rows.cuts, drawn, took, batch, paper.memory, cards, ranks)


def _parts(counters: Counters) -> dict[Source, Tally]:
    return {"target": counters.target, "safe": counters.safe, "anchor": counters.anchor}


def _tokens(counters: Counters, sources: Sequence[Source] = SOURCES) -> int:
    """Of the rows of ``sources``."""
    return sum(part.tokens for source, part in _parts(counters).items() if source in sources)


def _operations(counters: Counters, work: Work, padding: dict[Source, float], compared: Sequence[Source]) -> float:
    """Of the rows that are counted, with their padding; the sources ``compared`` go through the reference, too."""
    found = 0.0
    for source, part in _parts(counters).items():
        if part.conversations:
            tokens = part.tokens * padding[source]
            found += work.operations(tokens, part.labels, tokens / part.conversations, source in compared)
    return found


def _as_trained_on(rows: Dataset, args: SFTConfig, labelled: bool) -> Dataset:
    """What TRL makes of tokenised rows: cut, without those that have no label left if they are to be ``labelled``, or
    packed.
    """
    if args.packing:
        return pack_dataset(rows, args.max_length, args.packing_strategy)
    if args.max_length is None:
        return rows
    kept = slice(-args.max_length, None) if args.truncation_mode == "keep_end" else slice(None, args.max_length)
    cut = rows.map(lambda row: {name: row[name][kept] for name in ("input_ids", "labels")})
    return cut if not labelled else cut.filter(lambda row: any(label != IGNORED for label in row["labels"]))


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
        if one.anchor_rows:
            lines[-1] += (
                f"; beside them {one.anchor_rows:,} anchor rows of {one.anchor.tokens:,} tokens, without a loss"
            )
    return [*lines, told_memory(stage.memory, stage.batch, stage.ranks), *_told_time(stage)]


def _told_time(stage: Forecast) -> list[str]:
    """What is said of the card, and of time."""
    if stage.cards is None:
        least = _duration(min(stage.seconds))
        return [
            f"time: at least {least} at the speed of a bare matrix product here and now; attention, the optimizer, "
            "probes and evaluation come on top"
        ]
    card = stage.cards.card
    if not stage.seconds:
        return [told_card(stage.memory, card), "time: the operations of this model are not known here"]
    listed = " to ".join(map(_duration, stage.seconds))
    return [
        told_card(stage.memory, card),
        f"time: about {listed} on {stage.ranks} x {card.name}, {BAND} times more or less for models of 3B and more in "
        "half precision, else a lower bound; probes, evaluation and what ranks tell each other come on top",
    ]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
