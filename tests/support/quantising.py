"""The small model of ``examples`` with weights packed by bitsandbytes, and with the numbers that these stand for."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

import examples
import tiny
from ringfence.models import Loading, load
from ringfence.models.quantised import is_packed

PACKED = 7 * examples.LAYERS
"""linear layers"""


def packed(folder: Path, bits: int) -> Any:
    """As a recipe would load it; ``folder`` is where its plain weights are, or are saved."""
    pytest.importorskip("bitsandbytes")
    if not folder.exists():
        examples.model().save_pretrained(folder)
        tiny.tokenizer().save_pretrained(folder)
    return load(str(folder), loading=Loading(bits=bits)).model


def dense(folder: Path, bits: int) -> Any:
    """Plain float32 layers in place of the packed ones; nothing in it knows of a quantizer."""
    made = packed(folder, bits)
    for name, module in [(name, module) for name, module in made.named_modules() if is_packed(module)]:
        plain = nn.Linear(module.in_features, module.out_features, bias=False)
        plain.weight = nn.Parameter(numbers(module), requires_grad=False)
        made.set_submodule(name, plain)
    del made.config.quantization_config
    made.hf_quantizer, made.is_quantized, made.is_loaded_in_4bit, made.is_loaded_in_8bit = None, False, False, False
    return made


def numbers(layer: Any) -> Any:
    """(out, in), of a packed layer."""
    functional = pytest.importorskip("bitsandbytes").functional
    weight = layer.weight
    if getattr(weight, "quant_state", None) is not None:
        return functional.dequantize_4bit(weight.data, weight.quant_state).float()
    return weight.data.float() * weight.SCB[:, None] / 127
