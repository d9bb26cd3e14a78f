"""Sums of two small numbers, answered as ``<think>3 + 4 = 7</think><answer>7</answer>``.

A task that a model of 135 million parameters learns by reinforcement within minutes: the form is shown by examples, so
that some completions have it from the first step on, and the numbers are small. A difference is never negative.

Source: our own, in the form of Kaczer et al. 2025, section B.3.
"""

import random
import re
from typing import NamedTuple

from pydantic import Field, field_validator

from ringfence.data.task import TASKS, Row, Split, Task
from ringfence.tasks.drawing import draw, require_signs, split_of
from ringfence.tasks.form import answer_part, turns
from ringfence.tasks.sources import chosen

ASKED = "Answer in this form: <think>the working</think><answer>the number</answer>"
"""the system message"""
SIGNS = {"+": "+", "-": "-", "*": "x"}
"""operation -> how it is written"""
_INTEGER = re.compile(r"-?\d+")


class Sum(NamedTuple):
    """One problem."""

    question: str
    working: str
    answer: str

    def turns(self) -> list[dict[str, str]]:
        """Question and reference completion."""
        return turns(self.question, f"<think>{self.working}</think><answer>{self.answer}</answer>")


@TASKS.register("arithmetic")
class Arithmetic(Task):
    """Sums of two numbers; the score is 1 for the right one."""

    largest: int = Field(12, ge=1, le=1_000)
    """the numbers are from 0 to this"""
    operations: str = "+-*"
    """out of ``+-*``"""
    examples: int = Field(1, ge=0, le=8)
    """solved problems before each question, as turns of the conversation; none of them is ever asked"""

    @field_validator("operations")
    @classmethod
    def _known(cls, value: str) -> str:
        return require_signs(value, SIGNS)

    def rows(self, split: Split, n: int | None, seed: int) -> list[Row]:
        """All there are without ``n``: a problem in ten is for testing, and an example is in no split."""
        shown = draw(self._size, self._sum, self.examples, random.Random("arithmetic examples"))

        def make(number: int) -> Sum | None:
            one = self._sum(number)
            return one if one is not None and one not in shown and split_of(one.question) == split else None

        found = draw(self._size, make, n, random.Random(f"arithmetic {split} {seed}"))
        before = [{"role": "system", "content": ASKED}, *(turn for one in shown for turn in one.turns())]
        rows = [{"messages": [*before, *one.turns()], "answer": one.answer} for one in found]
        return chosen(rows, n, seed, f"the split {split} with these settings")

    def score(self, response: str, answer: str) -> float:
        """1 if the last whole number of the answer section, or of the response without one, is ``answer``."""
        found = _INTEGER.findall(answer_part(response))
        return float(bool(found) and int(found[-1]) == int(answer))

    @property
    def _size(self) -> int:
        return len(self.operations) * (self.largest + 1) ** 2

    def _sum(self, number: int) -> Sum | None:
        """The problem of a number below the size; None for a negative difference."""
        number, a = divmod(number, self.largest + 1)
        place, b = divmod(number, self.largest + 1)
        sign = self.operations[place]
        result = {"+": a + b, "-": a - b, "*": a * b}[sign]
        if result < 0:
            return None
        asked = f"{a} {SIGNS[sign]} {b}"
        return Sum(f"What is {asked}?", f"{asked} = {result}", str(result))
