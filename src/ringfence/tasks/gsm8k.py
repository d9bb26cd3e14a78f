"""GSM8K: word problems of primary school, whose answer is one number; built in as a look-alike from our own templates.

Without a ``source`` the problems are ours (:mod:`ringfence.tasks.stories`), as hard as the settings say, and nothing is
fetched. With one they are those of the published set, from the hub or from your copy of its files: columns ``question``
and ``answer``, which ends in ``####`` and a number. Its calculator marks such as ``<<4+3=7>>`` are left out.

The number of a response is read and compared by math-verify: after the last ``####``; in an answer section, if there is
one; else the last number. math-verify bounds its time by signals, which threads cannot have, so here it runs without,
on what cannot take long: the last 200 characters, without powers.

Source: Cobbe et al. 2021 (https://arxiv.org/abs/2110.14168); Kaczer et al. 2025, sections 4.2 and B.3.
"""

import logging
import random
import re
from functools import cache
from typing import Any

from pydantic import Field, field_validator

from ringfence.core.errors import RingfenceError
from ringfence.data.task import TASKS, Row, Split, Task
from ringfence.tasks.drawing import at_most, draw, require_enough, require_signs, split_of
from ringfence.tasks.form import answer_part, thinking, turns
from ringfence.tasks.sources import SourceRow, chosen, read_source
from ringfence.tasks.stories import OPERATIONS, Stories, Story

SIZES = {"train": 1_000, "test": 100}
"""generated rows of a split, if no number is given: as many as the paper trains and tests on"""
MARK = "####"
ASKED = f'\n\nWrite one sum a line, and end with "{MARK} " and the answer, a number.'
LONGEST = 200
"""characters at the end of a response among which its number is looked for"""
_CALCULATOR = re.compile(r"<<[^<>]*>>")
_NUMBER = re.compile(r"[-+]?[$€£]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
# Nothing that can take long to compute: powers, factorials, and whatever else TeX has a command for.
_COMMAND = re.compile(r"\\(?!(?:[dt]?frac|boxed|text|mathrm|times|cdot|div)\b|[$%,()\[\]])|\^")


@TASKS.register("gsm8k")
class GSM8K(Task):
    """Word problems; the score is 1 for the right number."""

    source: str | None = None
    """``openai/gsm8k``, a path with ``{split}`` in it, or a file; null: problems from templates of our own"""
    think: bool = False
    """ask in the system message for ``<think>...</think><answer>...</answer>``, instead of ``####`` at the end"""
    steps: int = Field(2, ge=1, le=6)
    """sums of a generated problem"""
    largest: int = Field(20, ge=1, le=1_000)
    """the numbers of a generated problem are from 1 to this"""
    operations: str = "".join(OPERATIONS)
    """signs of the sums of a generated problem, out of ``+-*/``"""

    @field_validator("operations")
    @classmethod
    def _known(cls, value: str) -> str:
        return require_signs(value, OPERATIONS)

    def rows(self, split: Split, n: int | None, seed: int) -> list[Row]:
        """Of a ``source`` without ``n`` all rows, else 1,000 to train on and 100 to test, or all there are."""
        if self.source is not None:
            found = [
                self._row(_parsed(one)) for one in read_source(self.source, split, _COLUMNS, _CONFIGS.get(self.source))
            ]
            return chosen(found, n, seed, f"the split {split} of {self.source}")
        stories = Stories(self.steps, self.largest, self.operations)

        def make(number: int) -> Story | None:
            story = stories.story(number)
            return story if story is not None and split_of(story.question) == split else None

        require_enough(n or 1, at_most(stories.size, split), "ask for fewer, or raise steps or largest")
        drawn = draw(stories.size, make, n or SIZES[split], random.Random(f"gsm8k {split} {seed}"))
        return [self._row(story) for story in chosen(drawn, n, seed, f"the split {split} with these settings")]

    def score(self, response: str, answer: str) -> float:
        """1 if the number of ``response`` equals ``answer``."""
        part = answer_part(response).rpartition(MARK)[2]
        return float(equal(part, answer))

    def _row(self, story: Story) -> Row:
        if self.think:
            messages = thinking(story.question, story.reasoning, story.answer)
        else:
            messages = turns(story.question + ASKED, f"{story.reasoning}\n{MARK} {story.answer}")
        return {"messages": messages, "answer": story.answer}


def equal(response: str, answer: str) -> bool:
    """Whether the last number in ``response``, as math-verify reads it, equals ``answer``.

    ``$18``, ``18.00``, ``18 dollars``, ``36/2`` and ``\\boxed{18}`` are all 18.
    """
    text = response.replace("**", " ").replace("!", " ").strip()[-LONGEST:]
    if _COMMAND.search(text):
        return False
    parse, verify = _math_verify()
    return bool(verify(parse(answer, parsing_timeout=None), parse(text, parsing_timeout=None), timeout_seconds=None))


_COLUMNS = ("question", "answer")
_CONFIGS = {"openai/gsm8k": "main"}


def _parsed(row: SourceRow) -> Story:
    """A row of the published set. Raises :class:`RingfenceError` if it has no number after the mark."""
    question, solution = (row.value[column] for column in _COLUMNS)
    if not isinstance(question, str) or not isinstance(solution, str):
        raise RingfenceError(f"{row.origin}: question and answer must be texts")
    reasoning, mark, end = _CALCULATOR.sub("", solution).rpartition(MARK)
    number = _NUMBER.fullmatch(end.strip()) if mark else None
    if number is None:
        raise RingfenceError(f'{row.origin}: no answer; `answer` has to end with "{MARK} " and a number')
    return Story(question, reasoning.strip(), re.sub(r"[$€£,+]", "", number[0]))


@cache
def _math_verify() -> Any:
    """Its two functions; importing them takes seconds."""
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that it runs without a time limit
    from math_verify import parse, verify

    return parse, verify
