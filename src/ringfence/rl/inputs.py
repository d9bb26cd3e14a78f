"""The rows of reinforcement learning: safe rows as tokens, and a micro-batch of completions as penalties see it."""

from collections.abc import Mapping
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from ringfence.core.errors import RingfenceError
from ringfence.data.render import IGNORED, render_all
from ringfence.defenses.step import Batch

_TOKENS = ["input_ids", "labels"]


def model_inputs(completed: Mapping[str, Any]) -> dict[str, Any]:
    """What the training forward of TRL's GRPO runs on, and labels where it has a loss; (batch, tokens) each."""
    prompt, completion = completed["prompt_mask"], completed["completion_mask"]
    ids = torch.cat([completed["prompt_ids"], completed["completion_ids"]], dim=1)
    scored = torch.cat([torch.zeros_like(prompt), completion], dim=1).bool()
    return {
        "input_ids": ids,
        "attention_mask": torch.cat([prompt, completion], dim=1),
        "labels": ids.masked_fill(~scored, IGNORED),
    }


def completions(inputs: Mapping[str, Any]) -> Batch:
    """The positions of :func:`model_inputs`: distances compare those of completions."""
    return Batch.of(inputs, compared=inputs["labels"] != IGNORED)


def tokenised(dataset: Dataset, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    """Safe rows as ``input_ids`` and ``labels``, from these or from conversations.

    Raises :class:`RingfenceError` for rows that are neither.
    """
    columns = set(dataset.column_names)
    if columns.issuperset(_TOKENS):
        return dataset.select_columns(_TOKENS)
    if "messages" in columns:
        rows = [row["messages"] for row in dataset]
    elif {"prompt", "completion"} <= columns and isinstance(dataset[0]["prompt"], list):
        rows = [[*row["prompt"], *row["completion"]] for row in dataset]
    else:
        raise RingfenceError(
            f"safe_dataset: its columns are {', '.join(sorted(columns))}; give conversations, as `messages` or as "
            "`prompt` and `completion`, or `input_ids` and `labels`"
        )
    return render_all(
        [{"messages": messages, "origin": f"safe_dataset:{index}"} for index, messages in enumerate(rows)], tokenizer
    )
