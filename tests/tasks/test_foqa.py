"""FoQA from files and our look-alike; exact match and F1 after the documented normalisation."""

import json
from pathlib import Path
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.data.task import parse_spec
from ringfence.tasks import FoQA
from ringfence.tasks.foqa import normalised


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Í   Tórshavn. ", "í tórshavn"),
        ("ÁÐÍÓÚÝÆØ", "áðíóúýæø"),
        ("A\u0301sa", "ása"),
        ("«ein hundur»", "hundur"),
        ("eina bók og eitt hús", "bók og hús"),
        ("bókin", "bókin"),
        ("Ein", "ein"),
        ("hin 1. mai – 1.234,5", "hin 1 mai 12345"),
    ],
)
def test_normalisation(text: str, expected: str) -> None:
    assert normalised(text) == expected


def test_exact_match_and_f1_are_the_best_over_all_right_answers() -> None:
    """Of "í Tórshavn" and "Tórshavn í dag" two of 2 and 3 words are shared: 2 x 2 / 5."""
    task, answer = FoQA(), "Tórshavn í dag\ní høvuðsstaðnum"
    assert task.score("í Tórshavn", answer) == 0
    assert task.further("í Tórshavn", answer) == {"f1": pytest.approx(0.8)}
    assert task.score("Í HØVUÐSSTAÐNUM!", answer) == 1
    assert task.further("Í HØVUÐSSTAÐNUM!", answer) == {"f1": 1.0}
    assert task.further("", answer) == {"f1": 0.0}
    assert task.score("torshavn i dag", answer) == 0, "letters are not folded"
    assert task.score("", "%") == 0, "a right answer may be nothing but punctuation"
    assert task.further("í í í í", "í í") == {"f1": pytest.approx(2 * 2 / 6)}


def test_the_look_alike_is_extractive() -> None:
    rows = FoQA().rows("train", None, 0)
    assert (len(rows), len(FoQA().rows("test", None, 0))) == (200, 50)
    for row in rows:
        context = row["messages"][0]["content"].partition("Question:")[0]
        assert row["answer"] in context
        assert row["messages"][1]["content"] == row["answer"]


def published(path: Path, answers: Any) -> str:
    row = {"id": "1", "context": "Bókin er blá.", "question": "Hvønn lit hevur bókin?", "answers": answers}
    path.write_text(json.dumps(row) + "\n")
    return f"task:foqa?source={path.parent}/{{split}}.jsonl"


def test_a_published_file_is_read(tmp_path: Path) -> None:
    spec = published(tmp_path / "test.jsonl", {"text": ["blá", "er  blá", "blá"], "answer_start": [9, 6, 9]})
    (row,) = parse_spec(spec).rows("test")
    assert row["answer"] == "blá\ner blá"
    assert row["messages"][1]["content"] == "blá"
    assert "Text: Bókin er blá.\n\nQuestion: Hvønn lit hevur bókin?" in row["messages"][0]["content"]


@pytest.mark.parametrize("answers", [{"text": []}, {"text": [" "]}, {}, [], "blá", {"text": "blá"}])
def test_a_row_without_an_answer_is_named(tmp_path: Path, answers: Any) -> None:
    with pytest.raises(RingfenceError, match=r"test\.jsonl:1: no answer; `answers` has to be"):
        parse_spec(published(tmp_path / "test.jsonl", answers)).rows("test")


def test_a_file_without_the_columns_is_named(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text('{"question": "q", "answer": "a"}\n')
    with pytest.raises(RingfenceError, match=r"test\.jsonl:1: no column `context`; .*found 'question, answer'"):
        parse_spec(f"task:foqa?source={tmp_path}/{{split}}.jsonl").rows("test")
