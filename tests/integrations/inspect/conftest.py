"""A model that Inspect asks."""

import pytest
import torch

import tiny
from ringfence.integrations.inspect.provider import Live


@pytest.fixture(scope="module")
def live() -> Live:
    """A tiny model with weights large enough that its answers vary."""
    made = tiny.model()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.mul_(25)
    return Live(made, tiny.tokenizer())
