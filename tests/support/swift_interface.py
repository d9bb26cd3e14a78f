"""What ms-swift 4.6.0 asks of a trainer and does with it, in small, in the order of ``swift sft``.

ms-swift pins other versions of TRL and PEFT than ours, so it cannot be installed beside Ringfence's own
(``test_itself.py`` trains the example in ms-swift itself, where that is installed). Names and calls are as in its files
``trainers/mixin.py``, ``trainers/seq2seq_trainer.py``, ``trainers/trainer_factory.py``, ``dataset/utils.py``,
``loss/causal_lm.py`` and ``pipelines/train/sft.py``.
"""

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import torch
import torch.utils.data
from datasets import Dataset
from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainingArguments
from transformers import Seq2SeqTrainer as HfSeq2SeqTrainer

import tiny
from ringfence.data import read
from ringfence.data.render import render, render_prompt
from training import SETTINGS, lora


class MaxLengthError(ValueError):
    """A row is longer than ``max_length``."""


class Template:
    """Renders one row; what is too long raises, as with ``truncation_strategy: delete``."""

    sequence_parallel_size = 1

    def __init__(self, max_length: int = 2**20, adds: dict[str, Any] | None = None) -> None:
        self.max_length, self.adds = max_length, adds or {}
        self.tokenizer = tiny.tokenizer()

    def encode(self, row: dict[str, Any], return_length: bool = False) -> dict[str, Any]:
        messages = row["messages"]
        made = (render if messages[-1]["role"] == "assistant" else render_prompt)(messages, self.tokenizer)
        length = len(made.input_ids)
        if length > self.max_length:
            raise MaxLengthError(f"Current length of row({length}) is larger than the max_length({self.max_length}).")
        return {**asdict(made), **self.adds, **({"lengths": [length]} if return_length else {})}

    def data_collator(self, rows: Sequence[Any], *, padding_to: int | None = None) -> dict[str, Any]:
        found: dict[str, Any] = DataCollatorForSeq2Seq(self.tokenizer)(
            [{key: row[key] for key in ("input_ids", "labels")} for row in rows]
        )
        return found

    def compute_sft_loss(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any, trainer: Any) -> Any:
        outputs = model(**inputs)
        if "labels" in inputs and num_items_in_batch is not None:
            outputs.loss = outputs.loss * ((inputs["labels"][:, 1:] != -100).sum() / num_items_in_batch)
        return outputs


class LazyLLMDataset(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Tokenises rows as they are read."""

    def __init__(self, dataset: Dataset, encode_func: Callable[..., Any]) -> None:
        self.dataset, self.encode_func = dataset, encode_func

    def __getitem__(self, index: int) -> Any:
        return self.encode_func(self.dataset[index], return_length=True)

    def __len__(self) -> int:
        return len(self.dataset)


class CustomCrossEntropyLoss:
    """A sum over labels, divided by those of the step."""

    def __init__(self, args: Any, trainer: Any) -> None: ...

    def __call__(self, outputs: Any, labels: torch.Tensor, *, num_items_in_batch: Any = None, **_: Any) -> Any:
        following = torch.roll(labels, -1, -1).view(-1)
        logits = outputs.logits.float().view(-1, outputs.logits.shape[-1])
        each = torch.nn.functional.cross_entropy(logits, following, ignore_index=-100, reduction="none")
        items = (labels[:, 1:] != -100).sum() if num_items_in_batch is None else num_items_in_batch
        return each.sum() / items


LOSSES = {"cross_entropy": CustomCrossEntropyLoss}


@dataclass
class TrainingArguments(Seq2SeqTrainingArguments):
    """Those of ms-swift that are asked about."""

    loss_type: str | None = None
    use_logits_to_keep: bool | None = None
    enable_dft_loss: bool = False
    enable_channel_loss: bool = False
    use_flash_ckpt: bool = False
    resume_only_model: bool = False


class Seq2SeqTrainer(HfSeq2SeqTrainer):
    """What it takes, and what it makes of labels and the loss."""

    def __init__(
        self, model: Any, args: Any, template: Any, train_dataset: Any, eval_dataset: Any = None, **others: Any
    ) -> None:
        self.compute_loss_func = None
        self.template = template
        if args.loss_type is not None:
            others["compute_loss_func"] = LOSSES[args.loss_type](args, self)
        others |= {"processing_class": template.tokenizer, "data_collator": partial(template.data_collator)}
        super().__init__(model=model, args=args, train_dataset=train_dataset, eval_dataset=eval_dataset, **others)
        self.model_accepts_loss_kwargs = True

    def get_use_logits_to_keep(self, default_value: bool = True) -> bool:
        return default_value if self.args.use_logits_to_keep is None else self.args.use_logits_to_keep

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = super()._prepare_inputs(inputs)
        if self.get_use_logits_to_keep():
            found["labels"] = found["labels"][:, (found["labels"] != -100).any(dim=0)]
        return {**found, "compute_loss_func": self.compute_loss_func}

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        compute_loss_func, labels = inputs.pop("compute_loss_func", None), None
        if compute_loss_func is not None:
            labels = inputs.pop("labels")
        outputs = self.template.compute_sft_loss(model, inputs, num_items_in_batch=num_items_in_batch, trainer=self)
        if labels is None:
            loss = outputs["loss"]
        else:
            loss = compute_loss_func(outputs, labels, num_items_in_batch=num_items_in_batch, trainer=self)
        return (loss, outputs) if return_outputs else loss


class TrainerFactory:
    """Which class trains what, by name."""

    OWN: ClassVar[dict[str, str]] = {
        "causal_lm": "swift.trainers.Seq2SeqTrainer",
        "dpo": "swift.rlhf_trainers.DPOTrainer",
    }
    TRAINER_MAPPING: ClassVar[dict[str, str]] = {}

    @classmethod
    def get_trainer_cls(cls, task: str) -> Any:
        module, _, name = cls.TRAINER_MAPPING[task].rpartition(".")
        return getattr(importlib.import_module(module), name)


def install(monkeypatch: pytest.MonkeyPatch, version: str = "4.6.0") -> None:
    """Let ``import swift...`` find what is here, under ``version``."""
    found = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version if name == "ms-swift" else found(name))
    monkeypatch.setattr(TrainerFactory, "TRAINER_MAPPING", dict(TrainerFactory.OWN))
    here: dict[str, dict[str, Any]] = {
        "swift": {},
        "swift.trainers": {"Seq2SeqTrainer": Seq2SeqTrainer, "TrainerFactory": TrainerFactory},
        "swift.dataset": {"LazyLLMDataset": LazyLLMDataset},
        "swift.loss": {"loss_map": LOSSES},
        "swift.template": {"MaxLengthError": MaxLengthError},
    }
    for name, names in here.items():
        module = ModuleType(name)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "ringfence.integrations.swift.trainer", raising=False)  # which imports it


def train(
    folder: Path,
    task: str = "causal_lm",
    template: Template | None = None,
    rows: Any = None,
    dataset: Any = LazyLLMDataset,
    **changes: Any,
) -> Any:
    """``swift sft --dataset target.jsonl`` once the plugin is imported; the trained trainer."""
    from peft import get_peft_model

    template = template or Template()
    rows = rows or [{"messages": row["messages"], "lengths": [1]} for row in read(str(folder / "target.jsonl"))]
    trainer = TrainerFactory.get_trainer_cls(task)(
        model=get_peft_model(tiny.model(), lora()),
        args=TrainingArguments(str(folder / "run"), **{**SETTINGS, **changes}),
        template=template,
        train_dataset=dataset(Dataset.from_list(rows), template.encode),
        eval_dataset=None,
    )
    trainer.train(trainer.args.resume_from_checkpoint)
    return trainer
