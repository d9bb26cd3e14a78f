"""What a recipe's `training` may say with `method: grpo`: each field of GRPOConfig is honoured, bounded or refused."""

from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.core.grpo_arguments import (
    GRPO_BOUNDS,
    GRPO_REFUSALS,
    check_grpo,
    check_grpo_installed,
    check_grpo_together,
    require_whole_groups,
)
from ringfence.core.source_fields import GRPO_CONFIG, SFT_CONFIG, fields_in

# Looked at one by one: the GRPOTrainer reads them, in our loop as in its own.
HONOURED = """
    cache_implementation cast_lm_head_to_fp32 chat_template_kwargs disable_dropout ds3_gather_for_generation
    entropy_coef entropy_coef_delta entropy_coef_max entropy_coef_min entropy_target use_adaptive_entropy
    generation_kwargs importance_sampling_level log_completions log_multimodal log_unique_prompts
    num_completions_to_print mask_truncated_completions multi_objective_aggregation off_policy_mask_threshold
    ref_model_mixup_alpha sync_ref_model reward_weights sapo_temperature_neg sapo_temperature_pos scale_rewards
    transformers_continuous_batching_config use_transformers_continuous_batching use_transformers_paged
    use_bias_correction_kl vespo_k_neg vespo_k_pos vespo_lambda_neg vespo_lambda_pos use_vllm
    vllm_enable_sleep_mode vllm_gpu_memory_utilization vllm_group_port vllm_importance_sampling_cap
    vllm_importance_sampling_clip_max vllm_importance_sampling_clip_min vllm_importance_sampling_correction
    vllm_importance_sampling_mode vllm_max_model_length vllm_mode vllm_model_impl vllm_server_base_url
    vllm_server_host vllm_server_port vllm_server_timeout vllm_structured_outputs_regex vllm_tensor_parallel_size
""".split()


def test_every_field_that_only_grpo_has_has_been_looked_at() -> None:
    """One that a new TRL brings fails here until somebody says what becomes of it."""
    own = set(fields_in(GRPO_CONFIG)) - set(fields_in(SFT_CONFIG))
    assert own == {*HONOURED} | own & {*GRPO_BOUNDS, *GRPO_REFUSALS}
    assert not {*HONOURED} & {*GRPO_BOUNDS, *GRPO_REFUSALS}


def refused(values: dict[str, Any]) -> str:
    def check() -> None:
        check_grpo(values)
        check_grpo_together(values)
        check_grpo_installed(values)

    with pytest.raises(ValueError, match=r"^\.") as raised:
        check()
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"num_generations": 1}, ".num_generations: must be at least 2, got 1"),
        ({"max_completion_length": 0}, ".max_completion_length: must be at least 1"),
        ({"temperature": 0.0}, ".temperature: must be a finite number above 0"),
        ({"top_p": 1.5}, ".top_p: must be above 0 and at most 1, got 1.5"),
        ({"beta": -0.1}, ".beta: must be a finite number, 0 or more"),
        ({"learning_rate": -1.0}, ".learning_rate: must be a finite number, 0 or more"),
        ({"output_dir": "x"}, ".output_dir: set by the --out folder"),
        ({"dataloader_num_workers": 2}, ".dataloader_num_workers: rows come from memory"),
        ({"num_generations_eval": 4}, ".num_generations_eval: a recipe has no evaluation rows"),
        ({"remove_unused_columns": True}, ".remove_unused_columns: rewards read the other columns"),
        ({"label_smoothing_factor": 0.1}, ".label_smoothing_factor: GRPO has no labels"),
        ({"vllm_mode": "server"}, ".vllm_mode: without effect unless use_vllm is true"),
        ({"num_completions_to_print": 3}, ".num_completions_to_print: without effect unless log_completions is true"),
        ({"steps_per_generation": 2, "generation_batch_size": 8}, ".generation_batch_size: steps_per_generation says"),
        ({"sync_ref_model": True}, ".sync_ref_model: without effect unless beta is above 0"),
        ({"lr_scheduler_kwargs": {"a": 1}}, ".lr_scheduler_kwargs: 'a' is no setting of linear"),
        ({"use_vllm": True}, ".use_vllm needs the package vllm, which is not installed"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_its_key(values: dict[str, Any], said: str) -> None:
    assert refused(values).startswith(said)


def test_what_table_8_sets_may_be_set() -> None:
    values = {"num_generations": 4, "temperature": 0.9, "top_p": 0.9, "beta": 0.0, "warmup_steps": 5}
    check_grpo(values)
    check_grpo_together(values)
    check_grpo_installed(values)


def test_a_generation_has_whole_groups_on_all_ranks() -> None:
    """2 x 3 completions on a rank: groups of 4 fit on two ranks only."""
    sizes = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 3, "num_generations": 4}
    free = {"steps_per_generation": None, "generation_batch_size": None}
    require_whole_groups(sizes | free, 2)
    require_whole_groups(sizes | free | {"steps_per_generation": 2}, 1)
    require_whole_groups(sizes | free | {"generation_batch_size": 7}, 1)  # TRL's to refuse
    said = r"^num_generations: 4 does not divide per_device_train_batch_size \(2\) x gradient_accumulation_steps \(3\)"
    with pytest.raises(RingfenceError, match=said + " = 6; change"):
        require_whole_groups(sizes | free, 1)
    with pytest.raises(RingfenceError, match=said + " x 3 ranks = 18; change"):
        require_whole_groups(sizes | free, 3)
