"""How many rows, steps and slots a run has, from its arguments: for the trainer, and for a forecast without one."""

import math

from datasets import Dataset
from transformers import TrainingArguments

from ringfence.defenses import Interleaving
from ringfence.interleave import InterleavingStream, Mixture, MixtureConfig, MixtureSizes, RankLayout, Schedule
from ringfence.interleave.anchors import AnchorRows
from ringfence.interleave.tally import RowCounts


def target_steps(args: TrainingArguments, rows: int, share: RankLayout) -> int:
    """Optimizer steps of the run without safe rows."""
    if args.max_steps > 0:
        return args.max_steps
    return math.ceil(args.num_train_epochs * math.ceil(rows / share.step_rows))


def new_stream(
    args: TrainingArguments,
    rows: tuple[int, int],
    counts: tuple[RowCounts | None, RowCounts | None],
    share: RankLayout,
    interleaving: Interleaving | None,
    schedule: Schedule,
) -> InterleavingStream:
    """The stream at its beginning; ``rows`` are the target and safe rows that there are, ``counts`` what they hold."""
    (target, safe), batch = rows, share.step_rows
    epochs, steps = divmod(target_steps(args, target, share), math.ceil(target / batch) or 1)
    sizes = MixtureSizes(target, safe, batch, target_budget=epochs * target + min(steps * batch, target))
    mixing = MixtureConfig(
        granularity=interleaving.granularity if interleaving else "example",
        accounting=interleaving.accounting if interleaving else "add",
        placement=schedule.placement,
        seed=args.data_seed if args.data_seed is not None else args.seed,
        shuffle=args.train_sampling_strategy == "random",
    )
    return InterleavingStream(Mixture(sizes, mixing), schedule, *counts)


def anchor_rows(args: TrainingArguments, rows: Dataset, added: float) -> AnchorRows:
    """The tokenised ``rows`` as they stand beside the steps, ``added`` for each target row."""
    seed = args.data_seed if args.data_seed is not None else args.seed
    return AnchorRows(len(rows), added, seed, RowCounts.of(rows))
