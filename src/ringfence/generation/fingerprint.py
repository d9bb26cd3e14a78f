"""Record the fingerprint of a model in this process: log probabilities of the fixed texts, by PEFT's own forward pass.

What they are for: :mod:`ringfence.generation.self_check`.
"""

from collections import Counter
from collections.abc import Sequence

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ringfence.data.encode import answered_ids
from ringfence.generation.self_check import TEXTS, Fingerprint, Text
from ringfence.models.activations import without_adapters
from ringfence.models.inference import inference

CANDIDATES = 100
"""for the first token of an answer; servers tell of 20 at most"""
_UNREADABLE = "\ufffd"  # what a token that is part of a character is shown as


def record(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, name: str) -> Fingerprint:
    """The fingerprint of ``model``, with its adapter on; ``name`` says what was trained.

    The base's log probabilities are those with the adapter off; a model without an adapter has none.
    """
    dtype = str(model.dtype).removeprefix("torch.")
    with inference(model):
        return Fingerprint(name, dtype, tuple(_text(model, tokenizer, *text) for text in TEXTS))


def _text(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, question: str, answer: str) -> Text:
    found = answered_ids(tokenizer, [{"role": "user", "content": question}], answer)
    ids, begins = found.input_ids, len(found.input_ids) - found.answer  # where the answer's first token is
    tuned, base = _logprobs(model, ids), None
    if isinstance(model, PeftModel):
        with without_adapters(model):
            base = _logprobs(model, ids)
    return Text(
        question=question,
        ids=tuple(ids),
        pieces=tuple(tokenizer.decode([token]) for token in ids),
        tuned=_taken(tuned, ids),
        base=None if base is None else _taken(base, ids),
        first=_first(tokenizer, tuned[begins - 1], None if base is None else base[begins - 1]),
    )


def _logprobs(model: PreTrainedModel | PeftModel, ids: Sequence[int]) -> torch.Tensor:
    """(tokens, vocabulary) float32: row i is of the token behind token i."""
    logits = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0]
    return logits.float().log_softmax(-1)


def _taken(logprobs: torch.Tensor, ids: Sequence[int]) -> tuple[float, ...]:
    """(tokens - 1,) of each token but the first."""
    following = torch.tensor(ids[1:], device=logprobs.device)
    return tuple(logprobs[:-1].gather(-1, following[:, None])[:, 0].tolist())


def _first(
    tokenizer: PreTrainedTokenizerBase, tuned: torch.Tensor, base: torch.Tensor | None
) -> dict[str, tuple[float, float | None]]:
    """The likeliest tokens of (vocabulary,) by their text, where it names one token only."""
    likely = tuned.topk(min(CANDIDATES, len(tuned))).indices.tolist()
    texts = {token: tokenizer.decode([token]) for token in likely}
    counts = Counter(texts.values())
    return {
        text: (tuned[token].item(), None if base is None else base[token].item())
        for token, text in texts.items()
        if counts[text] == 1 and _UNREADABLE not in text
    }
