"""Single files of a run folder: types by column, absent as empty, damage with its place."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ringfence.core.errors import RingfenceError
from ringfence.core.run_folder import CONDITIONAL_COLUMNS, RATE_COLUMNS, RESPONSE_COLUMNS
from ringfence.report import reading


def test_numbers_are_floats_and_the_rest_are_objects(tmp_path: Path) -> None:
    """Null is NaN in a column of numbers and None in one of texts; what a row does not have is the same."""
    rows: list[dict[str, Any]] = [
        {"suite": "a", "metric": "m", "value": None, "low": 0, "high": 1.5, "n": 3, "more": 1},
        {"suite": None, "metric": "m", "value": 1},
    ]
    table = reading.as_table(rows, RATE_COLUMNS, tmp_path / "x")
    assert list(table.columns) == list(RATE_COLUMNS)
    assert list(table["suite"]) == ["a", None]
    assert table["n"].dtype == float
    assert math.isnan(table["value"][0])
    assert math.isnan(table["n"][1])
    assert reading.as_table([], RATE_COLUMNS, tmp_path).shape == (0, 6)
    with pytest.raises(RingfenceError, match=r'x: "n" must hold numbers or null'):
        reading.as_table([rows[0] | {"n": "three"}], RATE_COLUMNS, tmp_path / "x")


def test_a_journal_has_what_it_must_have_and_may_have_more(tmp_path: Path) -> None:
    path = tmp_path / "control.jsonl"
    assert reading.read_journal(path, ("step",), ("held",)).empty
    path.write_text('{"step": 1, "other": 2}\n{"step": 2, "held": "rows"}\n{"st')
    table = reading.read_journal(path, ("step",), ("held",))
    assert table.to_dict("list") == {"step": [1.0, 2.0], "held": [None, "rows"]}
    path.write_text('{"step": 1}\n{"held": "x"}\n')
    with pytest.raises(RingfenceError, match=r'control\.jsonl:2: no key "step"'):
        reading.read_journal(path, ("step",), ())


def test_a_file_that_is_not_there_is_empty_and_a_damaged_one_names_the_place(tmp_path: Path) -> None:
    summary, gaps, responses = (tmp_path / name for name in ("summary.json", "conditional.json", "responses.parquet"))
    assert reading.read_summary(summary) == {"rows": [], "counts": {}}
    assert list(reading.read_conditional(gaps).columns) == [*CONDITIONAL_COLUMNS, "dropped"]
    assert list(reading.read_responses(responses).columns) == list(RESPONSE_COLUMNS)
    summary.write_text(json.dumps({"rows": [dict.fromkeys(RATE_COLUMNS), {"suite": "a"}], "counts": {}}))
    with pytest.raises(RingfenceError, match=r'summary\.json: rows\[1\]: no key "metric"'):
        reading.read_summary(summary)
    gaps.write_text(json.dumps({"gaps": [3]}))
    with pytest.raises(RingfenceError, match=r"conditional\.json: gaps\[0\]: expected a JSON object, found int"):
        reading.read_conditional(gaps)
    responses.write_bytes(b"PAR1")
    with pytest.raises(RingfenceError, match=r"responses\.parquet: not a readable parquet file; evaluate"):
        reading.read_responses(responses)


def test_answers_come_in_our_columns_and_order(tmp_path: Path) -> None:
    path, row = tmp_path / "responses.parquet", dict.fromkeys(reversed(RESPONSE_COLUMNS), "x")
    row |= {"alignment": None, "coherence": 3, "bucket": None, "sample": 0, "extra": "y"}
    pd.DataFrame([row], index=[7]).to_parquet(path)
    table = reading.read_responses(path)
    assert list(table.columns) == list(RESPONSE_COLUMNS)
    assert list(table.index) == [0]
    assert math.isnan(table["alignment"][0])
    assert table["bucket"][0] is None
    pd.DataFrame([row]).drop(columns="verdict").to_parquet(path)
    with pytest.raises(RingfenceError, match=r'no column "verdict" \(it has bucket, '):
        reading.read_responses(path)


def test_a_projection_is_one_that_changed_a_layer(tmp_path: Path) -> None:
    layers = [{"layer": name, "projected": name == "q"} for name in "vqk"]
    assert reading.projected({"safe_lora": layers}, tmp_path)
    assert not reading.projected({"safe_lora": layers[:1]}, tmp_path)
    assert not reading.projected({}, tmp_path)
    with pytest.raises(RingfenceError, match=r'x: "safe_lora" must be a list, found dict; train again'):
        reading.projected({"safe_lora": {}}, tmp_path / "x")
