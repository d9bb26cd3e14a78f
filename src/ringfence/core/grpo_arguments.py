"""Check a recipe's ``training`` with ``method: grpo``: fields of TRL's GRPOConfig, as those of SFTConfig are checked.

What both configs have is bounded and refused alike; here is what only GRPO has. Plain Python: no torch is imported.
"""

import math
from collections.abc import Mapping
from typing import Any

from ringfence.core.errors import RingfenceError
from ringfence.core.packages import require_package
from ringfence.core.training_arguments import (
    BOUNDS,
    REFUSALS,
    Bound,
    Refusal,
    check_arguments,
    check_together,
    refuse_ineffective,
    whole,
)

OTHER_ENGINES = ("use_vllm", "use_transformers_continuous_batching")
"""fields by which something else than the trained model's own ``generate`` makes completions"""
_NOT_NEGATIVE = Bound(lambda value: math.isfinite(value) and value >= 0, "must be a finite number, 0 or more")
_ABOVE_ZERO = Bound(lambda value: math.isfinite(value) and value > 0, "must be a finite number above 0")
_UP_TO_ONE = Bound(lambda value: 0 < value <= 1, "must be above 0 and at most 1")
GRPO_BOUNDS: dict[str, Bound] = BOUNDS | {
    "num_generations": whole(2),  # of one there is no mean to be better than
    **dict.fromkeys(("max_completion_length", "num_iterations", "steps_per_generation"), whole(1)),
    **dict.fromkeys(("generation_batch_size", "ref_model_sync_steps"), whole(1)),
    "top_k": whole(0),
    **dict.fromkeys(("temperature", "repetition_penalty"), _ABOVE_ZERO),
    **dict.fromkeys(("top_p", "top_entropy_quantile"), _UP_TO_ONE),
    "min_p": Bound(lambda value: 0 <= value <= 1, "must be at least 0 and at most 1"),
    **dict.fromkeys(("beta", "epsilon", "epsilon_high", "delta"), _NOT_NEGATIVE),
}
_WHY = {
    "num_generations_eval": "a recipe has no evaluation rows, and evaluates by `evaluation`; leave it out",
    "max_tool_calling_iterations": "a recipe gives the model no tools to call; leave it out",
    "remove_unused_columns": "rewards read the other columns, such as `answer`; leave it out",
    "label_smoothing_factor": "GRPO has no labels to smooth; leave it out",
    "log_completions_hub_repo": "completions stay on this machine; leave it out",
}
GRPO_REFUSALS: dict[str, Refusal] = REFUSALS | {key: Refusal(why, (None, False, 0, 0.0)) for key, why in _WHY.items()}
_VLLM = (
    *("vllm_mode", "vllm_model_impl", "vllm_enable_sleep_mode", "vllm_structured_outputs_regex"),
    *("vllm_server_base_url", "vllm_server_host", "vllm_server_port", "vllm_server_timeout", "vllm_group_port"),
    *("vllm_gpu_memory_utilization", "vllm_max_model_length", "vllm_tensor_parallel_size"),
    *("vllm_importance_sampling_correction", "vllm_importance_sampling_mode", "vllm_importance_sampling_cap"),
    *("vllm_importance_sampling_clip_max", "vllm_importance_sampling_clip_min"),
)
_ONLY_WITH = {
    "use_vllm": _VLLM,
    "sync_ref_model": ("ref_model_mixup_alpha", "ref_model_sync_steps"),
    "log_completions": ("num_completions_to_print", "log_unique_prompts", "log_multimodal"),
    "use_adaptive_entropy": ("entropy_coef_min", "entropy_coef_max", "entropy_coef_delta", "entropy_target"),
}


def check_grpo(values: Mapping[str, Any]) -> None:
    """Raise ``ValueError``, beginning with a dot and the key, for what GRPO cannot follow or would not read."""
    refuse_ineffective(values, GRPO_REFUSALS)
    check_arguments(values, GRPO_BOUNDS)


def check_grpo_together(values: Mapping[str, Any]) -> None:
    """As :func:`check_grpo`, for what a recipe has together."""
    check_together(values, _ONLY_WITH)
    if values.get("generation_batch_size") is not None and values.get("steps_per_generation") is not None:
        raise ValueError(".generation_batch_size: steps_per_generation says the same; keep one")
    if values.get("sync_ref_model") and not values.get("beta"):
        raise ValueError(".sync_ref_model: without effect unless beta is above 0; set that, or leave it out")


def require_whole_groups(values: Mapping[str, Any], ranks: int) -> None:
    """Raise :class:`RingfenceError` unless a generation has whole groups of ``num_generations`` completions.

    ``values``: defaults included. TRL itself would name ``generation_batch_size``, which few recipes have; of one that
    has it, this is left to TRL.
    """
    if values["generation_batch_size"] is not None:
        return
    asked = values["steps_per_generation"] is not None
    key = "steps_per_generation" if asked else "gradient_accumulation_steps"
    rows, several = values["per_device_train_batch_size"], f" x {ranks} ranks" if ranks > 1 else ""
    total = rows * values[key] * ranks
    if total % values["num_generations"]:
        raise RingfenceError(
            f"num_generations: {values['num_generations']} does not divide per_device_train_batch_size ({rows}) x "
            f"{key} ({values[key]}){several} = {total}; change one of them"
        )


def check_grpo_installed(values: Mapping[str, Any]) -> None:
    """As :func:`check_grpo`, for what training needs of this machine."""
    if values.get("use_vllm"):
        require_package(("vllm",), ".use_vllm", "vllm")
