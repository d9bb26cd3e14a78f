"""``DefendedGRPOTrainer``: TRL's ``GRPOTrainer`` with defenses.

What it adds to :class:`~ringfence.train.mixin.DefendedTrainerMixin`, which holds for any trainer:

1. target rows are completions: prompts come in TRL's own order, a generation at a time, and the stream counts the
   completions that are trained on;
2. safe rows come in optimizer steps of their own between the RL steps (``mode="alternate"``: Kaczer et al. 2025,
   section 4.2), or in every step (``mode="mixed"``), whose loss is

       (1 - mu) * GRPO + mu * SFT        mu: the ratio that the defense has set

   with one optimizer. GRPO is TRL's loss, normalised by its ``loss_type``; SFT is the mean over the label tokens of the
   whole optimizer step, on all ranks;
3. completions are generated under the defenses that steer or rewrite (``rollouts="defended"``) or without them
   (``"plain"``); they are scored as they are trained on, so that the ratio of policies holds no defense;
4. checkpoints hold the completions that are still to be trained on.

Without defenses it trains as ``GRPOTrainer`` does, on a CPU bitwise; on a GPU completions come from adapters that are
computed with fewer kernels (:mod:`ringfence.models.lean_adapters`). docs/rl.md says what sees what.

Source: Kaczer et al. 2025, sections 4.2 and B.3, https://arxiv.org/abs/2508.06249
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset
from peft import PeftConfig, PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling
from trl.trainer.utils import RepeatSampler

from ringfence.defenses import Defense, RLContext
from ringfence.defenses.base import Source
from ringfence.defenses.step import Batch
from ringfence.interleave.loader import SAFE
from ringfence.rl import checks
from ringfence.rl.buffer import load_buffer, load_logs, save_buffer, save_logs
from ringfence.rl.generated import generated
from ringfence.rl.inputs import completions, model_inputs, tokenised
from ringfence.rl.loader import BESIDE, PROMPTS, PromptOrder, RLLoader
from ringfence.rl.losses import RL, SAFE_LOSS, LossParts
from ringfence.rl.reward_functions import checked
from ringfence.rl.rollouts import PLAIN, RolloutsMixin, without
from ringfence.rl.sizes import GenerationSizes
from ringfence.train.mixin import DefendedTrainerMixin

Mode = Literal["alternate", "mixed"]
Rollouts = Literal["defended", "plain"]


class DefendedGRPOTrainer(DefendedTrainerMixin, RolloutsMixin, GRPOTrainer):
    """``GRPOTrainer`` with defenses; without one, it trains bitwise as ``GRPOTrainer`` does.

    Example:
        trainer = DefendedGRPOTrainer(
            model=model,
            reward_funcs=reward,
            args=GRPOConfig("runs/rl", num_generations=4),
            train_dataset=prompts,
            safe_dataset=safe,
            processing_class=tokenizer,
            peft_config=LoraConfig(r=8, task_type="CAUSAL_LM"),
            defenses=[FixedInterleaving(ratio=0.2), KL(weight=0.1)],
        )
        trainer.train()

    Takes what ``GRPOTrainer`` takes for text, in its order, and by keyword:

    Args:
        safe_dataset: conversations (``messages``, or ``prompt`` and ``completion``), or ``input_ids`` and ``labels``.
        defenses: see :class:`DefendedTrainerMixin`, which also says what it raises.
        reference_model: see there.
        mode: whether safe rows have optimizer steps of their own (``alternate``) or a term in each (``mixed``).
        rollouts: whether completions are generated under the defenses (``defended``) or without (``plain``).

    Raises :class:`RingfenceError` for a defense that reinforcement learning cannot take, and says why; in training for
    a reward that is no finite number, and for a row that no function gives one.
    """

    _step: int
    _buffered_inputs: list[dict[str, torch.Tensor]] | None
    undescribed = ("rl.rewards: functions of the script",)

    def __init__(  # noqa: PLR0913, PLR0917 - the parent's, in its order
        self,
        model: str | PreTrainedModel | PeftModel,
        reward_funcs: Any = None,
        args: GRPOConfig | None = None,
        train_dataset: Dataset | None = None,
        eval_dataset: Any = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        reward_processing_classes: Any = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[torch.optim.Optimizer | None, torch.optim.lr_scheduler.LambdaLR | None] = (None, None),
        quantization_config: Any = None,
        peft_config: PeftConfig | None = None,
        *,
        safe_dataset: Dataset | None = None,
        defenses: Sequence[Defense | str | Mapping[str, Any]] | None = None,
        reference_model: PreTrainedModel | None = None,
        mode: Mode = "alternate",
        rollouts: Rollouts = "defended",
    ) -> None:
        checks.refuse_unsupported(args, train_dataset, processing_class)
        self.mode, self.rollouts = checks.chosen(mode, rollouts)
        self._context = RLContext(mode, rollouts, getattr(args, "beta", 0.0), checks.engine(args))
        self._losses = LossParts()
        self._safe_items = torch.ones(())  # label tokens of the safe rows of this optimizer step
        self._upcoming: list[Any] = []  # micro-batches of this step whose completions are not made yet
        self._made: list[dict[str, Any]] = []  # those that are, and wait for their turn
        super().__init__(
            model=model,
            reward_funcs=checked(reward_funcs),
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            reward_processing_classes=reward_processing_classes,
            callbacks=callbacks,
            optimizers=optimizers,
            quantization_config=quantization_config,
            peft_config=peft_config,
            safe_dataset=safe_dataset,
            defenses=defenses,
            reference_model=reference_model,
        )
        self.backend.require_unsplit("reinforcement learning")

    # 1. Rows.

    def _fitted(self, defenses: tuple[Defense, ...]) -> tuple[Defense, ...]:
        return tuple(defense.in_rl(self._context) for defense in defenses)

    def _require_forms(self, target: Any, safe: Any) -> None:
        """Any: prompts are TRL's affair, and safe rows are made tokens of here."""

    def _rewrite(self, dataset: Any, source: Source) -> Any:
        found = super()._rewrite(dataset, source)
        if source == "safe" or self.rollouts == "defended" or found is dataset:
            return found
        return found.map(lambda _, index: {PLAIN: dataset[index]["prompt"]}, with_indices=True)

    def _prepare_safe(self, dataset: Dataset) -> Dataset:
        checks.require_loss_arguments(self.model)
        return tokenised(dataset, self.processing_class)

    @cached_property
    def generation_sizes(self) -> GenerationSizes:
        """How the run walks through its prompts."""
        return GenerationSizes.of(self.args, len(self.train_dataset), self._share())

    def _epoch_rows(self) -> int:
        return self.generation_sizes.epoch_rows

    def get_train_dataloader(self) -> Any:
        """The stream itself, as in the mixin."""
        prompts = self._remove_unused_columns(self.train_dataset, description="training")
        args, sizes = self.args, self.generation_sizes

        def sampler() -> RepeatSampler:
            return RepeatSampler(prompts, sizes.generations, sizes.chunk, shuffle=self.shuffle_dataset, seed=args.seed)

        order = PromptOrder(sampler, sizes.generation_rows)
        collate = DataCollatorForLanguageModeling(self.processing_class.pad_token_id)
        return RLLoader(prompts, self.safe_dataset, self.stream, sizes, order, collate)

    # 2. Steps.

    def _begin_step(self, batches: Sequence[Any]) -> None:
        safe = [batch if SAFE in batch else batch[BESIDE] for batch in batches if not isinstance(batch, list)]
        if safe:
            labels = sum((batch["labels"][:, 1:] != -100).sum() for batch in safe)
            self._safe_items = self.accelerator.reduce(torch.as_tensor(labels).to(self.args.device), "sum")
            self._losses.begin(SAFE_LOSS)
        if SAFE in batches[0]:
            super()._begin_step(batches)
            return
        self._losses.begin(RL)
        # What a penalty is divided by is known once all completions of the step are.
        self._upcoming = list(batches) if self.guards.penalising else []

    def _prepare_inputs(self, inputs: Any) -> Any:
        if SAFE in inputs:
            return Trainer._prepare_inputs(self, inputs)
        if not self.model.training:
            return super()._prepare_inputs(inputs)
        if self._upcoming:
            self._complete_step()
        return self._made.pop(0) if self._made else self._completed(inputs)

    def _complete_step(self) -> None:
        """Make the completions of the whole optimizer step, and count what penalties are divided by."""
        begin, upcoming, self._upcoming = self._step, self._upcoming, []
        for offset, inputs in enumerate(upcoming):
            self._step = begin + offset
            self._made.append(self._completed(inputs))
        self._step = begin
        batches = [completions(model_inputs(made)) for made in self._made]
        batches += [self._of_safe(made[BESIDE]) for made in self._made if BESIDE in made]
        self._count_units(batches)

    def _completed(self, inputs: Any) -> dict[str, Any]:
        """One micro-batch of TRL's, its completions made or taken from the buffer, and the safe rows beside it."""
        prompts, safe = (inputs, None) if isinstance(inputs, list) else (inputs[PROMPTS], inputs[BESIDE])
        made: dict[str, Any] = super()._prepare_inputs(prompts)
        return made if safe is None else {**made, BESIDE: Trainer._prepare_inputs(self, safe)}

    # 3. Losses.

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """TRL's loss of completions, the SFT loss of safe rows, or both; in training with penalties."""
        if not self.model.training:
            return GRPOTrainer.compute_loss(self, model, inputs, return_outputs, num_items_in_batch)
        if SAFE in inputs:
            return self._safe_loss(model, inputs, 1.0)
        if BESIDE not in inputs:
            return self._rl_loss(model, inputs, 1.0)
        mu = self.stream.ratio
        return self._rl_loss(model, inputs, 1 - mu) + self._safe_loss(model, inputs[BESIDE], mu)

    def _rl_loss(self, model: Any, completed: dict[str, Any], weight: float) -> torch.Tensor:
        def run() -> torch.Tensor:
            loss: torch.Tensor = GRPOTrainer.compute_loss(self, model, completed)
            self._losses.add(RL, loss)
            return weight * loss

        if not self.guards:
            return run()
        inputs = model_inputs(completed)
        return self._guarded(completions(inputs), inputs, run, self.accelerator.num_processes)

    def _safe_loss(self, model: Any, inputs: dict[str, Any], weight: float) -> torch.Tensor:
        """The mean over the label tokens of the optimizer step; the mean over ranks comes after."""
        ranks = self.accelerator.num_processes
        batch = self._of_safe(inputs)
        inputs = without(inputs, SAFE)
        # TRL's output layer computes no logits, but divides them by the temperature.
        fused = {"fused_lm_head": True} if self.temperature == 1 else {}

        def run() -> torch.Tensor:
            loss: torch.Tensor = model(**inputs, **fused, num_items_in_batch=self._safe_items)["loss"] * ranks
            self._losses.add(SAFE_LOSS, loss)
            return weight * loss

        return self._guarded(batch, inputs, run, ranks) if self.guards else run()

    @staticmethod
    def _of_safe(inputs: Mapping[str, Any]) -> Batch:
        return Batch.of(inputs, inputs[SAFE])

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the parts of the loss to what is logged in training."""
        if self.model.training and "loss" in logs:
            logs |= self._losses.take(self.accelerator)
        super().log(logs, start_time)

    # 4. Checkpoints, and what is left when training is done.

    def described(self) -> dict[str, Any]:
        """``method`` and ``rl`` of the recipe, its rewards left out."""
        return {"method": "grpo", "rl": {"mode": self.mode, "rollouts": self.rollouts}}

    @property
    def told(self) -> tuple[str, ...]:
        """Those of fine-tuning, and those of GRPO."""
        own_steps = self.args.steps_per_generation != self.args.gradient_accumulation_steps
        return (*super().told, *checks.TOLD, *(("steps_per_generation",) if own_steps else ()))

    def result(self) -> dict[str, Any]:
        """The mixin's, whose target rows are completions; and what was generated, see :func:`generated`."""
        counters = self.stream.counters
        return {**super().result(), **generated(counters.target_rows, self.args, self.state.log_history)}

    def _restore(self, checkpoint: Path | None) -> None:
        super()._restore(checkpoint)
        sizes = self.generation_sizes
        self._losses, self._upcoming, self._made = LossParts(), [], []
        self._step, self._buffered_inputs = self.stream.counters.target_rows // sizes.micro_rows, None
        if checkpoint is not None and self._step % sizes.reuse:
            self._buffered_inputs = load_buffer(checkpoint, self.args.process_index, self.args.device)
            load_logs(checkpoint, self.args.process_index, self._logs)

    def _save_rng_state(self, output_dir: str) -> None:
        if self._step % self.generation_sizes.reuse and self._buffered_inputs is not None:
            save_buffer(Path(output_dir), self.args.process_index, self._buffered_inputs)
            if self.args.log_completions:
                save_logs(Path(output_dir), self.args.process_index, self._logs)
        super()._save_rng_state(output_dir)
