"""Qwen2.5's shapes without weights."""

from functools import cache
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Qwen2Config

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SHAPES = {
    "0.5B": (896, 4864, 24, 14, 2, 151936, True),
    "1.5B": (1536, 8960, 28, 12, 2, 151936, True),
    "3B": (2048, 11008, 36, 16, 2, 151936, True),
    "7B": (3584, 18944, 28, 28, 4, 152064, False),
    "14B": (5120, 13824, 48, 40, 8, 152064, False),
    "32B": (5120, 27648, 64, 40, 8, 152064, False),
}
"""hidden, MLP, layers, heads, key heads, vocabulary, tied: of the configs at https://huggingface.co/Qwen"""
ELEMENTS = {"0.5B": 0.49e9, "1.5B": 1.54e9, "3B": 3.09e9, "7B": 7.61e9, "14B": 14.7e9, "32B": 32.5e9}
"""as the model cards say"""


def unloaded(size: str, dtype: torch.dtype = torch.bfloat16) -> Any:
    """The model on the meta device."""
    hidden, mlp, layers, heads, key_heads, vocabulary, tied = SHAPES[size]
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=mlp,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        tie_word_embeddings=tied,
    )
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=dtype)


@cache
def adapted(size: str) -> Any:
    """With LoRA of rank 32 on all linear layers, as the benchmark on a GPU has it."""
    with torch.device("meta"):
        return get_peft_model(unloaded(size), LoraConfig(r=32, target_modules=LINEAR, task_type="CAUSAL_LM"))
