"""Word problems say what is summed, and their sums are right."""

import ast
import random
import re

import pytest

from ringfence.tasks.drawing import draw
from ringfence.tasks.stories import OPERATIONS, Stories, Story


def some(stories: Stories, count: int = 300) -> list[Story]:
    return draw(stories.size, stories.story, count, random.Random(0))


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_sums_follow_each_other_and_are_right(steps: int) -> None:
    for story in some(Stories(steps, 12, "+-*/")):
        sums = story.reasoning.split("\n")
        assert len(sums) == steps
        left = None
        for one in sums:
            terms, _, value = one.partition(" = ")
            tree = ast.parse(terms, mode="eval").body
            assert isinstance(tree, ast.BinOp)
            assert eval(terms) == int(value)
            assert left is None or terms.startswith(f"{left} ")
            left = value
        assert story.answer == left
        assert int(story.answer) >= 0


def test_the_numbers_of_the_sums_are_those_of_the_story() -> None:
    for story in some(Stories(2, 9, "+-*/")):
        told = [int(number) for number in re.findall(r"\d+", story.question)]
        first, *_ = re.findall(r"\d+", story.reasoning)
        operands = [int(number) for number in re.findall(r"[-+*/] (\d+)", story.reasoning)]
        assert told == [int(first), *operands]
        assert 1 <= min(told) <= max(told) <= 9


def test_only_the_signs_that_are_asked_for() -> None:
    for sign in OPERATIONS:
        assert all(f" {sign} " in story.reasoning for story in some(Stories(1, 9, sign), 20))


def test_a_story_reads_as_text() -> None:
    for story in some(Stories(3, 20, "+-*/"), 100):
        sentences = re.split(r"(?<=[.?]) ", story.question)
        assert len(sentences) == 5
        assert all(sentence[0].isupper() or sentence[0].isdigit() for sentence in sentences)
        assert story.question.endswith("?")
        assert "{" not in story.question
