"""Teacher-forced likelihood against a full forward pass over each row alone."""

import math
import random

import pytest
import torch
from transformers import LlamaForCausalLM

import tiny
from ringfence.core.errors import RingfenceError
from ringfence.models.likelihood import Scored, answer_logprobs


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
