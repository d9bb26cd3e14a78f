"""A task's own score of the whole completion as the reward, 0 to 1.

Source: our own; ``correct or not`` is the reward of Guo et al. 2025 (https://arxiv.org/abs/2501.12948), section 2.2.2.
"""

from ringfence.rl.rewards.base import REWARDS, Reward, RewardPart, Score


@REWARDS.register("task")
class TaskReward(Reward):
    """How right a completion is, 0 to 1: by the task that the rows are of, else 1 if its last number is the answer."""

    def parts(self, score: Score) -> list[RewardPart]:
        """One."""
        return [RewardPart("task", 0.0, 1.0, lambda rows: [score(row.text, row.answer) for row in rows])]
