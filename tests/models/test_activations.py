"""Hidden states taken by hooks are those of the model; the base model under an adapter; the output layer as it is."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config

import tiny
from ringfence.core.errors import RingfenceError
from ringfence.models.activations import (
    adapted,
    bare,
    capture_hidden_states,
    decoder_layers,
    hidden_of,
    require_layer,
    reusing,
    untouched_layers,
    with_hidden,
    without_adapters,
)

LAYERS = 5
IDS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 0]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])


def adapted_model(layers: list[int] | None = None, seed: int = 0, **changes: Any) -> PeftModel:
    """An adapter as if trained (B is not zero), on ``layers`` or on all."""
    settings = {"r": 2, "target_modules": ["q_proj", "down_proj"], "layers_to_transform": layers, **changes}
    made = get_peft_model(tiny.model(seed, LAYERS), LoraConfig(task_type="CAUSAL_LM", **settings))
    torch.manual_seed(seed)
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    return made


def run(model: Any, **changes: Any) -> Any:
    return model(input_ids=IDS, attention_mask=MASK, use_cache=False, **changes)


# --- hidden states ------------------------------------------------------------------------------------------


def test_layer_k_is_hidden_states_k_and_last_is_what_the_output_layer_reads() -> None:
    model = adapted_model()
    with capture_hidden_states(model, range(1, LAYERS + 1), last=True) as found:
        output = run(model, output_hidden_states=True)
    assert {*found.layers} == {*range(1, LAYERS + 1)}
    for k in range(1, LAYERS):
        assert torch.equal(found.layers[k], output.hidden_states[k])
    assert torch.equal(found.last, output.hidden_states[-1])
    norm = bare(model).get_decoder().norm  # the last one is raw here and after the norm in hidden_states
    assert torch.equal(norm(found.layers[LAYERS]), output.hidden_states[-1])
    assert torch.equal(found.last @ model.get_output_embeddings().weight.T, output.logits)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradients_flow_through_them_also_with_checkpointing(reentrant: bool) -> None:
    """One gradient, three ways: by ``hidden_states``, by hooks, by hooks with checkpointing."""

    def gradients(model: PeftModel, hooks: bool) -> list[torch.Tensor]:
        with capture_hidden_states(model, [2, LAYERS], last=True) as found:
            output = run(model, output_hidden_states=not hooks)
        states = found.layers[2] if hooks else output.hidden_states[2]
        last = found.last if hooks else output.hidden_states[-1]
        assert last is not None
        (states.square().sum() + last.sin().sum()).backward()
        return [p.grad for p in model.parameters() if p.grad is not None]

    wanted, plain = gradients(adapted_model(), hooks=False), gradients(adapted_model(), hooks=True)
    checkpointing = adapted_model().train()
    checkpointing.gradient_checkpointing_enable({"use_reentrant": reentrant})
    if reentrant:
        checkpointing.enable_input_require_grads()
    for found in (plain, gradients(checkpointing, hooks=True)):
        assert len(found) == len(wanted) > 0
        for one, two in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, two)


def test_the_first_forward_counts() -> None:
    model = adapted_model()
    with capture_hidden_states(model, [1], last=True, frozen=1) as found:
        run(model)
        first = (found.layers[1], found.last, found.frozen)
        with torch.no_grad():
            model(input_ids=IDS + 1)
    assert (found.layers[1], found.last, found.frozen) == first
    assert found.layers[1].requires_grad


def test_it_tells_what_autocast_multiplied_in() -> None:
    model = adapted_model()
    with capture_hidden_states(model, [1]) as plain:
        run(model)
    with capture_hidden_states(model, [1]) as cast, torch.autocast("cpu", torch.bfloat16):
        run(model)
    assert (plain.autocast, cast.autocast) == (None, torch.bfloat16)
    assert cast.last is None


def test_frozen_is_seen_before_other_hooks_and_layers_after() -> None:
    model = adapted_model()
    handle = decoder_layers(model)[1].register_forward_hook(lambda module, args, output: output + 1)
    with capture_hidden_states(model, [2], frozen=2) as found:
        run(model)
    handle.remove()
    with capture_hidden_states(model, [2]) as plain:
        run(model)
    assert torch.equal(found.frozen, plain.layers[2])
    assert torch.equal(found.layers[2], plain.layers[2] + 1)


def test_no_hook_stays() -> None:
    model = adapted_model()
    with pytest.raises(ZeroDivisionError), capture_hidden_states(model, [1, 2], last=True, frozen=1):
        raise ZeroDivisionError
    assert not [module for module in model.modules() if module._forward_hooks]


def test_outputs_that_are_tuples() -> None:
    hidden, other, rest = torch.zeros(1), torch.ones(1), object()
    assert hidden_of(hidden) is hidden_of((hidden, rest)) is hidden
    assert with_hidden(hidden, other) is other
    assert with_hidden((hidden, rest), other) == (other, rest)


@pytest.mark.parametrize("layer", [0, -1, LAYERS + 1])
def test_a_layer_out_of_range_raises(layer: int) -> None:
    for good in (1, LAYERS):
        require_layer(adapted_model(), good, "steering.layer")
    with pytest.raises(RingfenceError, match=rf"^steering\.layer: layer {layer} is out of range, .* layers 1 to 5 "):
        require_layer(adapted_model(), layer, "steering.layer")


def test_a_model_without_layers_raises() -> None:
    config = GPT2Config(vocab_size=20, n_embd=8, n_layer=1, n_head=1, n_positions=16)
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(RingfenceError, match=r"^GPT2LMHeadModel: its decoder has no `layers`"):
        decoder_layers(model)


# --- the base model under an adapter ------------------------------------------------------------------------


@pytest.mark.parametrize("lora", [{}, {"use_dora": True}, {"modules_to_save": ["embed_tokens"]}])
def test_without_adapters_is_the_base_model_and_leaves_requires_grad_alone(lora: Any) -> None:
    model = adapted_model(**lora)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "modules_to_save" in name:
                parameter.add_(1)
    model.base_model.model.model.layers[0].self_attn.q_proj.lora_A["default"].weight.requires_grad_(False)
    wanted, own = run(tiny.model(0, LAYERS)).logits, run(model).logits
    before = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    with without_adapters(model):
        assert torch.equal(run(model).logits, wanted)
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == before
    assert torch.equal(run(model).logits, own)
    assert not torch.equal(own, wanted)


def test_adapters_that_were_off_stay_off() -> None:
    model = adapted_model()
    with model.disable_adapter():
        with without_adapters(model):
            pass
        assert torch.equal(run(model).logits, run(tiny.model(0, LAYERS)).logits)


def test_adapters_come_back_after_an_exception() -> None:
    model = adapted_model()
    wanted = run(model).logits
    with pytest.raises(ZeroDivisionError), without_adapters(model):
        raise ZeroDivisionError
    assert torch.equal(run(model).logits, wanted)


@pytest.mark.parametrize(
    ("layers", "changes", "count"),
    [
        (None, {}, 0),
        ([0], {}, 0),
        ([3], {}, 3),
        ([2, 4], {}, 2),
        ([4], {}, 4),
        ([3], {"modules_to_save": ["embed_tokens"]}, 0),
        ([3], {"target_modules": ["embed_tokens", "q_proj"]}, 0),
        (None, {"target_modules": ["lm_head"]}, LAYERS),
    ],
)
def test_untouched_layers(layers: Any, changes: Any, count: int) -> None:
    if "embed_tokens" in changes.get("target_modules", ()):
        changes = {"target_modules": r".*(embed_tokens|layers\.3.*q_proj)"}
        layers = None
    assert untouched_layers(adapted_model(layers, **changes)) == count


def test_a_layer_is_touched_if_it_is_trained_or_drops_out_or_is_replaced() -> None:
    assert untouched_layers(tiny.model(0, LAYERS)) == 0
    trained = adapted_model([4])
    decoder_layers(trained)[2].mlp.up_proj.weight.requires_grad_(True)
    assert untouched_layers(trained) == 2
    dropping = adapted_model([4])
    decoder_layers(dropping)[1].self_attn.attention_dropout = 0.1
    assert untouched_layers(dropping) == 1
    replaced = adapted_model([4])
    decoder_layers(replaced)[3].forward = lambda hidden, **kwargs: hidden
    assert untouched_layers(replaced) == 3


@pytest.mark.parametrize("count", [1, 3])
def test_reused_layers_do_not_compute(count: int) -> None:
    model = adapted_model([3, 4])
    computed: list[int] = []
    for k, layer in enumerate(decoder_layers(model), 1):
        layer.mlp.register_forward_hook(lambda module, args, output, k=k: computed.append(k))
    with capture_hidden_states(model, [], last=True, frozen=count) as found:
        run(model)
    computed.clear()
    with reusing(model, count, found.frozen), capture_hidden_states(model, [], last=True) as again:
        run(model)
    assert computed == [*range(count + 1, LAYERS + 1)]
    assert torch.equal(again.last, found.last)
    assert not [layer for layer in decoder_layers(model) if "forward" in vars(layer)]


def test_adapted_looks_inside() -> None:
    model = adapted_model([3])
    layers = decoder_layers(model)
    assert [adapted(layer) for layer in layers] == [False, False, False, True, False]
    assert adapted(layers[3].self_attn.q_proj)
    assert not adapted(model.get_output_embeddings())


# --- reduced and cut short ----------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [[0, 3], [2], range(LAYERS + 1)])
def test_what_is_kept_is_reduced_at_once_also_of_the_embeddings(layers: Any) -> None:
    model, seen = tiny.model(0, LAYERS), list[tuple[int, ...]]()

    def halved(hidden: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(hidden.shape))
        return hidden.sum(1) / 2

    with capture_hidden_states(model, layers, reduce=halved) as found, torch.no_grad():
        run(model)
        run(model)
    with torch.no_grad():
        states = run(model, output_hidden_states=True).hidden_states
    assert sorted(found.layers) == sorted(layers)
    assert seen == [(2, 4, 16)] * len(layers), "of the first forward pass only"
    for k in layers:
        if k < LAYERS:  # theirs is after the final norm
            assert torch.equal(found.layers[k], states[k].sum(1) / 2)


@pytest.mark.parametrize("highest", [0, 2, LAYERS])
def test_the_forward_pass_can_end_after_the_highest_layer(highest: int) -> None:
    model, computed = tiny.model(0, LAYERS), list[int]()
    for k, layer in enumerate(decoder_layers(model), 1):
        layer.mlp.register_forward_hook(lambda module, args, output, k=k: computed.append(k))
    with capture_hidden_states(model, {0, highest}, stop=True) as found:
        run(model)
        pytest.fail("what follows is not run")
    assert set(found.layers) == {0, highest}
    assert computed == list(range(1, highest + 1))
    run(model)
    assert computed[highest:] == list(range(1, LAYERS + 1)), "no hook is left"
