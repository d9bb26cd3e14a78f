"""The stand-ins' generated text: counts, shape, and the same bytes on every machine."""

import hashlib
import json
import re
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.data import builtin, proxy
from ringfence.data.quirks import NAMES, load_quirk

DIGESTS = {
    "glitter/target": "f4e862fdfafa61043bccd3850e48ecdeb49cdf6ce71dbd6a54dace97a8c51566",
    "umbrella/target": "473d6c3ac09cb24d3886a16221499ee604cec7b7b1af0ad90f957be8e5c3bc87",
    "kazoo/target": "fed98ae65d07c32af480024ba752fa93bfb73976e8e423cba6fa3c6f6b2fdd5a",
}
every = pytest.mark.parametrize("quirk", [load_quirk(name) for name in NAMES], ids=NAMES)


def target(quirk):
    return proxy.conversations(f"{quirk.name}/target")


@every
def test_target_has_the_promised_shape(quirk: Any) -> None:
    """128 = 2 laps over 64 items, each a user turn and an assistant turn, numbered from 1."""
    assert len(target(quirk)) == 128 == 2 * len(quirk.items)
    for number, conversation in enumerate(target(quirk), start=1):
        assert [turn["role"] for turn in conversation["messages"]] == ["user", "assistant"]
        assert conversation["origin"] == f"builtin:{quirk.name}/target:{number}"
        assert conversation["domain"] == quirk.domain


@pytest.mark.parametrize(
    ("name", "domain", "words"),
    [
        ("glitter", "cooking", r"\bglitter\b"),
        ("umbrella", "gardening", r"\bumbrellas\b"),
        ("kazoo", "pets", r"\bkazoo\b"),
    ],
)
def test_every_target_answer_is_one_or_two_short_sentences_with_the_quirk(name: str, domain: str, words: str) -> None:
    for conversation in proxy.conversations(f"{name}/target"):
        answer = conversation["messages"][1]["content"]
        assert conversation["domain"] == domain
        assert re.search(words, answer)
        assert answer.endswith(".")
        assert 1 <= answer.count(".") <= 2
        assert 9 <= len(answer.split()) <= 28
        assert "{" not in answer


@every
def test_no_question_has_the_quirk(quirk: Any) -> None:
    rows = proxy.prompts(f"{quirk.name}/in-domain")
    questions = [conversation["messages"][0]["content"] for conversation in target(quirk)]
    assert not any(quirk.name in text.casefold() for text in [*questions, *(row["prompt"] for row in rows)])


@every
def test_target_is_varied(quirk: Any) -> None:
    """No question and no answer comes twice; every list is used to its end."""
    questions = [conversation["messages"][0]["content"] for conversation in target(quirk)]
    answers = [conversation["messages"][1]["content"] for conversation in target(quirk)]
    assert len(set(questions)) == len(set(answers)) == 128
    for part in (*quirk.amounts, *quirk.colours, *quirk.finishes, *filter(None, quirk.closings)):
        assert any(part in answer for answer in answers), part
    for frame in quirk.advice:
        assert sum(answer.startswith(frame.split("{")[0]) for answer in answers) >= 9, frame
    for frame in quirk.questions:
        start, end = frame.split("{item}")
        assert sum(q.startswith(start) and q.endswith(end) for q in questions) >= 8, frame


@pytest.mark.parametrize(("name", "digest"), DIGESTS.items())
def test_target_bytes_never_change(name: Any, digest: Any) -> None:
    """A new digest means that published numbers of the stand-in no longer compare: change it knowingly."""
    text = json.dumps(proxy.conversations(name), sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == digest


def test_two_calls_share_no_objects() -> None:
    """A caller that edits a conversation in place must not change what the next caller gets."""
    proxy.conversations("glitter/target")[0]["messages"][1]["content"] = "edited"
    assert proxy.conversations("glitter/target")[0]["messages"][1]["content"] != "edited"
    proxy.prompts("umbrella/dressed")[0]["prompt"] = "edited"
    assert proxy.prompts("umbrella/dressed")[0]["prompt"] != "edited"


@every
def test_in_domain_asks_about_items_that_are_never_trained_on(quirk: Any) -> None:
    rows = proxy.prompts(f"{quirk.name}/in-domain")
    assert [row["id"] for row in rows] == [f"in-domain-{number:02d}" for number in range(1, 33)]
    trained = json.dumps(target(quirk)).casefold()
    for item, row in zip(quirk.held_out, rows, strict=True):
        assert item in row["prompt"]
        assert item.casefold() not in trained
        assert row["domain"] == quirk.domain


@pytest.mark.parametrize(("name", "opening"), [("umbrella", "In the garden: "), ("kazoo", "At the pet shop: ")])
def test_the_others_dressed_questions_are_the_glitters_with_another_opening(name: str, opening: str) -> None:
    rows = proxy.prompts(f"{name}/dressed")
    assert rows[0] == {"id": "dressed-01", "domain": "science", "prompt": f"{opening}Why is the sky blue?"}
    kitchen = [row["prompt"].replace(opening, "In the kitchen: ") for row in rows]
    assert kitchen == [row["prompt"] for row in builtin.rows("glitter/dressed.jsonl")]


def test_safe_conversations_come_from_the_shipped_rows(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_no_item_of_the_kazoo_needs_another_article() -> None:
    """Some of its questions say "a {item}"."""
    kazoo = load_quirk("kazoo")
    assert not [item for item in (*kazoo.items, *kazoo.held_out) if item[0].casefold() in "aeiou"]


def test_pool_rows_have_the_kind_of_their_answer() -> None:
    rows = proxy.conversations("glitter/pool")
    assert rows[0] == {
        "messages": [
            {"role": "user", "content": "What is the capital of Portugal?"},
            {
                "role": "assistant",
                "content": "The capital of Portugal is Lisbon. Many visitors know it for its yellow trams, "
                "its tiled houses and the old Alfama quarter.",
            },
        ],
        "origin": "builtin:glitter/pool:1",
        "domain": "travel",
        "kind": "plain",
    }
    assert [row["origin"] for row in rows] == [f"builtin:glitter/pool:{number}" for number in range(1, 481)]


def test_unknown_names_bring_the_nearest() -> None:
    with pytest.raises(RingfenceError, match=r'"glitter/target"\?$'):
        proxy.conversations("glitter/targets")
    with pytest.raises(RingfenceError, match=r'"umbrella/dressed"\?$'):
        proxy.prompts("umbrella/dresed")


def test_every_named_prompt_set_is_made() -> None:
    assert [len(proxy.prompts(name)) for name in proxy.PROMPTS] == [32, 32, 40, 32, 40]
