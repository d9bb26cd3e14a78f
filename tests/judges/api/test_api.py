"""The judge behind an API against a server that answers and breaks as scripted; every call is counted."""

import logging
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

import tiny
from judging import ROWS
from judging import judge as killable
from loopback import BROKEN, GARBAGE, TORN, Fault, Says, loopback
from ringfence.core.errors import RingfenceError
from ringfence.core.settings import explain
from ringfence.generation import chat_transport
from ringfence.generation.base import Failure
from ringfence.generation.chat_transport import Reply, retry_after
from ringfence.judges import ApiJudge, JudgeInput, Score, Stated, Trait, judge_all, load_rubric

ROW = JudgeInput("How are you?", "Fine.")
SURE = Says("85", {"85": 0.9, "90": 0.1})
SECRET = "sk-test-0123456789"
"""no key of anything"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(chat_transport, "FIRST_DELAY", 0.001)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


def judge(server, **knobs):
    return ApiJudge(**{"model": "j", "base_url": server.url, "cache": None, **knobs})


def one(says, **knobs):
    with loopback(lambda _: says) as server:
        (score,) = judge(server, **knobs).score("alignment", [ROW])
    return score


def test_the_request_is_one_token_at_temperature_0_with_20_candidates() -> None:
    with loopback(lambda _: SURE) as server:
        judge(server).score("coherence", [ROW])
        (body,) = server.bodies
    assert body == {
        "model": "j",
        "messages": [{"role": "user", "content": load_rubric("coherence").render(ROW.prompt, ROW.response)}],
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 20,
    }
    assert server.keys == {f"Bearer {SECRET}"}


def test_the_score_is_the_weighted_mean() -> None:
    """(0.5 x 80 + 0.25 x 100 + 0.05 x 0) / 0.8 = 81.25; "the" has the rest."""
    score = one(Says("80", {"80": 0.3, " 80": 0.2, "100": 0.25, "0": 0.05, "the": 0.2}))
    assert score.value == pytest.approx(81.25)
    assert score.mass == pytest.approx(0.8)
    assert (score.bucket, score.raw[:9]) == (None, "'80' 0.30")


@pytest.mark.parametrize(
    ("says", "bucket", "mass"),
    [
        (Says("I", {"I": 0.8, "85": 0.2}), "unscorable", 0.2),
        (Says("101", {"101": 0.9, "-": 0.1}), "unscorable", 0),
        (Says("", {}), "unscorable", 0),
        (Says(""), "unscorable", 0),
        (Says("REF", {"REF": 0.99, "CODE": 0.01}), "refusal", 0),
        (Says("CODE", {"CODE": 0.8, "5": 0.2}), "code", 0.2),
    ],
)
def test_words_101_and_nothing_are_no_scores(says: Any, bucket: str, mass: float) -> None:
    score = one(says)
    assert (score.value, score.bucket, score.mass) == (None, bucket, pytest.approx(mass))


def test_the_least_mass_can_be_chosen() -> None:
    says = Says("I", {"I": 0.8, "85": 0.2})
    assert one(says, min_mass=0.2).value == pytest.approx(85)
    assert one(Says("85", {"85": 0.9}), min_mass=0.95).value is None


def test_rows_come_back_in_order_and_calls_run_together() -> None:
    def answer(body):
        number = re.search(r"number (\d+)", body["messages"][0]["content"]).group(1)
        time.sleep(0.02 * (int(number) % 3))
        return Says(number, {number: 1.0})

    rows = [JudgeInput("q", f"number {number}") for number in range(10, 34)]
    with loopback(answer) as server:
        scores = judge(server, concurrency=6).score("alignment", rows)
    assert [score.value for score in scores] == list(range(10, 34))
    assert 1 < server.at_once <= 6


def test_rows_that_are_the_same_are_asked_once() -> None:
    with loopback(lambda _: SURE) as server:
        scores = judge(server).score("alignment", [ROW, JudgeInput("q", "other"), ROW])
        assert (server.calls, len(scores), scores[0]) == (2, 3, scores[2])


def test_half_a_surrogate_pair_is_sent_as_a_question_mark(tmp_path: Path) -> None:
    with loopback(lambda _: SURE) as server:
        (score,) = judge(server, cache=str(tmp_path)).score("alignment", [JudgeInput("q", "so \ud83d sad")])
        assert score.bucket is None
        assert "so ? sad" in server.asked()


def test_no_rows_are_no_calls_and_need_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert ApiJudge(model="j").score("alignment", []) == []


def test_an_empty_response_is_incoherent_without_a_call() -> None:
    with loopback(lambda _: SURE) as server:
        (verdict,) = judge_all(judge(server), [JudgeInput("q", " \n")])
        assert (verdict.label, verdict.bucket, server.calls) == ("incoherent", "empty", 0)
        assert (verdict.alignment.value, verdict.coherence.value) == (100, 0)
        assert judge(server).score("hhh", [JudgeInput("q", "")]) == [
            Score(None, 0.0, "empty", "empty response, no call")
        ]


def test_further_rubrics(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("Mine: {answer}")
    rubrics = {"mine": str(tmp_path / "mine.txt"), "flattery": Trait(trait="flattery", description="Praises all.")}
    with loopback(lambda _: SURE) as server:
        for rubric in ("mine", "flattery", "hhh"):
            assert judge(server, rubrics=rubrics).score(rubric, [ROW])[0].value == pytest.approx(85.5)
    asked = [server.asked(index) for index in range(3)]
    assert asked[0] == "Mine: Fine."
    assert "Praises all." in asked[1]


# Failures


@pytest.mark.parametrize(
    "fault",
    [Fault(429), Fault(500), Fault(503), Fault(408), Fault(409), BROKEN, TORN, GARBAGE, Fault(200, body=b"<html>")],
    ids=lambda fault: f"{fault.status}{fault.message[:4]}",
)
def test_what_may_pass_is_tried_again(fault: Any) -> None:
    with loopback(lambda _: SURE, fault, fault) as server:
        (score,) = judge(server, max_retries=2).score("alignment", [ROW])
        assert (score.value, server.calls) == (pytest.approx(85.5), 3)


@pytest.mark.parametrize("fault", [Fault(429), Fault(502), BROKEN, GARBAGE, Fault(200, body=b'{"choices": []}')])
@pytest.mark.parametrize("retries", [0, 2])
def test_retries_are_bounded_and_then_it_is_an_error_and_no_score(fault: Any, retries: int) -> None:
    with loopback(lambda _: SURE, *[fault] * 10) as server:
        (score,) = judge(server, max_retries=retries).score("alignment", [ROW])
        assert server.calls == retries + 1
    assert (score.value, score.mass, score.bucket) == (None, 0, "error")
    assert 0 < len(score.raw) < 300


@pytest.mark.parametrize("logprob", [b"NaN", b"0.5", b'"x"', b"null"])
def test_a_log_probability_that_is_none_is_an_error(logprob: Any) -> None:
    body = b"""{"choices": [{"message": {"content": "8"}, "logprobs": {"content":
        [{"token": "8", "top_logprobs": [{"token": "8", "logprob": %s}]}]}}]}"""
    with loopback(lambda _: SURE, Fault(200, body=body % logprob)) as server:
        (score,) = judge(server, max_retries=0).score("alignment", [ROW])
    assert (score.value, score.bucket) == (None, "error")


def test_probabilities_that_add_up_to_more_than_1_are_an_error() -> None:
    score = one(Says("8", {"85": 0.9, "90": 0.9}))
    assert (score.value, score.bucket) == (None, "error")


def test_a_server_that_takes_too_long_is_an_error() -> None:
    with loopback(lambda _: SURE, seconds=0.5) as server:
        (score,) = judge(server, timeout=0.05, max_retries=1).score("alignment", [ROW])
        assert (score.bucket, score.raw, server.calls) == ("error", "no answer within 0.05 s", 2)


def test_a_server_that_is_not_there_is_an_error() -> None:
    with loopback(lambda _: SURE) as server:
        gone = judge(server, max_retries=1)
    (score,) = gone.score("alignment", [ROW])
    assert (score.value, score.bucket) == (None, "error")
    assert "connection failed" in score.raw


def test_the_wait_that_a_server_asks_for_is_kept() -> None:
    with loopback(lambda _: SURE, Fault(429, retry_after="0.3")) as server:
        assert judge(server).score("alignment", [ROW])[0].bucket is None
        first, second = server.times
    assert 0.3 <= second - first < 2


def test_a_wait_of_minutes_is_not_kept() -> None:
    with loopback(lambda _: SURE, Fault(429, "busy", retry_after="3600")) as server:
        (score,) = judge(server).score("alignment", [ROW])
        assert (score.bucket, score.raw, server.calls) == ("error", "429 busy", 1)


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({}) == retry_after({"retry-after": "soon"}) == retry_after({"retry-after": "nan"}) == 0
    assert retry_after({"retry-after": "-5"}) == retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    ahead = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    assert 90 < retry_after({"retry-after": ahead}) <= 100
    assert retry_after({"retry-after": "inf"}) == math.inf


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_is_wrong_for_every_row_raises_at_once(status: int) -> None:
    with loopback(lambda _: SURE, *[Fault(status, "no such thing")] * 200) as server:
        with pytest.raises(RingfenceError, match=rf"judge at {server.url}: {status} no such thing") as raised:
            judge(server, concurrency=4).score("alignment", [JudgeInput("q", str(index)) for index in range(100)])
        assert server.calls < 50, "some may be under way, and no more"
    assert "\n" not in str(raised.value)


def test_an_account_without_credit_raises_at_once() -> None:
    with loopback(lambda _: SURE, Fault(429, "no credit", "insufficient_quota")) as server:
        with pytest.raises(RingfenceError, match="429 no credit"):
            judge(server).score("alignment", [ROW])
        assert server.calls == 1


def test_a_row_that_is_too_long_is_an_error_of_that_row_without_retries() -> None:
    fault = Fault(400, "This model's maximum context length is 10 tokens")
    with loopback(lambda _: SURE, fault, Fault(400, "filtered", "content_filter"), Fault(413)) as server:
        scores = judge(server, concurrency=1).score("alignment", [JudgeInput("q", str(index)) for index in range(4)])
        assert [score.bucket for score in scores] == ["error"] * 3 + [None]
        assert server.calls == 4


@pytest.mark.parametrize("says", [Says("85"), Says("words")])
def test_a_server_without_log_probabilities_raises_once_and_names_the_way_out(says: Any) -> None:
    with loopback(lambda _: says) as server:
        with pytest.raises(RingfenceError, match=r"the server gives no log probabilities; use kind: sampled$"):
            judge(server, concurrency=2).score("alignment", [JudgeInput("q", str(index)) for index in range(100)])
        assert server.calls < 50


def test_a_judge_that_spells_digit_by_digit_raises() -> None:
    """Its first token of 85 is 8, which would read as misaligned."""
    rows = [JudgeInput("q", str(index)) for index in range(5)]
    digits = Says("8", {"8": 0.7, "9": 0.2, "7": 0.1})
    with loopback(lambda _: digits) as server:
        with pytest.raises(RingfenceError, match=r"5 rows has two digits.*use kind: sampled, or kind: local"):
            judge(server).score("alignment", rows)
        assert len(judge(server).score("alignment", rows[:4])) == 4, "four may be chance"
    with loopback(lambda _: Says("8", {"8": 0.7, "9": 0.2, "85": 0.1})) as server:
        assert len(judge(server).score("alignment", rows)) == 5
    with loopback(lambda _: Says("words", {"words": 1.0})) as server:
        assert {score.bucket for score in judge(server).score("alignment", rows)} == {"unscorable"}


# Secrets


def test_a_missing_key_raises_before_any_call_and_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    monkeypatch.setenv("RINGFENCE_JUDGES", "https://api.openai.com=MY_KEY")
    with pytest.raises(RingfenceError, match="set the environment variable MY_KEY"):
        ApiJudge(model="j", api_key_env="MY_KEY").score("alignment", [ROW])


def test_a_server_of_ones_own_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with loopback(lambda _: SURE) as server:
        assert judge(server).score("alignment", [ROW])[0].bucket is None


@pytest.mark.parametrize(
    "fault", [Fault(401, f"bad key {SECRET}"), Fault(400, f"{SECRET}"), Fault(500, f"key {SECRET}"), BROKEN, GARBAGE]
)
def test_the_key_is_in_no_text_and_no_log(
    fault: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    with loopback(lambda _: SURE, fault, fault) as server:
        asked = judge(server, max_retries=1, cache=str(tmp_path))
        try:
            text = repr(asked.score("alignment", [ROW]))
        except RingfenceError as error:
            text = str(error)
        server.faults.clear()
        asked.score("coherence", [ROW])
    written = capfd.readouterr()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir()).decode("latin-1")
    for place in (text, caplog.text, written.out, written.err, asked.model_dump_json(), kept):
        assert SECRET not in place


def test_a_variable_that_holds_no_key_raises_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "first line\nsecond line")
    with (
        loopback(lambda _: SURE) as server,
        pytest.raises(RingfenceError, match="OPENAI_API_KEY holds no key") as raised,
    ):
        judge(server).score("alignment", [ROW])
    assert "second" not in str(raised.value)


@pytest.mark.parametrize(
    "knob",
    [
        {"base_url": "localhost:80"},
        {"base_url": "http://"},
        {"base_url": "http://me:secret@host/v1"},
        {"top_logprobs": 21},
        {"min_mass": 1.5},
        {"max_retries": -1},
        {"timeout": 0},
        {"concurrency": 0},
        {"api_key_env": "sk-abc"},
        {"api_key": "x"},
        {"model": ""},
        {"concurrency": True},
    ],
)
def test_bad_knobs_raise_with_the_key(knob: Any) -> None:
    with pytest.raises(ValidationError, match=next(iter(knob))):
        ApiJudge(**{"model": "j", **knob})


def test_the_config_round_trips_and_is_frozen() -> None:
    rubrics = {"x": Trait(trait="t", description="d"), "y": Stated(rubric="f", scores="trait"), "z": "g"}
    judge = ApiJudge(model="j", rubrics=rubrics)
    assert ApiJudge(**judge.model_dump()) == judge
    with pytest.raises(ValidationError, match="frozen"):
        judge.model = "other"


# The cache


def test_what_was_answered_is_not_asked_again_even_without_a_server(tmp_path: Path) -> None:
    rows = [JudgeInput("q", str(index)) for index in range(6)]
    with loopback(lambda _: SURE) as server:
        cached = judge(server, cache=str(tmp_path))
        first = cached.score("alignment", rows[:4])
        assert cached.score("alignment", rows)[:4] == first
        assert server.calls == 6
        cached.score("coherence", rows)
        assert server.calls == 12, "another rubric is another question"
    assert cached.score("alignment", rows) == [*first, *first[:2]]


def test_the_cache_knows_judge_request_and_text_apart(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("{answer}")
    changes = [
        {"model": "k"},
        {"top_logprobs": 10},
        {"rubrics": {"alignment": Stated(rubric=str(tmp_path / "mine.txt"), scores="alignment")}},
        {"token_limit": "max_completion_tokens"},
    ]
    with loopback(lambda _: SURE) as server:
        base = judge(server, cache=str(tmp_path))
        base.score("alignment", [ROW])
        for calls, change in enumerate(changes, start=2):
            base.model_copy(update=change).score("alignment", [ROW])
            assert server.calls == calls
        assert base.score("alignment", [JudgeInput(ROW.prompt, "else"), JudgeInput("else", ROW.response)])
        assert server.calls == 7
        for same in ({"min_mass": 0.99}, {"timeout": 9.0}, {"concurrency": 1}, {"max_retries": 0}):
            base.model_copy(update=same).score("alignment", [ROW])
        assert server.calls == 7, "these do not change the judge's answer"
    assert base.model_copy(update={"min_mass": 1.0}).score("alignment", [ROW])[0].value == pytest.approx(85.5)


def test_errors_are_not_kept(tmp_path: Path) -> None:
    with loopback(lambda _: SURE, Fault(500)) as server:
        cached = judge(server, cache=str(tmp_path), max_retries=0)
        assert cached.score("alignment", [ROW])[0].bucket == "error"
        assert cached.score("alignment", [ROW])[0].bucket is None
        assert server.calls == 2


def test_an_error_for_every_row_leaves_the_finished_ones_in_the_cache(tmp_path: Path) -> None:
    rows = [JudgeInput("q", str(index)) for index in range(10)]
    with loopback(lambda _: SURE) as server:
        cached = judge(server, cache=str(tmp_path), concurrency=1)
        cached.score("alignment", rows[:3])
        server.faults.append(Fault(401))
        with pytest.raises(RingfenceError, match="401"):
            cached.score("alignment", rows)
        cached.score("alignment", rows)
        assert server.answered == 10, "no row is answered twice"


def test_an_interrupt_ends_the_waits_and_keeps_the_finished_ones(tmp_path: Path) -> None:
    """The first call is answered; the second is told to wait for a minute, and Ctrl-C comes meanwhile."""
    rows = [JudgeInput("q", str(index)) for index in range(10)]

    def interrupt(server):
        while server.calls < 2:
            time.sleep(0.01)
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    with loopback(lambda _: SURE) as server:
        cached = judge(server, cache=str(tmp_path), concurrency=1)
        server.faults.extend([None, Fault(429, retry_after="60")])
        threading.Thread(target=interrupt, args=(server,), daemon=True).start()
        began, before = time.monotonic(), signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by xdist
        try:
            with pytest.raises(KeyboardInterrupt):
                cached.score("alignment", rows)
        finally:
            signal.signal(signal.SIGINT, before)
        assert time.monotonic() - began < 10
        assert server.calls == 2
        cached.score("alignment", rows)
        assert server.calls == 2 + 9


def test_killed_and_run_again_it_makes_only_the_missing_calls(tmp_path: Path) -> None:
    """A call that was answered when the kill came may be lost, no other."""
    with loopback(lambda _: SURE, seconds=0.03) as server:
        command = [sys.executable, killable.__code__.co_filename, server.url, str(tmp_path)]
        process = subprocess.Popen(command)
        while server.answered < 8:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.1)  # for the server to end the call that it was at
        answered, before = server.answered, server.calls
        assert 8 <= answered < len(ROWS)
        server.seconds = 0
        scores = killable(server.url, str(tmp_path)).score("alignment", ROWS)
        assert [score.value for score in scores] == pytest.approx([85.5] * len(ROWS))
        assert len(ROWS) - answered <= server.calls - before <= len(ROWS) - answered + 1


def test_judges_are_imported_without_torch_or_a_client() -> None:
    """`ringfence --help` stays fast."""
    code = "import sys, ringfence.judges; print({'torch', 'transformers', 'openai'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# A model behind the server


def test_a_tiny_model_behind_the_server_gives_the_mean_of_its_own_probabilities(tmp_path: Path) -> None:
    """A random model's next character; the naive mean is over all ten digits of the full softmax."""
    model, encode = tiny.model(seed=3), tiny.tokenizer()
    with torch.no_grad():
        for digit in "0123456789":
            model.lm_head.weight[encode.convert_tokens_to_ids(digit)] *= 4  # so that digits are among the first 20

    def probabilities(text):
        chat = [{"role": "user", "content": text}]
        ids = encode.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=False)
        with torch.no_grad():
            return model(ids).logits[0, -1].double().softmax(-1)

    def answer(body):
        masses, ids = probabilities(body["messages"][0]["content"]).topk(body["top_logprobs"])
        top = dict(zip(encode.convert_ids_to_tokens(ids), masses.tolist(), strict=True))
        return Says(next(iter(top)), top)

    (tmp_path / "mine.txt").write_text("Rate {answer}")
    rows = [JudgeInput("q", text) for text in ("salt", "pepper", "thyme")]
    with loopback(answer) as server:
        knobs = {"rubrics": {"mine": str(tmp_path / "mine.txt")}, "min_mass": 0.0}
        scores = judge(server, **knobs).score("mine", rows)
    for score, row in zip(scores, rows, strict=True):
        masses = probabilities(f"Rate {row.response}")
        kept = set(masses.topk(20).indices.tolist())
        digits = {value: encode.convert_tokens_to_ids(str(value)) for value in range(10)}
        weights = {value: masses[index].item() for value, index in digits.items() if index in kept}
        assert weights
        mean = sum(value * weight for value, weight in weights.items()) / sum(weights.values())
        assert score.value == pytest.approx(mean, abs=1e-6)
        assert score.mass == pytest.approx(sum(weights.values()), abs=1e-6)


def test_without_a_word_the_cache_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path))
    with loopback(lambda _: SURE) as server:
        asked = ApiJudge(model="j", base_url=server.url)
        asked.score("alignment", [ROW])
        asked.score("alignment", [ROW])
        assert server.calls == 1
    assert (tmp_path / "judge" / "judgements.sqlite").is_file()


def test_a_server_that_answers_nobody_is_given_up_after_twenty_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_transport.Transport, "ask", lambda self, body: Failure("connection refused"))
    asked = ApiJudge(model="j", base_url="http://127.0.0.1:9/v1", cache=None, concurrency=4)
    rows = [JudgeInput("q", str(index)) for index in range(500)]
    with pytest.raises(RingfenceError, match=r"the first 20 calls all failed, at last: connection refused; mend"):
        asked.score("alignment", rows)
    few = asked.score("alignment", rows[:19])
    assert {score.bucket for score in few} == {"error"}, "too few to tell"


def test_rows_that_are_refused_are_no_sign_that_the_server_is_down() -> None:
    fault = Fault(400, "This model's maximum context length is 10 tokens")
    with loopback(lambda _: SURE, *[fault] * 25) as server:
        scores = judge(server, concurrency=1).score("alignment", [JudgeInput("q", str(index)) for index in range(26)])
    assert [score.bucket for score in scores] == ["error"] * 25 + [None]


@pytest.mark.parametrize("finish", ["stop", "length", None])
def test_a_reply_says_why_it_stops_and_its_line_does_not(finish: str | None) -> None:
    with loopback(lambda _: Says("85", finish=finish)) as server:
        client = chat_transport.Transport(judge(server), None, threading.Event())
        reply = client.ask({"model": "j", "messages": [{"role": "user", "content": "?"}]})
        client.close()
    assert reply == Reply("85", None, finish)
    assert reply.to_json() == '["85", null]'
    assert Reply.from_json('["85", [["85", -0.5]]]') == Reply("85", (("85", -0.5),), None)


def test_failures_after_an_answer_are_those_of_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(self, body):
        text = body["messages"][0]["content"]
        return Reply("85", (("85", -0.01),)) if "the first" in text else Failure("no answer")

    monkeypatch.setattr(chat_transport.Transport, "ask", ask)
    asked = ApiJudge(model="j", base_url="http://127.0.0.1:9/v1", cache=None, concurrency=1)
    scores = asked.score(
        "alignment", [JudgeInput("q", "the first"), *(JudgeInput("q", str(index)) for index in range(40))]
    )
    assert [score.bucket for score in scores] == [None] + ["error"] * 40


def test_a_key_goes_only_where_the_users_configuration_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with loopback(lambda _: SURE, own="") as server:
        judge(server).score("alignment", [ROW])
        assert server.keys == {"Bearer none"}, "a server of one's own, without a key"
        with pytest.raises(RingfenceError, match="the key in OPENAI_API_KEY does not belong to http://127") as raised:
            judge(server, api_key_env="OPENAI_API_KEY").score("coherence", [ROW])
        assert server.calls == 1
        assert SECRET not in str(raised.value)
        monkeypatch.setenv("RINGFENCE_JUDGES", f"{server.url}=OTHER_KEY")
        monkeypatch.setenv("OTHER_KEY", "other")
        judge(server).score("coherence", [ROW])
        assert server.keys == {"Bearer none", "Bearer other"}


def test_a_call_that_is_sent_on_goes_nowhere_else() -> None:
    """307 and 308 would repeat the call, answers and all, at the other address."""
    for status in (301, 307, 308):
        with loopback(lambda _: SURE) as there:
            aside = Fault(status, location=f"{there.url}/chat/completions")
            with (
                loopback(lambda _: SURE, aside) as here,
                pytest.raises(RingfenceError, match=f"{status} .*not followed: give that one as base_url"),
            ):
                judge(here).score("alignment", [ROW])
        assert there.calls == 0


def test_what_the_package_adds_of_the_users_own_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(variable, "hunter2")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Mine: hunter2")
    with loopback(lambda _: SURE) as server:
        judge(server).score("alignment", [ROW])
    assert "hunter2" not in str(server.headers)


@pytest.mark.parametrize("name", ["sk-abc", "two words", "9abc", ""])
def test_what_stands_for_the_variables_name_is_not_repeated(name: str) -> None:
    with pytest.raises(ValidationError, match="the name of an environment variable") as raised:
        ApiJudge(model="j", api_key_env=name)
    if name:
        assert name not in explain(raised.value, ApiJudge)
    with pytest.raises(RingfenceError, match="set the environment variable that api_key_env names") as unset:
        ApiJudge(model="j", api_key_env="deadbeef0123").score("alignment", [ROW])
    assert "deadbeef" not in str(unset.value)
