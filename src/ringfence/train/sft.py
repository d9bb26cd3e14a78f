"""``DefendedSFTTrainer``: TRL's ``SFTTrainer`` with defenses.

It changes the parent in five places only:

1. the rows of every optimizer step come from an :class:`InterleavedLoader`, which draws target and safe rows at the
   moment of consumption (without a defense: the parent's rows in the parent's order, bitwise);
2. learning rate, stopping and epochs follow target progress, so that runs with and without safe rows see the same
   schedule on the target data;
3. after a step the schedule may measure risk (on the main process; every rank gets the result) and move the ratio;
4. checkpoints hold the stream's and the controller's state, and a torn or damaged one is never restored;
5. the training forward runs inside the defenses' guards, whose penalties are added to the parent's loss.
"""

import copy
import inspect
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import PreTrainedModel, ProgressCallback, TrainingArguments
from trl import SFTTrainer

from ringfence.core.errors import RingfenceError
from ringfence.data.cutting import Cut
from ringfence.defenses import Defense, Interleaving, Setup
from ringfence.defenses.base import read_defenses, require_distinct
from ringfence.defenses.step import Batch
from ringfence.interleave import InterleavedLoader, InterleavingStream, Risk, Schedule, Share
from ringfence.interleave.loader import SAFE
from ringfence.interleave.tally import RowCounts
from ringfence.train import script
from ringfence.train.callbacks import CloseLoop, TargetProgress
from ringfence.train.checkpoints import ResumableTrainer
from ringfence.train.checks import (
    fitting,
    refuse_parallel,
    refuse_unfit,
    refuse_unmarked_padding,
    refuse_unsupported,
    require_rows,
    require_same_form,
)
from ringfence.train.consumed import consumed
from ringfence.train.guards import Guards
from ringfence.train.rewriting import rewrite_dataset
from ringfence.train.sizes import new_stream, target_steps

logger = logging.getLogger(__name__)
# The loop ends by target progress, never by a number of optimizer steps; this one is not reached.
_NO_LIMIT = 10**12


class DefendedSFTTrainer(ResumableTrainer):
    """Takes what ``SFTTrainer`` takes, plus:

    Args:
        safe_dataset: rows in the same form as ``train_dataset``, for the interleaving defenses.
        defenses: configs such as ``KL(weight=0.1)``; each at most once, and at most one of them an interleaving one;
            None is plain SFT.
        reference_model: what penalties compare the trained model with; by default the model with its adapter off, or
            for full fine-tuning a frozen copy of the model as it is given.
        max_truncated: the share of the rows of a dataset that may be longer than ``args.max_length``, and so be cut, or
            dropped if no label is left; a recipe's ``data.max_truncated``.

    ``max_steps`` counts optimizer steps of the run without safe rows. Journals go to ``args.output_dir``:
    ``log.jsonl``, ``control.jsonl`` (ratio and risk), ``canaries.jsonl`` (what the canaries said). It becomes a run
    folder, which ``ringfence report`` and ``ringfence evaluate`` take, see :mod:`ringfence.train.script`.

    Raises :class:`RingfenceError` for a ratio above 0 without safe rows, two interleaving defenses, datasets of
    different forms, options of the loader that interleaving cannot honour, numbers in ``args`` that a recipe could not
    have either, and more cut rows than ``max_truncated``.
    """

    def __init__(
        self,
        *args: Any,
        safe_dataset: Dataset | None = None,
        defenses: Sequence[Defense] | None = None,
        reference_model: PreTrainedModel | None = None,
        max_truncated: float = 0.1,
        **kwargs: Any,
    ) -> None:
        self.defenses = read_defenses(defenses)
        require_distinct(self.defenses)
        self.max_truncated = max_truncated
        self.cuts: dict[str, Cut] = {}
        """what ``max_length`` did to the rows of ``target`` and ``safe``"""
        self._interleaving = next((one for one in self.defenses if isinstance(one, Interleaving)), None)
        given = inspect.signature(SFTTrainer).bind_partial(*args, **kwargs)
        if (arguments := given.arguments.get("args")) is not None:
            refuse_unfit(arguments, max_truncated)
        self.given_rows = (given.arguments.get("train_dataset"), safe_dataset)
        for name, dataset in zip(("train_dataset", "safe_dataset"), self.given_rows, strict=True):
            if dataset is not None:
                require_rows(dataset, name)
        self.about: dict[str, Any] | None = None
        """``run.json`` of the run that this trains for; known once training begins"""
        self.of_script = True
        """whether it is for the trainer to leave a run folder"""
        if safe_dataset is not None:
            require_same_form(given.arguments.get("train_dataset"), safe_dataset)
            safe_dataset = rewrite_dataset(self.defenses, safe_dataset, "safe")
        if "train_dataset" in given.arguments:
            rewritten = rewrite_dataset(self.defenses, given.arguments["train_dataset"], "target")
            given.arguments["train_dataset"] = rewritten
        super().__init__(*given.args, **given.kwargs)
        refuse_unsupported(self.args, self.train_dataset)
        # The stream restores its own position; skipping batches would draw them anew.
        self.args.ignore_data_skip = True
        self.safe_dataset = self._prepare_safe(safe_dataset)
        self.stream = self._new_stream()
        self.guards = Guards(self.defenses, self._setup(), reference_model)
        if self.guards:
            refuse_parallel(self.accelerator, self.args.n_gpu)
        if self.guards.penalising:
            refuse_unmarked_padding(self.args, self.data_collator)
        self._units = torch.ones(len(self.guards.penalising), dtype=torch.long)
        self._penalty_sums = {}
        self._steps_unlogged = 0
        self._resolve_fractions()
        self.probe_seconds = 0.0
        self.step_seconds = 0.0
        self._fresh_state = self._state()
        self.add_callback(CloseLoop(self))
        if self.pop_callback(ProgressCallback) is not None:
            self.add_callback(TargetProgress(self.stream))

    # 1. Rows.

    def _prepare_safe(self, dataset: Dataset | None) -> Dataset | None:
        if dataset is None or len(dataset) == 0:
            return None
        if self._skip_prepare_dataset:
            return dataset
        args, form = self.args, self._formatting_func
        return self._prepare_dataset(dataset, self.processing_class, args, args.packing, form, "safe")

    def _prepare_dataset(
        self, dataset: Any, processing_class: Any, args: Any, packing: bool, formatting_func: Any, dataset_name: str
    ) -> Any:
        """The parent's, which cuts and drops rows without a word: here they are counted, and named in the log."""
        parent, source = super()._prepare_dataset, {"train": "target"}.get(dataset_name, dataset_name)
        if source not in ("target", "safe") or not isinstance(dataset, Dataset):
            return parent(dataset, processing_class, args, packing, formatting_func, dataset_name)
        uncut = copy.copy(args)
        uncut.max_length, uncut.shuffle_dataset = None, False
        whole = parent(dataset, processing_class, uncut, False, formatting_func, dataset_name)
        self.cuts[source] = cut = fitting(whole, source, args, self.max_truncated)
        if (told := cut.told()) and args.process_index == 0:
            logger.warning("%s: %s", source, told)
        return parent(whole, processing_class, args, packing, None, dataset_name)

    def _setup(self) -> Setup:
        return Setup(self._tokenizer, self.args.seed, self.model)

    def _new_stream(self) -> InterleavingStream:
        args, setup = self.args, self._setup()
        schedule = self._interleaving.schedule(setup) if self._interleaving else Schedule(0.0, "exact")
        if schedule.needs_safe_data and self.safe_dataset is None:
            raise RingfenceError("the defense may set a ratio above 0 but there are no safe rows; give safe_dataset")
        if schedule.needs_safe_data and args.packing:
            raise RingfenceError(
                "training.packing: a packed row holds many conversations or few, so a share of safe rows would mean "
                "nothing; leave packing out where a defense mixes in safe rows"
            )
        target, safe = self.train_dataset, self.safe_dataset
        rows = (len(target), len(safe) if safe is not None else 0)
        counts = (RowCounts.of(target), RowCounts.of(safe) if safe is not None else None)
        self.target_steps = target_steps(args, rows[0], self._share())
        return new_stream(args, rows, counts, self._share(), self._interleaving, schedule)

    def _share(self) -> Share:
        args = self.args
        return Share(self._train_batch_size, args.gradient_accumulation_steps, args.process_index, args.world_size)

    def get_train_dataloader(self) -> InterleavedLoader:
        """The stream itself: a DataLoader would prefetch, and draw with a stale ratio."""
        target = self._remove_unused_columns(self.train_dataset, description="training")
        safe = self.safe_dataset
        if safe is not None:
            safe = self._remove_unused_columns(safe, description="safe")
        return InterleavedLoader(target, safe, self.stream, self._share(), self.data_collator)

    def set_initial_training_values(self, args: TrainingArguments, dataloader: Any) -> tuple[Any, ...]:
        """One endless epoch as far as the parent's loop is concerned; :class:`CloseLoop` stops it.

        No epoch where nothing is left to draw: the parent would ask for samples for ever.
        """
        batch = self._share().step_rows
        samples = _NO_LIMIT * batch
        return (
            0 if self.stream.finished else 1,
            _NO_LIMIT,
            len(self.train_dataset),
            samples,
            batch,
            _NO_LIMIT * args.gradient_accumulation_steps,
            _NO_LIMIT,
        )

    # 2. Schedules.

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> LRScheduler:
        """The parent's schedule over the target steps, read at the target progress instead of the step count."""
        scheduler = super().create_scheduler(self.target_steps, optimizer)
        if not isinstance(scheduler, LambdaLR):
            raise RingfenceError(
                f"lr_scheduler_type {self.args.lr_scheduler_type!s} cannot follow target progress; use linear, cosine, "
                "constant, constant_with_warmup, polynomial or another schedule that is a function of the step"
            )
        scheduler.lr_lambdas = [self._by_progress(at) for at in scheduler.lr_lambdas]
        return scheduler

    def _by_progress(self, at: Callable[[Any], float]) -> Callable[[int], float]:
        # A closure: the scheduler's checkpoint would hold the attributes of a callable object.
        return lambda _: at(self.stream.progress)

    def _resolve_fractions(self) -> None:
        """``logging_steps: 0.1`` means a tenth of the target steps; the parent would take it of its endless epoch."""
        for name in ("logging_steps", "eval_steps", "save_steps"):
            value = getattr(self.args, name)
            if value is not None and 0 < value < 1:
                setattr(self.args, name, max(1, math.ceil(value * self.target_steps)))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the stream's counters to what is logged in training."""
        if self.model.training and "loss" in logs:
            counters = self.stream.counters
            logs |= {
                "progress": counters.slots / self.stream.sizes.slots,
                "target_rows": counters.target_rows,
                "safe_rows": counters.safe_rows,
                "ratio": self.stream.ratio,
            }
            if penalties := self._mean_penalties():
                weighted = sum(self.guards.penalising[name].weight * value for name, value in penalties.items())
                logs |= {**penalties, "task_loss": logs["loss"] - weighted}
        super().log(logs, start_time)

    # 3. Risk.

    def measure(self, step: int) -> Risk:
        """The schedule's probe on the main process; its result on every rank."""
        assert self.stream.probe is not None, "only a schedule with a probe is measured"
        probe = self.stream.probe

        def ask() -> Risk:
            with self.compute_loss_context_manager():
                return probe(self.accelerator.unwrap_model(self.model), step)

        return self._from_main(ask)

    # 4. Checkpoints, and what is left when training is done.

    def _train_from(self, checkpoint: Path | None, **kwargs: Any) -> Any:
        """As the parent's; a script's training leaves a run folder."""
        if self.of_script:
            self.about = script.begin(self, resumed=checkpoint is not None)
        output = super()._train_from(checkpoint, **kwargs)
        if self.of_script:
            script.end(self)
        return output

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:  # called on every rank, and another one's file is half-written while it is read
            script.label(self, Path(output_dir or self.args.output_dir))

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Ours is in ``args.output_dir`` when training is done; the parent's says what nobody has told it."""

    # 5. Penalties.

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """The parent's micro-batches of one optimizer step; counts what each penalty is divided by, over all ranks."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.guards.penalising and batches:
            self._units = self.accelerator.reduce(self.guards.units(batches, SAFE).to(device), "sum")
            self._steps_unlogged += 1
        return batches, items

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The parent's loss; in training under the guards, plus ``weight * penalty`` for each that penalises."""
        safe = inputs.pop(SAFE, None)
        parent = super().compute_loss
        if not (self.guards and self.model.training):
            return parent(model, inputs, return_outputs, num_items_in_batch)
        batch = Batch.of(inputs, safe)
        loss: torch.Tensor
        loss, penalties = self.guards.loss(
            batch, inputs, lambda: parent(model, inputs, num_items_in_batch=num_items_in_batch)
        )
        # The ranks' gradients are averaged, and without a count of items the Trainer divides by the micro-batches.
        spread = self.accelerator.num_processes
        spread *= 1 if num_items_in_batch is not None else self.current_gradient_accumulation_steps
        for penalty, units in zip(penalties, self._units, strict=True):
            share = penalty.sum / units.clamp(min=1)
            loss = loss + penalty.weight * spread * share
            before = self._penalty_sums.get(penalty.name, 0)
            self._penalty_sums[penalty.name] = before + share.detach()
        return loss

    def _mean_penalties(self) -> dict[str, float]:
        """Each penalty, unweighted, as a mean over the optimizer steps since the last log; summed over the ranks."""
        steps, self._steps_unlogged = self._steps_unlogged, 0
        sums, self._penalty_sums = self._penalty_sums, {}
        return {name: self.accelerator.reduce(sum_, "sum").item() / steps for name, sum_ in sums.items()}

    def result(self) -> dict[str, Any]:
        """What was trained on, see :func:`consumed`; ``rows`` is what there was, and what ``max_length`` took of it.

        After training also what a defense did last, under its name: ``safe_lora`` is a list of layers.
        """
        tokenised = {"input_ids", "labels"} <= set(self.train_dataset.column_names)
        return {
            **consumed(self.stream.counters, self.args, tokenised),
            "seconds": self.step_seconds,
            "probe_seconds": self.probe_seconds,
            "rows": {source: cut.counts() for source, cut in self.cuts.items()},
            **self.guards.records(),
        }
