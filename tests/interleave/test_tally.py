"""Conversations, tokens and labels of the rows that were drawn, against sums over lists."""

from datasets import Dataset
from trl import pack_dataset

import tiny
from ringfence.interleave.tally import RowCounts, Tally


def naive(rows: list[dict[str, list[int]]]) -> tuple[int, int, int]:
    """A label on the first token of a conversation is never predicted."""
    labels = sum(label != -100 for row in rows for label in row["labels"][1:])
    return len(rows), sum(len(row["input_ids"]) for row in rows), labels


def counted(dataset: Dataset, rows: list[int]) -> tuple[int, int, int]:
    counts, tally = RowCounts.of(dataset), Tally()
    assert counts is not None
    tally.add(counts, rows)
    return tally.conversations, tally.tokens, tally.labels


def everywhere(dataset: Dataset) -> Dataset:
    """With a label on every token, the first ones too."""
    return dataset.map(lambda row: {"labels": row["input_ids"]})


def test_rows_count_as_often_as_they_are_drawn() -> None:
    for dataset in (tiny.rows(7, "cook"), everywhere(tiny.rows(7, "cook")), tiny.rows(9, "cook").select([8, 1, 2])):
        drawn = [0, 2, 2, 1]
        assert counted(dataset, drawn) == naive([dataset[index] for index in drawn])
    assert counted(tiny.rows(3, "cook"), []) == (0, 0, 0)


def test_of_packed_rows_the_conversations_count() -> None:
    for rows in (tiny.rows(1200, "cook"), everywhere(tiny.rows(1200, "cook"))):
        packed = pack_dataset(rows, 200, "bfd")
        assert len(packed) < 1200 / 2
        assert counted(packed, list(range(len(packed)))) == naive(list(rows))


def test_rows_that_are_not_tokenised_are_not_counted() -> None:
    assert RowCounts.of(Dataset.from_list([{"text": "a"}])) is None
