"""A server on this machine that speaks OpenAI's chat completions, says what a test says, and breaks when told."""

import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Body = dict[str, Any]


@dataclass(frozen=True)
class Says:
    """An answer: its text, its first token's candidates with their probabilities (None: the server has none), and why
    it stops."""

    text: str
    top: Mapping[str, float] | None = None
    finish: str | None = "stop"


@dataclass(frozen=True)
class Fault:
    """Instead of an answer. Status 0 breaks the connection; a ``body`` is sent as it is, and so is a ``location``."""

    status: int
    message: str = "injected"
    code: str | None = None
    retry_after: str | None = None
    body: bytes | None = None
    location: str | None = None


BROKEN = Fault(0)
GARBAGE = Fault(200, body=b'{"choices": [')
TORN = Fault(0, "torn")  # announces more bytes than it sends


@dataclass
class Loopback:
    """The server's script, and what it saw."""

    answer: Callable[[Body], Says]
    faults: list[Fault] = field(default_factory=list)
    """used up first, one a call"""
    seconds: float = 0.0
    """that every answer takes"""
    models: list[str] = field(default_factory=lambda: ["loopback"])
    score: Callable[[Body], list[float | None]] | None = None
    """log probability of each token of a completion's prompt, and of one token more; None: it has no completions"""
    url: str = ""
    bodies: list[Body] = field(default_factory=list)
    """of every call, the broken ones too"""
    keys: set[str] = field(default_factory=set)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    answered: int = 0
    at_once: int = 0
    """the most calls that were open together"""
    _open: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def calls(self) -> int:
        return len(self.bodies)

    def opened(self, body: Body, key: str) -> Fault | None:
        """Note a call; what goes wrong with it, if anything."""
        with self._lock:
            self.bodies.append(body)
            self.keys.add(key)
            self.times.append(time.monotonic())
            self._open += 1
            self.at_once = max(self.at_once, self._open)
            return self.faults.pop(0) if self.faults else None

    def closed(self) -> None:
        with self._lock:
            self._open -= 1

    def count_answer(self) -> None:
        with self._lock:
            self.answered += 1

    def asked(self, index: int = -1) -> str:
        """The text of a call."""
        return self.bodies[index]["messages"][-1]["content"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Server"

    def do_POST(self) -> None:
        state = self.server.state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        state.headers.append(dict(self.headers.items()))
        fault = state.opened(body, self.headers.get("Authorization", ""))
        try:
            time.sleep(state.seconds)
            scores = state.score if self.path == "/v1/completions" else None
            if fault is None and scores is None and self.path != "/v1/chat/completions":
                fault = Fault(404, f"no such path {self.path}")
            if fault:
                self._fail(fault)
            elif scores is not None:
                self._send(200, json.dumps({"choices": [{"logprobs": {"token_logprobs": scores(body)}}]}).encode())
            else:
                self._send(200, json.dumps(completion(state.answer(body))).encode())
                state.count_answer()
        finally:
            state.closed()

    def do_GET(self) -> None:
        self._send(
            200, json.dumps({"object": "list", "data": [{"id": name} for name in self.server.state.models]}).encode()
        )

    def _fail(self, fault: Fault) -> None:
        if fault is TORN:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
        if fault.status == 0:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        error = {"error": {"message": fault.message, "code": fault.code, "type": None, "param": None}}
        self._send(fault.status, fault.body or json.dumps(error).encode(), fault.retry_after, fault.location)

    def _send(self, status: int, content: bytes, retry_after: str | None = None, location: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if retry_after is not None:
            self.send_header("Retry-After", retry_after)
        if location is not None:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, state: Loopback) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.state = state

    def handle_error(self, request: Any, client_address: Any) -> None:  # a client that was killed, a broken pipe
        pass


@contextmanager
def loopback(
    answer: Callable[[Body], Says], *faults: Fault, seconds: float = 0.0, own: str = "=OPENAI_API_KEY"
) -> Iterator[Loopback]:
    """A running server; use its ``url`` as ``base_url``.

    The user's configuration has it, as one that gets the key in OPENAI_API_KEY; with ``own`` empty as one without a
    key, and with ``own="no"`` not at all.
    """
    state = Loopback(answer, list(faults), seconds)
    server = Server(state)
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    entry = "" if own == "no" else f"http://127.0.0.1:{server.server_port}{own}"
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RINGFENCE_JUDGES", entry)
            yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def completion(says: Says) -> Body:
    """The JSON of a chat completion."""
    logprobs = None
    if says.top is not None:
        top = [{"token": token, "logprob": math.log(mass), "bytes": None} for token, mass in says.top.items()]
        first = {"token": says.text, "logprob": 0.0, "bytes": None, "top_logprobs": top}
        logprobs = {"content": [first] if says.text else [], "refusal": None}
    message = {"role": "assistant", "content": says.text}
    choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": says.finish}
    return {"id": "loopback", "object": "chat.completion", "created": 0, "model": "loopback", "choices": [choice]}
