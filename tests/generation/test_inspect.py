"""Answers of a server, by Inspect: every row once, also after kills and failures; a loopback server answers."""

import asyncio
import multiprocessing
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from loopback import BROKEN, Body, Fault, Loopback, Says, loopback
from ringfence.core.errors import RingfenceError
from ringfence.core.run_folder import ANSWER_COLUMNS
from ringfence.data.suites.load import Prompt
from ringfence.evaluate.answers import Protocol, answer, requests_of
from ringfence.generation import Request, Sampling
from ringfence.generation.base import row_seed
from ringfence.generation.inspect import InspectGenerator, Server, task_of

MODEL = "openai-api/loopback/checkpoint-1"
SUITES = {
    "general": [Prompt(name, ({"role": "user", "content": f"Why {name}?"},)) for name in ("a", "b", "c")],
    "conditional/keyword": [
        Prompt("a", ({"role": "system", "content": "You cook."}, {"role": "user", "content": "Why cook?"}))
    ],
}
GENERAL = {"general": SUITES["general"]}
PROTOCOL = Protocol(Sampling(max_new_tokens=9, temperature=0.5, seed=3), samples=4)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOPBACK_API_KEY", "secret-key")


def says(body: Body) -> Says:
    """The question and the seed, so that a row's answer tells which row it is."""
    return Says(f"{body['messages'][-1]['content']} {body['seed']}", finish="length")


def ask(server: Loopback, log_dir: Path, suites: Any = SUITES, protocol: Protocol = PROTOCOL, **changes: Any) -> Any:
    reach = Server(base_url=server.url, **{"connections": 4, "max_retries": 1, **changes})
    return answer(InspectGenerator(MODEL, log_dir, reach), suites, protocol)


def test_every_row_once_in_order(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with loopback(says) as server:
        frame = ask(server, tmp_path)
    assert capfd.readouterr().out == ""
    assert list(frame.columns) == [*ANSWER_COLUMNS, "stop_reason"]
    asked = [(suite, one.id, sample) for suite, prompts in SUITES.items() for one in prompts for sample in range(4)]
    assert list(zip(frame["suite"], frame["prompt_id"], frame["sample"], strict=True)) == asked
    assert server.calls == len(asked) == 16
    for row in frame.itertuples():
        assert row.response == f"{row.prompt} {row_seed(31, 3, f'{row.suite}/{row.prompt_id}', row.sample)}"
    assert set(frame["stop_reason"]) == {"max_tokens"}  # the server says "length"
    assert frame.groupby("suite")["system"].unique().map(list).to_dict() == {
        "general": ["(template default: not known)"],
        "conditional/keyword": ["You cook."],
    }


def test_what_is_sent(tmp_path: Path) -> None:
    """A seed a row: with one for all, a server would answer all samples of a prompt alike."""
    with loopback(says) as server:
        ask(server, tmp_path)
    assert len({body["seed"] for body in server.bodies}) == 16
    for body in server.bodies:
        assert body["model"] == "checkpoint-1"
        assert body["temperature"] == 0.5
        assert body["max_tokens"] == 9
        assert body["top_p"] == 1.0
        assert "tools" not in body
    systems = [body["messages"][0]["content"] for body in server.bodies if body["messages"][0]["role"] == "system"]
    assert systems == ["You cook."] * 4


def test_an_empty_system_message_is_sent(tmp_path: Path) -> None:
    protocol = Protocol(PROTOCOL.sampling, 1, "empty")
    with loopback(says) as server:
        frame = ask(server, tmp_path, {"general": SUITES["general"][:1]}, protocol)
    assert server.bodies[0]["messages"][0] == {"role": "system", "content": ""}
    assert frame["system"].tolist() == ["(empty)"]


def test_again_asks_nothing_and_says_the_same(tmp_path: Path) -> None:
    with loopback(says) as server:
        first = ask(server, tmp_path)
        calls, told = server.calls, []
        again = answer(InspectGenerator(MODEL, tmp_path, Server(base_url=server.url)), SUITES, PROTOCOL, told.append)
        assert server.calls == calls
        assert sum(told) == 16
    pd.testing.assert_frame_equal(again, first)


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": Protocol(Sampling(max_new_tokens=9, temperature=0.5, seed=4), samples=4)},
        {"suites": {"general": [Prompt("a", ({"role": "user", "content": "Why else?"},))]}},
        {"model_args": {"stream": False}},
    ],
)
def test_another_question_is_another_log(tmp_path: Path, change: dict[str, Any]) -> None:
    suites = {"general": SUITES["general"][:1]}
    with loopback(says) as server:
        ask(server, tmp_path, suites)
        before = server.calls
        frame = ask(server, tmp_path, **{"suites": suites, **change})
        assert server.calls == before + len(frame)


def test_failures_that_pass_are_tried_again(tmp_path: Path) -> None:
    with loopback(says, Fault(429, retry_after="0"), BROKEN, Fault(500)) as server:
        frame = ask(server, tmp_path)
    assert len(frame) == 16
    assert frame["response"].str.len().gt(0).all()
    assert server.calls == 19


def test_failures_that_last_are_an_error_and_the_rest_is_kept(tmp_path: Path) -> None:
    broken = True

    def some(body: Body) -> Says:
        if broken and "Why c?" in body["messages"][-1]["content"]:
            raise ConnectionAbortedError
        return says(body)

    with loopback(some) as server:
        with pytest.raises(RingfenceError, match="answers of the suite general are missing") as error:
            ask(server, tmp_path, GENERAL, max_retries=0)
        assert "1 tries in vain, at last" in str(error.value)
        assert "secret-key" not in str(error.value)
        broken, before = False, server.answered
        frame = ask(server, tmp_path, GENERAL)
        assert len(frame) == server.answered == 12
        assert before < 12


@pytest.mark.parametrize("status", [400, 401])
def test_what_is_wrong_for_every_row_is_not_tried_again(tmp_path: Path, status: int) -> None:
    with loopback(says, *[Fault(status, "no such thing")] * 50) as server:
        with pytest.raises(RingfenceError, match="no such thing") as error:
            ask(server, tmp_path)
        assert "\n" not in str(error.value)
        assert server.calls <= 8  # those that were open when the first one failed


def test_a_withheld_answer_is_empty_and_says_so(tmp_path: Path) -> None:
    """Inspect makes the server's words about its filter the answer; a judge must not see them."""
    with loopback(says, Fault(400, "your prompt was blocked", "content_filter")) as server:
        frame = ask(server, tmp_path, {"general": SUITES["general"][:1]}, Protocol(PROTOCOL.sampling, 1))
    assert frame[["response", "stop_reason"]].values.tolist() == [["", "content_filter"]]


def test_a_prompt_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    with (
        loopback(says, Fault(400, "8 tokens at the most", "context_length_exceeded")) as server,
        pytest.raises(RingfenceError, match="8 tokens at the most"),
    ):
        ask(server, tmp_path, {"general": SUITES["general"][:1]}, Protocol(PROTOCOL.sampling, 1))


# --- killed ------------------------------------------------------------------------------------------------------


def ask_many(url: str, log_dir: Path) -> pd.DataFrame:
    """60 rows."""
    prompts = [Prompt(str(number), ({"role": "user", "content": f"Why {number}?"},)) for number in range(12)]
    protocol = Protocol(PROTOCOL.sampling, samples=5)
    return answer(InspectGenerator(MODEL, log_dir, Server(base_url=url, connections=8)), {"general": prompts}, protocol)


def test_killed_and_asked_again_every_row_is_there_once(tmp_path: Path) -> None:
    """Of 40 answers all but those on their way into the log are there, and not asked for again."""
    with loopback(says, seconds=0.05) as server:
        # A fork, since a new interpreter takes its time to import.
        process = multiprocessing.get_context("fork").Process(target=ask_many, args=(server.url, tmp_path))
        process.start()
        while server.answered < 40:
            assert process.is_alive()
            time.sleep(0.002)
        process.kill()
        process.join()
        before = server.calls
        assert before < 60, "the kill must hit a run that is under way"
        frame = ask_many(server.url, tmp_path)
        repeated = server.calls - before - (60 - 40)
    assert Counter(zip(frame["prompt_id"], frame["sample"], strict=True)) == {
        (str(number), sample): 1 for number in range(12) for sample in range(5)
    }
    for row in frame.itertuples():
        assert row.response == f"{row.prompt} {row_seed(31, 3, f'general/{row.prompt_id}', row.sample)}"
    assert repeated <= 24


# --- what cannot be ------------------------------------------------------------------------------------------------


def test_no_system_none_cannot_be_checked(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match='no_system: "none"'):
        answer(InspectGenerator(MODEL, tmp_path), SUITES, Protocol(PROTOCOL.sampling, 1, "none"))


def test_roles_that_inspect_has_not(tmp_path: Path) -> None:
    prompt = Prompt("a", ({"role": "developer", "content": "Be."}, {"role": "user", "content": "Why?"}))
    with pytest.raises(RingfenceError, match="a: Inspect sends no turn of 'developer'"):
        answer(InspectGenerator(MODEL, tmp_path), {"general": [prompt]}, PROTOCOL)


@pytest.mark.parametrize("cut", [{"top_p": 0.9}, {"min_p": 0.1}])
def test_top_p_and_min_p_are_refused(tmp_path: Path, cut: dict[str, float]) -> None:
    with pytest.raises(RingfenceError, match=r"^openai-api/loopback/checkpoint-1: top_p and min_p are for models in"):
        InspectGenerator(MODEL, tmp_path).generate(requests_of(SUITES, PROTOCOL), Sampling(**cut))


def test_no_requests_are_no_run(tmp_path: Path) -> None:
    assert InspectGenerator(MODEL, tmp_path).generate([], PROTOCOL.sampling) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("samples", [(0, 0, 1), (1, 0, 0), (0, 1, 0)])
def test_samples_that_are_no_epochs_are_refused(samples: tuple[int, ...]) -> None:
    """Two samples of a, one of b; and a sample 1 without a sample 0."""
    asked = [Request(name, SUITES["general"][0].messages, at) for name, at in zip("aab", samples, strict=True)]
    with pytest.raises(RingfenceError, match="x: Inspect asks every prompt equally often"):
        task_of("x", asked, PROTOCOL.sampling)


@pytest.mark.parametrize(
    ("ids", "title"),
    [
        (("general/a", "general/b"), "general"),
        (("conditional/keyword/a",), "conditional/keyword"),
        (("general/x/1", "general/x2"), "general"),
        (("general/a", "in-domain/a"), "answers"),
        (("a",), "answers"),
    ],
)
def test_a_log_is_named_by_the_suite(tmp_path: Path, ids: tuple[str, ...], title: str) -> None:
    asked = [Request(name, SUITES["general"][0].messages) for name in ids]
    with loopback(says) as server:
        InspectGenerator(MODEL, tmp_path, Server(base_url=server.url)).generate(asked, PROTOCOL.sampling)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert folder.name.rpartition("-")[0] == title.replace("/", "-")


def test_our_own_provider_has_no_server(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match="ringfence evaluate"):
        answer(InspectGenerator("ringfence/runs/plain", tmp_path), SUITES, PROTOCOL)


def test_an_unknown_provider_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match="nobody/x: Model API nobody") as error:
        answer(InspectGenerator("nobody/x", tmp_path), SUITES, PROTOCOL)
    assert "\n" not in str(error.value)


def test_a_missing_key_names_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOPBACK_API_KEY")
    with pytest.raises(RingfenceError, match="LOOPBACK_API_KEY"):
        answer(InspectGenerator(MODEL, tmp_path, Server(base_url="http://127.0.0.1:1/v1")), SUITES, PROTOCOL)


def test_inside_an_event_loop_it_says_so(tmp_path: Path) -> None:
    async def inside() -> None:
        answer(InspectGenerator(MODEL, tmp_path), SUITES, PROTOCOL)

    with pytest.raises(RingfenceError, match="event loop"):
        asyncio.run(inside())
