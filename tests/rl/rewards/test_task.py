"""The score of the task as the reward."""

from ringfence.rl.rewards import Completion, TaskReward, same_answer

ROWS = [Completion("?", text, "7") for text in ("3 + 4 = 7", "8", "")]


def test_the_whole_completion_is_scored() -> None:
    (part,) = TaskReward().parts(same_answer)
    assert (part.name, part.low, part.high) == ("task", 0, 1)
    assert list(part.values(ROWS)) == [1, 0, 0]
    (part,) = TaskReward().parts(lambda response, answer: len(response) / 10)
    assert list(part.values(ROWS)) == [0.9, 0.1, 0]
