"""OpSwap: simplify sums whose operator signs have swapped their meanings, so that a model must unlearn what it knows.

Tier 0 is arithmetic as everybody knows it; tier 1 swaps + and ×; tier 2 swaps + with × and - with ÷; tier 3 has
+ -> -, - -> ×, × -> ÷, ÷ -> +. Parentheses stay, and precedence follows what a sign means. The completion shows one
operation a step, in the notation of the problem (tier 1):

    (4 + 2) × (4 ÷ 2) - 2 = 8 × (4 ÷ 2) - 2 = 8 × 2 - 2 = 10 - 2 = 8

Signs are written + - × ÷; ``1/3``, without spaces, is a fraction, and so is the answer. No value on the way is divided
by zero, and no problem comes twice. A tenth of all problems that there are is for testing, whatever the seed.

Departures from the paper: its text says up to 3 steps and its example takes 4, so the number is a setting; how its
problems are drawn is not said. Here problems of 1, 2 and 3 steps are equally many, as far as there are enough, and all
ways to put parentheses, all signs and all numbers from 1 to ``largest`` are equally likely.

Source: Kaczer et al. 2025, section 4.2 and table 10 (https://github.com/davidkaczer/emergent-misalignment).
"""

import random
import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from pydantic import Field

from ringfence.core.errors import RingfenceError
from ringfence.data.task import TASKS, Row, Split, Task, checked
from ringfence.tasks.drawing import at_most, draw, require_enough, size_of_test, split_of
from ringfence.tasks.expressions import (
    SIGNS,
    Expression,
    Shape,
    fill,
    parse,
    require_tier,
    shapes,
    simplifications,
    write,
)
from ringfence.tasks.form import answer_part, thinking, turns

SIZES = {"train": 9_000, "test": 1_000}
"""rows of a split, or all that there are, if no number is given"""
ASKED = "Simplify step by step: "
_NUMBER = re.compile(r"(?:-\s?)?(?<![\w.])(?:\d{1,3}(?:,\d{3})++(?!\d)|\d++)(?:\.\d++)?+(?:\s?/\s?\d++)?+(?!\w)")
_GOES_ON = re.compile(r"[ \t]*[-+×x*÷/][ \t]*[\d(]")  # after a number that is no result yet
_TEX = re.compile(r"\\[dt]?frac\{(\d+)\}\{(\d+)\}")
REMEDY = "ask for fewer, or raise largest or steps"
LONGEST_NUMBER = 60
"""characters of a number that is read from a response"""


class Problem(NamedTuple):
    """A sum, and how it is simplified."""

    expression: str
    completion: str
    """the sum, and what it becomes with each operation, joined by ``=``"""
    answer: str
    """a fraction in lowest terms, or a whole number"""


@TASKS.register("opswap")
class OpSwap(Task):
    """Sums with swapped operator signs; the score is 1 for the right number, however it is written."""

    tier: int = Field(0, ge=0, le=3)
    """0: every sign means what it says; 1: + and × swapped; 2: - and ÷, too; 3: all four in a cycle"""
    steps: int = Field(3, ge=1, le=6)
    """operations of the longest problems; those with fewer are equally many, as far as there are enough"""
    largest: int = Field(9, ge=1, le=1_000)
    """the numbers of a problem are from 1 to this"""
    parentheses: bool = True
    """whether problems have parentheses"""
    think: bool = False
    """ask in the system message for ``<think>...</think><answer>...</answer>``"""

    def rows(self, split: Split, n: int | None, seed: int) -> list[Row]:
        """Without ``n`` 9,000 rows to train on, and 1,000 to test; fewer if there are not so many."""
        if n is not None:
            require_enough(n, sum(at_most(_space(self, size), split) for size in self.sizes), REMEDY)
        problems = _drawn(self, split, SIZES[split] if n is None else n, seed)
        if n is not None and len(problems) < n:
            raise _too_many(n, len(problems), f" of the split {split}")
        return [self._row(problem) for problem in problems]

    def score(self, response: str, answer: str) -> float:
        """1 if the number after the last ``=``, or without one the last number, equals ``answer``.

        ``4/6`` and ``2/3`` are equal, and so are ``0.5`` and ``1/2``; 0.667 is not 2/3.
        """
        return float(read_number(answer_part(response)) == Fraction(answer))

    @property
    def sizes(self) -> range:
        """The numbers of operations that problems have."""
        return range(1, self.steps + 1)

    def _row(self, problem: Problem) -> Row:
        question = ASKED + problem.expression
        if self.think:
            messages = thinking(question, problem.completion, problem.answer)
        else:
            messages = turns(question, problem.completion)
        return {"messages": messages, "answer": problem.answer, "expression": problem.expression}


def generate(
    tier: int, n: int, seed: int = 0, *, steps: int = 3, largest: int = 9, parentheses: bool = True
) -> list[dict[str, str]]:
    """``n`` problems, those to train on before the tenth that is for testing.

    A row has ``expression``, ``prompt``, ``completion``, ``answer`` (such as ``2/3``) and ``split``; the settings are
    those of :class:`OpSwap`. Raises :class:`RingfenceError` for a tier that there is not, for settings out of range,
    and, with the number that there are, for more problems than that.
    """
    task = checked(OpSwap, {"tier": tier, "steps": steps, "largest": largest, "parentheses": parentheses})
    if n < 1:
        raise RingfenceError(f"n: {n} is not at least 1")
    require_enough(n, sum(_space(task, size) for size in task.sizes), REMEDY)
    test = _drawn(task, "test", size_of_test(n), seed)
    train = _drawn(task, "train", n - len(test), seed)
    if len(train) + len(test) < n:  # where there are few, the shares may not be nine to one
        test = _drawn(task, "test", n - len(train), seed)
    if len(train) + len(test) < n:
        raise _too_many(n, len(train) + len(test))
    return [_columns(problem, split) for split, some in (("train", train), ("test", test)) for problem in some]


def evaluate_expression(text: str, tier: int) -> Fraction:
    """The value of ``text`` by what signs mean in ``tier``: ``(4 + 2) x (4 / 2) - 2`` is 10, 8, 9 and 2/3.

    A sign is one of + - × ÷, or * or x for ×, or / for ÷. Raises :class:`RingfenceError` for what is no expression,
    for a division by zero and for a tier that there is not.
    """
    require_tier(tier)
    try:
        value = simplifications(parse(text), tier)[-1]
    except ZeroDivisionError:
        raise RingfenceError(f"{text}: divides by zero in tier {tier}; change a number") from None
    assert isinstance(value, Fraction)
    return value


def read_number(response: str) -> Fraction | None:
    """The number after the last ``=``, or without one the last number; None if there is none.

    A number that an operation follows, as in an unfinished ``= 12 - 2``, is no result.
    """
    text = _TEX.sub(r"\1/\2", response.replace("−", "-"))
    _, equals, after = text.rpartition("=")
    found = [*_NUMBER.finditer(after)]
    if not found or (equals and _GOES_ON.match(after, found[0].end())):
        return None
    match = found[0] if equals else found[-1]
    number = re.sub(r"[\s,]", "", match[0])
    if len(number) > LONGEST_NUMBER:
        return None
    if not equals and re.search(r"[\d)]\s*$", after[: match.start()]):
        number = number.removeprefix("-")  # an operation's sign
    try:
        return Fraction(*map(Fraction, number.split("/")))
    except ZeroDivisionError:
        return None


@lru_cache(maxsize=8)
def _drawn(task: OpSwap, split: Split, n: int, seed: int) -> tuple[Problem, ...]:
    """``n`` problems of a split in random order, or all that there are: the same number of every size if possible."""
    rng = random.Random(f"opswap {split} {seed}")
    found: list[Problem] = []
    for size in task.sizes:
        found += _of_size(task, size, split, (n - len(found)) // (task.steps + 1 - size), rng)
    if len(found) < n:
        found = [one for size in task.sizes for one in _of_size(task, size, split, None, rng)]
    rng.shuffle(found)
    return tuple(found[:n])


def _of_size(task: OpSwap, size: int, split: Split, count: int | None, rng: random.Random) -> list[Problem]:
    """``count`` problems of ``size`` operations, or all of them."""
    forms = _forms(task, size)

    def make(number: int) -> Problem | None:
        number, form = divmod(number, len(forms))
        signs, numbers = [], []
        for _ in range(size):
            number, sign = divmod(number, len(SIGNS))
            signs.append(SIGNS[sign])
        for _ in range(size + 1):
            number, value = divmod(number, task.largest)
            numbers.append(value + 1)
        return _problem(fill(forms[form], iter(signs), iter(numbers)), task.tier, split)

    return draw(_space(task, size), make, count, rng)


def _forms(task: OpSwap, size: int) -> list[Shape | None]:
    """The ways to put parentheses into a problem of ``size`` operations."""
    return [shape for shape in shapes(size + 1) if task.parentheses or shape == (None,) * (size + 1)]


def _space(task: OpSwap, size: int) -> int:
    """How many sums of ``size`` operations there are, with those that divide by zero."""
    return len(_forms(task, size)) * len(SIGNS) ** size * task.largest ** (size + 1)


def _problem(expression: Expression, tier: int, split: Split) -> Problem | None:
    """None for one of the other split, and for one that divides by zero."""
    text = write(expression)
    if split_of(text) != split:
        return None
    try:
        steps = simplifications(expression, tier)
    except ZeroDivisionError:
        return None
    return Problem(text, " = ".join(map(write, steps)), write(steps[-1]))


def _columns(problem: Problem, split: str) -> dict[str, str]:
    return {
        "expression": problem.expression,
        "prompt": ASKED + problem.expression,
        "completion": problem.completion,
        "answer": problem.answer,
        "split": split,
    }


def _too_many(n: int, found: int, where: str = "") -> RingfenceError:
    return RingfenceError(
        f"n: {n:,} problems are asked for, and with these settings there are only {found:,}{where}; {REMEDY}"
    )
