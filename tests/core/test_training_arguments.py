"""What a recipe's `training` may say: every field of SFTConfig is honoured, bounded, or refused with a reason."""

from typing import Any

import pytest

from ringfence.core.source_fields import SFT_CONFIG, fields_in
from ringfence.core.training_arguments import (
    BOUNDS,
    REFUSALS,
    check_arguments,
    check_installed,
    check_together,
    refuse_ineffective,
)

# Looked at one by one: the Trainer or TRL reads them in our loop as in its own.
HONOURED = """
    lr_scheduler_type lr_scheduler_kwargs optim optim_args optim_target_modules average_tokens_across_devices
    bf16 fp16 tf32 activation_checkpointing activation_checkpointing_kwargs gradient_checkpointing
    gradient_checkpointing_kwargs activation_offloading torch_compile torch_compile_backend torch_compile_mode
    use_liger_kernel liger_kernel_config use_cache use_cpu full_determinism loss_type
    logging_strategy logging_first_step log_on_each_node logging_nan_inf_filter include_num_input_tokens_seen
    log_level log_level_replica disable_tqdm report_to run_name project trackio_space_id trackio_bucket_id
    trackio_static_space_id save_strategy save_on_each_node enable_jit_checkpoint push_to_hub hub_private_repo
    hub_model_id hub_strategy hub_always_push hub_revision remove_unused_columns train_sampling_strategy
    shuffle_dataset truncation_mode packing packing_strategy padding_free
    ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers ddp_static_graph ddp_backend
    fsdp fsdp_config deepspeed debug skip_memory_metrics
""".split()


def test_every_field_of_trls_has_been_looked_at() -> None:
    """One that a new TRL brings fails here until somebody says what becomes of it."""
    assert {*HONOURED, *BOUNDS, *REFUSALS} - {"push_to_hub_token"} == set(fields_in(SFT_CONFIG))
    assert not {*HONOURED} & {*BOUNDS, *REFUSALS}
    assert not {*BOUNDS} & {*REFUSALS}


def refused(values: dict[str, Any]) -> str:
    def check() -> None:
        refuse_ineffective(values)
        check_arguments(values)
        check_together(values)
        check_installed(values)

    with pytest.raises(ValueError, match=r"^\.") as raised:
        check()
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("max_length", -3, "must be at least 1, got -3"),
        ("max_length", 0, "must be at least 1"),
        ("per_device_train_batch_size", 0, "must be at least 1"),
        ("gradient_accumulation_steps", 0, "must be at least 1"),
        ("learning_rate", float("nan"), "must be a finite number"),
        ("learning_rate", -1e-4, "must be a finite number, 0 or more, got -0.0001"),
        ("learning_rate", float("inf"), "must be a finite number"),
        ("num_train_epochs", 0.0, "must be a finite number above 0"),
        ("num_train_epochs", -1.0, "must be a finite number above 0"),
        ("max_steps", 0, "must be at least 1 and at most 2147483647, or -1"),
        ("max_steps", 2**31, "must be at least 1 and at most 2147483647, or -1"),
        ("num_train_epochs", 1e300, "at most 2147483647"),
        ("lr_scheduler_type", "foo", "'foo' is unknown; known are linear, cosine"),
        ("lr_scheduler_type", ["cosine"], "is unknown"),
        ("lr_scheduler_kwargs", {"a": "b"}, "'a' is no setting of linear, which takes none"),
        ("lr_scheduler_kwargs", {"last_epoch": 3}, "'last_epoch' is no setting of linear"),
        ("lr_scheduler_kwargs", "cycles", "give a mapping"),
        ("save_steps", 0, "above 0"),
        ("logging_steps", -5, "above 0"),
        ("data_seed", -1, "must be at least 0 and at most 4294967295"),
        ("data_seed", 2**32, "at most 4294967295"),
        ("adam_beta1", 1.0, "below 1"),
        ("pad_to_multiple_of", 0, "whole number of at least 1"),
        ("chat_template_path", "other.jinja", "the model's own chat template"),
        ("completion_only_loss", False, "the loss is on what the assistant says"),
        ("resume_from_checkpoint", "/nope", "the same command goes on"),
        ("model_init_kwargs", {"revision": "a"}, "set it under `model`"),
        ("trust_remote_code", True, "set it under `model`"),
        ("dataset_kwargs", {"skip_prepare_dataset": True}, "tokenised before TRL sees them"),
        ("eval_strategy", "steps", "evaluation.during"),
        ("dataloader_num_workers", 2, "not from a DataLoader"),
        ("auto_find_batch_size", True, "not from a DataLoader"),
        ("save_only_model", True, "without the optimizer's state"),
        ("save_strategy", "best", "use steps, epoch or no"),
        ("train_sampling_strategy", "group_by_length", "use random or sequential"),
        ("lr_scheduler_type", "reduce_lr_on_plateau", "target progress"),
        ("hub_token", "secret", "HF_TOKEN"),
        ("report_to", "nowhere", "'nowhere' is unknown; known are azure_ml"),
        ("hub_model_id", "me/model", "unless push_to_hub is true"),
        ("packing_strategy", "wrapped", "unless packing is true"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_its_key(key: str, value: Any, why: str) -> None:
    said = refused({key: value})
    assert said.startswith(f".{key}: ")
    assert why in said
    assert "secret'" not in said


@pytest.mark.parametrize(
    ("kind", "given", "why"),
    [
        ("warmup_stable_decay", None, "warmup_stable_decay needs num_decay_steps"),
        ("constant_with_warmup", {"num_cycles": 2}, "which takes none"),
        ("cosine", {"num_cycle": 2}, "'num_cycle' is no setting of cosine, which takes num_cycles"),
    ],
)
def test_what_a_schedule_is_given_is_what_it_takes(kind: str, given: Any, why: str) -> None:
    said = refused({"lr_scheduler_type": kind, "lr_scheduler_kwargs": given})
    assert said.startswith(".lr_scheduler_kwargs: ")
    assert why in said


@pytest.mark.parametrize(
    "values",
    [
        {"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"num_cycles": 2}},
        {
            "max_length": None,
            "learning_rate": 0.0,
            "max_steps": -1,
            "pad_to_multiple_of": "auto",
            "num_train_epochs": 0.5,
        },
        {"completion_only_loss": True, "assistant_only_loss": True, "dataloader_num_workers": 0, "do_train": True},
        {"report_to": [], "eval_strategy": "no", "save_steps": 0.25, "data_seed": 2**32 - 1},
        {"packing": True, "max_length": 64, "packing_strategy": "bfd"},
    ],
)
def test_what_changes_nothing_or_is_in_bounds_passes(values: dict[str, Any]) -> None:
    refuse_ineffective(values)
    check_arguments(values)
    check_together(values)


def test_packing_goes_with_whole_conversations() -> None:
    packed = {"packing": True, "max_length": 64}
    assert refused({**packed, "packing_strategy": "wrapped"}).startswith(".packing_strategy: 'wrapped' cuts")
    assert refused({**packed, "max_length": None}).startswith(".max_length: packing fills rows of this length")


def test_what_needs_a_package_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {"wandb", "deepspeed", "bitsandbytes", "tensorboard", "tensorboardX"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in absent else object())
    for values, said in (
        ({"report_to": "wandb"}, ".report_to: wandb needs the package wandb, which is not installed"),
        ({"report_to": ["trackio", "tensorboard"]}, ".report_to: tensorboard needs the package tensorboard or tensorb"),
        ({"deepspeed": "zero.json"}, ".deepspeed needs the package deepspeed"),
        ({"optim": "paged_adamw_8bit"}, ".optim: paged_adamw_8bit needs the package bitsandbytes"),
    ):
        assert refused(values).startswith(said)
    assert "'.[quantised]'" in refused({"optim": "adamw_8bit"})
    check_installed({"report_to": "trackio", "optim": "adamw_torch"})
    check_arguments({"report_to": "wandb", "deepspeed": "zero.json"})  # as read from a run folder made elsewhere


def test_pushing_needs_a_token_and_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert refused({"push_to_hub": True}).startswith(".push_to_hub needs a token in HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "secret")
    check_installed({"push_to_hub": True})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert refused({"push_to_hub": True}).startswith(".push_to_hub needs a network, and HF_HUB_OFFLINE is set")
