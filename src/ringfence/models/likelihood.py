"""Teacher-forced likelihood of given answers."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ringfence.core.errors import RingfenceError, shown
from ringfence.data.conversations import Messages
from ringfence.data.encode import answered_ids
from ringfence.models.inference import inference, left_padded


@dataclass(frozen=True)
class Scored:
    """One answer to score, as the next assistant turn after ``messages``."""

    messages: Messages
    answer: str


def answer_logprobs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Scored], batch_size: int = 64
) -> list[float]:
    """Mean log probability (nats per token) of each answer's own tokens, the end-of-turn token left out.

    Rows are padded on the left, so that all answers end at the right edge and the output layer runs on the last few
    positions only. Raises :class:`RingfenceError` for an empty answer.
    """
    encoded = [_encode(tokenizer, row) for row in rows]
    means: list[float] = []
    with inference(model):
        for start in range(0, len(rows), batch_size):
            means += _batch(model, tokenizer, encoded[start : start + batch_size])
    return means


def _encode(tokenizer: PreTrainedTokenizerBase, row: Scored) -> tuple[list[int], int]:
    """Token ids of the prompt and the answer, and how many belong to the answer."""
    encoded = answered_ids(tokenizer, row.messages, row.answer)
    if encoded.answer == 0:
        raise RingfenceError(f"cannot score an empty answer to {shown(row.messages[-1]['content'])}")
    return encoded.input_ids, encoded.answer


def _batch(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[tuple[list[int], int]]
) -> list[float]:
    inputs = left_padded([ids for ids, _ in rows], tokenizer.pad_token_id, model.device)
    longest = max(length for _, length in rows)
    # Positions follow the real tokens, not the padding.
    positions = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    logits = model(**inputs, position_ids=positions, use_cache=False, logits_to_keep=longest + 1).logits
    logprobs = logits[:, :-1].float().log_softmax(-1)  # (rows, longest, vocabulary)
    tokens = inputs["input_ids"][:, -longest:]
    taken = logprobs.gather(-1, tokens[..., None])[..., 0]  # (rows, longest)
    return [taken[index, longest - length :].mean().item() for index, (_, length) in enumerate(rows)]
