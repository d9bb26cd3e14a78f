"""Small suites, how they are asked, and a tiny model whose answers vary; for tests of evaluation."""

import torch

import tiny
from ringfence.data.suites.load import Prompt
from ringfence.evaluate import Protocol
from ringfence.models.generate import Sampling


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
