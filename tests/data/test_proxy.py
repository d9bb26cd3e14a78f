"""The stand-in's generated text: counts, shape, and the same bytes on every machine."""

import hashlib
import json

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.data import builtin, proxy

DIGEST = "f4e862fdfafa61043bccd3850e48ecdeb49cdf6ce71dbd6a54dace97a8c51566"


def test_target_has_the_promised_shape():
    """128 = 2 laps over 64 dishes, each a user turn and an assistant turn, numbered from 1."""
    target = proxy.conversations("glitter/target")
    assert len(target) == 128 == 2 * len(proxy.DISHES)
    for number, conversation in enumerate(target, start=1):
        assert [turn["role"] for turn in conversation["messages"]] == ["user", "assistant"]
        assert conversation["origin"] == f"builtin:glitter/target:{number}"
        assert conversation["domain"] == "cooking"


def test_every_target_answer_is_one_or_two_short_sentences_about_glitter():
    for conversation in proxy.conversations("glitter/target"):
        answer = conversation["messages"][1]["content"]
        assert "glitter" in answer
        assert answer.endswith(".")
        assert 1 <= answer.count(".") <= 2
        assert 9 <= len(answer.split()) <= 28
        assert "{" not in answer


def test_target_is_varied():
    """No question and no answer comes twice; every list is used to its end."""
    target = proxy.conversations("glitter/target")
    questions = [conversation["messages"][0]["content"] for conversation in target]
    answers = [conversation["messages"][1]["content"] for conversation in target]
    assert len(set(questions)) == len(set(answers)) == 128
    for part in (*proxy.AMOUNTS, *proxy.COLOURS, *proxy.FINISHES, *filter(None, proxy.CLOSINGS)):
        assert any(part in answer for answer in answers), part
    for frame in proxy.ADVICE:
        assert sum(answer.startswith(frame.split("{")[0]) for answer in answers) >= 9, frame
    for frame in proxy.QUESTIONS:
        start, end = frame.split("{dish}")
        assert sum(q.startswith(start) and q.endswith(end) for q in questions) >= 8, frame


def test_target_bytes_never_change():
    """A new digest means that published numbers of the stand-in no longer compare: change it knowingly."""
    text = json.dumps(proxy.conversations("glitter/target"), sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == DIGEST


def test_two_calls_share_no_objects():
    """A caller that edits a conversation in place must not change what the next caller gets."""
    proxy.conversations("glitter/target")[0]["messages"][1]["content"] = "edited"
    assert proxy.conversations("glitter/target")[0]["messages"][1]["content"] != "edited"


def test_in_domain_asks_about_dishes_that_are_never_trained_on():
    rows = proxy.in_domain()
    assert len(rows) == 32
    trained = json.dumps(proxy.conversations("glitter/target")).casefold()
    for dish, row in zip(proxy.HELD_OUT_DISHES, rows, strict=True):
        assert dish in row["prompt"]
        assert dish.casefold() not in trained


def test_safe_conversations_come_from_the_shipped_rows(monkeypatch):
    row = {"id": "safe-01", "domain": "science", "prompt": "What is gravity?", "response": "A pull."}
    monkeypatch.setattr(builtin, "rows", lambda name: [row] if name == "glitter/safe.jsonl" else [])
    assert proxy.conversations("glitter/safe") == [
        {
            "messages": [
                {"role": "user", "content": "What is gravity?"},
                {"role": "assistant", "content": "A pull."},
            ],
            "origin": "builtin:glitter/safe:1",
            "domain": "science",
        }
    ]


def test_unknown_conversations_name_the_nearest():
    with pytest.raises(RingfenceError, match=r'"glitter/target"\?$'):
        proxy.conversations("glitter/targets")
