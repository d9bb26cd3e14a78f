"""What training consumed, counted by hand: what cannot be told is NaN, and never a wrong number."""

import math
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainingArguments

from ringfence.interleave.mixture import Counters
from ringfence.interleave.tally import RowCounts, Tally
from ringfence.train.consumed import consumed
from tiny import rows
from training import arguments

TOLD = {"target": True, "safe": True}


def counters() -> Counters:
    """Four steps at ratios 0, 0.25, 0.25 and 0.5; 7 target rows, in which 12 conversations are packed, and 3 safe."""
    return Counters(4, 7, 7, 3, 0 + 0.25 + 0.25 + 0.5, target=Tally(12, 500, 200), safe=Tally(3, 60, 40))


def test_by_hand(tmp_path: Path) -> None:
    assert consumed(counters(), arguments(tmp_path), TOLD) == {
        "steps": 4,
        "target_rows": 7,
        "safe_rows": 3,
        "safe_fraction": 0.3,
        "target_tokens": 500,
        "target_labels": 200,
        "safe_tokens": 60,
        "safe_labels": 40,
        "mean_ratio": 0.25,
    }


def test_tokens_are_those_of_the_rows(tmp_path: Path) -> None:
    """A row that comes twice counts twice; no first token carries a label here, so every label counts."""
    data, drawn, seen = rows(6, "river"), [0, 5, 5, 2], Counters(step=1, target_rows=4)
    counts = RowCounts.of(data)
    assert counts is not None
    seen.target.add(counts, drawn)
    found = consumed(seen, arguments(tmp_path), TOLD)
    assert found["target_tokens"] == sum(len(data[index]["input_ids"]) for index in drawn)
    assert found["target_labels"] == sum(label != -100 for index in drawn for label in data[index]["labels"])
    assert (found["safe_tokens"], found["safe_labels"], found["safe_fraction"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("changes", "target_rows", "fraction"),
    [
        ({}, 7, 3 / 10),
        ({"packing_strategy": "wrapped"}, 7, 3 / 10),  # which is of no effect without packing
        ({"packing": True, "packing_strategy": "bfd"}, 12, 3 / 15),
        ({"packing": True, "packing_strategy": "wrapped"}, math.nan, math.nan),
    ],
)
def test_packed_rows_are_conversations(
    tmp_path: Path, changes: dict[str, Any], target_rows: float, fraction: float
) -> None:
    found = consumed(counters(), arguments(tmp_path, **changes), TOLD)
    assert found["target_rows"] == pytest.approx(target_rows, nan_ok=True)
    assert found["safe_fraction"] == pytest.approx(fraction, nan_ok=True)
    assert (found["target_tokens"], found["safe_rows"]) == (500, 3)


def test_tokens_are_unknown_where_rows_are_not_tokenised(tmp_path: Path) -> None:
    found = consumed(counters(), arguments(tmp_path), {"target": False, "safe": False})
    unknown = {name for name, value in found.items() if math.isnan(value)}
    assert unknown == {"target_tokens", "target_labels", "safe_tokens", "safe_labels"}


def test_nothing_consumed_has_no_fraction_and_no_mean(tmp_path: Path) -> None:
    found = consumed(Counters(), arguments(tmp_path), TOLD)
    assert {name for name, value in found.items() if math.isnan(value)} == {"safe_fraction", "mean_ratio"}
    assert sum(value for value in found.values() if not math.isnan(value)) == 0


def test_arguments_of_another_trainer_pack_nothing(tmp_path: Path) -> None:
    assert consumed(counters(), TrainingArguments(str(tmp_path), use_cpu=True), TOLD)["target_rows"] == 7
