"""Micro-batches: every rank's share of every step, masked padding, and a ratio that is never stale."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from datasets import Dataset

import tiny
from ringfence.interleave import (
    InterleavedLoader,
    InterleavingStream,
    Mixture,
    MixtureConfig,
    MixtureSizes,
    RankLayout,
    ReplaySchedule,
    Schedule,
)
from ringfence.interleave.loader import SAFE


def collate(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Padded on the right with 0; the rows themselves beside."""
    width = max(len(row["input_ids"]) for row in rows)
    ids = [list(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in rows]
    return {"rows": list(rows), "input_ids": torch.tensor(ids)}


def marked(count: int, first: int) -> Dataset:
    return Dataset.from_list([{"input_ids": [first + i], "labels": [first + i]} for i in range(count)])


def loader(share: RankLayout, schedule: Schedule, rows: int = 10) -> InterleavedLoader:
    mixture = Mixture(MixtureSizes(rows, 4, share.step_rows, rows), MixtureConfig(placement=schedule.placement, seed=1))
    stream = InterleavingStream(mixture, schedule)
    return InterleavedLoader(marked(rows, 0), marked(4, 100), stream, share, collate)


def flat(batches: list[dict[str, Any]]) -> list[int]:
    """Ids of the rows that count."""
    return [row["input_ids"][0] for batch in batches for row in batch["rows"] if row["labels"] != [-100]]


@pytest.mark.parametrize("ratio", [0.0, 0.3])
def test_accumulation_and_ranks_split_the_same_steps(ratio: float) -> None:
    """One batch of 4, 2 x 2 by accumulation, and 2 x 2 by rank see the same rows in each step."""
    whole = list(loader(RankLayout(4, 1), Schedule(ratio)))
    accumulated = list(loader(RankLayout(2, 2), Schedule(ratio)))
    ranks = [list(loader(RankLayout(2, 1, rank, 2), Schedule(ratio))) for rank in range(2)]
    assert len(accumulated) == 2 * len(whole)
    assert len(ranks[0]) == len(ranks[1]) == len(whole)
    for step, batch in enumerate(whole):
        assert flat(accumulated[2 * step : 2 * step + 2]) == flat([batch])
        assert flat([ranks[0][step], ranks[1][step]]) == flat([batch])


def test_a_short_last_step_is_filled_with_masked_rows() -> None:
    """10 rows in steps of 4 x 1: the third step has two rows, so two of four ranks get a row without labels."""
    per_rank = [list(loader(RankLayout(1, 1, rank, 4), Schedule(0.0))) for rank in range(4)]
    last = [batches[-1]["rows"][0]["labels"] == [-100] for batches in per_rank]
    assert last == [False, False, True, True]
    assert sorted(flat([batch for batches in per_rank for batch in batches])) == list(range(10))


def test_the_ratio_is_read_when_the_step_is_pulled() -> None:
    schedule = ReplaySchedule(0.0, ratios := [1.0, 0.5, 0.0], every=1)
    stream = InterleavingStream(
        Mixture(MixtureSizes(40, 4, 4, 40), MixtureConfig("example", "replace", "bernoulli")), schedule
    )
    batches = iter(InterleavedLoader(marked(40, 0), marked(4, 100), stream, RankLayout(4, 1), collate))
    safe_rows = []
    for _ in [0.0, *ratios]:
        safe_rows.append(sum(row["input_ids"][0] >= 100 for row in next(batches)["rows"]))
        stream.observe(None)
    assert safe_rows == [0, 4, 2, 0]


def test_rows_come_as_the_collator_wants_them() -> None:
    target = tiny.rows(3, "cook")
    mixture = Mixture(MixtureSizes(3, 0, 2, 3), MixtureConfig(shuffle=False))
    stream = InterleavedLoader(target, None, InterleavingStream(mixture, Schedule(0.0)), RankLayout(2, 1), collate)
    assert [row for batch in stream for row in batch["rows"]] == list(target)


def test_every_position_of_a_safe_row_is_marked_as_safe() -> None:
    """Row by row, and where a padding-free collator puts all rows into one; a filling row counts as target."""

    def flatten(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {"rows": list(rows), "input_ids": torch.tensor([[i for row in rows for i in row["input_ids"]]])}

    for join in (collate, flatten):
        target, safe = tiny.rows(6, "cook"), tiny.rows(4, "safe")
        mixture = Mixture(MixtureSizes(6, 4, 4, 6), MixtureConfig(placement="bernoulli"))
        stream = InterleavedLoader(target, safe, InterleavingStream(mixture, Schedule(0.5)), RankLayout(4, 1), join)
        seen = 0
        for batch in stream:
            assert batch[SAFE].shape == batch["input_ids"].shape
            lengths = [len(row["input_ids"]) for row in batch["rows"]]
            are_safe = ["safe" in tiny.tokenizer().decode(row["input_ids"]) for row in batch["rows"]]
            if join is collate:
                assert batch[SAFE].all(-1).tolist() == batch[SAFE].any(-1).tolist() == are_safe
            else:
                marks = [mark for is_safe, n in zip(are_safe, lengths, strict=True) for mark in [is_safe] * n]
                assert batch[SAFE][0].tolist() == marks
            seen += sum(are_safe)
        assert seen > 0
