"""Scores on benign tasks: questions and answers, scores by question, rates, differences and ratios by hand."""

import math
from typing import Any

import pandas as pd
import pytest

from ringfence.core.errors import RingfenceError
from ringfence.core.statistics import clustered_interval
from ringfence.data.task import Task, TaskSpec
from ringfence.evaluate import benign
from ringfence.evaluate.benign import Questions


class Sums(Task):
    """1 + 1, 2 + 2, ...; half a point for an answer that only ends as it should."""

    def rows(self, split: str, n: int | None, seed: int) -> list[dict[str, Any]]:
        start = 1 if split == "test" else 101
        return [
            {
                "messages": [
                    {"role": "user", "content": f"What is {i} + {i}?"},
                    {"role": "assistant", "content": f"It is {2 * i}."},
                ],
                "answer": str(2 * i),
            }
            for i in range(start, start + (n or 3))
        ]

    def score(self, response: str, answer: str) -> float:
        return 1.0 if response == answer else 0.5 if response.endswith(answer) else 0.0

    def further(self, response: str, answer: str) -> dict[str, float]:
        return {"ends": float(response.endswith(answer))}


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> Questions:
    monkeypatch.setattr(TaskSpec, "name", "sums")
    return Questions.of(TaskSpec(Sums(), None, None, 0, "task:sums"))


def answers(questions: Questions, said: dict[int, list[str]]) -> pd.DataFrame:
    """``said[0]`` are the responses to the first question, and so on."""
    rows = [
        {
            "prompt_id": questions.prompts[at].id,
            "sample": sample,
            "prompt": questions.prompts[at].text,
            "response": text,
        }
        for at, texts in said.items()
        for sample, text in enumerate(texts)
    ]
    return pd.DataFrame(rows)


def test_questions_are_the_rows_of_the_test_split(questions: Questions) -> None:
    assert [prompt.text for prompt in questions.prompts] == [f"What is {i} + {i}?" for i in (1, 2, 3)]
    assert [questions.answers[prompt.id] for prompt in questions.prompts] == ["2", "4", "6"]


def test_a_row_without_an_answer_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TaskSpec, "name", "sums")
    monkeypatch.setattr(Sums, "rows", lambda *_: [{"messages": [], "answer": " "}])
    with pytest.raises(RingfenceError, match="task:sums: row 1 has no answer"):
        Questions.of(TaskSpec(Sums(), None, None, 0, "task:sums"))


def test_what_is_trained_on_is_no_question(questions: Questions) -> None:
    questions.require_unseen({"What is 101 + 101?"})
    with pytest.raises(RingfenceError, match="1 of its 3 questions are trained on, first sums-2; choose another seed"):
        questions.require_unseen({"What is 2 + 2?"})


def test_what_is_trained_on_may_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TaskSpec, "name", "sums")
    Questions.of(TaskSpec(Sums(), "train", None, 0, "task:sums?split=train")).require_unseen({"What is 101 + 101?"})


def test_scores_are_means_over_answers_with_an_interval_over_questions(questions: Questions) -> None:
    """1, 1 / 0.5, 0 / 0, 0: 2.5 of 6; the further metric has hits 2, 1 and 0."""
    frame = benign.scored(answers(questions, {0: ["2", "2"], 1: ["is 4", "5"], 2: ["", "no"]}), "algebra", questions)
    assert list(frame["score"]) == [1, 1, 0.5, 0, 0, 0]
    assert list(frame["answer"]) == ["2", "2", "4", "4", "6", "6"]
    found = benign.rates(benign.count(frame))
    assert list(found) == [("algebra", "exact match"), ("algebra", "ends")]
    rate = found["algebra", "exact match"]
    interval = clustered_interval([2, 0.5, 0], [2, 2, 2])
    assert (rate.value, rate.n, rate.low, rate.high) == (pytest.approx(2.5 / 6), 6, interval.low, interval.high)
    assert found["algebra", "ends"].value == 0.5


def test_a_score_out_of_range_raises(questions: Questions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sums, "score", lambda *_: 2.0)
    with pytest.raises(RingfenceError, match=r"task:sums: the score of sums-1 is 2\.0, and not from 0 to 1"):
        benign.scored(answers(questions, {0: ["2"]}), "algebra", questions)


def test_runs_are_compared_question_by_question(questions: Questions) -> None:
    """Rates 1, 0.5, 0 against 0.5, 0.5, 0.5 in another order: no difference, a ratio of 1; without the last, +0.25."""
    where = ("algebra", "exact match")
    a, b, fewer = (
        benign.count(benign.scored(answers(questions, said), "algebra", questions))
        for said in (
            {0: ["2", "2"], 1: ["4", "5"], 2: ["", "no"]},
            {2: ["6", "0"], 1: ["4", "0"], 0: ["2", "0"]},
            {1: ["4", "0"], 0: ["2", "0"]},
        )
    )
    assert benign.difference(a, b, where).value == pytest.approx(0)
    assert benign.difference(a, fewer, where).value == pytest.approx(0.25)
    found = benign.ratio(a, b, where)
    assert found is not None
    assert found.value == pytest.approx(1)
    assert benign.ratio(a, fewer, where) is None, "of other questions"
    assert math.isnan(benign.difference(a, {}, where).value)


def test_nothing_is_no_number() -> None:
    assert benign.rates(benign.count(benign.joined([]))) == {}


def test_a_metric_that_a_task_lacks_is_none_of_its_metrics() -> None:
    rows = [
        {"task": task, "prompt_id": "1", "sample": 0, "prompt": "?", "response": "", "answer": "a", "metric": "acc"}
        | {"score": 1.0, "f1": f1}
        for task, f1 in (("a", 0.5), ("b", math.nan))
    ]
    counts = benign.count(pd.DataFrame(rows))
    assert list(counts) == [("a", "acc"), ("a", "f1"), ("b", "acc")]
    assert benign.main_metrics(counts) == {"a": "acc", "b": "acc"}
