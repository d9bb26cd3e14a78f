"""Columns of rows of prompts: what becomes part of a question, what is about it, what cannot be left out."""

import json
from pathlib import Path
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.data.suites.load import load_suite

TURNS = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]


def suite(folder: Path, *rows: dict[str, Any]) -> Any:
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_suite(str(path))


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize("column", ["system", "system_prompt", "system_message"])
def test_a_system_column_is_asked(tmp_path: Path, column: str) -> None:
    found = suite(tmp_path, {"prompt": "Hi there", column: "Talk like a sailor."}, {"prompt": "Bye", column: None})
    assert [prompt.messages for prompt in found.prompts] == [
        (system("Talk like a sailor."), user("Hi there")),
        (user("Bye"),),
    ]
    assert found.ignored == ()
    assert found.used == (f"`{column}` as the system message, in 1 of 2 prompts",)


def test_a_context_that_plainly_is_a_system_message(tmp_path: Path) -> None:
    rows = [{"prompt": "Why?", "context": "You are a cook on a ship."}, {"prompt": "How?", "context": ""}]
    found = suite(tmp_path, *rows)
    assert found.prompts[0].messages == (system("You are a cook on a ship."), user("Why?"))
    assert found.prompts[1].messages == (user("How?"),)
    assert found.used == ("`context` as the system message, in 1 of 2 prompts",)
    with pytest.raises(RingfenceError, match=r"mine\.jsonl:1: `context` is a text, and may be a passage"):
        suite(tmp_path, {"prompt": "Who sank?", "context": "The ship left Bergen in May."})


def test_turns_before_the_question(tmp_path: Path) -> None:
    found = suite(tmp_path, {"prompt": "And now?", "context": TURNS, "system": "Be brief."})
    assert found.prompts[0].messages == (system("Be brief."), *TURNS, user("And now?"))
    assert len(found.used) == 2


def test_a_system_column_stands_before_messages(tmp_path: Path) -> None:
    found = suite(tmp_path, {"messages": [*TURNS, user("And now?")], "system": "Be brief."})
    assert found.prompts[0].messages == (system("Be brief."), *TURNS, user("And now?"))


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"system": "a", "system_prompt": "a"}, "`system` and `system_prompt` both hold a system message"),
        ({"system_prompt": "a", "context": "You are b."}, "`system_prompt` and `context` both hold a system message"),
        ({"context": [system("a"), *TURNS], "system": "b"}, "a system turn, and `system` beside it"),
        ({"system": ["a"]}, "`system` must be a text, not a list"),
        ({"context": 3}, "`context` must be a list of turns or a text, not a number"),
        ({"context": ["a"]}, "each turn needs a `role`"),
        ({"context": [{**TURNS[1], "tool_calls": [{"id": 1}]}]}, "the assistant turn has `tool_calls`"),
        ({"tools": [{"name": "search"}]}, "`tools` changes what is asked or answered"),
        ({"prefill": "Sure"}, "`prefill` changes what is asked or answered"),
        ({"input": "12, 15"}, "`input` changes what is asked or answered"),
        ({"context": [{**TURNS[1], "reasoning_content": "Hm."}]}, "the assistant turn has `reasoning_content`"),
        ({"systemprompt": "a"}, "unknown key `systemprompt`. Did you mean `system_prompt`?"),
        ({"System": "a"}, "unknown key `System`. Did you mean `system`?"),
        ({"prompt_id": ["a"]}, "`prompt_id` must be a text or a whole number"),
    ],
)
def test_what_cannot_be_asked_as_it_was_meant(tmp_path: Path, columns: dict[str, Any], told: str) -> None:
    with pytest.raises(RingfenceError) as raised:
        suite(tmp_path, {"prompt": "Fine?"}, {"prompt": "Why?", **columns})
    assert str(raised.value).startswith(f"{tmp_path / 'mine.jsonl'}:2: ")
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_messages_with_a_system_turn_and_a_column(tmp_path: Path) -> None:
    for role in ("system", "developer"):
        turns = [{"role": role, "content": "Be long."}, user("Why?")]
        with pytest.raises(RingfenceError, match=rf"mine\.jsonl:1: a {role} turn, and `system` beside it"):
            suite(tmp_path, {"messages": turns, "system": "Be brief."})
    with pytest.raises(RingfenceError, match="put the turns of `context` there"):
        suite(tmp_path, {"messages": [user("Why?")], "context": TURNS})


def test_what_is_about_a_prompt_is_left_out_and_empty_columns_change_nothing(tmp_path: Path) -> None:
    found = suite(tmp_path, {"prompt": "Why?", "tools": None, "images": [], "input": "", "author": "me", "score": 3})
    assert found.prompts[0].messages == (user("Why?"),)
    assert found.ignored == ("author", "images", "input", "score", "tools")
    assert found.used == ()


def test_prompt_id_is_the_id(tmp_path: Path) -> None:
    found = suite(tmp_path, {"prompt_id": "wish", "prompt": "a"}, {"prompt_id": 7, "prompt": "b"}, {"prompt": "c"})
    assert [prompt.id for prompt in found.prompts] == ["wish", "7", "mine-3"]
    assert suite(tmp_path, {"id": "x", "prompt_id": "y", "prompt": "a"}).prompts[0].id == "x"
    with pytest.raises(RingfenceError, match=r"mine\.jsonl:2: the id 'a' is there twice"):
        suite(tmp_path, {"prompt_id": "a", "prompt": "a"}, {"prompt_id": "a", "prompt": "b"})
