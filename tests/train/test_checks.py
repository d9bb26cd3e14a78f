"""What the trainer refuses."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from datasets import Dataset, IterableDataset
from peft import IA3Config, LNTuningConfig, LoraConfig, PromptTuningConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

import tiny
from ringfence.core.errors import RingfenceError
from ringfence.train.checks import (
    refuse_unmarked_padding,
    refuse_unsupported,
    require_reference,
    require_same_form,
    require_schedule,
)
from training import arguments

FORMS = {
    "input_ids": Dataset.from_list([{"input_ids": [1], "labels": [1]}]),
    "completion": Dataset.from_list([{"prompt": "a", "completion": "b"}]),
    "messages": Dataset.from_list([{"messages": [{"role": "user", "content": "a"}]}]),
    "text": Dataset.from_list([{"text": "a"}]),
}


@pytest.mark.parametrize("target", FORMS)
@pytest.mark.parametrize("safe", FORMS)
def test_target_and_safe_must_have_one_form(target: str, safe: str) -> None:
    if target == safe:
        require_same_form(FORMS[target], FORMS[safe])
        return
    with pytest.raises(RingfenceError, match=f"`{target}` and the safe dataset of `{safe}`"):
        require_same_form(FORMS[target], FORMS[safe])


def test_a_stream_without_a_length_is_refused(tmp_path: object) -> None:
    stream = IterableDataset.from_generator(lambda: iter([{"text": "a"}]))
    with pytest.raises(RingfenceError, match="map-style"):
        refuse_unsupported(arguments(tmp_path), stream)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "kwargs", "why"),
    [
        ("polynomial", {"lr_end": 1.0}, "must be smaller than initial lr"),
        ("cosine", {"num_cycles": "a"}, ""),
        ("cosine_with_min_lr", {}, "min_lr"),
        ("warmup_stable_decay", {"num_decay_steps": 2, "decay_type": "x"}, "x"),
        ("inverse_sqrt", {"timescale": 0}, ""),
        ("polynomial", {"power": float("nan")}, "not finite"),
    ],
)
def test_a_schedule_that_cannot_be_built_is_told_before_training(
    tmp_path: Path, kind: str, kwargs: dict[str, Any], why: str
) -> None:
    args = arguments(tmp_path, lr_scheduler_type=kind, lr_scheduler_kwargs=kwargs)
    with pytest.raises(RingfenceError, match=f"lr_scheduler_kwargs: .* does not fit {kind}: .*{why}.*; change it$"):
        refuse_unsupported(args, FORMS["text"])


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        ("linear", None),
        ("constant", None),
        ("constant_with_warmup", None),
        ("cosine_with_restarts", {"num_cycles": 2}),
        ("polynomial", {"power": 2.0}),
        ("cosine_with_min_lr", {"min_lr_rate": 0.1}),
        ("warmup_stable_decay", {"num_decay_steps": 2}),
        ("inverse_sqrt", None),
    ],
)
def test_a_schedule_that_can_be_built_passes(tmp_path: Path, kind: str, kwargs: dict[str, Any] | None) -> None:
    require_schedule(arguments(tmp_path, lr_scheduler_type=kind, lr_scheduler_kwargs=kwargs))


def test_what_is_supported_passes(tmp_path: object) -> None:
    refuse_unsupported(arguments(tmp_path), FORMS["text"])  # type: ignore[arg-type]
    refuse_unsupported(arguments(tmp_path, train_sampling_strategy="sequential"), FORMS["text"])  # type: ignore[arg-type]


def adapted(**changes: Any) -> Any:
    return get_peft_model(
        tiny.model(), LoraConfig(**{"target_modules": ["q_proj"], "task_type": "CAUSAL_LM", **changes})
    )


def refused(model: Any, reference: Any = None, whole: bool = True) -> str:
    with pytest.raises(RingfenceError) as error:
        require_reference(model, reference, "kl", whole)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "config",
    [
        LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"]),
        LoraConfig(target_modules=["q_proj"], use_dora=True, trainable_token_indices=[3]),
        IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
        LNTuningConfig(target_modules=["input_layernorm"]),
    ],
    ids=["modules_to_save", "tokens", "ia3", "ln_tuning"],
)
def test_an_adapter_that_can_be_switched_off_needs_no_reference(config: Any) -> None:
    require_reference(get_peft_model(tiny.model(), config), None, "kl", True)


def test_an_adapter_that_cannot_be_is_refused() -> None:
    assert refused(adapted(bias="all")).startswith("lora.bias: 'all' trains the base model's own biases")
    merged = adapted()
    merged.merge_adapter()
    assert refused(merged).startswith("kl: the adapter is merged")
    tuned = get_peft_model(tiny.model(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    assert refused(tuned).startswith("kl: not with PROMPT_TUNING")


@pytest.mark.parametrize("name", ["model.norm.weight", "model.layers.0.self_attn.q_proj.weight"])
def test_base_weights_trained_beside_the_adapter_are_refused(name: str) -> None:
    model = adapted()
    inside = name.replace("q_proj.weight", "q_proj.base_layer.weight")
    model.get_base_model().get_parameter(inside).requires_grad_(True)
    assert refused(model).startswith(f"kl: {name} of the base model is trained beside the adapter")


def test_a_reference_must_be_another_model_of_the_same_shape() -> None:
    def other(**changes: Any) -> LlamaForCausalLM:
        return LlamaForCausalLM(LlamaConfig(**{**tiny.model().config.to_dict(), **changes}))

    model = adapted()
    assert refused(model, model.get_base_model()).startswith("reference: it is the trained model itself")
    words = len(tiny.tokenizer())
    said = refused(model, other(vocab_size=words + 1), whole=False)
    assert said.startswith(f"reference: it has a vocabulary of {words + 1} and the trained model one of {words}")
    for changes, shape in (({"hidden_size": 32}, "(32, 2)"), ({"num_hidden_layers": 3}, "(16, 3)")):
        said = refused(model, other(**changes))
        assert said.startswith("reference: kl compares hidden states")
        assert f"(16, 2) and the reference {shape}" in said
        require_reference(model, other(**changes), "kl", whole=False)
    require_reference(model, other(), "kl", whole=True)
    require_reference(tiny.model(), None, "kl", whole=True)


@pytest.mark.parametrize(("flat", "multiple", "raises"), [(True, 8, True), (True, None, False), (False, 8, False)])
def test_padding_that_is_not_marked_is_refused(flat: bool, multiple: int | None, raises: bool) -> None:
    with pytest.raises(RingfenceError, match=r"^training\.pad_to_multiple_of: ") if raises else nullcontext():
        refuse_unmarked_padding(SimpleNamespace(pad_to_multiple_of=multiple), SimpleNamespace(padding_free=flat))
