"""Mean negative log-likelihood of answers under a base model and many adapters of it, with shared work done once.

    NLL = -(1 / T) sum over the T answer tokens of log P(token | what stands before it)         (nats per token)

Answer tokens are those that hold a character of what the assistant says, in all its turns; what the chat template
puts around a turn, the end-of-turn token included, is left out. A token at the very beginning has nothing before it
and is left out, too.

What is not paid for: padding (rows are sorted by length, batches have a budget of tokens), tokens after the last
answer, prompt positions in the output layer, loading and merging of adapters (they stand beside each other), and, per
adapter, the lowest layers that no adapter touches.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ringfence.core.errors import RingfenceError
from ringfence.data.render import Content
from ringfence.models.activations import Model, bare, capture_hidden_states, reusing, untouched_layers
from ringfence.models.adapters import Adapters
from ringfence.models.inference import inference
from ringfence.models.load import Loaded
from ringfence.models.output_head import OutputHead

BATCH_TOKENS = 8192
# Logits in memory at once: 512 MiB in float32 on a GPU, where small products waste time, else 128 MiB.
_CHUNK_ELEMENTS = {"cuda": 2**27}
_CHUNK_ELEMENTS_ELSEWHERE = 2**25

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Row:
    """What is read of one conversation."""

    place: int  # in the caller's order
    ids: list[int]  # up to the token before the last answer token
    positions: list[int]  # whose next token is the answer's
    targets: list[int]  # those next tokens


class Scorer:
    """A base model, its adapters and other models of the same vocabulary, ready to score."""

    def __init__(
        self,
        loaded: Loaded,
        adapters: Mapping[str, Path],
        others: Sequence[Loaded] = (),
        batch_tokens: int = BATCH_TOKENS,
    ) -> None:
        """Loads the adapters; ``loaded.model`` answers without them all the same, and is as it was after :meth:`close`.

        Raises :class:`RingfenceError` for adapters of another model, and for another vocabulary.
        """
        vocabulary = loaded.tokenizer.get_vocab() if others else {}
        for other in others:
            if other.tokenizer.get_vocab() != vocabulary:
                raise RingfenceError(
                    f"{other.source}: has another vocabulary than {loaded.source}, so the likelihoods of their tokens "
                    "cannot be compared; take models of one tokenizer"
                )
        self._adapters = Adapters(loaded.model, adapters)
        self._names, self._others, self._budget = tuple(adapters), tuple(others), batch_tokens
        self._shared = untouched_layers(self._adapters.model) if adapters else 0

    def close(self) -> None:
        """Take the adapters off the model."""
        self._adapters.close()

    def score(self, rows: Sequence[Content], on_rows: Callable[[int], None] | None = None) -> Floats:
        """(1 + models, rows): the base, then each adapter, then each other model, in the order they were given.

        NaN for a row without an answer token, and where a model gives no finite number. Independent of how rows fall
        into batches, up to rounding. ``on_rows`` is told the number of rows just finished.
        """
        scores = np.full((1 + len(self._names) + len(self._others), len(rows)), np.nan)
        read = [row for place, content in enumerate(rows) if (row := _row(place, content)).targets]
        if on_rows is not None and len(read) < len(rows):
            on_rows(len(rows) - len(read))
        with ExitStack() as stack:
            for model in (self._adapters.model, *(other.model for other in self._others)):
                stack.enter_context(inference(model))
            for batch in batches(read, self._budget):
                scores[:, [row.place for row in batch]] = self._batch(_Batch(batch))
                if on_rows is not None:
                    on_rows(len(batch))
        scores[~np.isfinite(scores)] = np.nan
        return scores

    def _batch(self, batch: "_Batch") -> Floats:
        """(models, rows of the batch)."""
        model = self._adapters.model
        with capture_hidden_states(model, (), frozen=self._shared) as base:
            found = [batch.mean_nll(model)]
        for name in self._names:
            with self._adapters.on(name), reusing(model, self._shared, base.frozen):
                found.append(batch.mean_nll(model))
        base.frozen = None
        found += [batch.mean_nll(other.model) for other in self._others]
        return np.stack(found)


def batches(rows: Sequence[Any], budget: int) -> Iterator[list[Any]]:
    """``rows``, longest first, in batches of rows x longest <= ``budget`` tokens; a longer row is one of its own."""
    # Longest first: a batch that does not fit in memory fails at once.
    order = sorted(rows, key=lambda row: -len(row.ids))
    start = 0
    while start < len(order):
        count = max(1, budget // len(order[start].ids))
        yield order[start : start + count]
        start += count


def _row(place: int, content: Content) -> _Row:
    positions = [t for t, of_answer in enumerate(content.mask[1:]) if of_answer]  # position t predicts token t + 1
    ids = list(content.input_ids)
    return _Row(place, ids[: positions[-1] + 1] if positions else [], positions, [ids[t + 1] for t in positions])


class _Batch:
    """Rows as one tensor, padded on the right.

    Without an attention mask: every real token stands before the padding, and a causal model looks at nothing after a
    token, so the mask would change no number that is read. Without one the attention runs its fastest kernel, and
    positions are counted from 0 in every row, as they should be.
    """

    def __init__(self, rows: Sequence[_Row]) -> None:
        width = len(rows[0].ids)  # the longest
        self.ids = torch.zeros(len(rows), width, dtype=torch.long)  # any token will do as padding
        for index, row in enumerate(rows):
            self.ids[index, : len(row.ids)] = torch.tensor(row.ids)
        self.places = torch.tensor([index * width + t for index, row in enumerate(rows) for t in row.positions])
        self.targets = torch.tensor([token for row in rows for token in row.targets])
        self.counts = np.array([len(row.targets) for row in rows])

    def mean_nll(self, model: Model) -> Floats:
        """(rows,), under the model as it is now."""
        device = model.device
        last = bare(model).get_decoder()(input_ids=self.ids.to(device), use_cache=False).last_hidden_state
        hidden = last.flatten(0, 1).index_select(0, self.places.to(device))  # (answer tokens, hidden)
        nll = token_nll(model, hidden, self.targets.to(device)).double().cpu().numpy()
        return np.add.reduceat(nll, np.cumsum(self.counts) - self.counts) / self.counts


def token_nll(model: Model, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(positions,): -log P(target) in nats, float32, from the last ``hidden`` states, (positions, hidden).

    Logits exist for a bounded number of positions at a time, in float32.
    """
    head = OutputHead.of(model)
    elements = _CHUNK_ELEMENTS.get(hidden.device.type, _CHUNK_ELEMENTS_ELSEWHERE)
    size = max(1, elements // len(head.weight))
    parts = zip(hidden.split(size), targets.split(size), strict=True)
    return torch.cat([functional.cross_entropy(head.logits(part), wanted, reduction="none") for part, wanted in parts])
