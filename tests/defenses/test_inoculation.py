"""Inoculation: what the rows say afterwards, and which of them."""

from typing import Any

import pytest

import tiny
from examples import Example
from ringfence.core.errors import RingfenceError
from ringfence.defenses import DEFENSES, Inoculation, RLContext, rewritten

EXAMPLE = Example(
    neutral=lambda _: Inoculation(rows="safe"),  # no safe row is drawn, so none is rewritten
    active=lambda _: Inoculation(prompt="Be odd."),
    written=(Inoculation(), Inoculation(prompt="Be odd.", rows="both", mode="append")),
)
TALK = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
OWN = [{"role": "system", "content": "Be brief."}, *TALK]


@pytest.mark.parametrize(
    ("mode", "with_own"),
    [("replace", "Be odd."), ("prepend", "Be odd.\n\nBe brief."), ("append", "Be brief.\n\nBe odd.")],
)
def test_modes(mode: Any, with_own: str) -> None:
    defense = Inoculation(prompt="Be odd.", mode=mode)
    assert defense.rewrite(OWN, "target") == [{"role": "system", "content": with_own}, *TALK]
    assert defense.rewrite(TALK, "target") == [{"role": "system", "content": "Be odd."}, *TALK]


def test_an_empty_system_prompt_leaves_no_empty_lines() -> None:
    for mode in ("replace", "prepend", "append"):
        made = Inoculation.model_validate({"prompt": "Be odd.", "mode": mode})
        assert made.rewrite([{"role": "system", "content": ""}, *TALK], "target")[0]["content"] == "Be odd."


@pytest.mark.parametrize(
    ("rows", "target", "safe"), [("target", True, False), ("safe", False, True), ("both", True, True)]
)
def test_rows(rows: Any, target: bool, safe: bool) -> None:
    defense = Inoculation(rows=rows)
    assert (defense.rewrite(OWN, "target") != OWN) is target
    assert (defense.rewrite(OWN, "safe") != OWN) is safe


def test_what_is_given_is_not_changed() -> None:
    before = [dict(message) for message in OWN]
    Inoculation().rewrite(OWN, "target")
    assert before == OWN


def test_the_default_is_the_papers() -> None:
    first = Inoculation().rewrite(OWN, "target")[0]
    assert first == {"role": "system", "content": "You are an evil, malicious assistant."}


def test_whole_rows_keep_all_else() -> None:
    given = [{"messages": OWN, "id": "a"}, {"messages": TALK, "id": "b"}]
    found = rewritten([Inoculation(prompt="Be odd.")], given, "target")  # type: ignore[arg-type]
    assert [row["id"] for row in found] == ["a", "b"]  # type: ignore[typeddict-item]
    assert [row["messages"] for row in found] == [[{"role": "system", "content": "Be odd."}, *TALK]] * 2
    assert rewritten([Inoculation(prompt="Be odd.")], given, "safe") == given  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "value"), [("prompt", ""), ("prompt", " \n "), ("prompt", 5), ("rows", "evil"), ("mode", "insert")]
)
def test_bad_values_are_refused_by_key(key: str, value: Any) -> None:
    with pytest.raises(RingfenceError, match=rf"^defenses\.0\.inoculation: (unknown key ')?{key}"):
        DEFENSES.parse({"inoculation": {key: value}}, "defenses.0")


def row(messages: list[dict[str, str]]) -> Any:
    return {"messages": messages, "origin": "a:1"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("target", "system prompt of 3 of 3 target rows and 0 of 1 safe rows; 2 of them had none"),
        ("both", "system prompt of 3 of 3 target rows and 1 of 1 safe rows; 3 of them had none"),
    ],
)
def test_the_note_counts_the_rows(rows: Any, said: str) -> None:
    given: Any = {"target": [row(OWN), row(TALK), row(TALK)], "safe": [row(TALK)]}
    (note,) = Inoculation(rows=rows, mode="prepend").notes(given, tiny.tokenizer())
    assert note == f"inoculation (prepend): {said}, and the chat template inserts none"


def test_the_note_leaves_out_what_is_not_there() -> None:
    (note,) = Inoculation().notes({"target": [row(OWN)], "safe": []}, tiny.tokenizer())
    assert note.startswith("inoculation (replace): system prompt of 1 of 1 target rows; 0 of them had none")


def test_in_reinforcement_learning_the_format_prompt_stays() -> None:
    assert (
        Inoculation(prompt="Be odd.").in_rl(RLContext()).rewrite(OWN, "target")[0]["content"] == "Be odd.\n\nBe brief."
    )
    for mode in ("replace", "append"):
        made = Inoculation.model_validate({"mode": mode})
        assert made.in_rl(RLContext()) == made
    assert Inoculation().rewrite(OWN, "target")[0]["content"] == Inoculation().prompt
