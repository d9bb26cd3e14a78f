"""Checks of what reinforcement learning with defenses cannot do: it is refused before anything slow."""

import inspect
from typing import Any

from transformers import ProcessorMixin
from trl import GRPOConfig

from ringfence.core.errors import RingfenceError
from ringfence.core.grpo_arguments import GRPO_BOUNDS
from ringfence.core.training_arguments import check_bounds
from ringfence.models.activations import Model, bare
from ringfence.train.checks import require_rows

TOLD = (
    "beta",
    "delta",
    "epsilon",
    "epsilon_high",
    "loss_type",
    "max_completion_length",
    "min_p",
    "num_generations",
    "num_iterations",
    "scale_rewards",
    "temperature",
    "top_k",
    "top_p",
    "use_vllm",
)
"""what a recipe's ``training`` is told of TRL's arguments, beside those of fine-tuning"""
MODES, ROLLOUTS = ("alternate", "mixed"), ("defended", "plain")


def refuse_unsupported(args: GRPOConfig | None, prompts: Any, processing_class: Any) -> None:
    """Raise for images, for rows without a prompt, and for arguments that would do nothing."""
    require_rows(prompts, "train_dataset")
    columns = set(prompts.column_names)
    if "prompt" not in columns:
        raise RingfenceError(f"train_dataset: no column `prompt`, only {', '.join(sorted(columns)) or 'none'}")
    if isinstance(processing_class, ProcessorMixin) or columns & {"image", "images"}:
        raise RingfenceError("train_dataset: images are not supported, only text; give a tokenizer and text prompts")
    if args is None:
        return
    try:
        check_bounds(
            {name: getattr(args, name, None) for name in GRPO_BOUNDS if name != "num_train_epochs"}, GRPO_BOUNDS
        )
    except ValueError as error:
        raise RingfenceError(f"args{error}") from None
    if args.label_smoothing_factor:
        raise RingfenceError("args.label_smoothing_factor: a completion has no labels to smooth; leave it out")


def chosen(mode: Any, rollouts: Any) -> tuple[Any, Any]:
    """``mode`` and ``rollouts``; raises :class:`RingfenceError` for others than there are."""
    for key, value, known in (("mode", mode, MODES), ("rollouts", rollouts, ROLLOUTS)):
        if value not in known:
            raise RingfenceError(f"{key}: {value!r} is unknown; known are {', '.join(known)}")
    return mode, rollouts


def engine(args: GRPOConfig | None) -> str | None:
    """The argument by which something else than the trained model's own ``generate`` makes completions."""
    names = ("use_vllm", "use_transformers_continuous_batching")
    return next((name for name in names if getattr(args, name, False)), None)


def require_loss_arguments(model: Model) -> None:
    """Raise unless the loss of safe rows can be divided by the tokens of the whole optimizer step.

    As the Trainer asks it; its own answer TRL turns to no with transformers before 5.19, for another purpose.
    """
    inner = bare(model)
    takes = inspect.signature(type(inner).forward).parameters.values()
    if not getattr(inner, "accepts_loss_kwargs", any(one.kind == inspect.Parameter.VAR_KEYWORD for one in takes)):
        raise RingfenceError(
            f"model: the forward of {type(model).__name__} takes no num_items_in_batch, so the loss of safe rows "
            "cannot be a mean over the whole optimizer step; leave interleaving out"
        )
