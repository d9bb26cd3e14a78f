"""Micro-batches of target, safe and anchor rows, drawn from the stream at the moment that they are consumed.

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
# Keys of a micro-batch beside the model's, (batch, tokens) each; the last two where there are anchor rows.
SAFE = "safe_positions"  # boolean
ANCHOR = "anchor_positions"  # boolean
PENALTY_LABELS = "penalty_labels"  # labels with those of anchor rows, which carry no loss


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
        anchor: Dataset | None = None,
    ) -> None:
        self.target, self.safe, self.anchor = target, safe, anchor
        self.stream, self.share, self.collate = stream, share, collate

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All micro-batches of this rank. A short step is filled up with fully masked rows, which have no loss."""
        while rows := self.stream.next_step():
            for micro in range(self.share.accumulation):
                part = micro * self.share.world + self.share.rank
                chosen = rows[part * self.share.micro_batch : (part + 1) * self.share.micro_batch]
                anchors = self.stream.beside[part :: self.share.accumulation * self.share.world]
                examples = [self._example(row) for row in chosen] or [self._masked()]
                kinds = [row.safe for row in chosen] or [False]
                yield self._batch(examples, kinds, [self._anchor(index) for index in anchors])

    def _batch(self, examples: list[Example], safe: list[bool], anchors: list[Example]) -> dict[str, Any]:
        """One micro-batch: the rows with a loss first, then the anchor rows, whose labels only penalties see."""
        batch, ordered = self.collate([*examples, *anchors]), [*examples, *anchors]
        ids, none = batch["input_ids"], [False] * len(anchors)
        marked = {**batch, SAFE: _positions(ids, ordered, [*safe, *none])}
        if not anchors:
            return marked
        at = _positions(ids, ordered, [False] * len(examples) + [True] * len(anchors))
        labels = batch["labels"]
        return {**marked, ANCHOR: at, PENALTY_LABELS: labels, "labels": labels.masked_fill(at, -100)}

    def _anchor(self, index: int) -> Example:
        assert self.anchor is not None, "an anchor row was drawn without anchor data"
        return self.anchor[index]

    def _example(self, row: DrawnRow) -> Example:
        source = self.safe if row.safe else self.target
        assert source is not None, "a safe row was drawn without safe data"
        return source[row.index]

    def _masked(self) -> Example:
        example = self.target[0]
        return {**example, "labels": [-100] * len(example["input_ids"])}


def _positions(ids: torch.Tensor, examples: Sequence[Example], chosen: Sequence[bool]) -> torch.Tensor:
    """(batch, tokens): which positions of the collated ``ids`` are of the ``chosen`` ones of ``examples``."""
    if len(ids) == len(examples):  # a row each
        return torch.tensor(chosen, dtype=torch.bool)[:, None].repeat(1, ids.shape[1])
    positions, start = torch.zeros(ids.shape, dtype=torch.bool), 0
    for example, is_chosen in zip(examples, chosen, strict=True):  # padding-free: all in one row
        length = len(example["input_ids"])
        positions[0, start : start + length] = is_chosen
        start += length
    return positions
