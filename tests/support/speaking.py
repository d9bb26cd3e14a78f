"""Tiny models that say something: one whose answers hang on the whole prompt, and how a context gets it."""

from dataclasses import replace
from typing import Any

import torch
from transformers import LlamaForCausalLM

import tiny
from ringfence.models import Loaded
from ringfence.select.base import Context

END = tiny.tokenizer().eos_token_id


def model(end: float = 3.0, seed: int = 0) -> LlamaForCausalLM:
    """Lively weights; the higher ``end``, the sooner the answers end. It says printable ASCII only."""
    made = tiny.model(seed)
    generator = torch.Generator().manual_seed(seed)
    head = torch.nn.Linear(made.config.hidden_size, len(tiny.tokenizer()))
    with torch.no_grad():
        for parameter in [*made.parameters(), head.weight]:
            if parameter.dim() > 1:
                parameter.normal_(0, 0.5, generator=generator)
        head.bias.fill_(-1e4)
        said = tiny.tokenizer().convert_tokens_to_ids([chr(code) for code in range(ord("!"), ord("~") + 1)])
        head.bias[torch.tensor(said)] = 0.0
        head.bias[END] = end
    made.lm_head = head
    return made.eval()


def context(end: float = 3.0, **settings: Any) -> Context:
    """With :func:`model` loaded."""
    made = Context(model="tiny", **settings)
    vars(made)["loaded"] = Loaded(model(end), tiny.tokenizer(), "tiny")
    return made


def seeded(before: Context, seed: int) -> Context:
    """The same with another seed."""
    made = replace(before, seed=seed)
    vars(made)["loaded"] = before.loaded
    return made
