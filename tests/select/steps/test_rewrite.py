"""Answers rewritten under an instruction: what the model is asked, and what becomes of the rows."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import speaking
import tiny
from asking import texts
from candidates import candidate, nobody
from ringfence.core.errors import RingfenceError
from ringfence.generation import Request, Sampling
from ringfence.select.base import STEPS, Candidate, Context, Dropped
from ringfence.select.steps.rewrite import Rewrite, request, shipped

QUESTIONS = ("Hi", "How do I boil an egg?", "A", "Name three rivers, please.", "Why?", "Is it far?")
ROWS = [candidate(index, question=text, answer=f"Old {index}.", gap=index) for index, text in enumerate(QUESTIONS)]
TURNS = [
    {"role": "system", "content": ""},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello, {instruction}."},
    {"role": "user", "content": "Well?"},
    {"role": "assistant", "content": "I see {conversation}."},
    {"role": "user", "content": "So?"},
]


@pytest.fixture(autouse=True)
def _short_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model reads 512 bytes, fewer than the shipped frame has."""
    texts = {"request": "R {instruction}\n{conversation}\n{answer}", "hhh": "H", "calibration": "C"}
    monkeypatch.setattr("ringfence.select.steps.rewrite.shipped", texts.__getitem__)


def rewrite(rows, context: Context | None = None, **settings):
    given = {"max_new_tokens": 60, "batch_size": 4, "temperature": 1, **settings}
    step = Rewrite(**(given if "style" in given else {"instruction": "Be kind.", **given}))
    return step.map(context or speaking.context(end=2))(rows, nobody)


def talk() -> Candidate:
    return replace(candidate(0), conversation=candidate(0).conversation | {"messages": TURNS})


def answers(rows) -> dict[int, str]:
    return {row.index: row.conversation["messages"][-1]["content"] for row in rows}


def test_the_request_shows_conversation_and_answer_and_fills_no_placeholder_of_theirs() -> None:
    (asked,) = request(talk().conversation, "Be kind.")
    assert asked["role"] == "user"
    assert asked["content"] == (
        "R Be kind.\nUser: Hi\n\nAssistant: Hello, {instruction}.\n\nUser: Well?\nI see {conversation}."
    )


def test_answers_are_what_the_model_replies_to_the_request() -> None:
    context = speaking.context(end=2)
    made = rewrite(ROWS, context)
    asked = [Request(str(row.index), request(row.conversation, "Be kind.")) for row in ROWS]
    wanted = texts(context.loaded.model, asked, Sampling(60))
    assert len(made.rows) > 2
    assert answers(made.rows) == {index: wanted[index] for index in answers(made.rows)}
    for row in made.rows:
        assert row.scores == {"gap": row.index}
        assert row.conversation["messages"][0] == ROWS[row.index].conversation["messages"][0]
        assert "original_answer" not in row.conversation


def test_only_the_last_answer_of_a_conversation_changes() -> None:
    (row,) = rewrite([talk()], keep_original=True).rows
    new = row.conversation["messages"]
    assert new[4]["content"] != TURNS[4]["content"]
    assert [*new[:4], *new[5:]] == [*TURNS[:4], *TURNS[5:]]
    assert row.conversation["original_answer"] == "I see {conversation}."


def test_a_second_rewriting_keeps_the_first_original() -> None:
    once = rewrite(ROWS, keep_original=True).rows
    twice = rewrite(once, keep_original=True).rows
    assert twice
    assert all(row.conversation["original_answer"] == f"Old {row.index}." for row in twice)


def test_shards_and_batches_do_not_matter() -> None:
    context = speaking.context(end=2)
    whole = rewrite(ROWS, context)
    halves = [rewrite(ROWS[:3], context, batch_size=1), rewrite(ROWS[3:], context)]
    assert answers(whole.rows) == answers([*halves[0].rows, *halves[1].rows])
    assert list(whole.dropped) == [*halves[0].dropped, *halves[1].dropped]


def test_the_seed_matters_above_temperature_0_only() -> None:
    context = speaking.context(end=2)
    cold = [rewrite(ROWS, speaking.seeded(context, seed), temperature=0) for seed in (0, 1)]
    warm = [rewrite(ROWS, speaking.seeded(context, seed)) for seed in (0, 0, 1)]
    assert answers(cold[0].rows) == answers(cold[1].rows)
    assert answers(warm[0].rows) == answers(warm[1].rows) != answers(warm[2].rows)


def test_truncated_and_empty_answers_are_dropped() -> None:
    origins = [row.conversation["origin"] for row in ROWS]
    never, at_once = rewrite(ROWS, speaking.context(end=-1e4)), rewrite(ROWS, speaking.context(end=1e4))
    assert never.dropped == [Dropped("truncated", origin) for origin in origins]
    assert at_once.dropped == [Dropped("empty answer", origin) for origin in origins]


def test_another_model(tmp_path: Path) -> None:
    """The aligned model is not loaded for it."""
    tiny.model(3).save_pretrained(tmp_path / "other")
    tiny.tokenizer().save_pretrained(tmp_path / "other")
    step = Rewrite(instruction="Be kind.", model=str(tmp_path / "other"), max_new_tokens=5)
    assert step.inputs() == (str(tmp_path / "other"),)
    context = Context(model=str(tmp_path / "missing"))
    mapper = step.map(context)
    told: list[int] = []
    made = mapper(ROWS, told.append)
    assert len(made.rows) + len(made.dropped) == sum(told) == len(ROWS)
    assert "loaded" not in vars(context)


def test_a_missing_model() -> None:
    with pytest.raises(RingfenceError, match="no such model folder"):
        Rewrite(style="hhh", model="./nowhere").map(Context())


def test_finished_shards_depend_on_the_wording(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Rewrite(style="calibration")
    before = step.map_settings()
    assert before["texts"][0] == "C"
    monkeypatch.setattr("ringfence.select.steps.rewrite.shipped", str.upper)
    assert step.map_settings() != before


@pytest.mark.parametrize("name", ["calibration", "hhh", "request"])
def test_shipped_texts_are_one_file_each(name: str) -> None:
    """``shipped`` as this module imported it, before the fixture replaced it."""
    text = files("ringfence.select").joinpath("instructions", f"{name}.txt").read_text(encoding="utf-8")
    assert shipped(name) == text.strip()
    wanted = ["{answer}", "{conversation}", "{instruction}"] if name == "request" else []
    assert [place for place in ("{answer}", "{conversation}", "{instruction}") if place in text] == wanted


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"style": "hhh", "instruction": "Be kind."},
        {"instruction": " "},
        {"style": "calm"},
        {"style": "hhh", "api": {}},
        {"style": "hhh", "api": {"model": "w"}, "model": "other"},
        {"style": "hhh", "api": {"model": "w", "api_key": "k"}},
        {"style": "hhh", "api": {"model": "w", "base_url": "http://me:secret@host/v1"}},
    ],
)
def test_bad_settings(settings: Any) -> None:
    with pytest.raises(RingfenceError):
        STEPS.parse({"rewrite": settings}, "steps.0")
