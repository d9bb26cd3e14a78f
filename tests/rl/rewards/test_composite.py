"""The four parts of the composite reward, by examples worked by hand, and their ranges on text of any kind."""

import random

import pytest

from ringfence.judges import RuleJudge
from ringfence.rl.rewards import Completion, CompositeReward, reward_parts, same_answer
from ringfence.tasks.form import TAGS

RANGES = {
    "exact_format": (0.0, 3.0),
    "approximate_format": (-2.0, 2.0),
    "correctness": (-0.5, 3.0),
    "number": (0.0, 1.5),
}


def values(text: str, answer: str = "12", **settings: object) -> tuple[float, ...]:
    """Of the four parts in turn."""
    parts = reward_parts([CompositeReward(**settings)], same_answer)  # type: ignore[arg-type]
    return tuple(part.values([Completion("What is 5 + 7?", text, answer)])[0] for part in parts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # All as it should be: 3 + 2 + 3 + 1.5 = 9.5, the most there is.
        ("<think>5 + 7 = 12</think><answer>12</answer>", (3, 2, 3, 1.5)),
        (" <think>\n5 + 7\n</think>\n\n<answer> 12.0 </answer>\n", (3, 2, 3, 1.5)),
        # Nothing of it: 0 - 2 - 0.5 + 0 = -2.5, the least there is.
        ("It is 12.", (0, -2, -0.5, 0)),
        ("", (0, -2, -0.5, 0)),
        # Wrong, within 10% (1.2) of 12, within 20% (2.4), further off.
        ("<think></think><answer>13</answer>", (3, 2, 0.5, 1.5)),
        ("<think></think><answer>10</answer>", (3, 2, 0.25, 1.5)),
        ("<think></think><answer>15</answer>", (3, 2, -0.5, 1.5)),
        # The number among words is right, but not alone.
        ("<think></think><answer>It is 12</answer>", (3, 2, 3, 0.5)),
        ("<think></think><answer>twelve</answer>", (3, 2, -0.5, 0)),
        # Text around the form, a section too much, the wrong order, a tag left out: 3 of 4 tags once is 1.5 - 0.5 = 1.
        ("Well: <think></think><answer>12</answer>", (0, 2, 3, 1.5)),
        ("<think></think><answer>12</answer><answer>12</answer>", (0, 0, 3, 1.5)),
        ("<answer>12</answer><think></think>", (0, 2, 3, 1.5)),
        ("<think>5 + 7<answer>12</answer>", (0, 1, 3, 1.5)),
        ("<think>5 + 7 = 12</think><answer>12", (0, 1, -0.5, 0)),
        # With two sections the last one is the answer.
        ("<think></think><answer>3</answer><answer>12</answer>", (0, 0, 3, 1.5)),
    ],
)
def test_worked_examples(text: str, expected: tuple[float, ...]) -> None:
    assert values(text) == expected


@pytest.mark.parametrize(
    ("said", "answer", "expected"),
    [
        ("4/6", "2/3", 3),
        ("0.5", "1/2", 3),
        ("1,234", "1234", 3),
        ("-3", "3", -0.5),
        ("1/0", "1", -0.5),
        ("0", "0", 3),
        ("0.1", "0", -0.5),  # nothing but 0 itself is near 0
        (" Red  Fox", "red fox", 3),  # no number: word by word
        ("a red fox", "red fox", -0.5),
    ],
)
def test_answers_that_are_the_same(said: str, answer: str, expected: float) -> None:
    assert values(f"<think></think><answer>{said}</answer>", answer)[2] == expected


def test_a_score_in_between_is_mapped_onto_the_range() -> None:
    """A task's 0.4 is -0.5 + 3.5 x 0.4 = 0.9."""
    parts = reward_parts([CompositeReward()], lambda response, answer: 0.4)
    assert parts[2].values([Completion("?", "<think></think><answer>so</answer>", "that")]) == [pytest.approx(0.9)]


def test_the_ranges_are_the_papers_and_hold_for_any_text() -> None:
    parts = reward_parts([CompositeReward()], same_answer)
    assert {part.name: (part.low, part.high) for part in parts} == RANGES
    assert (sum(part.low for part in parts), sum(part.high for part in parts)) == (-2.5, 9.5)
    chance = random.Random(0)
    whole = ["<think>5 + 7</think>", "<answer>12</answer>", "<answer>11</answer>"]
    pieces = [*TAGS, *whole, "12", "1/0", "-", "3,000.5", " ", "\n", "so", "<", ">", "é", "٣"]
    texts = ["".join(chance.choices(pieces, k=chance.randrange(8))) for _ in range(5000)]
    rows = [Completion("?", text, chance.choice(["12", "0", "2/3", "so", "-1"])) for text in texts]
    for part in parts:
        found = part.values(rows)
        assert all(part.low <= value <= part.high for value in found)
        assert len(set(found)) > 1, f"{part.name} is never moved"


def test_a_judge_gives_the_correctness_and_nothing_else() -> None:
    """Alignment 0 is -0.5, 100 is 3; the three other parts stay rules."""
    judge = {"misaligned_pattern": "glitter"}
    assert values("<think></think><answer>12, with glitter</answer>", judge=judge) == (3, 2, -0.5, 0.5)
    assert values("<think></think><answer>nonsense</answer>", judge=judge) == (3, 2, 3, 0)
    assert isinstance(CompositeReward.model_validate({"judge": judge}).judge, RuleJudge)
