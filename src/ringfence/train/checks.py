"""Checks of what the trainer cannot do: it is refused, not silently changed."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DynamoBackend
from datasets import Dataset
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import PreTrainedModel, TrainingArguments, get_scheduler
from transformers.trainer_utils import SaveStrategy, SchedulerType

from ringfence.core.errors import RingfenceError, error_prefix, shown
from ringfence.core.training_arguments import BOUNDS, check_bounds
from ringfence.data.cutting import Cut, cut_of, lengths_of
from ringfence.defenses import Defense
from ringfence.models.activations import Model, bare, decoder_layers
from ringfence.models.adapters import require_base_kept
from ringfence.models.identity import base_parameters

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


def require_rows(dataset: Any, name: str) -> None:
    """Raise unless ``dataset``, the trainer's argument ``name``, holds rows that can be drawn in any order."""
    if not isinstance(dataset, Dataset):
        raise RingfenceError(
            f"{name} must be a map-style datasets.Dataset, got {type(dataset).__name__}; of a stream take the rows to "
            "train on: Dataset.from_list(list(stream.take(10_000)))"
        )


def refuse_unfit(args: TrainingArguments) -> None:
    """Raise for a number that a recipe could not have either, and for a checkpoint that nobody would read."""
    values = {name: getattr(args, name) for name in BOUNDS if hasattr(args, name)}
    if values["num_train_epochs"] == 0:  # the Trainer trains nothing, and so do we
        del values["num_train_epochs"]
    try:
        check_bounds(values)
    except ValueError as error:
        raise RingfenceError(f"args{error}") from None
    if args.resume_from_checkpoint is not None:
        raise RingfenceError(
            "args.resume_from_checkpoint: no trainer reads it; leave it out, and give it to train(), or call "
            "train_or_resume()"
        )


def require_tokenised(dataset: Any, name: str, how: str = "") -> None:
    """Raise unless ``dataset``, the argument ``name``, holds tokenised rows; nothing to ask of what is no dataset.

    ``how`` they would be made, for ``render_all``.
    """
    if isinstance(dataset, Dataset) and not {"input_ids", "labels"} <= set(dataset.column_names):
        raise RingfenceError(
            f"{name}: its columns are {', '.join(dataset.column_names)}, and it takes input_ids and labels; "
            f"make them with ringfence.data.render_all(rows, tokenizer{how})"
        )


def require_anchor_rows(dataset: Any) -> None:
    """Raise unless ``dataset`` holds tokenised rows."""
    require_rows(dataset, "anchor_dataset")
    require_tokenised(dataset, "anchor_dataset", ", answered=False")


def fitting(rows: Dataset, source: str, args: Any, max_truncated: float) -> Cut:
    """What ``args.max_length`` does to the tokenised ``rows`` of ``source``.

    Raises :class:`RingfenceError` where it cuts or drops more than the share ``max_truncated``.
    """
    # Packing cuts what is too long by the strategy bfd only; the others go on in the next row.
    limit = None if args.packing and args.packing_strategy != "bfd" else args.max_length
    cut = cut_of(rows, limit, args.truncation_mode == "keep_end")
    with error_prefix(source):
        cut.require(max_truncated)
    return cut


def cut_anchors(rows: Dataset, args: Any, max_truncated: float) -> Cut:
    """As :func:`fitting` for anchor rows, which need no label."""
    cut = Cut(lengths_of(rows), args.max_length)
    with error_prefix("anchor"):
        cut.require(max_truncated)
    return cut


def refuse_unsupported(args: TrainingArguments, dataset: Any) -> None:
    """Raise for what the stream cannot honour, rather than ignore it."""
    require_rows(dataset, "train_dataset")
    require_schedule(args)
    if args.dataloader_drop_last:
        raise RingfenceError("dataloader_drop_last is not supported: a short last step is filled with masked rows")
    if args.train_sampling_strategy not in ("random", "sequential"):
        raise RingfenceError(
            f'train_sampling_strategy "{args.train_sampling_strategy}" is not supported; use random or sequential'
        )
    if args.auto_find_batch_size:
        raise RingfenceError("auto_find_batch_size is not supported: the batch size decides which rows are drawn")
    if args.save_only_model and args.save_strategy != SaveStrategy.NO:
        raise RingfenceError(
            "save_only_model: such checkpoints cannot be resumed from; leave it out, or set save_strategy to no (the "
            "weights are saved at the end in any case)"
        )


def require_arguments(defenses: Iterable[Defense], args: TrainingArguments, accelerator: Accelerator) -> None:
    """Raise for an argument that one of ``defenses`` cannot do with, also where it is set for accelerate alone."""
    compiled = accelerator.state.dynamo_plugin.backend != DynamoBackend.NO
    for defense in defenses:
        defense.require_arguments({**vars(args), "torch_compile": compiled})


def require_schedule(args: TrainingArguments) -> None:
    """Raise unless the learning-rate schedule can be built and gives numbers: training would find out once it runs."""
    kwargs, steps = args.lr_scheduler_kwargs, 10
    try:
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=args.learning_rate)
        made = get_scheduler(args.lr_scheduler_type, optimizer, 0, steps, kwargs)
        rates = [at(step) for at in getattr(made, "lr_lambdas", []) for step in range(steps + 1)]
        if not all(math.isfinite(rate) for rate in rates):
            raise ValueError("the learning rate is not finite")
    except (ArithmeticError, TypeError, ValueError) as error:
        raise RingfenceError(
            f"lr_scheduler_kwargs: {shown(kwargs or {})} does not fit {SchedulerType(args.lr_scheduler_type).value}: "
            f"{' '.join(str(error).split())}; change it"
        ) from error


def refuse_unmarked_padding(args: Any, collator: Any) -> None:
    """Raise where padding cannot be told from text: in a flattened batch, which has no attention mask."""
    if getattr(collator, "padding_free", False) and getattr(args, "pad_to_multiple_of", None):
        raise RingfenceError(
            "training.pad_to_multiple_of: with packing or padding_free the padding is not marked, so penalties would "
            "count it as text; leave it out"
        )


def require_reference(model: Model, reference: PreTrainedModel | None, who: str, whole: bool) -> None:
    """Raise unless ``model`` can be compared with its reference; ``whole``: layer by layer, not just its logits."""
    if reference is None:
        if isinstance(model, PeftModel):
            _require_adapter_only(model, who)
        return
    if reference is bare(model):
        raise RingfenceError("reference: it is the trained model itself; load the reference anew, or leave it out")
    ours, theirs = bare(model).config.get_text_config(), reference.config.get_text_config()
    if ours.vocab_size != theirs.vocab_size:
        raise RingfenceError(
            f"reference: it has a vocabulary of {theirs.vocab_size} and the trained model one of {ours.vocab_size}, so "
            f"{who} cannot compare them; name a model of the same tokenizer"
        )
    shape = [(config.hidden_size, len(decoder_layers(m))) for config, m in ((ours, model), (theirs, reference))]
    if whole and shape[0] != shape[1]:
        raise RingfenceError(
            f"reference: {who} compares hidden states, and the trained model has width and layers {shape[0]} and the "
            f"reference {shape[1]}; name a model of the same shape"
        )


def _require_adapter_only(model: PeftModel, who: str) -> None:
    """Raise where switching the adapter off does not give back the base model."""
    require_base_kept(model.peft_config[model.active_adapter], who)
    if any(isinstance(module, BaseTunerLayer) and module.merged for module in model.modules()):
        raise RingfenceError(f"{who}: the adapter is merged into the model, so it cannot be switched off; unmerge it")
    beside = [name for name, parameter in base_parameters(model) if parameter.requires_grad]
    if beside:
        raise RingfenceError(
            f"{who}: {beside[0]} of the base model is trained beside the adapter, so there is no reference left; "
            "freeze it, or give a reference_model"
        )
