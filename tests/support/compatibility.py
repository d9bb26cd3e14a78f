"""What makes training lighter, and with which defenses: the facts behind the table in ``docs/defenses.md``.

Which cells are refused the defenses say themselves; ``tests/defenses/test_compatibility.py`` trains all others that a
CPU can, and holds the page to it. Here is what ``benchmarks/gpu.py`` shares with that test.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from peft import LoraConfig

from ringfence.core.errors import RingfenceError
from ringfence.data.system import NoSystem
from ringfence.defenses import Defense
from ringfence.judges import JudgeSettings


@dataclass(frozen=True)
class Feature:
    """A setting of a recipe, and how it is tested."""

    key: str
    """as a recipe has it"""
    training: Mapping[str, Any] = field(default_factory=dict)
    """fields of SFTConfig"""
    bits: int | None = None
    """of quantised weights"""
    split: Mapping[str, Any] = field(default_factory=dict)
    """beside ``training``: another way to make the same optimizer steps"""
    usual: Mapping[str, Any] = field(default_factory=dict)
    """fields of SFTConfig of the training that it is compared with"""
    here: bool = True
    """whether a CPU can run it"""


FEATURES = {
    "checkpointing": Feature(
        "`gradient_checkpointing`",
        {"gradient_checkpointing": True},
        split={"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4},
    ),
    "padding-free": Feature(
        "`padding_free`",
        {"padding_free": True, "max_length": None},
        split={"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
    ),
    "packing": Feature(
        "`packing`",
        {"packing": True, "packing_strategy": "bfd", "max_length": 160},
        usual={"per_device_train_batch_size": 10, "num_train_epochs": 2},
    ),
    "4-bit": Feature("`load_in_4bit`", bits=4),
    "8-bit": Feature("`load_in_8bit`", bits=8),
    "8-bit AdamW": Feature("`optim: adamw_bnb_8bit`", {"optim": "adamw_bnb_8bit"}),
    "compiled": Feature(
        "`torch_compile`",
        {"torch_compile": True, "torch_compile_backend": "eager"},
        # Batches of one shape are compiled once.
        usual={"pad_to_multiple_of": 128, "per_device_train_batch_size": 1, "max_steps": 3},
    ),
    "Liger": Feature("`use_liger_kernel`", {"use_liger_kernel": True}, here=False),
    "FlashAttention": Feature("`attn_implementation: flash_attention_2`", here=False),
}


@dataclass(frozen=True)
class Part:
    """A recipe's part, as far as a defense may ask."""

    training: Mapping[str, Any] = field(default_factory=dict)
    judge: JudgeSettings | None = None
    no_system: NoSystem = "template_default"
    lora: Any = None
    bits: int | None = None

    def lora_config(self) -> Any:
        return self.lora


def refusal(feature: Feature, defense: Defense) -> str | None:
    """What a recipe with both is told; None if it is taken."""
    part = Part(feature.training, lora=LoraConfig(r=4), bits=feature.bits)
    try:
        defense.require_compatible(part)
    except RingfenceError as error:
        return str(error)
    return None
