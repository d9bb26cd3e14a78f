"""The probabilities of all numbers in one pass, against asking for each number in a pass of its own."""

import math
from typing import Any

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

import tiny
from numbering import DIGITS, SOME, WHOLE
from ringfence.core.errors import RingfenceError
from ringfence.judges.local import distribution
from ringfence.judges.local.distribution import score_distribution

START = "Rate what follows from zero to a hundred.\n"
PROMPTS = [f"{START}Short.\n", f"{START}This one is much longer, 12 words or so.\n", f"{START}A bit more.\n"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}


def lively(model):
    """Weights large enough that what the model says depends on the whole text, and digits likely to be said."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.4, generator=generator)
    return model.eval()


def llama(attention: str = "sdpa", vocabulary=DIGITS):
    model = tiny.model()
    model.set_attn_implementation(attention)
    model.resize_token_embeddings(len(vocabulary), mean_resizing=False)
    return lively(model)


def qwen(vocabulary=DIGITS):
    """With an output layer of its own that has more rows than the tokenizer has tokens."""
    config = Qwen2Config(vocab_size=len(vocabulary) + 5, intermediate_size=32, tie_word_embeddings=False, **SIZES)
    return lively(Qwen2ForCausalLM(config))


def gpt2(vocabulary=DIGITS):
    """Learned positions."""
    config = GPT2Config(vocab_size=len(vocabulary), n_embd=16, n_layer=2, n_head=2, n_positions=256)
    return lively(GPT2LMHeadModel(config))


def gemma2(vocabulary=DIGITS):
    """Caps its logits, and attends through a window in every other layer."""
    config = Gemma2Config(
        vocab_size=len(vocabulary), intermediate_size=32, head_dim=8, final_logit_softcapping=2.0, **SIZES
    )
    return lively(Gemma2ForCausalLM(config))


def granite(vocabulary=DIGITS):
    """Divides its logits."""
    config = GraniteConfig(vocab_size=len(vocabulary), intermediate_size=32, logits_scaling=3.0, **SIZES)
    return lively(GraniteForCausalLM(config))


def mistral(window: int, vocabulary=DIGITS):
    config = MistralConfig(vocab_size=len(vocabulary), intermediate_size=32, sliding_window=window, **SIZES)
    return lively(MistralForCausalLM(config))


def next_tokens(model, rows: list[list[int]]) -> torch.Tensor:
    """Log probabilities after each token of rows of one length: no padding, no cache."""
    with torch.no_grad():
        return model(input_ids=torch.tensor(rows), use_cache=False).logits.double().log_softmax(-1)


def asked_one_by_one(model, tokenizer, prompt: str) -> list[float]:
    """P(n) for 0 to 100: the text with n behind it, and what does not begin with a digit after it."""
    no_digit = [i for i in range(model.config.vocab_size) if tokenizer.decode([i])[:1] not in list("0123456789")]
    start = len(tokenizer(prompt)["input_ids"])
    texts = [tokenizer(f"{prompt}{value}")["input_ids"] for value in range(101)]
    found = [0.0] * 101
    for length in {len(ids) for ids in texts}:
        alike = [value for value, ids in enumerate(texts) if len(ids) == length]
        for value, after in zip(alike, next_tokens(model, [texts[value] for value in alike]), strict=True):
            log = sum(after[position - 1, texts[value][position]].item() for position in range(start, length))
            found[value] = math.exp(log) * after[-1, no_digit].exp().sum().item()
    return found


def check(model, tokenizer, prompts=PROMPTS) -> torch.Tensor:
    found = score_distribution(model, tokenizer, prompts).probabilities
    expected = torch.tensor([asked_one_by_one(model, tokenizer, prompt) for prompt in prompts]).double()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-10)
    assert expected.sum(-1).min() > 1e-3  # or nothing was tested
    return found


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_single_digits_equal_asking_for_each_number(attention: str) -> None:
    check(llama(attention), DIGITS)


@pytest.mark.parametrize("make", [qwen, gpt2, gemma2, granite])
def test_other_families_equal_asking_for_each_number(make: Any) -> None:
    check(make(), DIGITS)


def test_tokens_for_some_numbers_equal_asking_for_each_number() -> None:
    check(llama(vocabulary=SOME), SOME)


def test_whole_numbers_are_the_first_token_with_and_without_a_space() -> None:
    model = llama(vocabulary=WHOLE)
    found = score_distribution(model, WHOLE, PROMPTS).probabilities
    for row, prompt in zip(found, PROMPTS, strict=True):
        p = next_tokens(model, [WHOLE(prompt)["input_ids"]])[0, -1].exp()
        expected = [
            p[WHOLE.convert_tokens_to_ids(str(n))] + p[WHOLE.convert_tokens_to_ids(f"Ġ{n}")] for n in range(101)
        ]
        torch.testing.assert_close(row, torch.stack(expected), rtol=1e-4, atol=1e-10)


def test_a_window_that_all_fits_in_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "_node_by_node", None)
    check(mistral(window=200), DIGITS)


def test_a_shorter_window_is_asked_node_by_node() -> None:
    check(mistral(window=16), DIGITS, PROMPTS[:2])


def test_nothing_shared_and_one_row_alone() -> None:
    check(llama(), DIGITS, ["One begins so.\n", "Another thus, and goes on.\n"])
    check(llama(), DIGITS, PROMPTS[:1])


def test_one_prompt_that_begins_another_and_twins() -> None:
    check(llama(), DIGITS, [START, START + START, START])


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_the_batching_does_not_matter(batch_size: int) -> None:
    model = llama()
    one_by_one = torch.cat([score_distribution(model, DIGITS, [prompt]).probabilities for prompt in PROMPTS])
    found = score_distribution(model, DIGITS, PROMPTS, batch_size).probabilities
    torch.testing.assert_close(found, one_by_one, rtol=1e-5, atol=1e-7)


def test_logits_are_made_a_few_positions_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score_distribution(llama(), DIGITS, PROMPTS).probabilities
    monkeypatch.setattr(distribution, "_CHUNK", 7 * len(DIGITS))
    model, sizes = llama(), []
    model.lm_head.register_forward_hook(lambda module, args, output: sizes.append(output.shape[0]))
    torch.testing.assert_close(score_distribution(model, DIGITS, PROMPTS).probabilities, whole, rtol=1e-5, atol=1e-7)
    assert max(sizes) == 7


def test_what_all_prompts_begin_with_is_read_once() -> None:
    model, seen = llama(), []
    model.model.register_forward_pre_hook(lambda m, a, kw: seen.append(kw["input_ids"].shape), with_kwargs=True)
    score_distribution(model, DIGITS, [START + "a\n", START + "b\n"] * 2, batch_size=2)
    assert seen == [(1, len(START)), (2, 2 + 101), (2, 2 + 101)]


def test_the_likeliest_beginning_is_told() -> None:
    model = qwen()
    told = score_distribution(model, DIGITS, PROMPTS).first
    likeliest = [int(next_tokens(model, [DIGITS(prompt)["input_ids"]])[0, -1].argmax()) for prompt in PROMPTS]
    assert told == [DIGITS.decode([token]) for token in likeliest]


def test_the_model_is_left_as_it_was() -> None:
    model = llama().train()
    score_distribution(model, DIGITS, PROMPTS)
    assert model.training
    assert not model.lm_head._forward_pre_hooks


def test_no_prompts_give_no_rows() -> None:
    assert score_distribution(llama(), DIGITS, []).probabilities.shape == (0, 101)


def test_a_prompt_longer_than_the_model_reads_is_left_out() -> None:
    model = llama()
    found = score_distribution(model, DIGITS, [PROMPTS[0], "long " * 120 + "\n", PROMPTS[1]])
    assert found.unread == {1: "too long for the judge: 601 tokens with the rubric, and it reads 509"}
    assert (found.probabilities[1].sum(), found.first[1]) == (0, "")
    others = score_distribution(model, DIGITS, PROMPTS[:2])
    torch.testing.assert_close(found.probabilities[[0, 2]], others.probabilities, rtol=1e-5, atol=1e-7)
    assert (found.first[::2], others.unread) == (others.first, {})
    assert score_distribution(model, DIGITS, ["long " * 120 + "\n"]).unread.keys() == {0}


def test_every_batch_is_told_as_soon_as_it_is_read() -> None:
    model, told = llama(), []
    whole = score_distribution(model, DIGITS, PROMPTS)

    def stop(indices, found):
        told.append((list(indices), found.first))
        torch.testing.assert_close(found.probabilities, whole.probabilities[indices], rtol=1e-5, atol=1e-7)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        score_distribution(model, DIGITS, PROMPTS, 2, on_batch=stop)
    assert told == [([1, 2], [whole.first[1], whole.first[2]])]  # the longest first


def test_probabilities_that_are_not_finite_raise() -> None:
    model = llama()
    with torch.no_grad():
        model.model.norm.weight.fill_(math.inf)
    with pytest.raises(RingfenceError, match="not finite"):
        score_distribution(model, DIGITS, PROMPTS)
