"""``DefendedTrainer``: the plain ``Trainer`` of transformers with defenses.

What defenses change is in :mod:`ringfence.train.mixin`. This adds what the plain trainer leaves to its user: rows must
be tokenised, with labels, and the collator must pad labels, too.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import (
    DataCollator,
    DataCollatorForSeq2Seq,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from ringfence.core.errors import RingfenceError
from ringfence.defenses import Defense
from ringfence.train.checks import require_tokenised
from ringfence.train.mixin import DefendedTrainerMixin


class DefendedTrainer(DefendedTrainerMixin, Trainer):
    """``Trainer`` with defenses; without one, it trains bitwise as ``Trainer`` does.

    Example:
        trainer = DefendedTrainer(
            model=get_peft_model(model, LoraConfig(r=8, task_type="CAUSAL_LM")),
            args=TrainingArguments("runs/script", num_train_epochs=1),
            train_dataset=render_all(target, tokenizer),
            safe_dataset=render_all(safe, tokenizer),
            processing_class=tokenizer,
            defenses=[FixedInterleaving(added=0.05), KL(weight=0.1)],
        )
        trainer.train()
        print(trainer.result())

    Rows have ``input_ids`` and ``labels``, as :func:`ringfence.data.render_all` makes them of conversations; none is
    cut. Takes what ``Trainer`` takes, in its order; without a ``data_collator`` it is one that pads labels, too. By
    keyword also:

    Args:
        safe_dataset: see :class:`DefendedTrainerMixin`, which also says what it raises.
        anchor_dataset: see there.
        defenses: see there.
        reference_model: see there.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parent's, in its order
        self,
        model: PreTrainedModel | PeftModel | None = None,
        args: TrainingArguments | None = None,
        data_collator: DataCollator | None = None,
        train_dataset: Dataset | None = None,
        eval_dataset: Any = None,
        processing_class: PreTrainedTokenizerBase | ProcessorMixin | None = None,
        model_init: Callable[..., PreTrainedModel] | None = None,
        compute_loss_func: Callable[..., Any] | None = None,
        compute_metrics: Callable[[EvalPrediction], dict[str, Any]] | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[torch.optim.Optimizer | None, torch.optim.lr_scheduler.LambdaLR | None] = (None, None),
        optimizer_cls_and_kwargs: tuple[type[torch.optim.Optimizer], dict[str, Any]] | None = None,
        preprocess_logits_for_metrics: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        *,
        safe_dataset: Dataset | None = None,
        anchor_dataset: Dataset | None = None,
        defenses: Sequence[Defense | str | Mapping[str, Any]] | None = None,
        reference_model: PreTrainedModel | None = None,
    ) -> None:
        if model_init is not None:
            raise RingfenceError("model_init: defenses work on one model; make it before, and give it as model")
        for name, rows in (("train_dataset", train_dataset), ("safe_dataset", safe_dataset)):
            require_tokenised(rows, name)
        if data_collator is None and isinstance(processing_class, PreTrainedTokenizerBase):
            data_collator = DataCollatorForSeq2Seq(processing_class)
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
            safe_dataset=safe_dataset,
            anchor_dataset=anchor_dataset,
            defenses=defenses,
            reference_model=reference_model,
        )
