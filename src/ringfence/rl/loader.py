"""Micro-batches of prompts and of safe rows, drawn from the stream at the moment that they are consumed.

What the loader yields is what TRL's GRPO takes, a list of prompt rows, and for safe rows what its SFT takes:

    [row, ...]                                 an RL step; the rows of a whole generation, empty while one lasts
    {"input_ids": ..., SAFE: ...}              a safe step
    {PROMPTS: [row, ...], BESIDE: {...}}       both, in the mode mixed

Where in the prompts the run is follows from the counters of the stream, so a resumed run goes on by itself.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler

from ringfence.interleave import InterleavingStream
from ringfence.interleave.loader import SAFE, Example
from ringfence.rl.sizes import GenerationSizes

PROMPTS, BESIDE = "prompts", "beside"  # keys of a micro-batch that has both


class PromptOrder:
    """Which prompts each generation of an epoch takes: those of TRL's sampler, which shuffles anew in every epoch."""

    def __init__(self, make: Callable[[], Sampler[int]], rows: int) -> None:
        self._make, self._rows = make, rows
        self._begin()

    def _begin(self) -> None:
        self._sampler, self._epoch, self._indices = self._make(), -1, list[int]()

    def of(self, epoch: int, generation: int) -> list[int]:
        """(completions of the generation,): an index of a prompt for each, on all ranks."""
        if epoch < self._epoch:
            self._begin()
        while self._epoch < epoch:  # each order comes after the one before
            self._epoch, self._indices = self._epoch + 1, list(self._sampler)
        return self._indices[generation * self._rows : (generation + 1) * self._rows]


class RLLoader:
    """Yields the micro-batches of this rank, one optimizer step after the other, until the stream ends."""

    def __init__(
        self,
        prompts: Dataset,
        safe: Dataset | None,
        stream: InterleavingStream,
        sizes: GenerationSizes,
        order: PromptOrder,
        collate: Callable[[Sequence[Example]], dict[str, Any]],
    ) -> None:
        self.prompts, self.safe = prompts, safe
        self.stream, self.sizes, self.order, self.collate = stream, sizes, order, collate

    def __iter__(self) -> Iterator[Any]:
        """All micro-batches of this rank, see above."""
        while True:
            done = self.stream.counters.target_rows // self.sizes.micro_rows
            rows = self.stream.next_step()
            if not rows:
                return
            chosen = [row.index for row in rows if row.safe]
            for micro in range(self.sizes.layout.accumulation):
                if not chosen:
                    yield self._prompts(done + micro)
                elif len(chosen) == len(rows):
                    yield self._safe(chosen, micro)
                else:
                    yield {PROMPTS: self._prompts(done + micro), BESIDE: self._safe(chosen, micro)}

    def _prompts(self, done: int) -> list[Example]:
        """The prompts of the generation that begins after ``done`` micro-batches of RL; none if one still lasts."""
        sizes = self.sizes
        epoch, place = divmod(done, sizes.epoch_micro_batches)
        if place == 0:
            torch.empty((), dtype=torch.int64).random_()  # as a DataLoader does when an epoch begins
        if place % sizes.reuse:
            return []
        indices = self.order.of(epoch, place // sizes.reuse)
        own = sizes.generation_rows // sizes.layout.world
        start = sizes.layout.rank * own
        return [self.prompts[index] for index in indices[start : start + own]]

    def _safe(self, chosen: Sequence[int], micro: int) -> dict[str, Any]:
        layout = self.sizes.layout
        start = (micro * layout.world + layout.rank) * layout.micro_batch
        assert self.safe is not None, "a safe row was drawn without safe data"
        batch = self.collate([self.safe[index] for index in chosen[start : start + layout.micro_batch]])
        return {**batch, SAFE: torch.ones_like(batch["input_ids"], dtype=torch.bool)}
