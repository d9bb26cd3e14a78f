"""Sampling against a naive loop, and independence of a row's answer from the batch that it is in."""

import copy
import random
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from scipy.stats import chisquare
from transformers import LlamaForCausalLM

import tiny
from asking import texts
from ringfence.data.encode import prompt_ids
from ringfence.generation import HfGenerator, Request, Sampling

END = tiny.tokenizer().eos_token_id
WORDS = ("Hi", "How do I boil an egg?", "A", "Name three rivers in Europe, please.", "Why?", "Is it far?", "Go on")


def lively_model(seed: int = 0) -> LlamaForCausalLM:
    """A tiny model with weights large enough that its answers depend on the whole prompt."""
    return tiny.shaken(tiny.model(seed), seed)


def fixed_model(logits: dict[str, float]) -> LlamaForCausalLM:
    """Says each token of ``logits`` with its logit at any position, and no other token.

    All embeddings are ones and no layer adds anything, so the normed last hidden state is ones as well, and a row
    of the output layer that holds logit / width gives that logit.
    """
    width = 16
    model = tiny.model(layers=1, hidden=width)
    rows = torch.full((len(tiny.tokenizer()), width), -1e4 / width)
    for token, logit in logits.items():
        rows[tiny.tokenizer().convert_tokens_to_ids(token)] = logit / width
    with torch.no_grad():
        model.get_input_embeddings().weight.fill_(1)
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
    model.lm_head = torch.nn.Linear(width, len(rows), bias=False)
    model.lm_head.weight = torch.nn.Parameter(rows)
    return model


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def requests(texts=WORDS) -> list[Request]:
    return [Request(f"q{index}", chat(text)) for index, text in enumerate(texts)]


def ask(model, rows, **sampling) -> list[str]:
    return texts(model, rows, Sampling(**{"max_new_tokens": 12, "batch_size": 4, **sampling}))


def greedy_alone(model, messages, limit: int) -> str:
    """One token after the other, each from a full forward pass over one row: no cache, no padding."""
    prompt = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in messages)
    ids = tiny.tokenizer()(prompt + "<|im_start|>assistant\n")["input_ids"]
    new: list[int] = []
    model.eval()
    while len(new) < limit and (not new or new[-1] != END):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids + new]), use_cache=False).logits
        new.append(int(logits[0, -1].argmax()))
    return tiny.tokenizer().decode([token for token in new if token > END]).strip()


# --- greedy -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_greedy_equals_a_naive_loop(batch_size: int) -> None:
    model, rows = lively_model(), requests()
    wanted = [greedy_alone(model, row.messages, 12) for row in rows]
    assert len(set(wanted)) > len(wanted) / 2  # the model is no constant
    assert ask(model, rows, temperature=0, batch_size=batch_size) == wanted


def test_greedy_with_a_system_turn_and_a_longer_chat() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        *chat("What is 2 + 2?"),
        {"role": "assistant", "content": "4"},
        *chat("And 3 + 3?"),
    ]
    model = lively_model(1)
    rows = [Request("long", turns), *requests(WORDS[:2])]
    assert ask(model, rows, temperature=0) == [greedy_alone(model, row.messages, 12) for row in rows]


def test_greedy_ignores_seed_and_sample() -> None:
    model, rows = lively_model(), requests()
    others = [replace(row, sample=7) for row in rows]
    assert ask(model, rows, temperature=0, seed=1) == ask(model, others, temperature=0, seed=2)


# --- the random stream of a row -----------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
def test_a_sampled_answer_does_not_depend_on_batch_or_order(batch_size: int) -> None:
    model, rows = lively_model(), requests()
    by_id = {row.id: answer for row, answer in zip(rows, ask(model, rows, batch_size=64), strict=True)}
    shuffled = random.Random(batch_size).sample(rows, len(rows))
    assert ask(model, shuffled, batch_size=batch_size) == [by_id[row.id] for row in shuffled]
    assert ask(model, shuffled[:2], batch_size=batch_size) == [by_id[row.id] for row in shuffled[:2]]


def test_sample_seed_and_id_name_the_stream() -> None:
    model, row = lively_model(), Request("a", chat("Tell me something"))
    first = ask(model, [row])
    assert ask(model, [row]) == first
    variants = [ask(model, [replace(row, sample=1)]), ask(model, [replace(row, id="b")]), ask(model, [row], seed=1)]
    answers = [first, *variants]
    assert len({answer for (answer,) in answers}) == len(answers)


def test_samples_of_one_prompt_differ_within_a_batch() -> None:
    row = Request("a", chat("Tell me something"))
    answers = ask(lively_model(), [replace(row, sample=sample) for sample in range(8)], batch_size=8)
    assert len(set(answers)) == 8


# --- samples of one prompt share its reading ---------------------------------------------------------------


def forwards(model) -> list[tuple[int, int]]:
    """(rows, tokens) of every forward pass from now on."""
    seen: list[tuple[int, int]] = []
    model.get_input_embeddings().register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    return seen


@pytest.mark.parametrize("adapted", [False, True])
def test_a_prompt_is_read_once_for_all_its_samples(adapted: bool) -> None:
    """Two prompts of different lengths, three samples each, in one batch: all but the last token of two rows, then one
    token of six rows at a time."""
    model = lively_model()
    seen = forwards(model)
    rows = [Request(text, chat(text), sample) for sample in range(3) for text in WORDS[:2]]
    ask(get_peft_model(model, LoraConfig(target_modules=["q_proj"])) if adapted else model, rows, batch_size=6)
    longest = max(len(prompt_ids(tiny.tokenizer(), row.messages)) for row in rows)
    assert seen[0] == (2, longest - 1)
    assert set(seen[1:]) == {(6, 1)}


def test_distinct_prompts_are_read_in_one_pass() -> None:
    model = lively_model()
    seen = forwards(model)
    ask(model, requests(WORDS[:4]))
    assert seen[0][0] == 4
    assert {tokens for _, tokens in seen[1:]} == {1}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_sharing_changes_no_answer(temperature: float) -> None:
    model = lively_model()
    rows = [replace(row, sample=sample) for row in requests() for sample in range(3)]
    alone = [answer for row in rows for answer in ask(model, [row], temperature=temperature)]
    for batch_size in (5, 21):
        assert ask(model, rows, temperature=temperature, batch_size=batch_size) == alone


def test_sharing_with_a_sliding_window() -> None:
    """Each token sees the last four only; the shared part is longer than that."""
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = MistralConfig(
        vocab_size=len(tiny.tokenizer()), **sizes, num_key_value_heads=1, sliding_window=4, initializer_range=0.5
    )
    model = MistralForCausalLM(config)
    rows = [replace(row, sample=sample) for row in requests() for sample in range(2)]
    alone = [answer for row in rows for answer in ask(model, [row])]
    assert ask(model, rows, batch_size=14) == alone


# --- the distribution ---------------------------------------------------------------------------------------

LOGITS = {"a": 0.0, "b": 1.0, "c": -0.5, "d": 0.3}


def draws(temperature: float) -> list[str]:
    """2,000 answers of 10 letters each."""
    rows = [Request("row", chat("Go"), sample) for sample in range(2000)]
    sampling = {"temperature": temperature, "max_new_tokens": 10, "batch_size": 1000}
    answers = ask(fixed_model(LOGITS), rows, **sampling)
    assert all(re.fullmatch("[abcd]{10}", answer) for answer in answers)
    return answers


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_softmax_of_logits_over_temperature(temperature: float) -> None:
    """20,000 letters against exp(logit / T) / sum; the draws are fixed by the seed, so is the p-value."""
    counts = Counter("".join(draws(temperature)))
    weights = np.exp(np.array(list(LOGITS.values())) / temperature)
    observed = [counts[letter] for letter in LOGITS]
    assert chisquare(observed, 20_000 * weights / weights.sum()).pvalue > 0.001


@pytest.mark.parametrize(
    ("cut", "kept"),
    [
        ({"top_p": 0.65}, "ab"),  # 0.4, 0.3, 0.2, 0.1: two of them pass 0.65
        ({"top_p": 0.71}, "abc"),
        ({"min_p": 0.45}, "abc"),  # of the likeliest, 0.4: at least 0.18
        ({"min_p": 0.6}, "ab"),
        ({"top_p": 0.95, "min_p": 0.6}, "ab"),
    ],
)
def test_cut_draws_follow_what_is_left(cut: Any, kept: str) -> None:
    shares = {"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1}
    rows = [Request("row", chat("Go"), sample) for sample in range(400)]
    model = fixed_model({letter: float(np.log(share)) for letter, share in shares.items()})
    counts = Counter("".join(ask(model, rows, max_new_tokens=10, batch_size=400, **cut)))
    assert set(counts) == set(kept)
    left = np.array([shares[letter] for letter in kept])
    assert chisquare([counts[letter] for letter in kept], 4000 * left / left.sum()).pvalue > 0.001


def test_the_temperature_comes_before_the_cut() -> None:
    """At T = 0.5 the shares 0.4, 0.3, 0.2, 0.1 become 16, 9, 4, 1 of 30, so that top_p 0.5 keeps the first alone."""
    logits = {letter: float(np.log(share)) for letter, share in zip("abcd", (0.4, 0.3, 0.2, 0.1), strict=True)}
    rows = [Request("row", chat("Go"), sample) for sample in range(50)]
    answers = ask(fixed_model(logits), rows, max_new_tokens=10, batch_size=50, temperature=0.5, top_p=0.5)
    assert set("".join(answers)) == {"a"}


def test_successive_draws_are_independent() -> None:
    """Pairs of neighbours against the product of the letters' probabilities: the noise is fresh at every token."""
    pairs = Counter(pair for answer in draws(1.0) for pair in pairwise(answer))
    weights = np.exp(np.array(list(LOGITS.values())))
    shares = weights / weights.sum()
    expected = {(a, b): p * q for a, p in zip(LOGITS, shares, strict=True) for b, q in zip(LOGITS, shares, strict=True)}
    total = sum(pairs.values())
    assert total == 2000 * 9
    assert chisquare([pairs[pair] for pair in expected], [total * p for p in expected.values()]).pvalue > 0.001


# --- stopping -----------------------------------------------------------------------------------------------


def test_stops_at_the_end_of_turn() -> None:
    """With P(a) = P(end) = 1/2 an answer of n letters has probability 2^-(n+1): 1,000 rows, lengths 0 to 4 and more."""
    rows = [Request("row", chat("Go"), sample) for sample in range(1000)]
    answers = ask(fixed_model({"a": 0.0, "<|im_end|>": 0.0}), rows, max_new_tokens=8, batch_size=500)
    assert {*"".join(answers)} == {"a"}
    lengths = Counter(min(len(answer), 5) for answer in answers)
    expected = [1000 / 2 ** (n + 1) for n in range(5)] + [1000 / 2**5]
    assert chisquare([lengths[n] for n in range(6)], expected).pvalue > 0.001


def test_stops_at_the_models_own_end_tokens_too() -> None:
    model = fixed_model({"a": 0.0, "b": 0.0})
    model.generation_config.eos_token_id = [END, tiny.tokenizer().convert_tokens_to_ids("b")]
    answers = ask(model, [Request("row", chat("Go"), sample) for sample in range(20)], max_new_tokens=6)
    assert all(re.fullmatch("a{0,5}b|a{6}", answer) for answer in answers)


def test_at_most_max_new_tokens() -> None:
    assert ask(fixed_model({"a": 0.0}), requests(), max_new_tokens=5) == ["aaaaa"] * len(WORDS)


def test_an_answer_says_whether_it_ended() -> None:
    """With P(a) = P(end) = 1/2 one answer of 16 is four letters without an end, and all shorter ones have ended."""
    model, sampling = fixed_model({"a": 0.0, "<|im_end|>": 0.0}), Sampling(max_new_tokens=4, batch_size=400)
    rows = [Request("row", chat("Go"), sample) for sample in range(400)]
    answers = HfGenerator(model, tiny.tokenizer()).generate(rows, sampling)
    assert all(answer.ended is (len(answer.text) < 4) for answer in answers)
    cut = sum(not answer.ended for answer in answers)
    assert chisquare([cut, 400 - cut], [25, 375]).pvalue > 0.001


@pytest.mark.parametrize("pad", ["<|endoftext|>", "<|im_end|>"])
def test_padding_is_no_end(pad: str) -> None:
    """In one batch, beside rows that end early: also where the padding token is the end of the turn."""
    tokenizer = copy.deepcopy(tiny.tokenizer())
    tokenizer.pad_token = pad
    model = fixed_model({"a": 1.0, "<|im_end|>": 0.0})
    rows = [Request("row", chat("Go"), sample) for sample in range(60)]
    together = HfGenerator(model, tokenizer).generate(rows, Sampling(max_new_tokens=5, batch_size=60))
    alone = HfGenerator(model, tokenizer).generate(rows, Sampling(max_new_tokens=5, batch_size=1))
    assert together == alone
    assert {answer.ended for answer in together} == {True, False}
    assert all(answer.ended is (len(answer.text) < 5) for answer in together)


# --- what must not leak in or out ---------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize(
    "setting",
    [
        {"repetition_penalty": 5.0},
        {"no_repeat_ngram_size": 1},
        {"do_sample": True, "top_k": 1},
        {"do_sample": True, "top_p": 0.1, "temperature": 0.1},
        {"num_beams": 3},
        {"max_new_tokens": 2},
        {"suppress_tokens": list(range(3, 200))},
        {"bad_words_ids": [[5], [6]]},
        {"sequence_bias": [[[5], 100.0]]},
        {"forced_eos_token_id": 2},
        {"begin_suppress_tokens": list(range(3, 200))},
        {"guidance_scale": 2.0},
        {"stop_strings": ["a"]},
        {"return_dict_in_generate": True},
        {"max_time": 0.0},
    ],
    ids=lambda setting: next(reversed(setting)),
)
def test_the_models_generation_config_does_not_sneak_in(setting: Any, temperature: float) -> None:
    plain, tampered = lively_model(), lively_model()
    for name, value in setting.items():
        setattr(tampered.generation_config, name, value)
    assert ask(tampered, requests(), temperature=temperature) == ask(plain, requests(), temperature=temperature)
    assert all(getattr(tampered.generation_config, name) == value for name, value in setting.items())


def test_an_adapters_generation_config_is_put_back() -> None:
    plain = lively_model()
    inner = lively_model()
    inner.generation_config.suppress_tokens = list(range(3, 200))
    adapted = get_peft_model(inner, LoraConfig(target_modules=["q_proj"]))
    assert ask(adapted, requests()) == ask(plain, requests())  # a fresh adapter adds nothing
    assert inner.generation_config.suppress_tokens == list(range(3, 200))
    assert adapted.generation_config is inner.generation_config


def test_global_random_state_is_untouched() -> None:
    model = lively_model()
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    ask(model, requests())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]


def modes(model) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


def test_every_modules_training_mode_is_put_back() -> None:
    model = lively_model().train()
    model.model.layers[0].eval()
    before = modes(model)
    assert len(set(before.values())) == 2
    ask(model, requests())
    assert modes(model) == before


def test_dropout_is_off_and_no_gradient_is_kept() -> None:
    plain, model = lively_model(), lively_model()
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.9
    model.train()
    assert ask(model, requests()) == ask(plain, requests())
    assert all(parameter.grad is None for parameter in model.parameters())


# --- the rest -----------------------------------------------------------------------------------------------


def test_on_answers_is_told_the_rows_of_each_batch() -> None:
    finished: list[int] = []
    sampling = Sampling(max_new_tokens=2, batch_size=3)
    HfGenerator(lively_model(), tiny.tokenizer()).generate(requests(), sampling, finished.append)
    assert finished == [3, 3, 1]


def test_no_requests_give_no_answers() -> None:
    assert ask(lively_model(), []) == []


def test_answers_hold_no_special_tokens() -> None:
    model = fixed_model({"a": 0.0, "<|im_start|>": 0.0, "<|endoftext|>": 0.0})
    assert {*"".join(ask(model, requests()))} == {"a"}


def test_a_prompt_ends_where_the_answer_begins() -> None:
    text = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert tiny.tokenizer().decode(prompt_ids(tiny.tokenizer(), chat("Hi"))) == text
