"""Check a recipe's ``training``: which fields of SFTConfig it may set, and to what. No field is taken without effect.

Ringfence renders the rows itself, feeds them from its own stream and closes its own loop, so some of TRL's settings
would do nothing, and others would fail once the run folder is made. Both raise before anything is loaded, with the key
and what to set instead. What a field means by itself is left to TRL.

Everything here is plain Python: a mistake is told without importing torch.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ringfence.core.errors import shown
from ringfence.core.hub import missing_to_write
from ringfence.core.packages import require_package
from ringfence.core.source_schedules import schedules
from ringfence.core.trackers import check_reporters

LARGEST_SEED = 2**32 - 1
"""numpy takes no larger one"""
_MOST_STEPS = 2**31 - 1


@dataclass(frozen=True)
class Bound:
    """What a number must be; None is TRL's own default and always fits."""

    fits: Callable[[Any], bool]
    must: str


def whole(least: int, most: float = math.inf) -> Bound:
    """From ``least`` to ``most``."""
    above = f" and at most {most}" if most < math.inf else ""
    return Bound(lambda value: least <= value <= most, f"must be at least {least}{above}")


_NOT_NEGATIVE = Bound(lambda value: math.isfinite(value) and value >= 0, "must be a finite number, 0 or more")
_ABOVE_ZERO = Bound(lambda value: math.isfinite(value) and value > 0, "must be a finite number above 0")
SHARE = Bound(lambda value: 0 <= value < 1, "must be at least 0 and below 1")
BOUNDS: dict[str, Bound] = {
    **dict.fromkeys(("per_device_train_batch_size", "gradient_accumulation_steps", "max_length"), whole(1)),
    **dict.fromkeys(("save_total_limit", "dataset_num_proc", "torch_empty_cache_steps", "ddp_timeout"), whole(1)),
    **dict.fromkeys(("learning_rate", "weight_decay", "warmup_steps", "max_grad_norm"), _NOT_NEGATIVE),
    **dict.fromkeys(("adam_epsilon", "neftune_noise_alpha", "router_aux_loss_coef"), _NOT_NEGATIVE),
    **dict.fromkeys(("save_steps", "logging_steps"), _ABOVE_ZERO),
    "num_train_epochs": Bound(
        lambda value: 0 < value <= _MOST_STEPS, f"must be a finite number above 0 and at most {_MOST_STEPS}"
    ),
    **dict.fromkeys(("adam_beta1", "adam_beta2", "label_smoothing_factor"), SHARE),
    "data_seed": whole(0, LARGEST_SEED),
    "max_steps": Bound(
        lambda value: value == -1 or 1 <= value <= _MOST_STEPS,
        f"must be at least 1 and at most {_MOST_STEPS}, or -1 to go by num_train_epochs",
    ),
    "pad_to_multiple_of": Bound(
        lambda value: value == "auto" or (isinstance(value, int) and value >= 1),
        "must be a whole number of at least 1, or auto",
    ),
}


@dataclass(frozen=True)
class Refusal:
    """Why a field may not be set, save to what it is anyway."""

    why: str
    anyway: tuple[Any, ...]


def _refused(why: str, fields: str, *anyway: Any) -> dict[str, Refusal]:
    return dict.fromkeys(fields.split(), Refusal(why, anyway or (None, False)))


REFUSALS: dict[str, Refusal] = {
    **_refused("set by the --out folder; leave it out", "output_dir"),
    **_refused("set by the recipe's own `seed`; leave it out", "seed"),
    **_refused("a secret; set the environment variable HF_TOKEN instead", "hub_token push_to_hub_token"),
    **_refused(
        "rows are rendered with the model's own chat template; save the template with the tokenizer in a folder, and "
        "name that as the model",
        "chat_template_path eos_token pad_token",
    ),
    **_refused(
        "the loss is on what the assistant says, and on nothing else; leave it out",
        "completion_only_loss",
        None,
        True,
    ),
    **_refused("the loss is on what the assistant says as it is; leave it out", "assistant_only_loss", False, True),
    **_refused(
        "rows are read from the files of `data` and tokenised before TRL sees them; leave it out",
        "dataset_text_field dataset_kwargs label_names length_column_name",
        None,
        "text",
        "length",
        {},
    ),
    **_refused("the model is loaded before TRL sees it; set it under `model`", "model_init_kwargs trust_remote_code"),
    **_refused(
        "rows come from memory, drawn when they are trained on, and not from a DataLoader; leave it out",
        "dataloader_drop_last dataloader_num_workers dataloader_persistent_workers dataloader_prefetch_factor "
        "dataloader_multiprocessing_context accelerator_config auto_find_batch_size",
        None,
        False,
    ),
    **_refused(
        "rows come from memory and not from a DataLoader; leave it out",
        "dataloader_in_order dataloader_pin_memory",
        True,
    ),
    **_refused(
        "a recipe has no evaluation rows, and evaluates by `evaluation`, while training by `evaluation.during`; leave "
        "it out",
        "eval_strategy eval_steps eval_delay per_device_eval_batch_size prediction_loss_only eval_on_start "
        "eval_do_concat_batches eval_use_gather_object eval_accumulation_steps include_for_metrics batch_eval_metrics "
        "bf16_full_eval fp16_full_eval eval_packing do_eval do_predict load_best_model_at_end metric_for_best_model "
        "greater_is_better",
        None,
        False,
        "no",
    ),
    **_refused("`ringfence train` does just that; leave it out", "do_train", True, None),
    **_refused(
        "the same command goes on from the newest whole checkpoint of --out by itself; leave it out",
        "resume_from_checkpoint ignore_data_skip restore_callback_states_from_checkpoint",
    ),
    **_refused("a run cannot go on from a checkpoint without the optimizer's state; leave it out", "save_only_model"),
    **_refused("the launcher sets it; use torchrun or accelerate launch", "local_rank parallelism_config", -1, None),
}
_ONLY_WITH: dict[str, Sequence[str]] = {
    "push_to_hub": (
        "hub_model_id",
        "hub_strategy",
        "hub_private_repo",
        "hub_always_push",
        "hub_revision",
    ),
    "packing": ("packing_strategy",),
}
# What an option needs that is not among Ringfence's own dependencies: any one of these packages.
_SWITCHES = {"deepspeed": ("deepspeed",), "use_liger_kernel": ("liger_kernel",)}
_BITSANDBYTES = ("bitsandbytes",)
_OPTIMIZERS = {
    **dict.fromkeys(("bnb", "8bit", "paged"), _BITSANDBYTES),
    "galore": ("galore_torch",),
    "apollo": ("apollo_torch",),
    "lomo": ("lomo_optim",),
    "grokadamw": ("grokadamw",),
    "schedule_free": ("schedulefree",),
    "torchao": ("torchao",),
    "stable_adamw": ("optimi",),
    "anyprecision": ("torchdistx",),
}
_NO_PROGRESS = ("reduce_lr_on_plateau", "greedy")  # schedules that are no function of the step


def refuse_ineffective(values: Mapping[str, Any], refusals: Mapping[str, Refusal] = REFUSALS) -> None:
    """Raise ``ValueError``, beginning with a dot and the key, for a field of ``refusals``; no value is repeated."""
    for key, value in values.items():
        refusal = refusals.get(key)
        if refusal is not None and value not in refusal.anyway:
            raise ValueError(f".{key}: {refusal.why}")


def check_bounds(values: Mapping[str, Any], bounds: Mapping[str, Bound] = BOUNDS) -> None:
    """As :func:`refuse_ineffective`, for values outside ``bounds``."""
    for key, value in values.items():
        bound = bounds.get(key)
        if bound is not None and value is not None and not _fits(bound, value):
            raise ValueError(f".{key}: {bound.must}, got {value!r}")


def _fits(bound: Bound, value: Any) -> bool:
    try:
        return bound.fits(value)
    except TypeError:  # no number at all; a recipe's types are right by now, a script's need not be
        return False


def check_arguments(values: Mapping[str, Any], bounds: Mapping[str, Bound] = BOUNDS) -> None:
    """As :func:`check_bounds`, and for choices that training cannot follow."""
    check_bounds(values, bounds)
    if values.get("lr_scheduler_type") in _NO_PROGRESS:
        raise ValueError(
            ".lr_scheduler_type: it does not follow target progress; use linear, cosine, constant or another schedule "
            "that is a function of the step"
        )
    if "lr_scheduler_type" in values and values["lr_scheduler_type"] not in list(schedules()):
        known = ", ".join(name for name in schedules() if name not in _NO_PROGRESS)
        raise ValueError(f".lr_scheduler_type: {shown(values['lr_scheduler_type'])} is unknown; known are {known}")
    if (strategy := values.get("train_sampling_strategy", "random")) not in ("random", "sequential"):
        raise ValueError(f".train_sampling_strategy: {strategy!r} is not supported; use random or sequential")
    if values.get("save_strategy") == "best":
        raise ValueError(".save_strategy: nothing is measured by which one could be best; use steps, epoch or no")


def check_together(values: Mapping[str, Any], only_with: Mapping[str, Sequence[str]] | None = None) -> None:
    """As :func:`check_arguments`, for what a stage has together.

    ``only_with``: switch -> fields that are without effect unless it is on, beside those that every method has.
    """
    for switch, fields in (_ONLY_WITH | dict(only_with or {})).items():
        for key in fields:
            if key in values and not values.get(switch):
                raise ValueError(f".{key}: without effect unless {switch} is true; set that, or leave it out")
    _check_schedule(values)
    if not values.get("packing"):
        return
    if values.get("packing_strategy", "bfd") != "bfd":
        raise ValueError(
            f".packing_strategy: {values['packing_strategy']!r} cuts conversations into pieces, which are then trained "
            "on apart; leave it out"
        )
    if "max_length" in values and values["max_length"] is None:
        raise ValueError(".max_length: packing fills rows of this length; set one")


def _check_schedule(values: Mapping[str, Any]) -> None:
    """Raise unless ``lr_scheduler_kwargs`` has the names that ``lr_scheduler_type`` takes.

    Their values are checked when the schedule is built, see :func:`ringfence.train.checks.require_schedule`.
    """
    if not {"lr_scheduler_type", "lr_scheduler_kwargs"} & values.keys():
        return  # nothing of transformers needs to be read
    kind, given = values.get("lr_scheduler_type", "linear"), values.get("lr_scheduler_kwargs")
    if given is not None and not isinstance(given, dict):
        raise ValueError(".lr_scheduler_kwargs: give a mapping, e.g. {num_cycles: 2}")
    settings = schedules()[kind]
    for name in given or {}:
        if name not in settings.known:
            takes = f"takes {', '.join(settings.known)}" if settings.known else "takes none"
            raise ValueError(f".lr_scheduler_kwargs: {shown(name)} is no setting of {kind}, which {takes}")
    for name in settings.needed:
        if name not in (given or {}):
            raise ValueError(f".lr_scheduler_kwargs: {kind} needs {name}; set it, e.g. {{{name}: 10}}")


def check_installed(values: Mapping[str, Any]) -> None:
    """As :func:`check_arguments`, for what training needs of this machine; a recipe can be read without."""
    check_reporters(values)
    for key, packages in _SWITCHES.items():
        if values.get(key):
            require_package(packages, f".{key}")
    optimizer = str(values.get("optim", ""))
    for part, packages in _OPTIMIZERS.items():
        if part in optimizer:
            extra = "quantised" if packages == _BITSANDBYTES else None
            require_package(packages, f".optim: {optimizer}", extra)
    if values.get("push_to_hub") and (missing := missing_to_write()):
        raise ValueError(f".push_to_hub needs {missing}; leave it out, or set it right")
