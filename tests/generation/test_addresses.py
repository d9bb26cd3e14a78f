"""Which address a URL is at, what is refused in one, and which key may go where."""

import re

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.generation.addresses import KNOWN, entry_of, is_named, is_paired, origin, users_own, variable_of

URL = "https://judge.example.com/v1"


@pytest.fixture(autouse=True)
def _own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGFENCE_JUDGES", "https://judge.example.com=JUDGE_KEY  http://localhost:8000")


@pytest.mark.parametrize(
    ("url", "at"),
    [
        ("https://Judge.Example.com:443/v1/", "https://judge.example.com"),
        ("http://judge.example.com:443", "http://judge.example.com:443"),
        ("http://[::1]:8000/v1", "http://[::1]:8000"),
    ],
)
def test_scheme_host_and_port_are_the_address(url: str, at: str) -> None:
    assert origin(url) == at


@pytest.mark.parametrize(
    "url",
    [
        "http://me:hunter2@host/v1",
        "http://hunter2@host",
        r"http://host\@hunter2",
        "http://host/v1?api_key=hunter2",
        "http://host/v1?key=hunter2",
        "http://host/?token=hunter2",
        "http://host/#hunter2",
        "http://host:hunter2/v1",
        "http://host /hunter2",
        "file:///hunter2",
        "hunter2",
    ],
)
def test_what_is_no_plain_address_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="address") as raised:
        origin(url)
    assert "hunter2" not in str(raised.value)


def test_the_users_pairs_and_the_known_ones() -> None:
    assert users_own() == {"https://judge.example.com": "JUDGE_KEY", "http://localhost:8000": None}
    assert variable_of(URL) == "JUDGE_KEY"
    assert variable_of("https://api.openai.com/v1") == "OPENAI_API_KEY"
    assert variable_of("http://localhost:8000/v1") is variable_of("http://localhost:8001/v1") is None
    assert is_paired("JUDGE_KEY", URL)
    assert is_paired("OPENAI_API_KEY", "https://api.openai.com/v1")
    for variable, url in (
        ("AWS_SECRET_ACCESS_KEY", URL),
        ("JUDGE_KEY", "http://judge.example.com/v1"),
        ("JUDGE_KEY", "https://judge.example.com:8443/v1"),
        ("JUDGE_KEY", "https://judge.example.com.evil.org/v1"),
        ("OPENAI_API_KEY", "http://localhost:8000/v1"),
        ("OPENAI_API_KEY", "http://api.openai.com/v1"),
    ):
        assert not is_paired(variable, url)


def test_an_address_is_named_by_the_user() -> None:
    assert is_named(URL)
    assert is_named("http://localhost:8000/v1/deep")
    assert not is_named("http://localhost:8001/v1")
    assert is_named("http://localhost:8001/v1", ["http://localhost:8001"])


@pytest.mark.parametrize(("url", "variable"), KNOWN.items())
def test_a_known_address_is_no_leave_and_keeps_its_variable(
    url: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_named(f"{url}/v1")
    assert entry_of(f"{url}/v1") == f"{url}={variable}"
    monkeypatch.setenv("RINGFENCE_JUDGES", url)
    assert is_named(f"{url}/v1")
    assert variable_of(f"{url}/v1") == variable


def test_the_entry_of_an_address_has_the_users_variable() -> None:
    assert entry_of(URL) == "https://judge.example.com=JUDGE_KEY"
    assert entry_of("http://localhost:8001/v1") == "http://localhost:8001"


@pytest.mark.parametrize("setting", ["http://me:hunter2@host", f"{URL}=sk-hunter2", "hunter2"])
def test_a_setting_that_is_none_raises_without_its_text(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGFENCE_JUDGES", f"{URL} {setting}")
    with pytest.raises(RingfenceError, match=re.escape("RINGFENCE_JUDGES: entry 2 is")) as raised:
        users_own()
    assert "hunter2" not in str(raised.value)
