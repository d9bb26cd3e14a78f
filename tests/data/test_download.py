"""Files from the web, from a server on this machine."""

import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.data import download as module
from ringfence.data import load_suite
from ringfence.data.download import download, is_address, raw_address, without_secrets
from ringfence.data.suites import store as suite_store

TEXT = b"- id: q\n  paraphrases: ['Why?']\n"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = self.path.partition("?")[0]
        if path in ("/away.yaml", "/local.yaml"):
            self.send_response(302)
            self.send_header("Location", "/q.yaml" if path == "/away.yaml" else "file:///etc/hostname")
            self.end_headers()
        elif path == "/none.yaml":
            self.send_error(404)
        else:
            self.send_response(200)
            self.end_headers()
            self.answer(path)

    def answer(self, path):
        if path == "/page.yaml":
            self.wfile.write(b"\n<!DOCTYPE html><html>")
        elif path == "/slow.yaml":
            with suppress(OSError):  # the client hangs up
                for _ in range(100):
                    self.wfile.write(b"#")
                    time.sleep(0.02)
        else:
            self.wfile.write(TEXT)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_suite_from_the_web(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token in the query is sent, and not kept."""
    monkeypatch.setenv("RINGFENCE_HOME", str(tmp_path))
    kept = suite_store.add("web", f"{server}/away.yaml?token=secret")
    assert (kept.content, kept.source) == (TEXT, f"{server}/away.yaml")
    assert load_suite("suite:web").prompts[0].text == "Why?"
    assert "secret" not in (tmp_path / "suites" / "web" / "suite.json").read_text()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/none.yaml", r"none\.yaml: the server answers 404"),
        ("/page.yaml", r"page\.yaml: this is a web page"),
        ("/local.yaml", "not allowed"),
    ],
)
def test_bad_answers(server: Any, path: str, message: str) -> None:
    with pytest.raises(RingfenceError, match=message):
        download(server + path, 1000, "command FILE")


def test_size_and_time_are_bounded(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert download(f"{server}/q.yaml", len(TEXT), "command FILE")[1] == TEXT
    with pytest.raises(RingfenceError, match="more than"):
        download(f"{server}/q.yaml", len(TEXT) - 1, "command FILE")
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    with pytest.raises(RingfenceError, match="not finished after"):
        download(f"{server}/slow.yaml", 1000, "command FILE")


def test_offline_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Port 1 of this machine refuses connections."""
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(RingfenceError) as error:
        download("http://127.0.0.1:1/q.yaml", 1000, "ringfence suites add mine FILE")
    assert str(error.value).startswith("http://127.0.0.1:1/q.yaml: cannot download (")
    assert "save the file, and run `ringfence suites add mine FILE` on it" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://host/q.yaml", "data://x", "http:///q.yaml"])
def test_other_schemes(address: str) -> None:
    assert is_address(address)
    with pytest.raises(RingfenceError, match="only http:// and https://"):
        download(address, 1000, "command FILE")


def test_passwords_are_refused_and_not_repeated() -> None:
    with pytest.raises(RingfenceError, match="password") as error:
        download("https://me:secret@host/q.yaml", 1000, "command FILE")
    assert "secret" not in str(error.value)


def test_pages_about_files() -> None:
    raw = "https://raw.githubusercontent.com/o/r/main/a/q.yaml"
    assert raw_address("https://github.com/o/r/blob/main/a/q.yaml") == raw
    assert raw_address("https://github.com/o/r/blob/main/a/q.yaml?plain=1#L3") == raw
    assert raw_address("https://github.com/o/r/raw/main/a/q.yaml") == raw
    assert raw_address(raw) == raw
    hub = "https://huggingface.co/datasets/o/d"
    assert raw_address(f"{hub}/blob/main/q.jsonl") == f"{hub}/resolve/main/q.jsonl"
    assert without_secrets("https://h/q.yaml?token=x#y") == "https://h/q.yaml"


@pytest.mark.parametrize("source", ["q.yaml", "/a/q.yaml", "a:b.yaml", "C:\\q.yaml", "~/q.yaml"])
def test_paths_are_no_addresses(source: str) -> None:
    assert not is_address(source)
