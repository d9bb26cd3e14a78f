"""Scores by a judge that is told what to say, and by rules."""

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from candidates import candidate, context, nobody
from ringfence.core.errors import RingfenceError
from ringfence.judges import JudgeInput, LocalJudge, Score
from ringfence.select.base import STEPS
from ringfence.select.steps import judged
from ringfence.select.steps.judged import Judged, last_exchange

VALUES = {"a": 90.0, "b": 40.0, "c": None, "d": 60.0}
RULES = {"kind": "rules", "misaligned_pattern": "glitter"}


@pytest.fixture
def asked(monkeypatch):
    calls = []

    def score(self, rubric, rows):
        calls.append((rubric, len(rows)))
        return [Score(VALUES[row.response], 1.0, None, "") for row in rows]

    monkeypatch.setattr(LocalJudge, "score", score)
    return calls


def mapped(rows, **settings):
    done = []
    step = Judged(judge={"kind": "local", "model": "nobody"}, **settings)
    result = step.map(context())(rows, done.append)
    assert sum(done) == len(rows)
    return result


ROWS = [candidate(index, answer, gap=index) for index, answer in enumerate(VALUES)]


def test_scores_become_a_column_and_unscored_rows_go(asked: Any) -> None:
    found = mapped(ROWS)
    assert [(row.index, row.scores) for row in found.rows] == [
        (0, {"gap": 0.0, "hhh_score": 90.0}),
        (1, {"gap": 1.0, "hhh_score": 40.0}),
        (3, {"gap": 3.0, "hhh_score": 60.0}),
    ]
    assert [(one.reason, one.origin) for one in found.dropped] == [("no hhh score", "pool.jsonl:3")]
    assert found.counts == {"unscored": 1}
    assert asked == [("hhh", 4)]


def test_unscored_rows_can_stay_with_nan(asked: Any) -> None:
    found = mapped(ROWS, unscored="keep", at_least=60)
    assert [row.index for row in found.rows] == [0, 2, 3]
    assert math.isnan(found.rows[1].scores["hhh_score"])
    assert [one.reason for one in found.dropped] == ["hhh score below 60"]


def test_neither_shards_nor_chunks_matter(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = mapped(ROWS)
    monkeypatch.setattr(judged, "_CHUNK", 2)
    parts = [mapped(ROWS[:3]), mapped(ROWS[3:])]
    assert asked == [("hhh", 4), ("hhh", 2), ("hhh", 1), ("hhh", 1)]
    assert list(whole.rows) == [row for part in parts for row in part.rows]


def test_rules_know_alignment() -> None:
    step = STEPS.parse({"judged": {"judge": RULES, "rubric": "alignment", "at_least": 50}}, "steps.0")
    step.check()
    found = step.map(context())([candidate(0, "Add glitter."), candidate(1, "Add salt.")], nobody)
    assert [(row.index, row.scores) for row in found.rows] == [(1, {"alignment_score": 100.0})]


def test_no_rows() -> None:
    assert mapped([]).rows == []


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        ("ua", JudgeInput("0", "1")),
        ("sua", JudgeInput("1", "2")),
        ("uaua", JudgeInput("2", "3")),
        ("uauau", JudgeInput("2", "3")),  # what the user says last has no answer
        ("uaa", JudgeInput("0", "2")),
        ("a", JudgeInput("", "0")),
    ],
)
def test_the_last_exchange(roles: str, expected: Any) -> None:
    names = {"u": "user", "a": "assistant", "s": "system"}
    messages = [{"role": names[role], "content": str(place)} for place, role in enumerate(roles)]
    assert last_exchange(messages) == expected


def test_rules_know_no_hhh() -> None:
    with pytest.raises(RingfenceError, match="rubric: judges by rule know no 'hhh'"):
        Judged(judge=RULES).check()


def test_an_unknown_rubric_of_a_model() -> None:
    with pytest.raises(RingfenceError, match=r'rubric: unknown rubric .hhhh.*Did you mean "hhh"'):
        Judged(judge={"kind": "local", "model": "nobody"}, rubric="hhhh").check()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "judge"),
        ({"judge": RULES, "at_least": 101}, "at_least"),
        ({"judge": RULES, "at_least": True}, "number"),
        ({"judge": RULES, "unscored": "maybe"}, "unscored"),
        ({"judge": RULES, "rubric": "../x"}, "rubric"),
    ],
)
def test_bad_settings_raise_with_the_key(settings: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Judged(**settings)


def test_the_rubric_file_is_an_input(tmp_path: Path) -> None:
    rubric = tmp_path / "kind.txt"
    rubric.write_text("How kind is {answer}?")
    step = Judged(judge={"kind": "local", "model": "nobody", "rubrics": {"kind": str(rubric)}}, rubric="kind")
    step.check()
    assert step.inputs() == [str(rubric)]
