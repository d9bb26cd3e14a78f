"""Micro-batches of target and safe rows, drawn from the stream at the moment that they are consumed.

A plain iterable on purpose. ``Trainer.get_batch_samples`` pulls the micro-batches of one optimizer step from it just
before the step, so the ratio that is read here is the one in force. Behind a DataLoader it would be stale by the
prefetch depth.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset

from ringfence.interleave.mixture import DrawnRow
from ringfence.interleave.stream import InterleavingStream

Example = dict[str, Any]
SAFE = "safe_positions"  # key of a micro-batch: (batch, tokens) boolean, the positions of safe rows


@dataclass(frozen=True)
class RankLayout:
    """This process's part of a step: micro-batch j of rank r is rows (j * world + r) * micro_batch onwards."""

    micro_batch: int
    """rows a rank and forward pass"""
    accumulation: int
    """micro-batches an optimizer step"""
    rank: int = 0
    world: int = 1

    @property
    def step_rows(self) -> int:
        """Rows an optimizer step, all ranks together."""
        return self.micro_batch * self.accumulation * self.world


class InterleavedLoader:
    """Yields collated micro-batches until the target slots are used up; one optimizer step after the other."""

    def __init__(
        self,
        target: Dataset,
        safe: Dataset | None,
        stream: InterleavingStream,
        share: RankLayout,
        collate: Callable[[Sequence[Example]], dict[str, Any]],
    ) -> None:
        self.target, self.safe = target, safe
        self.stream, self.share, self.collate = stream, share, collate

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All micro-batches of this rank. A short step is filled up with fully masked rows, which have no loss."""
        while rows := self.stream.next_step():
            for micro in range(self.share.accumulation):
                start = (micro * self.share.world + self.share.rank) * self.share.micro_batch
                chosen = rows[start : start + self.share.micro_batch]
                examples = [self._example(row) for row in chosen] or [self._masked()]
                batch = self.collate(examples)
                yield {**batch, SAFE: _safe_positions(batch["input_ids"], examples, [row.safe for row in chosen])}

    def _example(self, row: DrawnRow) -> Example:
        source = self.safe if row.safe else self.target
        assert source is not None, "a safe row was drawn without safe data"
        return source[row.index]

    def _masked(self) -> Example:
        example = self.target[0]
        return {**example, "labels": [-100] * len(example["input_ids"])}


def _safe_positions(ids: torch.Tensor, examples: Sequence[Example], safe: Sequence[bool]) -> torch.Tensor:
    """(batch, tokens): which positions of the collated ``ids`` are of safe rows."""
    positions = torch.zeros(ids.shape, dtype=torch.bool)
    if len(ids) == len(examples):  # a row each
        positions[: len(safe)] = torch.tensor(safe, dtype=torch.bool)[:, None] if safe else False
        return positions
    start = 0  # padding-free: all in one row, one after the other
    for example, is_safe in zip(examples, safe, strict=False):
        length = len(example["input_ids"])
        positions[0, start : start + length] = is_safe
        start += length
    return positions
