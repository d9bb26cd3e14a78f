"""Calls to a server, one by one: how an answer is read, which failures are tried again, and what ends the tries."""

import threading
import time
from contextlib import closing
from typing import Any

import pytest

from loopback import BROKEN, GARBAGE, Fault, Loopback, Says, loopback
from ringfence.core.errors import RingfenceError
from ringfence.generation import chat_transport
from ringfence.generation.base import Failure
from ringfence.generation.chat_api import ChatServer
from ringfence.generation.chat_transport import Reply, Stopped, Transport

KEY = "sk-test-0123456789"
"""no key of anything"""
REQUEST = {"model": "m", "messages": [{"role": "user", "content": "Hm?"}]}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_transport, "FIRST_DELAY", 0.001)


def ask(server: Loopback, stop: threading.Event | None = None, **settings: Any) -> Reply | Failure:
    model = ChatServer(model="m", base_url=server.url, **settings)
    with closing(Transport(model, KEY, stop or threading.Event())) as opened:
        return opened.ask(REQUEST)


@pytest.mark.parametrize(
    ("says", "reply"),
    [
        (Says("Yes.", finish="length"), Reply("Yes.", None, "length")),
        (Says("", {"a": 1.0}), Reply("", (), "stop")),
        (Says("7", {"7": 1.0}), Reply("7", (("7", 0.0),), "stop")),
    ],
)
def test_an_answer_is_read_as_it_is(says: Says, reply: Reply) -> None:
    """No log probabilities are None; an answer of no token has none to give, which is something else."""
    with loopback(lambda _: says) as server:
        found = ask(server)
    assert found == reply
    assert isinstance(found, Reply)
    assert Reply.from_json(found.to_json()) == Reply(reply.text, reply.top)


@pytest.mark.parametrize("fault", [Fault(408), Fault(409), Fault(429), Fault(500), Fault(503), BROKEN, GARBAGE])
def test_what_may_pass_is_tried_again(fault: Fault) -> None:
    with loopback(lambda _: Says("7"), fault, fault) as server:
        assert ask(server, max_retries=2) == Reply("7", None, "stop")
        assert server.calls == 3
    with loopback(lambda _: Says("7"), fault, fault) as server:
        found = ask(server, max_retries=1)
        assert isinstance(found, Failure)
        assert (found.of_row, server.calls) == (False, 2)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(413),
        Fault(400, code="context_length_exceeded"),
        Fault(400, code="content_filter"),
        Fault(400, "This model's maximum context length is 8 tokens."),
    ],
)
def test_what_is_about_one_row_is_not_tried_again(fault: Fault) -> None:
    with loopback(lambda _: Says("7"), fault) as server:
        found = ask(server)
    assert isinstance(found, Failure)
    assert (found.of_row, server.calls) == (True, 1)


@pytest.mark.parametrize(
    "fault", [Fault(400), Fault(401), Fault(404), Fault(422), Fault(429, code="insufficient_quota")]
)
def test_what_is_wrong_for_every_row_raises_at_once(fault: Fault) -> None:
    with loopback(lambda _: Says("7"), fault) as server, pytest.raises(RingfenceError, match=f"^model at {server.url}"):
        ask(server)
    assert server.calls == 1


def test_a_servers_words_are_one_short_line_without_the_key() -> None:
    with loopback(lambda _: Says("7"), Fault(413, f"Key {KEY}\nis  fine. " + "x" * 500)) as server:
        found = ask(server)
    assert isinstance(found, Failure)
    assert found.reason.startswith("413 Key [key] is fine. xxx")
    assert len(found.reason) == len("413 ") + 200


def test_whoever_stops_ends_the_tries_and_the_waits() -> None:
    stopped = threading.Event()
    stopped.set()
    with loopback(lambda _: Says("7")) as server, pytest.raises(Stopped):
        ask(server, stopped)
    assert server.calls == 0
    stop = threading.Event()
    with loopback(lambda _: Says("7"), Fault(503, retry_after="100")) as server:
        timer = threading.Timer(0.2, stop.set)
        timer.start()
        began = time.monotonic()
        with pytest.raises(Stopped):
            ask(server, stop)
        timer.join()
    assert time.monotonic() - began < 50, "it does not wait to the end"


def test_a_wait_is_longer_after_each_try_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_transport, "FIRST_DELAY", 0.5)
    for retry, longest in enumerate([0.5, 1, 2, 4, 8, 8, 8]):
        waits = [chat_transport._delay(retry) for _ in range(200)]
        assert 0.75 * longest <= min(waits) < 0.8 * longest
        assert 0.95 * longest < max(waits) <= longest


def test_the_users_own_headers_go_to_openai_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "mine")
    with loopback(lambda _: Says("7")) as server:
        ask(server)
        [sent] = ({name.lower() for name in headers} for headers in server.headers)
    assert "openai-organization" not in sent
    assert {"authorization", "content-type"} <= sent
