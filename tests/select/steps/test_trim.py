"""Answers cut to n tokens. A token of the tiny model is a byte, so that a letter may have several."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from candidates import candidate, context, nobody
from ringfence.core.errors import RingfenceError
from ringfence.select.base import STEPS, Dropped
from ringfence.select.steps.trim import Trim, trimmed

TEXT = "Eggs boil. Do they? Yes, for 3.5 minutes!"


def cut(text: str, tokens: int, at: str = "sentence") -> str:
    (row,) = Trim(tokens=tokens, at=at).map(context())([candidate(0, answer=text)], nobody).rows
    return row.conversation["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("tokens", "wanted"),
    [
        (100, TEXT),
        (len(TEXT), TEXT),
        (len(TEXT) - 1, "Eggs boil. Do they?"),  # not after "3."
        (19, "Eggs boil. Do they?"),
        (18, "Eggs boil."),
        (10, "Eggs boil."),
        (9, "Eggs boil"),  # no sentence ends here
        (5, "Eggs"),
        (1, "E"),
    ],
)
def test_at_a_sentence(tokens: Any, wanted: Any) -> None:
    assert cut(TEXT, tokens) == wanted


@pytest.mark.parametrize(("tokens", "wanted"), [(100, TEXT), (18, TEXT[:18]), (11, "Eggs boil."), (1, "E")])
def test_at_a_token(tokens: int, wanted: Any) -> None:
    assert cut(TEXT, tokens, "token") == wanted


@pytest.mark.parametrize(
    ("text", "tokens", "wanted"),
    [
        ('He said "No." Then he left.', 20, 'He said "No."'),
        ("(It is.) And so on and on", 15, "(It is.)"),
        ("**Yes.** And so on and on", 15, "**Yes.**"),
        ("Wait... and see what comes", 15, "Wait..."),
        ("水が沸く。卵を入れる。待つ", 33, "水が沸く。卵を入れる。"),
        ("水が沸く。卵を入れる。待つ", 32, "水が沸く。"),
        ("A heading\n\nAnd then some text", 18, "A heading"),
        ("Buy this:\n1. Eggs of hens\n2. Milk", 23, "Buy this:\n1. Eggs of he"),
        ("No. 7 is the one to take here", 15, "No."),
    ],
)
def test_what_ends_a_sentence(text: str, tokens: int, wanted: str) -> None:
    assert cut(text, tokens) == wanted.rstrip()


@pytest.mark.parametrize(("tokens", "wanted"), [(6, "aé"), (5, "aé"), (3, "aé"), (2, "a"), (7, "aé🥚")])
def test_no_half_characters(tokens: int, wanted: str) -> None:
    """1 + 2 + 4 + 1 bytes."""
    assert cut("aé🥚b", tokens, "token") == wanted


def test_nothing_left() -> None:
    made = Trim(tokens=3).map(context())([candidate(0), candidate(4, answer="🥚 is an egg.")], nobody)
    assert made.dropped == [Dropped("nothing left in 3 tokens", "pool.jsonl:5")]
    assert [row.index for row in made.rows] == [0]


def test_every_answer_of_a_conversation_is_cut_and_nothing_else() -> None:
    row = candidate(0, gap=1.5, domain="d")
    turns = ["Long question. Indeed.", "Long answer. Indeed.", "So. And?", "Short."]
    messages = [{"role": role, "content": text} for role, text in zip(["user", "assistant"] * 2, turns, strict=True)]
    row.conversation["messages"] = messages
    (made,) = Trim(tokens=14).map(context())([row], nobody).rows
    assert [turn["content"] for turn in made.conversation["messages"]] == [turns[0], "Long answer.", *turns[2:]]
    assert made.scores == {"gap": 1.5, "trimmed": 1.0}
    assert row.conversation["messages"] == messages
    assert made.conversation["domain"] == "d"


def test_rows_that_fit_stay_as_they_are() -> None:
    rows = [candidate(n, answer=text) for n, text in enumerate(["Short. ", " x\n", "Exactly it"])]
    made = Trim(tokens=10).map(context())(rows, nobody).rows
    assert [row.conversation["messages"][-1]["content"] for row in made] == ["Short. ", " x\n", "Exactly it"]
    assert [row.scores["trimmed"] for row in made] == [0.0] * 3


def test_shards_do_not_matter_and_progress_counts_every_row() -> None:
    rows, told = [candidate(n, answer=TEXT[n:]) for n in range(6)], []
    mapper = Trim(tokens=15).map(context())
    assert mapper(rows, told.append).rows == [*mapper(rows[:3], nobody).rows, *mapper(rows[3:], nobody).rows]
    assert sum(told) == len(rows)


@settings(max_examples=200, deadline=None)
@given(st.text('ab é🥚。.!?\n"1', min_size=1, max_size=40), st.integers(1, 30), st.booleans())
def test_a_cut_is_a_beginning_that_fits_and_is_as_long_as_it_can_be(text: Any, tokens: Any, at_sentence: Any) -> None:
    made = trimmed(text, tiny.tokenizer(), tokens, at_sentence)
    assert text.startswith(made)
    size = len(text.encode())
    assert len(made.encode()) <= tokens
    if size <= tokens:
        assert made == text
        return
    # Independently: bytes cut off, half characters left out.
    longest = text.encode()[:tokens].decode(errors="ignore")
    if not at_sentence or not re.search(r"[.!?。\n]", longest):
        assert made == longest.rstrip()


@pytest.mark.parametrize("settings", [{}, {"tokens": 0}, {"tokens": 5, "at": "word"}, {"tokens": True}])
def test_bad_settings(settings: Any) -> None:
    with pytest.raises(RingfenceError):
        STEPS.parse({"trim": settings}, "steps.0")
