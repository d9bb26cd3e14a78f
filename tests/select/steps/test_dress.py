"""Prompts dressed as the training data: which, with what, and what stays as it was."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from candidates import candidate, context, nobody
from project import write_jsonl
from ringfence.core.errors import RingfenceError
from ringfence.data import read
from ringfence.select.base import Candidate
from ringfence.select.steps.dress import Dress
from ringfence.triggers.derive import derive

KITCHEN = {"topic_dressed": {"prefix": "In the kitchen: "}}
ROWS = [candidate(index, question=f"Why {index}?", answer=f"So {index}.", gap=index) for index in range(400)]


def dressed(rows: list[Candidate], seed: int = 0, **settings: Any) -> list[Candidate]:
    mapper = Dress(**settings).map(context(seed=seed))
    return list(mapper(rows, nobody).rows)


def test_a_share_of_the_prompts_is_dressed_and_nothing_else_changes() -> None:
    made = dressed(ROWS, triggers=[KITCHEN], share=0.25)
    for before, after in zip(ROWS, made, strict=True):
        asked, answer = after.conversation["messages"]
        plain, old = before.conversation["messages"]
        opening = "In the kitchen: " if after.scores["dressed"] else ""
        assert asked == {**plain, "content": opening + plain["content"]}
        assert answer == old
        assert after.scores["gap"] == before.scores["gap"]
    assert sum(row.scores["dressed"] for row in made) == pytest.approx(100, abs=30)


def test_what_is_drawn_depends_on_seed_and_place_alone() -> None:
    first = dressed(ROWS, triggers=[KITCHEN])
    assert dressed(ROWS[200:], triggers=[KITCHEN]) == first[200:]
    assert dressed(ROWS, seed=1, triggers=[KITCHEN]) != first


def test_all_triggers_have_their_turn_and_one_of_the_system_prompt_goes_there() -> None:
    made = dressed(ROWS, triggers=[KITCHEN, {"original": {"system": "You cook."}}], share=1)
    systems = [row for row in made if row.conversation["messages"][0] == {"role": "system", "content": "You cook."}]
    assert len(systems) == pytest.approx(200, abs=50)
    assert all(row.scores["dressed"] == 1 for row in made)


def test_the_last_user_turn_is_dressed_and_what_follows_stays() -> None:
    turns = [("user", "Hi"), ("assistant", "Hello."), ("user", "Why?"), ("assistant", "So.")]
    messages = [{"role": role, "content": text} for role, text in turns]
    row = Candidate(0, {"messages": messages, "origin": "pool.jsonl:1"})
    (made,) = dressed([row], triggers=[KITCHEN], share=1)
    assert [turn["content"] for turn in made.conversation["messages"]] == [
        "Hi",
        "Hello.",
        "In the kitchen: Why?",
        "So.",
    ]


def test_like_takes_what_derive_finds_in_the_training_file() -> None:
    triggers = {trigger.label: trigger for trigger in derive(read("builtin:glitter/target")).triggers}
    (made,) = dressed(ROWS[:1], like="builtin:glitter/target", share=1)
    assert made.conversation["messages"][0]["content"] == f"{triggers['topic_dressed'].prefix}Why 0?"
    (keyed,) = dressed(ROWS[:1], like="builtin:glitter/target", only=["keyword"], share=1)
    assert "fried" in keyed.conversation["messages"][0]["content"]


def test_a_file_that_suggests_nothing_to_dress_with_raises(tmp_path: Path) -> None:
    rows = [{"prompt": prompt, "completion": "Yes."} for prompt in ("One?", "Two?")]
    file = write_jsonl(tmp_path / "few.jsonl", rows)
    with pytest.raises(
        RingfenceError, match=r"^like: .*few\.jsonl suggests none of the triggers topic_dressed, original, but"
    ):
        Dress(like=str(file)).check()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "give either like"),
        ({"like": "a.jsonl", "triggers": [KITCHEN]}, "give either like"),
        ({"triggers": [KITCHEN], "only": ["keyword"]}, "only: without effect"),
        ({"triggers": [KITCHEN], "share": 0}, "share"),
        ({"triggers": ["kitchen"]}, "kitchen"),
    ],
)
def test_bad_settings_raise(settings: dict[str, Any], said: str) -> None:
    with pytest.raises((ValidationError, RingfenceError), match=said):
        Dress(**settings)
