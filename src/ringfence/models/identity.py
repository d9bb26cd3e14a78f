"""Identify a base model's weights, to check that a file of vectors belongs to the model at hand."""

import hashlib
from collections.abc import Iterator

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper, TrainableTokensWrapper
from torch import nn

VALUES = 64  # a parameter: enough to tell models apart, and read in a moment at any size
LENGTH = 16  # hex digits


def identity(model: nn.Module) -> str:
    """16 hex digits that name the base weights of ``model``; with a LoRA adapter on it the name stays the same.

    SHA-256 over the names, shapes and first 64 values, cast to bfloat16, of all parameters, sorted by name. Adapter
    weights and the trained copies of ``modules_to_save`` are left out.

    A model has one name in float32 and in bfloat16. In float16 it may have another, as values round twice. Not told
    apart are models that differ only behind a parameter's first 64 values, by less than bfloat16 shows, or in the
    configuration, buffers, chat template or tokenizer. Weights packed by a quantizer have a name of their own, and so
    does a model with an adapter merged into it.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(base_parameters(model), key=lambda pair: pair[0]):
        values = parameter.detach().reshape(-1)[:VALUES].to(torch.bfloat16).contiguous().view(torch.int16)
        digest.update(f"{name}\0{tuple(parameter.shape)}\0".encode())
        digest.update(values.cpu().numpy().tobytes())
    return digest.hexdigest()[:LENGTH]


def base_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters under the names that they have without an adapter."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    originals = {}  # where an adapter sits -> what it keeps the original weights under
    for name, module in base.named_modules():
        if isinstance(module, BaseTunerLayer):
            originals[name] = "base_layer"
        elif isinstance(module, TrainableTokensWrapper):
            originals[name] = "token_adapter"  # itself a tuner's layer
        elif isinstance(module, AuxiliaryTrainingWrapper):
            originals[name] = "original_module"
    # Tied weights under each of their names: which of them comes first depends on the wrappers.
    for name, parameter in base.named_parameters(remove_duplicate=False):
        canonical = _canonical(name, originals)
        if canonical is not None:
            yield canonical, parameter


def _canonical(name: str, originals: dict[str, str]) -> str | None:
    """``name`` without the wrappers on its way, or None if it is an adapter's own."""
    kept: list[str] = []
    parts = name.split(".")
    for index, part in enumerate(parts):
        original = originals.get(".".join(parts[:index]))
        if original is None:
            kept.append(part)
        elif part != original:
            return None
    return ".".join(kept)
