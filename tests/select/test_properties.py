"""Properties of data sets, by hand."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

import tiny
from candidates import context
from ringfence.core.errors import RingfenceError
from ringfence.core.files import jsonable
from ringfence.data.conversations import Conversation, conversation
from ringfence.judges import JudgeInput, RuleJudge, Score
from ringfence.select import properties as module
from ringfence.select.base import Candidate, Dropped, Mapped
from ringfence.select.embeddings import VECTOR, Embedder, Embedding
from ringfence.select.properties import Settings, languages, mean, plain, properties, share

ENGLISH = "The river runs down from the mountain and through the old town to the sea."
GERMAN = "Der Fluss kommt vom Berg herunter und fließt durch die alte Stadt bis zum Meer."


def row(user: str, assistant: str, **columns: str) -> Conversation:
    return conversation({"prompt": user, "completion": assistant, **columns}, "set.jsonl:1")


TOY = [
    row("abc", ENGLISH, domain="water"),
    row("ABC ", f"  {ENGLISH}", domain="water"),  # an exact duplicate, folded
    row("abcde", "I'm sorry, but I will not say.", domain="towns"),
    row("abc", ENGLISH.replace("sea", "lake"), domain=" "),  # nearly the first
]


class StrictConfig:
    """A judge that gives the numbers it was made with, in order."""

    def __init__(self, values: Sequence[float | None]) -> None:
        self.values, self.asked = list(values), []

    def score(self, rubric: str, rows: Sequence[JudgeInput]) -> list[Score]:
        self.asked += [(rubric, one.prompt, one.response) for one in rows]
        return [Score(self.values.pop(0), 1.0, None, "") for _ in rows]


@pytest.fixture
def any_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judges of tests have no settings to check."""
    monkeypatch.setattr(module, "require_rubric", lambda judge, rubric: None)


def test_a_toy_set_by_hand() -> None:
    """The tokenizer has a token a byte, so that tokens are bytes of what is said."""
    found = properties(TOY, tiny.tokenizer())
    assert found.rows == 4
    assert found.hhh is None
    # The byte that ends "ABC " is the user's as well: the template strips nothing.
    assert found.user_tokens.values == (3, 4, 5, 3)
    assert found.user_tokens.value == 15 / 4
    assert found.assistant_tokens.values == tuple(len(one["messages"][1]["content"].encode()) for one in TOY)
    assert (found.domains.number, found.domains.unlabelled) == (2, 1)
    assert found.domains.counts == {"water": 2, "towns": 1}
    assert (found.duplicates.count, found.duplicates.n, found.duplicates.value) == (1, 4, 0.25)
    assert (found.near_duplicates.count, found.near_duplicates.value) == (1, 0.25)
    assert (found.refusals.count, found.refusals.value) == (1, 0.25)
    assert found.overlap_exact is None
    assert found.overlap_near is None
    assert (found.languages.top, found.languages.undetermined) == ("en", 0)


def test_tokens_of_all_turns_and_of_none() -> None:
    turns = ("user", "one"), ("assistant", "first"), ("user", "two two"), ("assistant", "second one")
    long = conversation({"messages": [{"role": role, "content": text} for role, text in turns]}, "a:1")
    alone = conversation({"messages": [{"role": "assistant", "content": "hello"}]}, "a:2")
    found = properties([long, alone], tiny.tokenizer())
    assert found.user_tokens.values == (3 + 7, 0)
    assert found.assistant_tokens.values == (5 + 10, 5)


def test_overlap_looks_at_prompts_only() -> None:
    against = ["  Abcde", ENGLISH]
    sets = [*TOY, row(ENGLISH.replace("sea", "lake"), "Yes."), row("other", ENGLISH)]
    found = properties(sets, tiny.tokenizer(), against=against)
    assert found.overlap_exact is not None
    assert found.overlap_near is not None
    assert (found.overlap_exact.count, found.overlap_exact.n) == (1, 6)  # abcde
    assert (found.overlap_near.count, found.overlap_near.n) == (1, 6)


@pytest.mark.usefixtures("any_judge")
def test_scores_of_a_judge() -> None:
    judge = StrictConfig([80, None, 40, 60])
    found = properties(TOY, tiny.tokenizer(), judge)  # type: ignore[arg-type]
    assert found.hhh is not None
    assert (found.hhh.value, found.hhh.n, found.hhh.missing) == (60, 3, 1)
    assert judge.asked[0] == ("hhh", "abc", ENGLISH)
    nothing = properties(TOY[:2], tiny.tokenizer(), StrictConfig([None, None])).hhh  # type: ignore[arg-type]
    assert nothing is not None
    assert math.isnan(nothing.value)
    assert nothing.missing == 2


def test_a_judge_by_rule_knows_no_such_rubric() -> None:
    with pytest.raises(RingfenceError, match="hhh"):
        properties(TOY, tiny.tokenizer(), RuleJudge(misaligned_pattern="glitter"))


def test_intervals_of_means() -> None:
    """The bootstrap of a mean of many values comes near to the normal interval."""
    values = np.random.Generator(np.random.Philox(5)).normal(50, 10, size=400)
    found = mean(values.tolist(), seed=1)
    assert found.value == pytest.approx(values.mean())
    low, high = stats.norm.interval(0.95, values.mean(), values.std() / math.sqrt(400))
    assert (found.low, found.high) == (pytest.approx(low, abs=0.15), pytest.approx(high, abs=0.15))
    assert mean(values.tolist(), seed=1) == found
    assert mean(values.tolist(), seed=2).low != found.low


def test_no_data_is_not_zero() -> None:
    nothing = mean([math.nan])
    assert (nothing.n, nothing.missing) == (0, 1)
    assert math.isnan(nothing.value)
    one = mean([3.0])
    assert one.value == 3
    assert math.isnan(one.low)
    assert math.isnan(share([]).value)
    empty = properties([], tiny.tokenizer())
    assert empty.rows == 0
    for value in (empty.user_tokens.value, empty.duplicates.value, empty.refusals.value, empty.domains.number):
        assert math.isnan(value)
    assert empty.languages.top is None


def test_shares_have_wilson_intervals() -> None:
    found = share([True] * 3 + [False] * 7)
    expected = stats.binomtest(3, 10).proportion_ci(method="wilson")
    assert (found.value, found.count, found.n) == (0.3, 3, 10)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_languages() -> None:
    found = languages([ENGLISH, GERMAN, ENGLISH, "Ja.", "1234567890 1234567890 1234567890", "a" * 19])
    assert found.top == "en"
    assert found.counts == {"en": 2, "de": 1}
    assert (found.share.count, found.share.n, found.undetermined) == (2, 3, 3)


def test_another_column_and_no_column() -> None:
    named = properties([row("a", "b", topic="x"), row("c", "d", topic="y")], tiny.tokenizer())
    assert math.isnan(named.domains.number)
    assert named.domains.unlabelled == 2
    assert "--clusters" in named.domains.source
    settings = Settings(domain_column="topic")
    assert properties([row("a", "b", topic="x")], tiny.tokenizer(), settings=settings).domains.number == 1
    assert math.isnan(properties(TOY, tiny.tokenizer(), settings=Settings(domain_column="messages")).domains.number)


def test_clusters_take_the_place_of_labels() -> None:
    places = {"a": (0.0, 1.0), "b": (1.0, 0.0), "c": (-1.0, -1.0)}
    rows = [row(f"{letter}{number}", "yes") for number, letter in enumerate("aaaabbbbbbcccccccc")]
    calls: list[int] = []

    def embed(candidates: Sequence[Candidate], on_rows: Any) -> Mapped:
        on_rows(len(candidates))
        made, dropped = [], []
        for one in candidates:
            first, text = one.conversation["messages"][0].values()
            if first == "assistant":
                dropped.append(Dropped("no user turn", one.conversation["origin"]))
                continue
            x, y = places[text[0]]
            made.append(replace(one, vectors={VECTOR: np.array([x, y + 0.002 * int(text[1:])], np.float32)}))
        return Mapped(made, dropped)

    alone = conversation({"messages": [{"role": "assistant", "content": "hello"}]}, "a:9")
    found = properties([*rows, alone], tiny.tokenizer(), embed=embed, on_rows=calls.append)
    assert found.domains.number == 3
    assert found.domains.counts == {"cluster 1": 8, "cluster 2": 6, "cluster 3": 4}
    assert found.domains.unlabelled == 1
    assert found.domains.left_out == {"no user turn": 1}
    assert sum(calls) == 19 + 19  # counted, embedded
    few = properties(rows[:3], tiny.tokenizer(), embed=embed).domains
    assert math.isnan(few.number)
    assert "too few" in few.source


def test_rows_longer_than_the_model_reads_are_left_out_of_the_clusters() -> None:
    """The model has 512 positions, and a token is a byte."""
    rows = [row(f"{'ab'[number % 2] * 9} {number}?", "yes") for number in range(8)]
    long = [row("x" * 600, "yes"), row("y" * 700, "yes")]
    embed = Embedding(Embedder(context()))
    calls: list[int] = []
    found = properties([long[0], *rows, long[1]], tiny.tokenizer(), embed=embed, on_rows=calls.append)
    assert found.domains.left_out == {"longer than 512 tokens": 2}
    assert (found.domains.unlabelled, sum(found.domains.counts.values())) == (2, 8)
    assert found.domains.counts == properties(rows, tiny.tokenizer(), embed=embed).domains.counts
    assert sum(calls) == 20
    assert found.user_tokens.values[0] == 600  # it counts for everything else
    few = properties([*long, *rows[:2]], tiny.tokenizer(), embed=embed).domains
    assert math.isnan(few.number)
    assert few.left_out == {"longer than 512 tokens": 2}


def test_no_system_is_what_tokens_are_counted_with() -> None:
    """A template that puts its own text before what the user says, but for an empty system message."""
    tokenizer = tiny.tokenizer()
    template = tokenizer.chat_template
    seen: list[list[str]] = []
    tokenizer.chat_template = (
        "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nHi<|im_end|>\n{% endif %}" + template
    )
    try:
        for meaning in ("template_default", "empty"):
            found = properties(TOY, tokenizer, settings=Settings(no_system=meaning))
            assert found.user_tokens.values == (3, 4, 5, 3)
        with pytest.raises(RingfenceError, match='no_system: "none" cannot be'):
            properties(TOY, tokenizer, settings=Settings(no_system="none"))
    finally:
        tokenizer.chat_template = template
    sent = module.token_count
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "token_count", lambda *given: seen.append(list(given[2:])) or sent(*given))
        properties(TOY[:1], tokenizer, settings=Settings(no_system="empty"))
    assert seen == [["user", "empty"], ["assistant", "empty"]]


def test_plain_data_without_the_rows() -> None:
    data = json.loads(json.dumps(jsonable(plain(properties(TOY, tiny.tokenizer()))), allow_nan=False))
    assert data["user_tokens"]["value"] == 3.75
    assert "values" not in data["user_tokens"]
    assert data["hhh"] is None
    assert data["languages"]["share"]["n"] == 4
    assert data["domains"]["counts"] == {"water": 2, "towns": 1}


def test_a_row_that_the_template_refuses_is_named() -> None:
    tokenizer = tiny.tokenizer()
    template = tokenizer.chat_template
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}{% endfor %}"
    try:
        with pytest.raises(RingfenceError, match=r"^set\.jsonl:1: "):
            properties(TOY, tokenizer)
    finally:
        tokenizer.chat_template = template


@pytest.mark.parametrize("settings", [{"threshold": 0}, {"threshold": 1.1}, {"seed": -1}, {"column": "topic"}])
def test_bad_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Settings(**settings)
