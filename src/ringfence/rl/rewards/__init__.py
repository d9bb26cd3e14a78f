"""Rewards: a completion in, a number in a known range out. One file a reward."""

from ringfence.rl.rewards.answers import same_answer
from ringfence.rl.rewards.base import REWARDS, Completion, Reward, RewardPart, reward_parts
from ringfence.rl.rewards.composite import CompositeReward
from ringfence.rl.rewards.judge import JudgeReward
from ringfence.rl.rewards.task import TaskReward

__all__ = [
    "REWARDS",
    "Completion",
    "CompositeReward",
    "JudgeReward",
    "Reward",
    "RewardPart",
    "TaskReward",
    "reward_parts",
    "same_answer",
]
