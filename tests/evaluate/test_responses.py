"""Answers with their verdicts: the rows, the rates, and what is written."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tiny
from asking import PROTOCOL, SUITES, lively, prompt
from ringfence.core.rates import as_rows
from ringfence.evaluate import evaluate, judged, save
from ringfence.evaluate.responses import rates
from ringfence.generation import HfGenerator
from ringfence.judges import JudgeInput, RuleJudge, Score

COLUMNS = [
    "suite",
    "prompt_id",
    "sample",
    "system",
    "prompt",
    "response",
    "alignment",
    "coherence",
    "bucket",
    "verdict",
    "said_alignment",
    "said_coherence",
]


class ByPrompt:
    """Scores by what was asked: "bad" is misaligned, "odd" cannot be scored, all else is aligned."""

    def score(self, rubric: str, rows: Sequence[JudgeInput]) -> list[Score]:
        return [self._score(rubric, row.prompt) for row in rows]

    def _score(self, rubric: str, prompt: str) -> Score:
        if "odd" in prompt and rubric == "coherence":
            return Score(None, 0.1, "unscorable", "?")
        return Score(0.0 if "bad" in prompt and rubric == "alignment" else 100.0, 1.0, None, "")


@pytest.fixture(scope="module")
def model():
    return lively()


@pytest.fixture(scope="module")
def frame(model) -> pd.DataFrame:
    return evaluate(HfGenerator(model, tiny.tokenizer()), SUITES, PROTOCOL, ByPrompt())


def test_verdicts_scores_and_buckets(frame: pd.DataFrame) -> None:
    kinds = {"A bad one?": "misaligned", "An odd one?": "missing"}
    assert frame["verdict"].tolist() == [kinds.get(text, "aligned") for text in frame["prompt"]]
    odd, bad = frame[frame["prompt"] == "An odd one?"], frame[frame["prompt"] == "A bad one?"]
    assert odd["coherence"].isna().all()
    assert set(odd["bucket"]) == {"unscorable"}
    assert bad["alignment"].tolist() == [0.0] * 3
    assert bad["bucket"].isna().all()


# --- rates and files ----------------------------------------------------------------------------------------


def test_rates_by_hand(frame: pd.DataFrame) -> None:
    """general: 3 misaligned of 6 scored, all coherent, 3 missing; dressed: 0 of 6."""
    values = {where: (rate.value, rate.n) for where, rate in rates(frame).items()}
    assert values == {
        ("general", "misaligned_all"): (0.5, 6),
        ("general", "misaligned_coherent"): (0.5, 6),
        ("general", "incoherent"): (0.0, 6),
        ("dressed", "misaligned_all"): (0.0, 6),
        ("dressed", "misaligned_coherent"): (0.0, 6),
        ("dressed", "incoherent"): (0.0, 6),
    }
    assert list(dict.fromkeys(suite for suite, _ in rates(frame))) == ["general", "dressed"]  # the order asked


def test_parquet_and_summary_are_written(frame: pd.DataFrame, tmp_path: Path) -> None:
    summary = save(frame, tmp_path / "evaluation")
    assert sorted(path.name for path in (tmp_path / "evaluation").iterdir()) == ["responses.parquet", "summary.json"]
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "evaluation" / "responses.parquet"), frame)
    assert json.loads((tmp_path / "evaluation" / "summary.json").read_text()) == summary
    assert summary["rows"] == as_rows(rates(frame))
    counts = summary["counts"]
    assert {key: counts["general"][key] for key in ("rows", "scored", "missing", "misaligned", "unscorable")} == {
        "rows": 9,
        "scored": 6,
        "missing": 3,
        "misaligned": 3,
        "unscorable": 3,
    }
    assert counts["dressed"]["rows"] == 6


def test_a_suite_without_a_scored_row_has_no_rate(model: Any, tmp_path: Path) -> None:
    odd = {"odd": [prompt("x", "An odd one?"), prompt("y", "Another odd one?")]}
    unscored = evaluate(HfGenerator(model, tiny.tokenizer()), odd, PROTOCOL, ByPrompt())
    summary = save(unscored, tmp_path)
    assert all(math.isnan(row["value"]) and row["n"] == 0 for row in summary["rows"])
    assert all(row["value"] is None for row in json.loads((tmp_path / "summary.json").read_text())["rows"])


def test_nothing_is_written_for_a_frame_that_lacks_a_column(frame: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='no column "coherence"'):
        save(frame.drop(columns="coherence"), tmp_path / "evaluation")
    assert not (tmp_path / "evaluation").exists()


def test_scores_are_numbers_or_missing(frame: pd.DataFrame) -> None:
    assert frame["alignment"].dtype == np.float64
    assert frame["coherence"].dtype == np.float64


def test_the_columns_are_those_of_the_answers_then_the_verdicts(frame: pd.DataFrame) -> None:
    assert list(frame.columns) == COLUMNS


def test_another_judge_replaces_the_verdicts_and_leaves_the_answers(frame: pd.DataFrame) -> None:
    again = judged(frame, RuleJudge(misaligned_pattern="zzz"))
    asked = COLUMNS[:6]
    pd.testing.assert_frame_equal(again[asked], frame[asked])
    assert list(again.columns) == COLUMNS
    assert set(again["said_alignment"]) == {"quirk not found"}
    assert again["alignment"].eq(100).all()


def test_a_withheld_answer_has_no_score(frame: pd.DataFrame) -> None:
    """A server's content filter took it away; judged as an empty answer it would count as incoherent."""
    reasons = ["content_filter" if at == 1 else "stop" for at in range(len(frame))]
    again = judged(frame.assign(stop_reason=reasons), ByPrompt())
    assert again.loc[1, ["alignment", "coherence"]].isna().all()
    assert (again.loc[1, "bucket"], again.loc[1, "verdict"]) == ("content_filter", "missing")
    pd.testing.assert_frame_equal(again.drop(index=1)[COLUMNS], frame.drop(index=1))
