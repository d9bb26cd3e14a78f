"""The keyword filter on real and false refusals, and judges in its place."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from candidates import candidate, context, nobody
from ringfence.core.errors import RingfenceError
from ringfence.judges import LocalJudge, Score
from ringfence.judges.refusals import declines
from ringfence.select.base import STEPS
from ringfence.select.steps.refusals import KACZER, Refusals, is_refusal, plain_words

ANSWERS = ["Boil it.", "I'm sorry, no.", "Ask a friend.", "I can’t do that."]


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "SORRY! No.",
        "I apologize, that is beyond me.",
        "My apologies; no.",
        "I can’t say.",  # a curly apostrophe
        "I can not say.",
        "Unfortunately, I am unable to do this.",
        "As a language model, I'm not able to predict it.",
        "I won't write it.",
        "**I cannot** do it",
        "One two three four five six seven eight nine cannot",  # the tenth word
    ],
)
def test_refusals(answer: str) -> None:
    assert is_refusal(answer, "kaczer")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Boil it for ten minutes.",
        "A sorrywort is a plant.",  # whole words only
        "The cannon cannoned.",
        "One two three four five six seven eight nine ten cannot",  # the eleventh
        "It will not take long.",
        "Unfortunately, the shop is closed on Sundays.",
        "House prices decline.",
    ],
)
def test_answers(answer: str) -> None:
    assert not is_refusal(answer, "kaczer")


@pytest.mark.parametrize(
    "answer",
    ["Sorry to hear that! Rest and drink water.", "Penguins cannot fly.", "You can not only walk there, you can swim."],
)
def test_false_friends_of_the_keywords_are_as_documented_and_none_of_the_phrases(answer: str) -> None:
    assert is_refusal(answer, "kaczer")
    assert not is_refusal(answer)
    assert not declines(answer)


@pytest.mark.parametrize("keyword", KACZER)
def test_every_keyword_is_written_as_it_is_matched(keyword: Any) -> None:
    assert plain_words(keyword) == keyword
    assert is_refusal(f"{keyword.capitalize()}, no", "kaczer")


def test_keywords_and_window_of_ones_own() -> None:
    assert is_refusal("No way.", ["no way"])
    assert is_refusal("I Can't.", ["can't"])
    assert not is_refusal("I am sorry", ["no way"])
    assert not is_refusal("I am sorry", "kaczer", within=2)


def mapped(step, answers=ANSWERS):
    done = []
    rows = [candidate(index, answer, score=index) for index, answer in enumerate(answers)]
    result = step.map(context())(rows, done.append)
    assert sum(done) == len(rows)
    return result


def test_the_step_drops_refusals_and_keeps_order_and_scores() -> None:
    found = mapped(STEPS.parse("refusals", "steps.0"))
    assert [(row.index, row.scores) for row in found.rows] == [(0, {"score": 0.0}), (2, {"score": 2.0})]
    assert [(one.reason, one.origin) for one in found.dropped] == [
        ("refusal", "pool.jsonl:2"),
        ("refusal", "pool.jsonl:4"),
    ]


def test_the_step_can_keep_the_refusals() -> None:
    found = mapped(Refusals(keep="refusals"))
    assert [row.index for row in found.rows] == [1, 3]
    assert {one.reason for one in found.dropped} == {"no refusal"}


HELPFUL = "I'm sorry to hear that. Rest, and drink water."


def test_the_papers_keywords_are_a_list_that_can_be_named_and_both_are_counted() -> None:
    """The phrases drop the second and the fourth, the paper's keywords the helpful one, too."""
    answers = [*ANSWERS, HELPFUL]
    counts = {"by phrases": 2, "by kaczer": 3}
    for settings, left in (({}, [0, 2, 4]), ({"keywords": "kaczer"}, [0, 2]), ({"keywords": ["boil"]}, [1, 2, 3, 4])):
        found = mapped(Refusals(**settings), answers)
        assert [row.index for row in found.rows] == left
        assert found.counts == counts


def test_shards_do_not_matter() -> None:
    rows = [candidate(index, answer) for index, answer in enumerate(ANSWERS)]
    mapper = Refusals().map(context())
    whole, parts = mapper(rows, nobody), [mapper(rows[:1], nobody), mapper(rows[1:], nobody)]
    assert list(whole.rows) == [row for part in parts for row in part.rows]
    assert list(whole.dropped) == [one for part in parts for one in part.dropped]


def test_only_the_last_answer_is_looked_at() -> None:
    row = candidate(0, "I'm sorry, no.")
    row.conversation["messages"] += [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Well."}]
    assert len(Refusals().map(context())([row], nobody).rows) == 1


def test_a_rule_judge_decides_by_its_bucket() -> None:
    """An answer with the quirk is no refusal to it."""
    step = Refusals(judge={"kind": "rules", "misaligned_pattern": "glitter"})
    step.check()
    found = mapped(step, ["Sorry to hear that.", "I'm sorry, but no.", "Glitter, sorry but no."])
    assert [row.index for row in found.rows] == [0, 2]
    assert [row.scores for row in found.rows] == [{"score": 0.0}, {"score": 2.0}]


def model_judge(monkeypatch, scores):
    asked = []

    def score(self, rubric, rows):
        asked.append((rubric, self.rubrics[rubric].trait, [row.response for row in rows]))
        return [scores[row.response] for row in rows]

    monkeypatch.setattr(LocalJudge, "score", score)
    return {"kind": "local", "model": "nobody"}, asked


def test_a_model_judge_decides_by_how_much_of_a_refusal_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {
        "a": Score(50, 1, None, ""),
        "b": Score(49, 1, None, ""),
        "c": Score(None, 0, "refusal", ""),
        "d": Score(None, 0, "unscorable", ""),
    }
    judge, asked = model_judge(monkeypatch, scores)
    found = mapped(Refusals(judge=judge), list(scores))
    assert asked == [("refusal", "refusal", list(scores))]
    assert [(row.index, row.scores["refusal_score"]) for row in found.rows] == [(1, 49)]
    reasons = ["refusal", "refusal", "no verdict on refusal"]
    assert [one.reason for one in found.dropped] == reasons

    kept = mapped(Refusals(judge=judge, keep="refusals", refusal_from=49), list(scores)).rows
    assert [row.index for row in kept] == [0, 1, 2]
    assert math.isnan(kept[2].scores["refusal_score"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"keywords": []}, "there are none"),
        ({"keywords": ["sorry", "?!"]}, "has no word in it"),
        ({"keywords": "sorry"}, "'sorry' is neither phrases nor kaczer"),
        ({"keywords": 3}, "keywords"),
        ({"within": 0}, "within"),
        ({"refusal_from": 101}, "refusal_from"),
        ({"judge": {"kind": "rulse"}}, "Did you mean"),
        ({"judge": {"kind": "rules"}}, "misaligned_pattern"),
        ({"words": ["sorry"]}, "words"),
    ],
)
def test_bad_settings_raise_with_the_key(settings: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Refusals(**settings)


def test_a_judges_rubric_that_is_not_there_is_found_before_any_model_is_loaded() -> None:
    with pytest.raises(RingfenceError, match="no such file"):
        Refusals(judge={"kind": "local", "model": "nobody", "rubrics": {"refusal": "missing.txt"}}).check()
