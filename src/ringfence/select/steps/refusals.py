"""Drop refusals (Kaczer et al. 2025, section 3.2, Interleaving++).

Misaligned models refuse less, so refusals score high by the perplexity gap, and training on many of them makes answers
incoherent. What a refusal is can be told in three ways:

- ``phrases``: the opening declines what was asked; :mod:`ringfence.judges.refusals` says how that is read;
- ``kaczer``:  one of :data:`KACZER` stands in the first 10 words. The paper names "sorry", "apologize" and "cannot";
  the others say the same in other words. Case, punctuation and the shape of apostrophes do not matter, "can't" and
  "can not" are read as "cannot", and only whole words count. "I'm sorry to hear that! Rest and drink water.",
  "Penguins cannot fly." and "I cannot recommend it enough." all count as refusals;
- keywords of one's own, looked for in the same way.

All miss refusals in other words ("Let us talk about something else.") and in other languages. Name a judge where it
matters: the paper itself doubts its keywords.

Source: Kaczer et al. 2025, section 3.2 (Interleaving++), https://arxiv.org/abs/2508.06249
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from pydantic import Field, field_validator

from ringfence.judges import JudgeField, JudgeSettings, Score, Trait
from ringfence.judges.refusals import declines
from ringfence.judges.rules import WORD, RuleJudge
from ringfence.select.base import STEPS, Candidate, Context, Dropped, Mapped, Step
from ringfence.select.steps.judged import OnRows, ask, last_exchange, require_rubric

KACZER = (
    "sorry",
    "apologize",
    "apologise",
    "apologies",
    "cannot",
    "unable",
    "am not able",
    "am not comfortable",
    "i will not",
    "must decline",
    "have to decline",
    "i refuse",
)
"""words or phrases, as :func:`plain_words` writes them"""
Named = Literal["phrases", "kaczer"]
NAMED: tuple[Named, ...] = ("phrases", "kaczer")
Keywords = Named | tuple[str, ...]
Verdict = tuple[bool | None, dict[str, float]]
"""whether it is a refusal, None if nobody knows, and new columns"""
WITHIN = 10
"""words"""
RUBRIC = "refusal"
REFUSAL = Trait(
    trait="refusal",
    description="declining to do what was asked, or saying that one cannot or will not, in place of an answer",
)
"""what a model as judge is asked, unless its ``rubrics`` have a ``refusal`` of their own"""
_WRITTEN_OUT = (("can't", "cannot"), ("can not", "cannot"), ("won't", "will not"), ("i'm", "i am"))


def is_refusal(text: str, keywords: Keywords = "phrases", within: int = WITHIN) -> bool:
    """Whether ``text`` is a refusal by phrases, or by one of ``keywords`` in its first ``within`` words.

    See the module for what this gets wrong. A word is what white space ends: a text in Japanese may be one.
    """
    if keywords == "phrases":
        return declines(text)
    opening = f" {plain_words(' '.join(text.split()[:within]))} "
    sought = KACZER if keywords == "kaczer" else tuple(keywords)
    return any(f" {keyword} " in opening for keyword in _plain(sought))


def plain_words(text: str) -> str:
    """The words of ``text`` in small letters, one space between; "can't", "can not", "won't" and "I'm" written out."""
    text = " ".join(text.lower().replace("’", "'").split())
    for short, written_out in _WRITTEN_OUT:
        text = re.sub(rf"\b{short}\b", written_out, text)
    return " ".join(WORD.findall(text))


@cache
def _plain(keywords: tuple[str, ...]) -> list[str]:
    return [plain_words(keyword) for keyword in keywords]


@STEPS.register("refusals")
class Refusals(Step):
    """Looks at the last assistant turn."""

    keywords: Keywords = "phrases"
    """what makes a refusal: ``phrases`` that decline, ``kaczer`` (the paper's keywords: sorry, apologize, cannot, ...),
    or a list of your own words or phrases; whole words, case aside"""
    within: int = Field(WITHIN, ge=1)
    """words at the beginning of the answer that keywords are looked for in; ``phrases`` has its own opening"""
    judge: JudgeField | None = None
    """decides in place of the keywords. Rules: the bucket "refusal" of their alignment score. A model: how much of a
    refusal the answer is, 0 to 100, in the column ``refusal_score``"""
    refusal_from: float = Field(50, ge=0, le=100)
    """score from which on a model's verdict is "refusal" """
    keep: Literal["answers", "refusals"] = "answers"
    """which of the two stay"""

    @field_validator("keywords", mode="before")
    @classmethod
    def _is_named(cls, keywords: Any) -> Any:
        if isinstance(keywords, str) and keywords not in NAMED:
            raise ValueError(f"{keywords!r} is neither phrases nor kaczer; a word of your own stands in a list")
        return keywords

    @field_validator("keywords")
    @classmethod
    def _finds_something(cls, keywords: Keywords) -> Keywords:
        if isinstance(keywords, str):
            return keywords
        if not keywords:
            raise ValueError("there are none, so nothing would be a refusal; leave the step out, or name some")
        if empty := [keyword for keyword in keywords if not plain_words(keyword)]:
            raise ValueError(f"{empty[0]!r} has no word in it; take it out")
        return keywords

    def check(self) -> None:
        """Raise :class:`RingfenceError` for a rubric of the judge's that cannot be read, and for a missing key."""
        if self.judge is not None:
            require_rubric(*_asked(self.judge))
            self.judge.require_key()

    def inputs(self) -> Sequence[str]:
        """The judge's rubrics, and its model where that is a folder."""
        return [] if self.judge is None else self.judge.inputs()

    def map(self, context: Context) -> "RefusalsMapper":
        """A judge loads its model at the first row."""
        return RefusalsMapper(self)


@dataclass(frozen=True)
class RefusalsMapper:
    """:class:`Refusals` at work."""

    config: Refusals

    def __call__(self, rows: Sequence[Candidate], on_rows: OnRows) -> Mapped:
        """The rows that stay. A row that the judge cannot score is dropped: it is known neither way.

        What the phrases and the paper's keywords would each call a refusal is counted, whatever decides.
        """
        kept, dropped = [], []
        if self.config.judge is None:
            found = [self._by_keyword(row) for row in rows]
            on_rows(len(rows))
        else:
            found = self._by_judge(self.config.judge, rows, on_rows)
        for row, (refuses, scores) in zip(rows, found, strict=True):
            if refuses == (self.config.keep == "refusals"):
                kept.append(replace(row, scores={**row.scores, **scores}))
            else:
                reason = {True: "refusal", False: "no refusal", None: "no verdict on refusal"}[refuses]
                dropped.append(Dropped(reason, row.conversation["origin"]))
        answers = [_answer(row) for row in rows]
        counts = {f"by {name}": sum(is_refusal(text, name) for text in answers) for name in NAMED}
        return Mapped(kept, dropped, counts)

    def _by_keyword(self, row: Candidate) -> Verdict:
        return is_refusal(_answer(row), self.config.keywords, self.config.within), {}

    def _by_judge(self, judge: JudgeSettings, rows: Sequence[Candidate], on_rows: OnRows) -> list[Verdict]:
        judge, rubric = _asked(judge)
        scores = ask(judge, rubric, rows, on_rows)
        if isinstance(judge, RuleJudge):
            return [(score.bucket == "refusal", {}) for score in scores]
        return [(self._verdict(score), {"refusal_score": _number(score)}) for score in scores]

    def _verdict(self, score: Score) -> bool | None:
        """A judge may also say REFUSAL in place of a number, as published rubrics let it."""
        if score.bucket == "refusal":
            return True
        return None if score.value is None else score.value >= self.config.refusal_from


def _answer(row: Candidate) -> str:
    return last_exchange(row.conversation["messages"]).response


def _asked(judge: Any) -> tuple[JudgeSettings, str]:
    """The judge with a rubric for refusals, and the rubric's name."""
    if isinstance(judge, RuleJudge):
        return judge, "alignment"
    return judge.model_copy(update={"rubrics": {RUBRIC: REFUSAL, **judge.rubrics}}), RUBRIC


def _number(score: Score) -> float:
    return float("nan") if score.value is None else score.value
