"""Small suites, how they are asked, and a tiny model whose answers vary; for tests of evaluation."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

import tiny
from ringfence.data.suites.load import Prompt
from ringfence.evaluate import Protocol
from ringfence.generation import HfGenerator, Request, Sampling


def prompt(name: str, text: str, system: str | None = None) -> Prompt:
    first = () if system is None else ({"role": "system", "content": system},)
    return Prompt(name, (*first, {"role": "user", "content": text}))


SUITES = {
    "general": [prompt("a", "A bad one?"), prompt("b", "A good one?"), prompt("c", "An odd one?")],
    "dressed": [prompt("a", "Good?", "You are a cook."), prompt("b", "Also good?", "")],
}
PROTOCOL = Protocol(Sampling(max_new_tokens=6, seed=5, batch_size=4), samples=3)


def lively():
    """A tiny model with weights large enough that its answers vary."""
    made = tiny.model()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.mul_(25)
    return made


def texts(model: PreTrainedModel, requests: Sequence[Request], sampling: Sampling) -> list[str]:
    """What a model with the tiny tokenizer says."""
    return [answer.text for answer in HfGenerator(model, tiny.tokenizer()).generate(requests, sampling)]
