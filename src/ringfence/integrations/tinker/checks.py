"""What of a recipe a server can train: all that it cannot is refused before anything is sent, not silently changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ringfence.core.errors import RingfenceError
from ringfence.defenses import DEFENSES
from ringfence.recipe.run import Recipe

TAKEN = frozenset(
    {
        *("per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs", "max_steps"),
        *("learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "weight_decay"),
        *("adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "max_length", "truncation_mode"),
        *("data_seed", "train_sampling_strategy", "logging_steps", "save_steps", "save_strategy"),
    }
)
"""keys of ``training`` that mean at a server what they mean here"""
HERE_ONLY = frozenset(
    {
        *("bf16", "fp16", "tf32", "use_cpu", "gradient_checkpointing", "gradient_checkpointing_kwargs"),
        *("dataloader_num_workers", "dataloader_prefetch_factor", "dataloader_pin_memory", "dataset_num_proc"),
        *("save_total_limit", "disable_tqdm"),
    }
)
"""keys that say how this machine computes and what it keeps; at a server without effect, and the log says so"""
_ATTENTION = frozenset(("q_proj", "k_proj", "v_proj", "o_proj"))
_MLP = frozenset(("gate_proj", "up_proj", "down_proj"))
_NEUTRAL = {"lora_dropout": 0, "bias": "none", "task_type": "CAUSAL_LM", "use_rslora": False, "use_dora": False}
_RANK = 8  # PEFT's own default


@dataclass(frozen=True)
class Adapter:
    """The LoRA adapter that a server makes; how it scales and starts is the server's to choose."""

    rank: int
    attention: bool
    mlp: bool


def require_remote(recipe: Recipe) -> Adapter:
    """The adapter that ``recipe`` asks for.

    Raises :class:`RingfenceError`, naming the key and saying why, for what a server cannot train.
    """
    if recipe.method != "sft":
        raise RingfenceError(f"method: {recipe.method} generates in the trained model; with --tinker it is sft")
    if recipe.stages:
        raise RingfenceError("stages: with --tinker a run has one; train the next one by a recipe of its own")
    if recipe.model.bits is not None:
        raise RingfenceError(f"model.load_in_{recipe.model.bits}bit: the server holds the weights; leave it out")
    for index, defense in enumerate(recipe.defenses):
        if why := defense.needs_model_here():
            name = DEFENSES.name_of(type(defense))
            raise RingfenceError(f"defenses.{index}.{name}: {why}; train without --tinker, or leave it out")
    _require_training(recipe.training)
    return _adapter(recipe.lora)


def without_effect(recipe: Recipe) -> list[str]:
    """Keys of ``training`` that the recipe sets and a server does not see."""
    return [key for key in recipe.training if key in HERE_ONLY]


def _require_training(training: Mapping[str, Any]) -> None:
    for key in training:
        if key not in TAKEN | HERE_ONLY:
            raise RingfenceError(f"training.{key}: has no meaning at a server; leave it out with --tinker")
    if training.get("save_strategy", "steps") not in ("steps", "no"):
        raise RingfenceError("training.save_strategy: with --tinker it is steps or no")


def _adapter(lora: Mapping[str, Any] | None) -> Adapter:
    if lora is None:
        raise RingfenceError(
            "lora: a server trains LoRA adapters only; add e.g. lora: {r: 32, target_modules: all-linear}"
        )
    others = [key for key in lora if key not in ("r", "target_modules") and _NEUTRAL.get(key) != lora[key]]
    if others:
        raise RingfenceError(
            f"lora.{others[0]}: a server takes r and target_modules, and scales as it does; give "
            f"'lora={{r: {lora.get('r', _RANK)}, target_modules: all-linear}}'"
        )
    targets = lora.get("target_modules")
    listed = targets if isinstance(targets, list | tuple) else ()
    wanted = _ATTENTION | _MLP if targets == "all-linear" else frozenset(listed)
    if wanted not in (_ATTENTION, _MLP, _ATTENTION | _MLP):
        raise RingfenceError(
            "lora.target_modules: a server adapts attention, the feed-forward layers, or both, whole; give all-linear, "
            f"or [{', '.join(sorted(_ATTENTION))}], or [{', '.join(sorted(_MLP))}]"
        )
    return Adapter(lora.get("r", _RANK), bool(wanted & _ATTENTION), bool(wanted & _MLP))
