"""Teacher-forced likelihood of given answers."""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ringfence.core.errors import RingfenceError, shown
from ringfence.data.conversations import Messages
from ringfence.data.encode import answered_ids
from ringfence.models.activations import bare, capture_hidden_states, reusing, untouched_layers
from ringfence.models.inference import inference, left_padded


@dataclass(frozen=True)
class Scored:
    """One answer to score, as the next assistant turn after ``messages``."""

    messages: Messages
    answer: str


@dataclass
class Untouched:
    """What the lowest layers, which training leaves alone, gave for some rows; for scoring the same rows again.

    Holds (rows, tokens, hidden) a batch. The bits are those of a full pass.
    """

    outputs: dict[int, Any] = field(default_factory=dict)
    """first row of a batch -> the raw output of the highest such layer"""
    of: "weakref.ref[PreTrainedModel] | None" = None
    """the model that they are of; with another one all begins anew"""

    @contextmanager
    def below(self, model: PreTrainedModel, start: int) -> Iterator[None]:
        """Inside, one pass over the batch that begins with row ``start`` runs those layers the first time only."""
        if self.of is None or self.of() is not model:
            self.of, self.outputs = weakref.ref(model), {}
        count = untouched_layers(model) if _has_layers(model) else 0
        if start in self.outputs:
            with reusing(model, count, self.outputs[start]):
                yield
        elif count:
            with capture_hidden_states(model, (), frozen=count) as found:
                yield
            self.outputs[start] = found.frozen
        else:
            yield


def _has_layers(model: PreTrainedModel) -> bool:
    return isinstance(model, PeftModel) and hasattr(bare(model).get_decoder(), "layers")


def answer_logprobs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Scored],
    batch_size: int = 64,
    untouched: Untouched | None = None,
) -> list[float]:
    """Mean log probability (nats per token) of each answer's own tokens, the end-of-turn token left out.

    Rows are padded on the left, so that all answers end at the right edge and the output layer runs on the last few
    positions only. ``untouched`` is for a model that is scored on the same rows time and again while its adapter is
    trained. Raises :class:`RingfenceError` for an empty answer.
    """
    encoded = [_encode(tokenizer, row) for row in rows]
    means: list[float] = []
    with inference(model):
        for start in range(0, len(rows), batch_size):
            with nullcontext() if untouched is None else untouched.below(model, start):
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
