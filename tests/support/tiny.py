"""A tiny random chat model and its tokenizer, built from nothing: no file, no network."""

from functools import cache
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level, so that it can say anything; 256 bytes and three special tokens."""
    vocabulary = {token: index for index, token in enumerate(SPECIAL)}
    for byte in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[byte] = len(vocabulary)
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(SPECIAL)
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        extra_special_tokens=["<|im_start|>"],
    )
    made.chat_template = TEMPLATE
    return made


def model(seed: int = 0, layers: int = 2, hidden: int = 16) -> LlamaForCausalLM:
    """A random Llama of about 20,000 parameters."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer()),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


def shaken(model: torch.nn.Module, seed: int = 0, scale: float = 0.5, only: str = "") -> Any:
    """``model``, its matrices (those with ``only`` in their name) so large that every token before matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if only in name and parameter.dim() > 1:
                parameter.normal_(0, scale, generator=generator)
    return model


def rows(count: int, word: str, start: int = 0) -> Dataset:
    """``count`` tokenised rows whose answers differ in length; labels on the answer only."""
    examples = []
    for index in range(start, start + count):
        prompt = f"<|im_start|>user\n{word} {index}?<|im_end|>\n<|im_start|>assistant\n"
        answer = f"{word} " * (1 + index % 3) + f"{index}<|im_end|>\n"
        encode = tokenizer()
        prompt_ids, answer_ids = encode(prompt)["input_ids"], encode(answer)["input_ids"]
        examples.append({"input_ids": prompt_ids + answer_ids, "labels": [-100] * len(prompt_ids) + answer_ids})
    return Dataset.from_list(examples)
