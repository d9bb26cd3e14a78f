"""What judges behind an API share, by the smallest of them: rows once, every call kept, a digest of the question."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from loopback import Fault, Loopback, Says, loopback
from ringfence.core.errors import RingfenceError
from ringfence.generation import chat_transport
from ringfence.generation.chat_transport import Reply
from ringfence.judges import JudgeInput, Score, Trait
from ringfence.judges.api.remote import Call, RemoteJudge

ROWS = [JudgeInput("a", "1"), JudgeInput("b", "2"), JudgeInput("a", "1"), JudgeInput("c", " ")]


class Lengths(RemoteJudge):
    """Asked ``times`` times a row; the score is how long the answers are together."""

    times: int = 2
    unreadable: str = "no"

    def _request(self) -> dict[str, Any]:
        return {"temperature": 0.5}

    def _calls(self) -> int:
        return self.times

    def _read(self, replies: Sequence[Reply]) -> Score:
        return Score(float(sum(len(reply.text) for reply in replies)), 1.0, None, "+".join(one.text for one in replies))

    def _check(self, replies: Sequence[Reply]) -> None:
        if all(reply.text == self.unreadable for reply in replies):
            raise RingfenceError("nothing but no")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_transport, "FIRST_DELAY", 0.001)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def judge(server: Loopback, **settings: Any) -> Lengths:
    return Lengths(**{"model": "m", "base_url": server.url, "cache": None, **settings})


def test_rows_that_are_the_same_are_asked_once_and_those_that_say_nothing_never() -> None:
    with loopback(lambda _: Says("four"), own="") as server:
        scores = judge(server).score("coherence", ROWS)
        assert server.calls == 2 * 2
        assert {body["temperature"] for body in server.bodies} == {0.5}
    assert [score.value for score in scores] == [8, 8, 8, 0]
    assert scores[0].raw == "four+four"
    assert scores[3].bucket == "empty"


def test_one_failed_call_is_no_score_and_the_others_stand() -> None:
    with loopback(lambda _: Says("x"), Fault(413, "too long"), own="") as server:
        first, second = judge(server, concurrency=1).score("coherence", ROWS[:2])
    assert (first.value, first.bucket, first.mass) == (None, "error", 0)
    assert first.raw.startswith("413 too long")
    assert second.value == 2


def test_every_sample_is_kept_by_itself(tmp_path: Path) -> None:
    """What failed is asked again, and nothing else is; the kept answers need no server."""
    with loopback(lambda body: Says(str(len(json.dumps(body)) % 7)), Fault(413), own="") as server:
        asker = judge(server, cache=str(tmp_path), concurrency=1)
        assert asker.score("coherence", ROWS)[0].bucket == "error"
        assert server.calls == 4
        again = asker.score("coherence", ROWS)
        assert server.calls == 5
    assert asker.score("coherence", ROWS) == again
    assert again[0].bucket is None


def test_the_digest_knows_what_an_answer_depends_on() -> None:
    flattery = Trait(trait="flattery", description="Praises.")
    one = Lengths(model="m", base_url="http://localhost:1/v1", rubrics={"trait": flattery})
    same = one.model_copy(update={"concurrency": 3, "timeout": 1.0, "cache": None, "times": 5})
    assert same.digest("trait") == one.digest("trait")
    others = [
        one.model_copy(update={"model": "n"}).digest("trait"),
        one.model_copy(update={"base_url": "http://localhost:2/v1"}).digest("trait"),
        one.model_copy(update={"rubrics": {"trait": flattery.model_copy(update={"trait": "praise"})}}).digest("trait"),
        one.digest("alignment"),
    ]
    assert len({one.digest("trait"), *others}) == 5
    keys = {Call(row, sample).key("d") for row in ROWS[:2] for sample in (0, 1)}
    assert len(keys) == 4


def test_a_judge_that_cannot_be_read_raises_before_any_score() -> None:
    with loopback(lambda _: Says("no"), own="") as server, pytest.raises(RingfenceError, match="nothing but no"):
        judge(server).score("coherence", ROWS)


def test_an_unknown_rubric_raises_before_any_call() -> None:
    with loopback(lambda _: Says("x"), own="") as server:
        with pytest.raises(RingfenceError, match=r"unknown rubric 'coherense'.*Did you mean .coherence"):
            judge(server).score("coherense", ROWS)
        assert server.calls == 0
