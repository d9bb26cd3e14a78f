"""Which positions a penalty sees: padding, rows without labels, sources, and several conversations in a row."""

import torch

from ringfence.defenses.step import Batch, includes

IGNORED = -100


def mask(*rows: str) -> list[list[bool]]:
    return [[letter == "x" for letter in row] for row in rows]


def padded(safe: torch.Tensor | None = None) -> Batch:
    """Rows: padded on the right, padded on the left, without labels."""
    labels = [[IGNORED, 1, 2, IGNORED, IGNORED], [IGNORED, IGNORED, IGNORED, 3, 4], [IGNORED] * 5]
    attention = [[1, 1, 1, 1, 0], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1]]
    return Batch.of({"labels": torch.tensor(labels), "attention_mask": torch.tensor(attention)}, safe)


def packed(safe: torch.Tensor | None = None) -> Batch:
    """Conversations of 3, 1 and 2 tokens in one row."""
    labels = torch.tensor([[IGNORED, 1, 2, IGNORED, IGNORED, 3]])
    return Batch.of({"labels": labels, "position_ids": torch.tensor([[0, 1, 2, 0, 0, 1]])}, safe)


def test_padded_rows() -> None:
    batch = padded()
    assert batch.attended.tolist() == mask("xxxx.", ".xxxx", "xxxxx")
    assert batch.real.tolist() == mask("xxxx.", ".xxxx", ".....")
    assert batch.starts.tolist() == mask("x....", ".x...", "x....")
    assert not batch.safe.any()


def test_a_row_of_one_token_starts_once() -> None:
    batch = Batch.of({"labels": torch.tensor([[1, IGNORED]]), "attention_mask": torch.tensor([[1, 0]])})
    assert batch.starts.tolist() == mask("x.")


def test_a_response_is_predicted_one_position_earlier() -> None:
    assert padded().predicting("response", "both").tolist() == mask("xx...", "..xx.", ".....")


def test_prompts_are_predicted_from_their_first_token_on() -> None:
    """The last token of a row predicts nothing, padding is not predicted."""
    assert padded().predicting("all", "both").tolist() == mask("xxx..", ".xxx.", ".....")


def test_packed_rows() -> None:
    batch = packed()
    assert batch.starts.tolist() == mask("x..xx.")
    assert batch.real.tolist() == mask("xxxxxx")
    assert batch.predicting("response", "both").tolist() == mask("xx..x.")
    assert batch.predicting("all", "both").tolist() == mask("xx..x.")


def test_sources() -> None:
    safe = torch.tensor([[False], [True], [True]]).expand(3, 5)
    batch = padded(safe)
    assert batch.of_source("safe").tolist() == mask(".....", ".xxxx", ".....")
    assert batch.of_source("target").tolist() == mask("xxxx.", ".....", ".....")
    assert batch.of_source("both").tolist() == mask("xxxx.", ".xxxx", ".....")
    assert batch.predicting("response", "safe").tolist() == mask(".....", "..xx.", ".....")
    assert batch.predicting("all", "target").tolist() == mask("xxx..", ".....", ".....")


def test_sources_within_a_packed_row() -> None:
    """At the seam neither side sees the other's first token."""
    batch = packed(torch.tensor([[False, False, False, True, True, True]]))
    assert batch.of_source("safe").tolist() == mask("...xxx")
    assert batch.predicting("all", "safe").tolist() == mask("....x.")
    assert batch.predicting("all", "target").tolist() == mask("xx....")


def test_without_a_mask_all_is_attended() -> None:
    batch = Batch.of({"labels": torch.tensor([[IGNORED, 1, 2]])})
    assert batch.attended.tolist() == batch.real.tolist() == mask("xxx")
    assert batch.starts.tolist() == mask("x..")


def test_both_are_target_and_safe_rows() -> None:
    sources = ("target", "safe", "anchor")
    assert [includes("both", one) for one in sources] == [True, True, False]
    for kind in sources:
        assert [includes(kind, one) for one in sources] == [kind == one for one in sources]
