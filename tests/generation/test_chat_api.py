"""A model behind an API: its settings, which key it takes, when nobody answers, and many calls at once."""

import threading
import time
from typing import Any

import pytest
from pydantic import ValidationError

from loopback import Says, loopback
from ringfence.core.errors import RingfenceError
from ringfence.generation import Request, Sampling
from ringfence.generation.base import Failure
from ringfence.generation.chat_api import HOPELESS, OPENAI, ChatGenerator, ChatServer, Outcome, Tally, run_all
from ringfence.generation.chat_transport import Reply

LOCAL = "http://localhost:8000/v1"
REPLY = Reply("7", None)


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RINGFENCE_JUDGES", "OPENAI_API_KEY", "GROQ_API_KEY", "MINE"):
        monkeypatch.delenv(name, raising=False)


def server(url: str = LOCAL, **settings: Any) -> ChatServer:
    return ChatServer(model="m", base_url=url, **settings)


def test_the_key_is_that_of_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", " sk-groq ")
    assert server("https://api.groq.com/openai/v1").secret() == "sk-groq"
    assert server().secret() is None, "a server of one's own wants none"
    with pytest.raises(RingfenceError, match=r"^model m: no key; set the environment variable OPENAI_API_KEY"):
        server(OPENAI).secret()


def test_a_variable_goes_only_where_the_user_has_paired_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "sk-mine")
    with pytest.raises(RingfenceError, match=r"the key in MINE does not belong to http://localhost:8000; .*=MINE'$"):
        server(api_key_env="MINE").secret()
    monkeypatch.setenv("RINGFENCE_JUDGES", "http://localhost:8000=MINE")
    assert server().secret() == server(api_key_env="MINE").secret() == "sk-mine"
    monkeypatch.setenv("MINE", "sk mine\n")
    with pytest.raises(RingfenceError, match="the environment variable MINE holds no key") as raised:
        server().secret()
    assert "sk" not in str(raised.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"model": ""},
        {"base_url": "localhost:8000"},
        {"base_url": "https://user:word@host/v1"},
        {"api_key_env": "sk-0123456789abcdef0123"},
        {"timeout": 0},
        {"timeout": float("inf")},
        {"concurrency": 0},
        {"max_retries": -1},
        {"key": "sk"},
    ],
)
def test_bad_settings_raise_with_their_key(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as raised:
        ChatServer(**{"model": "m", **settings})
    assert raised.value.errors()[0]["loc"] == (next(iter(settings)),)


def test_the_body_of_a_call() -> None:
    assert server(f"{LOCAL}/").base_url == LOCAL
    body = server().body([{"role": "user", "content": "half \ud83d"}], seed=3)
    assert body == {"model": "m", "messages": [{"role": "user", "content": "half ?"}], "seed": 3}


def test_nobody_answers_once_many_calls_have_failed_and_none_was_answered() -> None:
    down, refused = Failure("down"), Failure("too long", of_row=True)
    tally = Tally()
    assert not any(tally.hopeless(outcome) for outcome in [refused] * HOPELESS + [down] * (HOPELESS - 1))
    assert tally.hopeless(down)
    assert (tally.failed, tally.reason) == (HOPELESS, "down")
    assert not tally.hopeless(REPLY)
    assert not any(tally.hopeless(down) for _ in range(2 * HOPELESS)), "somebody has answered"


def test_every_call_is_answered_so_many_at_a_time() -> None:
    lock, open_, most, told = threading.Lock(), 0, 0, list[int]()

    def answer(call: int) -> Outcome:
        nonlocal open_, most
        with lock:
            open_ += 1
            most = max(most, open_)
        time.sleep(0.01)
        with lock:
            open_ -= 1
        return Reply(str(call), None)

    found = run_all(answer, range(20), 4, threading.Event(), told.append)
    assert found == {call: Reply(str(call), None) for call in range(20)}
    assert 1 < most <= 4
    assert told == [1] * 20


def test_the_first_error_stops_all_and_is_raised() -> None:
    stop, begun = threading.Event(), list[int]()

    def answer(call: int) -> Outcome:
        begun.append(call)
        if call == 1:
            raise RingfenceError("no credit")
        stop.wait(30)
        return REPLY

    with pytest.raises(RingfenceError, match="no credit"):
        run_all(answer, range(100), 2, stop)
    assert stop.is_set()
    assert len(begun) < 10, "calls that had not begun are dropped"


def test_a_later_sample_of_a_row_has_a_seed_of_its_own_and_a_whole_chat_is_sent() -> None:
    chat = [{"role": role, "content": role} for role in ("system", "user", "assistant", "user")]
    with loopback(lambda body: Says(f" {body['seed']}\n", finish="length")) as running:
        asked = [Request("a", chat, sample) for sample in range(3)] + [Request("b", chat)]
        made = ChatGenerator(ChatServer(model="m", base_url=running.url, max_retries=0))
        answers = made.generate(asked, Sampling(5, 0.5, seed=1))
        assert made.generate(asked, Sampling(5, 0.5, seed=1)) == answers
    assert len({one.text for one in answers}) == 4
    assert {(one.ended, one.stop_reason, one.failure) for one in answers} == {(False, "length", None)}
    assert all(body["messages"] == chat for body in running.bodies)
    assert {(body["max_tokens"], body["temperature"]) for body in running.bodies} == {(5, 0.5)}


def test_what_a_server_may_count_otherwise_is_refused() -> None:
    with pytest.raises(RingfenceError, match=r"^model m at http://.*: top_p and min_p are for models in this process"):
        ChatGenerator(ChatServer(model="m", base_url="http://127.0.0.1:9/v1")).generate([], Sampling(top_p=0.9))
