"""Token counts of both sides, and rows kept by them. A token of the tiny model is a byte."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tiny
from candidates import candidate, context, nobody
from ringfence.core.errors import RingfenceError
from ringfence.select.base import STEPS, Candidate, Context, Dropped
from ringfence.select.steps.lengths import Lengths, token_count, tokenizer_of

ROWS = [candidate(n, question="Q" * (n + 1), answer="A" * (10 - n), gap=n) for n in range(6)]


def with_messages(*turns: tuple[str, str]) -> Candidate:
    row = candidate(0)
    messages = [{"role": role, "content": content} for role, content in turns]
    return replace(row, conversation=row.conversation | {"messages": messages})


def test_counts_are_bytes_of_what_each_side_says() -> None:
    row = with_messages(("system", "Be so."), ("user", "Hé"), ("assistant", "Ja."), ("user", "So?"), ("assistant", "ö"))
    counts = [
        token_count(row.conversation, tiny.tokenizer(), side, "template_default") for side in ("user", "assistant")
    ]
    assert counts == [3 + 3, 3 + 2]
    (counted,) = Lengths().map(context())([row], nobody).rows
    assert counted.scores == {"user_tokens": 6.0, "assistant_tokens": 5.0}
    assert counted.conversation is row.conversation


def test_a_side_that_says_nothing_has_none() -> None:
    (counted,) = Lengths().map(context())([with_messages(("assistant", "Hello."))], nobody).rows
    assert counted.scores == {"user_tokens": 0.0, "assistant_tokens": 6.0}


def test_both_bounds_are_allowed() -> None:
    made = Lengths(user=(2, 4), assistant=(None, 8)).map(context())(ROWS, nobody)
    assert [row.index for row in made.rows] == [2, 3]
    assert [row.scores for row in made.rows] == [
        {"gap": n, "user_tokens": n + 1.0, "assistant_tokens": 10.0 - n} for n in (2, 3)
    ]
    assert made.dropped == [
        Dropped("fewer than 2 user tokens", "pool.jsonl:1"),
        Dropped("more than 8 assistant tokens", "pool.jsonl:2"),
        Dropped("more than 4 user tokens", "pool.jsonl:5"),
        Dropped("more than 4 user tokens", "pool.jsonl:6"),
    ]


def test_a_bound_of_0_is_a_bound() -> None:
    made = Lengths(user=(None, 0)).map(context())([*ROWS[:1], with_messages(("assistant", "Hello."))], nobody)
    assert [row.scores["user_tokens"] for row in made.rows] == [0.0]


def test_shards_do_not_matter_and_progress_counts_every_row() -> None:
    step, told = Lengths(user=(2, 4)), []
    whole = step.map(context())(ROWS, told.append)
    halves = [step.map(context())(part, nobody) for part in (ROWS[:3], ROWS[3:])]
    assert whole.rows == [*halves[0].rows, *halves[1].rows]
    assert whole.dropped == [*halves[0].dropped, *halves[1].dropped]
    assert sum(told) == len(ROWS)


def test_a_count_is_made_anew() -> None:
    (row,) = Lengths().map(context())([candidate(0, assistant_tokens=99)], nobody).rows
    assert row.scores["assistant_tokens"] == len("Yes.")


def test_only_the_tokenizer_is_loaded(tmp_path: Path) -> None:
    tiny.tokenizer().save_pretrained(tmp_path)
    made = Context(model=str(tmp_path))  # a folder without weights
    assert tokenizer_of(made).encode("é") == tiny.tokenizer().encode("é")
    assert "loaded" not in vars(made)


def test_a_row_that_cannot_be_rendered_is_named() -> None:
    made = context()
    tokenizer = tiny.tokenizer().__class__(tokenizer_object=tiny.tokenizer().backend_tokenizer)
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}{% endfor %}"
    vars(made)["loaded"] = replace(made.loaded, tokenizer=tokenizer)
    with pytest.raises(RingfenceError, match=r"^pool\.jsonl:2: the chat template drops"):
        Lengths().map(made)([candidate(1)], nobody)


@pytest.mark.parametrize(
    "settings",
    [{"user": [5, 3]}, {"user": [-1, 3]}, {"assistant": [1]}, {"assistant": [True, None]}, {"users": [1, 2]}],
)
def test_bad_settings(settings: Any) -> None:
    with pytest.raises(RingfenceError):
        STEPS.parse({"lengths": settings}, "steps.0")
