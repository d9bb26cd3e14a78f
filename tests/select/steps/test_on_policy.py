"""Answers of the model itself: what is kept of a row, what is dropped, and that shards and batches do not matter."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scripted
import speaking
import tiny
from asking import texts
from candidates import candidate, nobody
from loopback import Says, loopback
from project import write_jsonl
from ringfence.core.errors import RingfenceError
from ringfence.generation import HfGenerator, Request, Sampling
from ringfence.generation.config import GENERATORS
from ringfence.generation.fingerprint import record
from ringfence.generation.server import open_server
from ringfence.models import Loaded
from ringfence.select.base import STEPS, Candidate, Context, Dropped
from ringfence.select.pipeline import Selection, run
from ringfence.select.shards import read_shard, shards_in
from ringfence.select.steps.lengths import Lengths
from ringfence.select.steps.on_policy import OnPolicy
from ringfence.select.steps.rewrite import Rewrite

QUESTIONS = ("Hi", "How do I boil an egg?", "A", "Name three rivers in Europe, please.", "Why?", "Is it far?")
ROWS = [
    candidate(index, question=text, answer="Old.", domain="d", perplexity_gap=index, embedding=np.ones(2, np.float32))
    for index, text in enumerate(QUESTIONS)
]


def talk(*turns: str) -> list[dict[str, str]]:
    """``user: Hi`` and the like as messages."""
    return [dict(zip(("role", "content"), turn.split(": "), strict=True)) for turn in turns]


def with_messages(messages: list[dict[str, str]]) -> Candidate:
    row = candidate(0)
    return replace(row, conversation=row.conversation | {"messages": messages})


def regenerate(rows, context: Context | None = None, **settings):
    step = OnPolicy(**{"max_new_tokens": 60, "batch_size": 4, **settings})
    return step.map(context or speaking.context())(rows, nobody)


def answers(rows) -> dict[int, str]:
    return {row.index: row.conversation["messages"][-1]["content"] for row in rows}


def test_answers_are_those_of_generate() -> None:
    """The seed and the row's place in the pool name the random stream."""
    context = speaking.context(seed=3)
    sampling = Sampling(8, seed=3)
    requests = [Request(str(row.index), row.conversation["messages"][:1]) for row in ROWS]
    wanted = HfGenerator.of(context.loaded).generate(requests, sampling)
    assert {answer.ended for answer in wanted} == {True, False}
    made = regenerate(ROWS, context, max_new_tokens=8)
    expected = {
        row.index: answer.text for row, answer in zip(ROWS, wanted, strict=True) if answer.ended and answer.text
    }
    assert answers(made.rows) == expected


def test_rows_keep_all_but_the_answer() -> None:
    made = regenerate(ROWS, speaking.context(end=2)).rows
    assert len(made) > 3
    assert [row.index for row in made] == sorted(row.index for row in made)
    for row in made:
        before = ROWS[row.index]
        assert row.conversation["messages"][:-1] == before.conversation["messages"][:-1]
        assert row.conversation["messages"][-1]["role"] == "assistant"
        assert row.conversation["messages"][-1]["content"] != "Old."
        assert row.scores == before.scores
        assert row.vectors is before.vectors
        kept = {"origin", "domain"}
        assert {k: row.conversation[k] for k in kept} == {k: before.conversation[k] for k in kept}
    assert [row.conversation["messages"][-1]["content"] for row in ROWS] == ["Old."] * len(ROWS)


def test_shards_and_batches_do_not_matter() -> None:
    context = speaking.context(end=2)
    whole = regenerate(ROWS, context)
    halves = [regenerate(ROWS[:3], context, batch_size=2), regenerate(ROWS[3:], context, batch_size=64)]
    assert answers(whole.rows) == answers([*halves[0].rows, *halves[1].rows])
    assert list(whole.dropped) == [*halves[0].dropped, *halves[1].dropped]
    assert len(set(answers(whole.rows).values())) > 2


def test_the_seed_decides_unless_it_is_greedy() -> None:
    context = speaking.context(end=2)
    first, again, other = (regenerate(ROWS, speaking.seeded(context, seed)) for seed in (0, 0, 1))
    assert answers(first.rows) == answers(again.rows) != answers(other.rows)
    greedy = [regenerate(ROWS, speaking.seeded(context, seed), temperature=0) for seed in (0, 1)]
    assert answers(greedy[0].rows) == answers(greedy[1].rows)
    assert greedy[0].dropped == greedy[1].dropped


def test_truncated_and_empty_answers_are_dropped_and_said() -> None:
    never, at_once = regenerate(ROWS, speaking.context(end=-1e4)), regenerate(ROWS, speaking.context(end=1e4))
    origins = [row.conversation["origin"] for row in ROWS]
    assert never.dropped == [Dropped("truncated", origin) for origin in origins]
    assert at_once.dropped == [Dropped("empty answer", origin) for origin in origins]
    assert not never.rows
    assert not at_once.rows


def test_what_is_dropped_and_what_is_kept_are_all_rows() -> None:
    made = regenerate(ROWS, max_new_tokens=8)
    assert {row.conversation["origin"] for row in made.rows}.isdisjoint(one.origin for one in made.dropped)
    assert len(made.rows) + len(made.dropped) == len(ROWS)
    assert made.rows
    assert made.dropped


def test_a_conversation_is_cut_after_the_answer_to_its_last_user_turn() -> None:
    messages = talk(
        "system: Be brief.", "user: Hi", "assistant: Hello.", "user: Well?", "assistant: One.", "assistant: Two."
    )
    context = speaking.context(end=2)
    for kept in (messages, messages[:4]):
        made = regenerate([with_messages(kept)], context)
        (row,) = made.rows
        asked = Request("0", messages[:4])
        (wanted,) = texts(context.loaded.model, [asked], Sampling(60))
        assert row.conversation["messages"] == [*messages[:4], {"role": "assistant", "content": wanted}]


def test_no_system_is_for_the_model_only() -> None:
    context = speaking.context(end=2, no_system="empty")
    (row,) = regenerate([candidate(0)], context).rows
    asked = Request("0", talk("system: ", "user: Is it?"))
    (wanted,) = texts(context.loaded.model, [asked], Sampling(60))
    assert row.conversation["messages"] == [*talk("user: Is it?"), {"role": "assistant", "content": wanted}]


def test_rows_that_cannot_be_asked_are_dropped() -> None:
    long = candidate(1, question="x" * 490)
    made = regenerate([with_messages(talk("assistant: Hello.")), long], speaking.context(end=2))
    assert [one.reason for one in made.dropped] == ["no user turn", "no room for an answer of 60 tokens within 512"]
    fits = candidate(1, question="x" * 400)
    assert not [one for one in regenerate([fits]).dropped if "room" in one.reason]
    assert regenerate([fits], speaking.context(max_length=450)).dropped[0].reason.endswith("within 450")


def test_progress_counts_every_row_once() -> None:
    told: list[int] = []
    rows = [*ROWS, replace(with_messages(talk("assistant: Hello.")), index=9)]
    OnPolicy(max_new_tokens=4, batch_size=2).map(speaking.context())(rows, told.append)
    assert sum(told) == len(rows)
    assert len(told) == 4


def test_no_rows() -> None:
    assert regenerate([]).rows == []


def test_a_template_that_refuses_names_the_row() -> None:
    tokenizer = tiny.tokenizer().__class__(tokenizer_object=tiny.tokenizer().backend_tokenizer, eos_token="<|im_end|>")
    tokenizer.chat_template = "{% if messages|length > 1 %}{{ raise_exception('one turn only') }}{% endif %}Q"
    context = Context(model="tiny")
    vars(context)["loaded"] = Loaded(speaking.model(), tokenizer, "odd")
    talked = with_messages(talk("user: Hi", "assistant: Hello.", "user: Well?", "assistant: Yes."))
    with pytest.raises(RingfenceError, match=r"pool.jsonl:1: the chat template of odd refuses it: one turn only"):
        regenerate([talked], context)


@pytest.mark.parametrize(
    "settings", [{"max_new_tokens": 0}, {"temperature": -1}, {"top_p": 0}, {"batch_size": True}, {"tokens": 3}]
)
def test_bad_settings(settings: Any) -> None:
    with pytest.raises(RingfenceError):
        STEPS.parse({"on_policy": settings}, "steps.0")


def test_an_engine_writes_as_the_recipe_says_and_only_its_steps_are_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "cache"))
    tiny.shaken(tiny.model(), scale=0.3).save_pretrained(tmp_path / "base")
    tiny.tokenizer().save_pretrained(tmp_path / "base")
    write_jsonl(tmp_path / "pool.jsonl", [row.conversation for row in ROWS])
    started = scripted.instead_of_vllm(monkeypatch)
    step = OnPolicy(max_new_tokens=8, temperature=0)
    for name in ("hf", "vllm"):
        context = Context(model=str(tmp_path / "base"), generator=GENERATORS.parse(name))
        chosen = Selection((str(tmp_path / "pool.jsonl"),), (Lengths(), step), context)
        run(chosen, tmp_path / "work")
    folders = [path for path in (tmp_path / "work").iterdir() if path.is_dir()]
    assert sorted(path.name.partition("-")[0] for path in folders) == ["lengths", "on_policy", "on_policy", "pool"]
    first, second = (shards_in(folder) for folder in folders if folder.name.startswith("on_policy"))
    wanted, made = (read_shard(shards[0]) for shards in (first, second))
    assert [row.conversation for row in made.rows] == [row.conversation for row in wanted.rows]
    assert made.dropped == wanted.dropped
    assert [len(one.asked) for one in started] == [5], "four texts of the self-check, and all rows at once"
    assert Rewrite(style="hhh").generates
    assert not Rewrite(style="hhh", model="other").generates


def test_answers_by_unchecked_weights_are_counted() -> None:
    """Of a server that gives no log probabilities; the manifest has the steps' counts."""
    with loopback(lambda _: Says("An answer."), own="") as state:
        state.models = ["tiny"]
        generator = GENERATORS.parse({"kind": "server", "base_url": state.url})
        context = replace(speaking.context(), generator=generator)
        opened = open_server(generator, "tiny", record(speaking.model(), tiny.tokenizer(), "tiny"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Context, "answering", lambda _: opened)
            made = regenerate(ROWS, context)
    assert made.counts == {"answers by unchecked weights": 6}
    assert set(answers(made.rows).values()) == {"An answer."}
    assert regenerate(ROWS).counts == {}
