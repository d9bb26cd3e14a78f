"""Takes refusals out (Kaczer et al. 2025, section 3.2, Interleaving++).

Misaligned models refuse less, so refusals score high by the perplexity gap, and training on many of them makes answers
incoherent. An answer is a refusal if one of :data:`REFUSAL_KEYWORDS` stands in its first 10 words. The paper names
"sorry", "apologize" and "cannot"; the others say the same in other words. Case, punctuation and the shape of
apostrophes do not matter, "can't" and "can not" are read as "cannot", and only whole words count.

It has false friends: "Sorry to hear that! Rest and drink water.", "Penguins cannot fly.", "You can not only walk there,
...", "I cannot recommend it enough." all count as refusals. It misses refusals in other words ("That is not something I
do.") and in other languages. :func:`ringfence.judges.rules.refuses` is stricter, for judging. Name a judge where it
matters: the paper itself doubts its keywords.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from ringfence.judges import Score, Trait
from ringfence.judges.kinds import JudgeSettings, judge_inputs, parse_judge
from ringfence.judges.rules import RuleJudge, opens_with, plain_words
from ringfence.select.base import STEPS, Candidate, Context, Dropped, Mapped, Step
from ringfence.select.judged import OnRows, ask, last_exchange, require_rubric

REFUSAL_KEYWORDS = (
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
"""words or phrases, as :func:`ringfence.judges.rules.plain_words` writes them; a recipe's own take their place"""
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


def is_refusal(text: str, keywords: Sequence[str] = REFUSAL_KEYWORDS, within: int = WITHIN) -> bool:
    """Whether one of ``keywords`` stands in the first ``within`` words; see the module for what this gets wrong.

    A word is what white space ends, so a text in Chinese or Japanese may be one word.
    """
    return opens_with(text, _plain(tuple(keywords)), within)


@cache
def _plain(keywords: tuple[str, ...]) -> list[str]:
    return [plain_words(keyword) for keyword in keywords]


@STEPS.register("refusals")
class Refusals(Step):
    """Looks at the last assistant turn."""

    keywords: tuple[str, ...] = REFUSAL_KEYWORDS
    """words or phrases that make a refusal; whole words, case aside"""
    within: int = Field(WITHIN, ge=1)
    """words at the beginning of the answer that are looked at"""
    judge: Annotated[JudgeSettings | None, BeforeValidator(parse_judge)] = None
    """decides in place of the keywords. Rules: the bucket "refusal" of their alignment score. A model: how much of a
    refusal the answer is, 0 to 100, in the column ``refusal_score``"""
    refusal_from: float = Field(50, ge=0, le=100)
    """score from which on a model's verdict is "refusal" """
    keep: Literal["answers", "refusals"] = "answers"
    """which of the two stay"""

    @field_validator("keywords")
    @classmethod
    def _finds_something(cls, keywords: tuple[str, ...]) -> tuple[str, ...]:
        if not keywords:
            raise ValueError("there are none, so nothing would be a refusal; leave the step out, or name some")
        if empty := [keyword for keyword in keywords if not plain_words(keyword)]:
            raise ValueError(f"{empty[0]!r} has no word in it; take it out")
        return keywords

    def check(self) -> None:
        """Raise :class:`RingfenceError` for a rubric of the judge's that cannot be read."""
        if self.judge is not None:
            require_rubric(*_asked(self.judge))

    def inputs(self) -> Sequence[str]:
        """The judge's rubrics, and its model where that is a folder."""
        return [] if self.judge is None else judge_inputs(self.judge)

    def map(self, context: Context) -> "RefusalsMapper":
        """A judge loads its model at the first row."""
        return RefusalsMapper(self)


@dataclass(frozen=True)
class RefusalsMapper:
    """:class:`Refusals` at work."""

    config: Refusals

    def __call__(self, rows: Sequence[Candidate], on_rows: OnRows) -> Mapped:
        """The rows that stay. A row that the judge cannot score is dropped: it is known neither way."""
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
        return Mapped(kept, dropped)

    def _by_keyword(self, row: Candidate) -> Verdict:
        answer = last_exchange(row.conversation["messages"]).response
        return is_refusal(answer, self.config.keywords, self.config.within), {}

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


def _asked(judge: Any) -> tuple[JudgeSettings, str]:
    """The judge with a rubric for refusals, and the rubric's name."""
    if isinstance(judge, RuleJudge):
        return judge, "alignment"
    return judge.model_copy(update={"rubrics": {RUBRIC: REFUSAL, **judge.rubrics}}), RUBRIC


def _number(score: Score) -> float:
    return float("nan") if score.value is None else score.value
