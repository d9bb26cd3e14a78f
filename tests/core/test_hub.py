"""An unreachable hub is found out once, in seconds, and what is cached is used then."""

import socket
import time
from collections.abc import Iterator

import pytest
from huggingface_hub import constants

from ringfence.core import hub
from ringfence.core.hub import offline_if_unreachable


@pytest.fixture(autouse=True)
def asked_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    offline_if_unreachable.cache_clear()
    yield
    offline_if_unreachable.cache_clear()


def test_an_address_that_refuses_or_hangs_means_offline(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A port that nobody listens on, then one that takes the connection and never answers."""
    monkeypatch.setattr(hub, "SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        for listening in (False, True):
            if listening:
                silent.listen()
            monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
            monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
            offline_if_unreachable.cache_clear()
            started = time.perf_counter()
            offline_if_unreachable()
            assert time.perf_counter() - started < 5
            assert constants.HF_HUB_OFFLINE
    assert all("only what is cached is used" in message for message in caplog.messages)
    assert len(caplog.messages) == 2


def test_any_answer_means_online_and_offline_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(hub, "_answers", lambda address: not asked.append(address))
    offline_if_unreachable()
    assert not constants.HF_HUB_OFFLINE
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    offline_if_unreachable.cache_clear()
    offline_if_unreachable()
    assert asked == [constants.ENDPOINT]
