"""Mean activations of given answers, at every layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ringfence.core.errors import RingfenceError, shown
from ringfence.data.conversations import Messages
from ringfence.data.encode import AnsweredIds, answered_ids
from ringfence.directions.vectors import POSITIONS
from ringfence.models.activations import capture_hidden_states, decoder_layers
from ringfence.models.inference import inference, left_padded


@dataclass(frozen=True)
class Answered:
    """A chat and what the assistant says next."""

    messages: Messages
    response: str


def mean_activations(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Answered],
    batch_size: int,
    on_batch: Callable[[int], None] | None = None,
) -> dict[str, Tensor]:
    """Position -> float64 (layers + 1, hidden): the mean over ``rows`` of each row's activation there.

    A row's activation is the mean over its answer's tokens, the mean over its prompt's tokens, or the one at the last
    prompt token. Every row counts the same, however long it is. Layer k is the output of ``layers[k - 1]`` before any
    final norm; 0 is the embeddings. The result does not depend on ``batch_size``, up to rounding. ``on_batch`` is
    told the number of rows just finished.

    Raises :class:`RingfenceError` for an empty answer, and where there are no rows.
    """
    if not rows:
        raise RingfenceError("there are no answers to take activations of")
    encoded = sorted((_encode(tokenizer, row) for row in rows), key=lambda row: -len(row.input_ids))
    total: Tensor | None = None
    with inference(model):
        for start in range(0, len(encoded), batch_size):
            batch = encoded[start : start + batch_size]
            summed = _batch(model, tokenizer.pad_token_id, batch)
            total = summed if total is None else total + summed
            if on_batch is not None:
                on_batch(len(batch))
    assert total is not None
    return dict(zip(POSITIONS, total / len(rows), strict=True))


def _encode(tokenizer: PreTrainedTokenizerBase, row: Answered) -> AnsweredIds:
    encoded = answered_ids(tokenizer, row.messages, row.response)
    if encoded.answer == 0:
        raise RingfenceError(f"there are no activations of an empty answer to {shown(row.messages[-1]['content'])}")
    return encoded


def _batch(model: PreTrainedModel, pad: int, rows: Sequence[AnsweredIds]) -> Tensor:
    """float64 (positions, layers + 1, hidden): sums over ``rows``."""
    inputs = left_padded([row.input_ids for row in rows], pad, model.device)
    # Positions follow the real tokens, not the padding.
    positions = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    weights = _weights(rows, inputs["input_ids"].shape[1])

    def summed(hidden: Tensor) -> Tensor:
        by_row = torch.einsum("pbt,bth->pbh", weights.to(hidden.device), hidden.float())
        return by_row.double().sum(1).cpu()

    layers = range(len(decoder_layers(model)) + 1)
    with capture_hidden_states(model, layers, reduce=summed) as found:
        model(**inputs, position_ids=positions, use_cache=False, logits_to_keep=1)
    return torch.stack([found.layers[k] for k in layers], dim=1)


def _weights(rows: Sequence[AnsweredIds], width: int) -> Tensor:
    """(positions, rows, width): what each token counts, adding up to 1 in each row, for rows padded on the left."""
    weights = torch.zeros(len(POSITIONS), len(rows), width)
    for index, row in enumerate(rows):
        begin, split = width - len(row.input_ids), width - row.answer
        weights[0, index, split:] = 1 / row.answer
        weights[1, index, begin:split] = 1 / (split - begin)
        weights[2, index, split - 1] = 1
    return weights
