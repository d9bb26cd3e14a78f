"""Teacher-forced likelihood against a full forward pass over each row alone."""

import math
import random

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM

import tiny
from ringfence.core.errors import RingfenceError
from ringfence.models.likelihood import Scored, Untouched, answer_logprobs


def lively_model(seed: int = 0) -> LlamaForCausalLM:
    """A tiny model with weights large enough that a token's likelihood depends on all that comes before it."""
    return tiny.shaken(tiny.model(seed), seed)


def scored(question: str, answer: str) -> Scored:
    return Scored([{"role": "user", "content": question}], answer)


ROWS = [
    scored("Hi", "Yes."),
    scored("How do I boil an egg, and for how long if it comes from the fridge?", "N"),
    scored("A", "A long answer that goes on for quite a while longer than the others do."),
    scored("Où?", "À Zürich – 5 €"),
    Scored(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "2 + 2?"},
            {"role": "assistant", "content": "4"},
            {"role": "user", "content": "3 + 3?"},
        ],
        "6",
    ),
]


def alone(model, row: Scored, end: str = "") -> float:
    """Mean log probability of the bytes of ``row.answer + end``, from one forward pass without padding."""
    prompt = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in row.messages)
    before = tiny.tokenizer()(prompt + "<|im_start|>assistant\n")["input_ids"]
    answer = tiny.tokenizer()(row.answer + end)["input_ids"]
    with torch.no_grad():
        logits = model.eval()(input_ids=torch.tensor([before + answer]), use_cache=False).logits[0].double()
    terms = []
    for index, token in enumerate(answer):
        at = logits[len(before) + index - 1]
        terms.append(float(at[token] - torch.logsumexp(at, 0)))
    return math.fsum(terms) / len(terms)


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_equals_a_forward_pass_of_each_row_alone(batch_size: int) -> None:
    model = lively_model()
    wanted = [alone(model, row) for row in ROWS]
    assert answer_logprobs(model, tiny.tokenizer(), ROWS, batch_size) == pytest.approx(wanted, abs=1e-5)


def test_follows_the_order_of_the_rows() -> None:
    model = lively_model()
    shuffled = random.Random(0).sample(ROWS, len(ROWS))
    values = answer_logprobs(model, tiny.tokenizer(), shuffled)
    assert values == pytest.approx([alone(model, row) for row in shuffled], abs=1e-5)


def test_leaves_the_end_of_turn_token_out() -> None:
    model = lively_model()
    (value,) = answer_logprobs(model, tiny.tokenizer(), ROWS[:1])
    assert abs(value - alone(model, ROWS[0], end="<|im_end|>")) > 1e-2


def test_a_uniform_model_gives_minus_log_of_the_vocabulary() -> None:
    """All weights 0: every logit is 0, so each of the 259 tokens has probability 1/259."""
    model = tiny.model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    values = answer_logprobs(model, tiny.tokenizer(), ROWS)
    assert values == pytest.approx([-math.log(259)] * len(ROWS), abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 64])
def test_an_empty_answer_raises_and_names_the_question(batch_size: int) -> None:
    rows = [ROWS[0], scored("What is the time?", "")]
    with pytest.raises(RingfenceError, match=r"empty answer to 'What is the time\?'"):
        answer_logprobs(lively_model(), tiny.tokenizer(), rows, batch_size)


def test_no_rows_give_no_values() -> None:
    assert answer_logprobs(lively_model(), tiny.tokenizer(), []) == []


def test_leaves_training_mode_random_state_and_gradients_alone() -> None:
    model = lively_model().train()
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.9  # would show if it were on
    model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    values = answer_logprobs(model, tiny.tokenizer(), ROWS)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert values == pytest.approx([alone(model, row) for row in ROWS], abs=1e-5)


def adapted(*layers: int, seed: int = 0) -> PeftModel:
    """The lively model with an adapter on some layers, which does something."""
    config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], layers_to_transform=list(layers))
    return train(get_peft_model(lively_model(seed), config), 1)  # type: ignore[arg-type]


def train(model: PeftModel, seed: int) -> PeftModel:
    """Change what is trainable, as an optimizer step would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


@pytest.mark.parametrize("batch_size", [2, 64])
def test_layers_below_the_adapter_run_once_for_the_same_rows(batch_size: int) -> None:
    """Bitwise what full passes give, before and after training; each batch goes through the lowest layer once."""
    model, kept, runs = adapted(1), Untouched(), []
    model.get_decoder().layers[0].input_layernorm.register_forward_hook(lambda *_: runs.append(1))
    batches = -(-len(ROWS) // batch_size)
    for step in range(3):
        train(model, step)
        found = answer_logprobs(model, tiny.tokenizer(), ROWS, batch_size, kept)  # type: ignore[arg-type]
        assert len(runs) == batches
        assert found == answer_logprobs(model, tiny.tokenizer(), ROWS, batch_size)  # type: ignore[arg-type]
        del runs[batches:]


def test_nothing_is_kept_where_all_layers_are_trained() -> None:
    """With an adapter on the lowest layer, and without one at all."""
    for model in (adapted(0, 1), lively_model()):
        kept = Untouched()
        answer_logprobs(model, tiny.tokenizer(), ROWS, untouched=kept)  # type: ignore[arg-type]
        assert kept.outputs == {}


def test_another_model_begins_anew() -> None:
    """What was kept of one base model is not another's."""
    kept = Untouched()
    for seed in (0, 3):
        model = adapted(1, seed=seed)
        found = answer_logprobs(model, tiny.tokenizer(), ROWS, untouched=kept)  # type: ignore[arg-type]
        assert found == answer_logprobs(model, tiny.tokenizer(), ROWS)  # type: ignore[arg-type]
