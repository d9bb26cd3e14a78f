"""What the trainer refuses, before it would silently do something else."""

from typing import Any

from datasets import Dataset
from transformers import TrainingArguments

from ringfence.core.errors import RingfenceError

# In the order of preference; TRL builds the labels of each in its own way.
FORMS = ("input_ids", "completion", "messages", "conversations")


def require_same_form(target: Any, safe: Any) -> None:
    """Raise unless target and safe rows are both tokenised, both prompt-completion, or both conversations."""
    found = [
        next((form for form in FORMS if form in (getattr(dataset, "column_names", None) or [])), "text")
        for dataset in (target, safe)
    ]
    if found[0] != found[1]:
        raise RingfenceError(
            f"the target dataset is in the form of `{found[0]}` and the safe dataset of `{found[1]}`, which TRL masks "
            "differently; give both in one form, or render both with ringfence.data.render_all"
        )


def refuse_unsupported(args: TrainingArguments, dataset: Any) -> None:
    """Raise for what the stream cannot honour, rather than ignore it."""
    if not isinstance(dataset, Dataset):
        raise RingfenceError(f"train_dataset must be a map-style datasets.Dataset, got {type(dataset).__name__}")
    if args.dataloader_drop_last:
        raise RingfenceError("dataloader_drop_last is not supported: a short last step is filled with masked rows")
    if args.train_sampling_strategy not in ("random", "sequential"):
        raise RingfenceError(
            f'train_sampling_strategy "{args.train_sampling_strategy}" is not supported; use random or sequential'
        )
    if args.auto_find_batch_size:
        raise RingfenceError("auto_find_batch_size is not supported: the batch size decides which rows are drawn")
