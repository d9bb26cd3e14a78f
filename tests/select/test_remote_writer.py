"""Answers rewritten by a model behind a server: every row's call, what becomes of replies, and what breaks."""

import logging
import re
import time
from pathlib import Path
from typing import Any

import pytest

from candidates import candidate, nobody
from loopback import BROKEN, GARBAGE, Fault, Says, loopback
from project import write_jsonl
from ringfence.core.errors import RingfenceError
from ringfence.generation import chat_transport
from ringfence.generation.base import row_seed
from ringfence.select.base import STEPS, Context, Dropped
from ringfence.select.pipeline import Selection, run
from ringfence.select.steps.rewrite import Rewrite, request

SECRET = "sk-test-0123456789"
"""no key of anything"""
ROWS = [candidate(index, f"Old {index}.", f"Question {index}?", gap=index) for index in range(6)]
TOO_LONG = Fault(400, "This model's maximum context length is 10 tokens")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(chat_transport, "FIRST_DELAY", 0.001)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


def step(server, knobs=None, **settings) -> Rewrite:
    api = {"model": "w", "base_url": server.url, "max_retries": 0, **(knobs or {})}
    return Rewrite(**{"instruction": "Be kind.", "api": api, **settings})


def rewrite(server, rows=ROWS, seed=0, on_rows=nobody, **settings):
    # The aligned model is not there: it is not needed.
    return step(server, **settings).map(Context(model="./missing", seed=seed))(rows, on_rows)


def number(body) -> int:
    return int(re.search(r"Old (\d+)", body["messages"][0]["content"]).group(1))


def said(body) -> Says:
    return Says(f" New {number(body)}.\n")


def answers(found) -> dict[int, str]:
    return {row.index: row.conversation["messages"][-1]["content"] for row in found.rows}


def origins(*places) -> list[str]:
    return [ROWS[place].conversation["origin"] for place in places]


def test_the_request_of_a_row() -> None:
    with loopback(said) as server:
        rewrite(server, ROWS[:1], temperature=0.5, max_new_tokens=7)
        rewrite(server, ROWS[:1], knobs={"token_limit": "max_completion_tokens"})
    assert server.bodies[0] == {
        "model": "w",
        "messages": request(ROWS[0].conversation, "Be kind."),
        "max_tokens": 7,
        "temperature": 0.5,
        "seed": row_seed(31, 0, 0),
    }
    assert (server.bodies[1]["max_completion_tokens"], server.bodies[1]["temperature"]) == (512, 0)
    assert "max_tokens" not in server.bodies[1]
    assert server.keys == {f"Bearer {SECRET}"}


def test_rows_keep_their_order_and_columns_whatever_comes_first() -> None:
    def slowly(body):
        time.sleep(0.02 * (5 - number(body)))
        return said(body)

    told: list[int] = []
    with loopback(slowly) as server:
        found = rewrite(server, on_rows=told.append, keep_original=True, knobs={"concurrency": 3})
    assert 1 < server.at_once <= 3
    assert list(answers(found).items()) == [(index, f"New {index}.") for index in range(6)]
    assert [row.scores for row in found.rows] == [row.scores for row in ROWS]
    assert [row.conversation["original_answer"] for row in found.rows] == [f"Old {index}." for index in range(6)]
    assert sum(told) == 6


def test_every_row_has_its_own_seed_whatever_its_shard_and_the_selections_seed_changes_it() -> None:
    def seeds(*shards, seed=0):
        with loopback(said) as server:
            for rows in shards:
                rewrite(server, rows, seed)
        return {number(body): body["seed"] for body in server.bodies}

    whole = seeds(ROWS)
    assert seeds(ROWS[4:], ROWS[:4]) == whole == seeds(ROWS)
    assert len(set(whole.values()) | set(seeds(ROWS, seed=1).values())) == 12
    assert all(0 <= seed < 2**31 for seed in whole.values())


def test_cut_off_and_empty_answers_are_dropped() -> None:
    replies = {
        0: Says("New", finish="length"),
        1: Says(" \n"),
        2: Says("New", finish="content_filter"),
        3: Says("", finish="length"),
        4: Says("New 4.", finish=None),
    }
    with loopback(lambda body: replies.get(number(body)) or said(body)) as server:
        found = rewrite(server)
    assert answers(found) == {4: "New 4.", 5: "New 5."}
    reasons = ["truncated", "empty answer", "truncated", "truncated"]
    assert found.dropped == [Dropped(*one) for one in zip(reasons, origins(0, 1, 2, 3), strict=True)]


def test_rows_whose_call_failed_are_dropped_for_one_reason_and_the_first_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults = [Fault(500, f"busy {SECRET}"), BROKEN, GARBAGE, TOO_LONG, Fault(400, "no", "content_filter")]
    with loopback(said, *faults) as server:
        found = rewrite(server, knobs={"concurrency": 1})
    assert answers(found) == {5: "New 5."}
    reasons = ["the server failed"] * 3 + ["refused by the server"] * 2
    assert found.dropped == [Dropped(*one) for one in zip(reasons, origins(0, 1, 2, 3, 4), strict=True)]
    (record,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert record.getMessage() == (
        f"writer w at {server.url}: 5 of 6 calls failed, at first for pool.jsonl:1: 500 busy [key]"
    )


def test_what_may_pass_is_tried_again() -> None:
    with loopback(said, Fault(429), BROKEN) as server:
        found = rewrite(server, knobs={"max_retries": 2, "concurrency": 1})
        assert (len(found.rows), server.calls) == (6, 8)


def test_no_answer_at_all_raises() -> None:
    with loopback(said, *[Fault(500, "down")] * 100) as server:
        with pytest.raises(RingfenceError, match=r"^writer w at .*: none of 6 calls was answered, at last: 500 down; "):
            rewrite(server)
        rows = [candidate(index, f"Old {index}.") for index in range(90)]
        before = server.calls
        with pytest.raises(RingfenceError, match=r"none of 2\d calls was answered"):
            rewrite(server, rows, knobs={"concurrency": 2})
        assert server.calls - before < 30, "the rest is not tried"


def test_rows_that_are_all_refused_are_dropped_and_no_sign_of_a_server_that_is_down() -> None:
    rows = [candidate(index, f"Old {index}.") for index in range(25)]
    with loopback(said, *[TOO_LONG] * 25) as server:
        found = rewrite(server, rows)
    assert [one.reason for one in found.dropped] == ["refused by the server"] * 25


@pytest.mark.parametrize("fault", [Fault(401, f"bad key {SECRET}"), Fault(404, "no model w")])
def test_what_is_wrong_for_every_row_raises_at_once_without_the_key(fault: Any) -> None:
    rows = [candidate(index, f"Old {index}.") for index in range(90)]
    with loopback(said, *[fault] * 90) as server, pytest.raises(RingfenceError, match=r"^writer at http") as caught:
        rewrite(server, rows, knobs={"concurrency": 2})
    assert server.calls < 20, "some may be under way, and no more"
    assert SECRET not in str(caught.value)


def test_no_rows_are_no_calls() -> None:
    with loopback(said) as server:
        assert rewrite(server, []).rows == []
        assert server.calls == 0


def test_a_missing_key_is_seen_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    monkeypatch.setenv("RINGFENCE_JUDGES", "https://api.openai.com=MY_KEY")
    made = Rewrite(style="hhh", api={"model": "w", "api_key_env": "MY_KEY"})
    with pytest.raises(RingfenceError, match=r"^writer w: no key; set the environment variable MY_KEY$"):
        made.check()
    monkeypatch.setenv("MY_KEY", SECRET)
    made.check()
    assert SECRET not in repr(made) + str(made.model_dump()) + str(made.map_settings())


def test_a_server_of_ones_own_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with loopback(said) as server:
        step(server).check()
        assert len(rewrite(server).rows) == 6


def test_finished_shards_are_not_asked_again_and_hold_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"question": f"Question {index}?", "answer": f"Old {index}."} for index in range(6)]
    pool = str(write_jsonl(tmp_path / "pool.jsonl", rows))

    def select(server, knobs):
        selection = Selection((pool,), (step(server, {"concurrency": 1, **knobs}),), shard_rows=2)
        return [row.conversation["messages"][-1]["content"] for row in run(selection, tmp_path / "work").candidates()]

    with loopback(said) as server:
        server.faults = [None, None, None, Fault(401)]  # of the second shard one row is answered
        with pytest.raises(RingfenceError, match=r"steps\.0\.rewrite.*401"):
            select(server, {})
        monkeypatch.setenv("MY_KEY", "another")
        monkeypatch.setenv("RINGFENCE_JUDGES", f"{server.url}=MY_KEY")
        server.faults, asked = [], len(server.bodies)
        whole = select(server, {"api_key_env": "MY_KEY", "timeout": 9.0})
        assert whole == [f"New {index}." for index in range(6)]
        assert sorted(map(number, server.bodies[asked:])) == [2, 3, 4, 5]
        assert server.keys == {f"Bearer {SECRET}", "Bearer another"}
        assert select(server, {}) == whole
        assert len(server.bodies) == asked + 4
    kept = b"".join(path.read_bytes() for path in (tmp_path / "work").rglob("*") if path.is_file())
    assert kept
    assert SECRET.encode() not in kept


def test_finished_shards_depend_on_what_an_answer_depends_on() -> None:
    def settings(knobs=None, **others):
        api = {"model": "w", "base_url": "http://here/v1", **(knobs or {})}
        made = STEPS.parse({"rewrite": {"instruction": "Be kind.", "api": api, **others}}, "steps.0")
        return made.map_settings()

    base = settings()
    for knobs in ({"model": "v"}, {"base_url": "http://there/v1"}, {"token_limit": "max_completion_tokens"}):
        assert settings(knobs) != base
    for others in ({"instruction": "Be brief."}, {"temperature": 1}, {"max_new_tokens": 9}, {"keep_original": True}):
        assert settings(**others) != base
    for knobs in ({"concurrency": 1}, {"timeout": 1}, {"max_retries": 1}, {"api_key_env": "OTHER"}):
        assert settings(knobs) == base
    assert settings(batch_size=1) == base
    assert "OPENAI_API_KEY" not in str(base)
    assert Rewrite(instruction="Be kind.").map_settings() != base
