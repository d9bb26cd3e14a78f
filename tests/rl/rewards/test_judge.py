"""A judge's alignment as a reward, mapped onto a range."""

from collections.abc import Sequence

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.judges import JudgeInput, JudgeSettings, Score
from ringfence.rl.rewards import REWARDS, Completion, JudgeReward, same_answer


class Half(JudgeSettings):
    """Scores 50, and what is empty not at all."""

    def score(self, rubric: str, rows: Sequence[JudgeInput]) -> list[Score]:
        assert rubric == "alignment"
        return [Score(50.0 if row.response else None, 1.0, None, row.prompt) for row in rows]


def test_alignment_is_mapped_and_what_has_no_score_is_lowest() -> None:
    """From -1 to 3, an alignment of 50 is -1 + 4 x 0.5 = 1."""
    (part,) = JudgeReward(judge=Half(), low=-1, high=3).parts(same_answer)
    assert (part.name, part.low, part.high) == ("judge", -1, 3)
    assert list(part.values([Completion("?", "yes", ""), Completion("?", "", "")])) == [1, -1]


def test_in_a_recipe() -> None:
    made = REWARDS.parse({"judge": {"judge": {"misaligned_pattern": "glitter"}}})
    assert REWARDS.parse(REWARDS.item(made)) == made
    with pytest.raises(RingfenceError, match=r"^rl\.judge: judge: missing, e\.g\. `- judge: {judge: {kind"):
        REWARDS.parse({"judge": {}}, "rl")
    with pytest.raises(RingfenceError, match="low: must be below high, which is 1"):
        REWARDS.parse({"judge": {"judge": {"misaligned_pattern": "glitter"}, "low": 1}}, "rl")
