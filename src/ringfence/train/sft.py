"""``DefendedSFTTrainer``: TRL's ``SFTTrainer`` with defenses.

What defenses change is in :mod:`ringfence.train.mixin`. This adds what is TRL's own: it prepares the rows, and cuts
them at ``max_length`` or drops them without a word; here what it takes is counted, named in the log, and bounded.
"""

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from peft import PeftConfig, PeftModel
from transformers import (
    DataCollator,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    TrainerCallback,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer

from ringfence.core.errors import RingfenceError
from ringfence.data.cutting import Cut
from ringfence.defenses import Defense
from ringfence.train.checks import cut_anchors, fitting
from ringfence.train.mixin import DefendedTrainerMixin

logger = logging.getLogger(__name__)


class DefendedSFTTrainer(DefendedTrainerMixin, SFTTrainer):
    """``SFTTrainer`` with defenses; without one, it trains bitwise as ``SFTTrainer`` does.

    Example:
        trainer = DefendedSFTTrainer(
            model=model,
            args=SFTConfig("runs/script", num_train_epochs=1),
            train_dataset=target,
            safe_dataset=safe,
            processing_class=tokenizer,
            peft_config=LoraConfig(r=8, task_type="CAUSAL_LM"),
            defenses=[FixedInterleaving(added=0.05), KL(weight=0.1)],
        )
        trainer.train()
        print(trainer.result())

    Takes what ``SFTTrainer`` takes, in its order, and by keyword:

    Args:
        safe_dataset: see :class:`DefendedTrainerMixin`, which also says what it raises.
        anchor_dataset: see there.
        defenses: see there.
        reference_model: see there.
        max_truncated: the share of the rows of a dataset that may be longer than ``args.max_length``, and so be cut, or
            dropped if no label is left; a recipe's ``data.max_truncated``. With more it raises.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parent's, in its order
        self,
        model: str | PreTrainedModel | PeftModel,
        args: SFTConfig | TrainingArguments | None = None,
        data_collator: DataCollator | None = None,
        train_dataset: Dataset | None = None,
        eval_dataset: Any = None,
        processing_class: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        compute_loss_func: Callable[..., Any] | None = None,
        compute_metrics: Callable[[EvalPrediction], dict[str, Any]] | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[torch.optim.Optimizer | None, torch.optim.lr_scheduler.LambdaLR | None] = (None, None),
        optimizer_cls_and_kwargs: tuple[type[torch.optim.Optimizer], dict[str, Any]] | None = None,
        preprocess_logits_for_metrics: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        quantization_config: Any = None,
        peft_config: PeftConfig | None = None,
        formatting_func: Callable[[dict[str, Any]], str] | None = None,
        *,
        safe_dataset: Dataset | None = None,
        anchor_dataset: Dataset | None = None,
        defenses: Sequence[Defense | str | Mapping[str, Any]] | None = None,
        reference_model: PreTrainedModel | None = None,
        max_truncated: float = 0.1,
    ) -> None:
        if not 0 <= max_truncated <= 1:
            raise RingfenceError(f"max_truncated: must be from 0 to 1, got {max_truncated!r}")
        self.max_truncated = max_truncated
        self.cuts: dict[str, Cut] = {}
        """what ``max_length`` did to the rows of ``target``, ``safe`` and ``anchor``"""
        super().__init__(
            model=model,
            args=args,
            data_collator=data_collator,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            compute_loss_func=compute_loss_func,
            compute_metrics=compute_metrics,
            callbacks=callbacks,
            optimizers=optimizers,
            optimizer_cls_and_kwargs=optimizer_cls_and_kwargs,
            preprocess_logits_for_metrics=preprocess_logits_for_metrics,
            quantization_config=quantization_config,
            peft_config=peft_config,
            formatting_func=formatting_func,
            safe_dataset=safe_dataset,
            anchor_dataset=anchor_dataset,
            defenses=defenses,
            reference_model=reference_model,
        )

    def _prepare_safe(self, dataset: Dataset) -> Dataset:
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

    def _prepare_anchors(self, dataset: Dataset) -> Dataset:
        """Cut as other rows are; but none is dropped, since a prompt alone will do."""
        self.cuts["anchor"] = cut = cut_anchors(dataset, self.args, self.max_truncated)
        if (told := cut.told()) and self.args.process_index == 0:
            logger.warning("anchor: %s", told)
        limit = self.args.max_length
        if limit is None:
            return dataset
        kept = slice(-limit, None) if self.args.truncation_mode == "keep_end" else slice(None, limit)
        return dataset.map(lambda row: {name: row[name][kept] for name in ("input_ids", "labels")})

    def row_counts(self) -> dict[str, dict[str, int]]:
        """Of each source, how many rows were given, and how many ``max_length`` has cut short or dropped."""
        return {source: cut.counts() for source, cut in self.cuts.items()}
