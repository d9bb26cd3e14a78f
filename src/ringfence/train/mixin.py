"""``DefendedTrainerMixin``: defenses for any trainer that is derived from transformers' ``Trainer``.

On TRL's ``SFTTrainer`` it is :class:`ringfence.DefendedSFTTrainer`, on the plain ``Trainer``, whose rows are tokenised,
:class:`ringfence.DefendedTrainer`. On a trainer of your own:

    class MyDefendedTrainer(DefendedTrainerMixin, MyTrainer):
        pass

It changes the trainer in five places only:

1. the rows of every optimizer step come from an :class:`InterleavedLoader`, which draws target and safe rows at the
   moment of consumption (without a defense: the trainer's rows in the trainer's order, bitwise);
2. learning rate, stopping and epochs follow target progress, so that runs with and without safe rows see the same
   schedule on the target data;
3. after a step the schedule may measure risk (on the main process; every rank gets the result) and move the ratio,
   or what the weights of penalties are multiplied with;
4. checkpoints hold the stream's and the controller's state, and a torn or damaged one is never restored;
5. the training forward runs inside the defenses' guards, whose penalties are added to the trainer's own loss.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from datasets import Dataset
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    ProgressCallback,
    Trainer,
    TrainingArguments,
)

from ringfence.core.errors import RingfenceError
from ringfence.defenses import Defense, Interleaving, TrainerContext
from ringfence.defenses.base import Source, read_defenses
from ringfence.defenses.together import anchored, require_anchors, require_together
from ringfence.interleave import InterleavedLoader, InterleavingStream, RankLayout, Risk, Schedule
from ringfence.interleave.tally import RowCounts
from ringfence.models.quantised import keep_differentiable
from ringfence.train.callbacks import CloseLoop, TargetProgress
from ringfence.train.checkpoints import ResumableMixin
from ringfence.train.checks import (
    refuse_unfit,
    refuse_unsupported,
    require_anchor_rows,
    require_arguments,
    require_rows,
    require_same_form,
)
from ringfence.train.described import DescribedMixin
from ringfence.train.labelled import labelled_only
from ringfence.train.parallel import require_asked
from ringfence.train.penalties import PenalisedMixin
from ringfence.train.rewriting import rewrite_dataset
from ringfence.train.sizes import anchor_rows, new_stream, target_steps
from ringfence.train.trackers import Rows, send_answers

# The loop ends by target progress, never by a number of optimizer steps; this one is not reached.
_NO_LIMIT = 10**12


class DefendedTrainerMixin(DescribedMixin, PenalisedMixin, ResumableMixin):
    """Takes, by keyword, what the trainer takes, plus:

    Args:
        safe_dataset: rows in the same form as ``train_dataset``, for the interleaving defenses.
        anchor_dataset: rows that only the penalty of ``Anchor`` sees: ``input_ids`` and ``labels``, as
            ``ringfence.data.render_all(rows, tokenizer, answered=False)`` makes them.
        defenses: configs such as ``KL(weight=0.1)``, names, or ``{name: settings}`` as in a recipe; each at most once,
            and at most one of them an interleaving one; None is plain training.
        reference_model: what penalties compare the trained model with; by default the model with its adapter off, or
            for full fine-tuning a frozen copy of the model as it is given.

    ``max_steps`` counts optimizer steps of the run without safe rows. Journals go to ``args.output_dir``:
    ``log.jsonl``, ``control.jsonl`` (ratio and risk), ``canaries.jsonl`` (what the canaries said). It becomes a run
    folder, which ``ringfence report`` and ``ringfence evaluate`` take, see :mod:`ringfence.train.script`.

    Raises :class:`RingfenceError` for a ratio above 0 without safe rows, two interleaving defenses, datasets of
    different forms, options of the loader that interleaving cannot honour, and numbers in ``args`` that a recipe could
    not have either.
    """

    score_all = False
    """on a CPU: True to score every position, as TRL's trainers do, and not only those with a label; it takes longer"""

    def __init__(
        self,
        *,
        args: TrainingArguments | None = None,
        train_dataset: Dataset | None = None,
        safe_dataset: Dataset | None = None,
        anchor_dataset: Dataset | None = None,
        defenses: Sequence[Defense | str | Mapping[str, Any]] | None = None,
        reference_model: PreTrainedModel | None = None,
        **others: Any,
    ) -> None:
        self.defenses = read_defenses(defenses)
        require_together(self.defenses)
        self.in_force = self._fitted(self.defenses)
        if args is not None:
            refuse_unfit(args)
        self.given_rows = (train_dataset, safe_dataset, anchor_dataset)
        require_rows(train_dataset, "train_dataset")
        if safe_dataset is not None:
            require_rows(safe_dataset, "safe_dataset")
            self._require_forms(train_dataset, safe_dataset)
            safe_dataset = self._rewrite(safe_dataset, "safe")
        super().__init__(args=args, train_dataset=self._rewrite(train_dataset, "target"), **others)
        require_arguments(self.in_force, self.args, self.accelerator)
        require_asked(self.accelerator)
        refuse_unsupported(self.args, self.train_dataset)
        keep_differentiable(self.model)
        # The stream restores its own position; skipping batches would draw them anew.
        self.args.ignore_data_skip = True
        self.safe_dataset = self._prepare_safe(safe_dataset) if safe_dataset is not None and len(safe_dataset) else None
        self.anchor_dataset = self._checked_anchors(anchor_dataset)
        self.stream = self._new_stream()
        if self.stream.probe is not None:
            self.backend.require_whole("canary_interleaving")
        self._put_up_guards(self._setup(), reference_model)
        self._resolve_fractions()
        self._fresh_state = self._state()
        self.add_callback(CloseLoop(self))
        if self.pop_callback(ProgressCallback) is not None:
            self.add_callback(TargetProgress(self.stream))

    # 1. Rows.

    def _fitted(self, defenses: tuple[Defense, ...]) -> tuple[Defense, ...]:
        """``defenses`` as this trainer has them; here, as they are given."""
        return defenses

    def _require_forms(self, target: Any, safe: Any) -> None:
        """Raise :class:`RingfenceError` unless target and safe rows have the forms that the trainer takes together."""
        require_same_form(target, safe)

    def _rewrite(self, dataset: Any, source: Source) -> Any:
        """``dataset`` as the defenses would have it."""
        return rewrite_dataset(self.in_force, dataset, source)

    def _epoch_rows(self) -> int:
        """Target rows an epoch."""
        return len(self.train_dataset)

    def _prepare_safe(self, dataset: Dataset) -> Dataset:
        """Safe rows as the trainer has prepared its own; here, which takes tokenised ones, as they are."""
        return dataset

    def _checked_anchors(self, dataset: Dataset | None) -> Dataset | None:
        """Anchor rows as they are drawn; None without any. Raises :class:`RingfenceError` if they do not fit."""
        prepared = None
        if dataset is not None and len(dataset):
            require_anchor_rows(dataset)
            prepared = self._prepare_anchors(dataset.select_columns(["input_ids", "labels"]))
        counts = RowCounts.of(prepared) if prepared is not None else None
        answered = int((counts.table[2] > 0).sum()) if counts is not None else 0
        require_anchors(self.in_force, 0 if prepared is None else len(prepared), answered)
        return prepared

    def _prepare_anchors(self, dataset: Dataset) -> Dataset:
        """Anchor rows as the trainer would cut its own; here, as they are."""
        return dataset

    def _setup(self) -> TrainerContext:
        processor = self.processing_class
        tokenizer = processor.tokenizer if isinstance(processor, ProcessorMixin) else processor
        if not isinstance(tokenizer, PreTrainedTokenizerBase):
            raise RingfenceError("processing_class: give the model's tokenizer; defenses and the run folder need it")
        return TrainerContext(tokenizer, self.args.seed, self.model)

    def _new_schedule(self, interleaving: Interleaving | None) -> Schedule:
        schedule = interleaving.schedule(self._setup()) if interleaving else Schedule(0.0, "exact")
        if schedule.needs_safe_data and self.safe_dataset is None:
            raise RingfenceError("the defense may set a ratio above 0 but there are no safe rows; give safe_dataset")
        return schedule

    def _new_stream(self) -> InterleavingStream:
        interleaving = next((one for one in self.in_force if isinstance(one, Interleaving)), None)
        schedule, target, safe = self._new_schedule(interleaving), self.train_dataset, self.safe_dataset
        rows = (self._epoch_rows(), len(safe) if safe is not None else 0)
        counts = (RowCounts.of(target), RowCounts.of(safe) if safe is not None else None)
        self.target_steps = target_steps(self.args, rows[0], self._share())
        stream = new_stream(self.args, rows, counts, self._share(), interleaving, schedule)
        if self.anchor_dataset is not None and (added := anchored(self.in_force)):
            stream.anchors = anchor_rows(self.args, self.anchor_dataset, added)
        return stream

    def _share(self) -> RankLayout:
        args = self.args
        return RankLayout(self._train_batch_size, args.gradient_accumulation_steps, args.process_index, args.world_size)

    def get_train_dataloader(self) -> Any:
        """The stream itself: a DataLoader would prefetch, and draw with a stale ratio."""
        target = self._remove_unused_columns(self.train_dataset, description="training")
        safe = self.safe_dataset
        if safe is not None:
            safe = self._remove_unused_columns(safe, description="safe")
        return InterleavedLoader(target, safe, self.stream, self._share(), self.data_collator, self.anchor_dataset)

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

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The parent's; see :mod:`ringfence.train.labelled` and :meth:`~ringfence.train.guards.DefenseStack.step`."""
        with nullcontext() if self.score_all else labelled_only(), self.guards.step():
            loss = super().training_step(*args, **kwargs)
        self._finish_gradients()
        return loss

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
                "progress": counters.slots / self.stream.sizes.target_budget,
                "target_rows": counters.target_rows,
                "safe_rows": counters.safe_rows,
                **({"anchor_rows": counters.anchor_rows} if self.anchor_dataset is not None else {}),
                "ratio": self.stream.ratio,
            }
            penalties, weighted = self._mean_penalties()
            if penalties:
                logs |= {**penalties, "task_loss": logs["loss"] - weighted}
            logs |= self._mean_seen()
        super().log(logs, start_time)

    # 3. Risk.

    def measure(self, step: int) -> Risk | None:
        """The stream's probe on the main process; its result on every rank. None where nothing is measured.

        Where each rank holds a part of the weights all of them ask, in step.
        """
        probe = self.stream.probe
        if probe is None:
            return None

        def ask() -> Risk:
            with self.compute_loss_context_manager():
                return probe(self.accelerator.unwrap_model(self.model), step)

        if self.backend.split:
            found = ask()
            return self._from_main(lambda: found)
        return self._from_main(ask)

    def log_measured(self, measured: dict[str, float], answers: Rows) -> None:
        """Log an evaluation of the canaries as a row of its own, and ``answers``, for the trackers of ``report_to``.

        Past the trainer's own ``log``, which in TRL would give this row its means since the last one; what else is due
        at this step to be logged still is.
        """
        due = self.control.should_log
        Trainer.log(self, measured)
        self.control.should_log = due
        if self.is_world_process_zero():
            send_answers(self.callback_handler.callbacks, answers, self.state.global_step)

    # 4. Checkpoints: checkpoints.py; what is left when training is done: described.py. 5. Penalties: penalties.py.
