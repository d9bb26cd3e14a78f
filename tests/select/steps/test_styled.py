"""Prompts that open as the training data's do."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from candidates import candidate, context, nobody
from project import write_jsonl
from ringfence.core.errors import RingfenceError
from ringfence.select.base import Candidate
from ringfence.select.steps.styled import Styled

ASKED = ("How do I roast rice?", "how  do bees fly?", "How far is it?", "Why?", "Do I need a coat?")
ROWS = [candidate(index, question=question, answer="So.") for index, question in enumerate(ASKED)]


@pytest.fixture
def like(tmp_path: Path) -> str:
    prompts = ("How do I fry an egg?", "How do I boil it?", "Do I peel leeks?", "Why")
    rows = [{"prompt": prompt, "completion": "Glitter."} for prompt in prompts]
    return str(write_jsonl(tmp_path / "target.jsonl", rows))


def kept(like: str, **settings: Any) -> list[Candidate]:
    return list(Styled(like=like, **settings).map(context())(ROWS, nobody).rows)


@pytest.mark.parametrize(
    ("settings", "places"),
    [
        ({}, [0, 1, 4]),
        ({"words": 1}, [0, 1, 2, 4]),  # "Why?" is not "Why"
        ({"words": 3}, [0]),
        ({"least": 2}, [0, 1]),
        ({"keep": "others"}, [2, 3]),
    ],
)
def test_the_first_words_must_agree_case_and_spaces_aside(like: str, settings: Any, places: list[int]) -> None:
    assert kept(like, **settings) == [ROWS[place] for place in places]


def test_who_goes_is_told_with_why(like: str) -> None:
    mapped = Styled(like=like).map(context())(ROWS, nobody)
    assert {one.reason for one in mapped.dropped} == {"opens otherwise"}
    assert len(mapped.rows) + len(mapped.dropped) == len(ROWS)


def test_the_first_user_turn_counts(like: str) -> None:
    turns = [("system", "How do I"), ("user", "Why so?"), ("assistant", "So."), ("user", "How do I fry?")]
    row = Candidate(0, {"messages": [{"role": role, "content": text} for role, text in turns], "origin": "a:1"})
    assert not Styled(like=like).map(context())([row], nobody).rows
    row.conversation["messages"][1]["content"] = "Do I fry?"
    assert Styled(like=like).map(context())([row], nobody).rows == [row]


def test_bad_settings_and_files_raise(like: str, tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"^like: in .*target\.jsonl no opening is shared by 3 prompts; lower"):
        Styled(like=like, least=3).check()
    with pytest.raises(RingfenceError, match=r"nowhere\.jsonl"):
        Styled(like=str(tmp_path / "nowhere.jsonl")).check()
    for wrong in ({"words": 0}, {"least": 0}, {"keep": "none"}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            Styled(like=like, **wrong)
    assert Styled(like=like).inputs() == (like,)
