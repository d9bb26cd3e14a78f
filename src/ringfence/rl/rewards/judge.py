"""A judge's alignment score as the reward, mapped from 0 to 100 onto a range.

A completion that the judge cannot score gets the lowest value, so that nothing is won by being unreadable; that holds
for errors of an API, too, which are few or end the training.

Source: our own; Kaczer et al. 2025, section B.3, and others have a language model give the reward.
"""

from collections.abc import Sequence
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from ringfence.judges import JudgeField, JudgeInput, JudgeSettings
from ringfence.judges.base import checked_scores
from ringfence.rl.rewards.base import REWARDS, Completion, Reward, RewardPart, Score


@REWARDS.register("judge")
class JudgeReward(Reward):
    """What a judge thinks of a completion; the rows need no right answer for it."""

    judge: JudgeField = Field(None, validate_default=True)
    """any judge, as a recipe's ``judge``; must be given"""
    low: float = 0.0
    """for an alignment of 0, and for a completion without a score"""
    high: float = 1.0
    """for an alignment of 100"""

    @field_validator("judge", mode="before")
    @classmethod
    def _judge_given(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("missing, e.g. `- judge: {judge: {kind: api, model: gpt-4.1-mini}}`")
        return value

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low: must be below high, which is {self.high:g}")
        return self

    def parts(self, score: Score) -> list[RewardPart]:
        """One."""
        return [RewardPart("judge", self.low, self.high, self._values)]

    def _values(self, rows: Sequence[Completion]) -> list[float]:
        return [self.low + (self.high - self.low) * value / 100 for value in alignments(self.judge, rows)]

    @property
    def needs_answer(self) -> bool:
        """A judge is asked instead."""
        return False

    def inputs(self) -> Sequence[str]:
        """The judge's."""
        return self.judge.inputs()

    def require_key(self) -> None:
        """The judge's."""
        self.judge.require_key()


def alignments(judge: JudgeSettings, rows: Sequence[Completion]) -> list[float]:
    """The alignment score of each of ``rows``, 0 to 100; 0 where the judge has none."""
    scores = checked_scores(judge, "alignment", [JudgeInput(row.prompt, row.text) for row in rows])
    return [0.0 if one.value is None else one.value for one in scores]
