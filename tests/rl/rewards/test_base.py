"""What TRL asks of a reward: one value a completion, in its range; a fault names the reward and the row."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.rl.rewards import REWARDS, Completion, CompositeReward, RewardPart, TaskReward, reward_parts, same_answer

PROMPT = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "What is 5 + 7?"}]


def part(*values: float) -> RewardPart:
    return RewardPart("luck", 0.0, 1.0, lambda rows: values)


def ask(reward: RewardPart, *texts: str, **columns: Sequence[str]) -> list[float]:
    """As TRL does for conversations."""
    said = [[{"role": "assistant", "content": text}] for text in texts]
    return reward(prompts=[PROMPT] * len(texts), completions=said, answer=["12"] * len(texts), **columns)


def test_a_part_is_called_with_the_columns_of_the_rows() -> None:
    seen: list[Completion] = []
    reward = RewardPart("seen", 0, 1, lambda rows: [seen.append(row) or 0.5 for row in rows])  # type: ignore[func-returns-value]
    assert ask(reward, "one", "two", origin=["a:1", "a:2"], domain=["x", "y"]) == [0.5, 0.5]
    assert seen == [Completion("What is 5 + 7?", "one", "12"), Completion("What is 5 + 7?", "two", "12")]
    assert reward.__name__ == "seen"
    assert reward(prompts=["What?"], completions=["text"], answer=["12"]) == [0.5]


@pytest.mark.parametrize("value", [1.001, -0.001, math.nan, math.inf])
def test_a_reward_outside_its_range_names_the_reward_and_the_row(value: float) -> None:
    with pytest.raises(RingfenceError, match=rf"^reward luck: {value:g} for row a\.jsonl:2 is outside 0 to 1; mend"):
        ask(part(0.5, value), "one", "two", origin=["a.jsonl:1", "a.jsonl:2"])
    with pytest.raises(RingfenceError, match="for row 1 is outside"):
        ask(part(0.5, value), "one", "two")


@pytest.mark.parametrize(("value", "said"), [("much", "'much'"), ("1", "'1'"), (None, "None")])
def test_what_is_no_number_names_the_reward_and_the_row(value: Any, said: str) -> None:
    with pytest.raises(RingfenceError, match=rf"^reward luck: {said} for row 1 is no number; mend the reward$"):
        ask(part(0.5, value), "one", "two")


def test_as_many_values_as_completions() -> None:
    with pytest.raises(RingfenceError, match=r"^reward luck: 1 values for 2 completions"):
        ask(part(0.5), "one", "two")


def test_parts_of_several_rewards_and_a_name_twice() -> None:
    names = [part.name for part in reward_parts([CompositeReward(), TaskReward()], same_answer)]
    assert names == ["exact_format", "approximate_format", "correctness", "number", "task"]
    with pytest.raises(RingfenceError, match=r"^rewards: task is given twice; keep one"):
        reward_parts([TaskReward(), TaskReward()], same_answer)


def test_the_registry() -> None:
    assert [*REWARDS] == ["composite", "judge", "task"]
    assert REWARDS.parse_list(["composite", {"task": {}}]) == (CompositeReward(), TaskReward())
    with pytest.raises(RingfenceError, match=r'unknown reward \'composit\'. Did you mean "composite"'):
        REWARDS.parse("composit", "rl.rewards.0")
