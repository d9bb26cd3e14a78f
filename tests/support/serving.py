"""A scripted server with real weights behind it: chats, echoed prompts, first tokens, as ``vllm serve`` has them."""

import math
from collections.abc import Callable

import torch
from transformers import PreTrainedTokenizerBase

from loopback import Body, Says
from ringfence.data.encode import prompt_ids
from ringfence.generation.server import TOP
from ringfence.models.activations import Model


def logprobs(model: Model, ids: list[int]) -> torch.Tensor:
    """(tokens, vocabulary)"""
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)


def echo(model: Model, body: Body) -> list[float | None]:
    """Nothing for the prompt's first token, and one token more."""
    ids = body["prompt"]
    found = logprobs(model, ids)[:-1].gather(-1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()
    return [None, *found, -0.5]


def first(model: Model, tokenizer: PreTrainedTokenizerBase, body: Body) -> Says:
    """The likeliest first tokens of an answer."""
    top = logprobs(model, prompt_ids(tokenizer, body["messages"]))[-1].topk(TOP)
    pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return Says("x", {tokenizer.decode([token]): math.exp(value) for token, value in pairs})


def chat(model: Model, tokenizer: PreTrainedTokenizerBase) -> Callable[[Body], Says]:
    """First tokens where they are asked for, else an answer that repeats the question's end."""

    def answer(body: Body) -> Says:
        return first(model, tokenizer, body) if "logprobs" in body else Says(f"As to {body['messages'][-1]['content']}")

    return answer
