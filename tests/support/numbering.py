"""Tiny tokenizers that cut numbers into tokens in three ways."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import tiny


def tokenizer(*joined: int, spaced: bool = False) -> PreTrainedTokenizerFast:
    """Byte-level, with the numbers ``joined`` as tokens of their own, with a leading space, too, if ``spaced``."""
    vocabulary = {token: index for index, token in enumerate(tiny.SPECIAL)}
    for byte in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[byte] = len(vocabulary)
    texts = [str(value) for value in sorted(joined) if value >= 10]
    merges = [(text[:-1], text[-1]) for text in texts]
    if spaced:
        merges += [("Ġ", str(value)) for value in joined]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(tiny.SPECIAL)
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<|endoftext|>", eos_token="<|im_end|>")


DIGITS = tokenizer()  # 85 is two tokens, as in Qwen's
WHOLE = tokenizer(*range(101), spaced=True)  # one token, as in Llama 3's
SOME = tokenizer(*range(10, 50), *range(90, 101))  # 42 is one token, 85 are two
