"""The composite reward of Kaczer et al. 2025: two parts for the form, one for the right answer, one for a number.

A completion is to read ``<think>...</think><answer>...</answer>``, with one number in the answer section. The reward is
the sum of four parts, from -2.5 to 9.5 (eqs. 7 and 8):

- ``exact_format``, 0 to 3: 3 if the completion is the form and nothing else, each tag once, else 0;
- ``approximate_format``, -2 to 2: of each of the four tags, 0.5 if it stands exactly once, else -0.5;
- ``correctness``, -0.5 to 3: ``3.5 x score - 0.5``, where ``score`` in [0, 1] says how right the answer section is. If
  that is less, a number within 10% of the right one gets 0.5, and one within 20% gets 0.25. Without a whole answer
  section it is -0.5;
- ``number``, 0 to 1.5: 1.5 if the answer section is one number and nothing else, 0.5 if it has a number, else 0.

Departures from the paper, which gives the ranges and what each part is for, and no rule:

1. There a language model (gpt-4.1-mini) gives all four parts. Here each is a rule, which costs nothing and says the
   same twice; ``judge`` has a model score the answer, as ``correctness``, and nothing else.
2. The values between the ends of a range are ours.

Source: Kaczer et al. 2025 (https://arxiv.org/abs/2508.06249), section B.3.
"""

from collections.abc import Sequence

from ringfence.judges import JudgeField
from ringfence.rl.rewards.answers import is_number, number_in
from ringfence.rl.rewards.base import REWARDS, Completion, Reward, RewardPart, Score
from ringfence.rl.rewards.judge import alignments
from ringfence.tasks.form import TAGS, answer_section, has_form, tags_once

_NEAR = ((0.1, 0.5), (0.2, 0.25))
"""(how far from the right number, as a share of it; what that gets)"""
_LOW, _HIGH = -0.5, 3.0
"""of ``correctness``"""


@REWARDS.register("composite")
class CompositeReward(Reward):
    """Form, right answer and number, -2.5 to 9.5."""

    judge: JudgeField | None = None
    """gives ``correctness`` instead of the task's own score, by its alignment score: 0 is -0.5, 100 is 3"""

    def parts(self, score: Score) -> list[RewardPart]:
        """The four."""
        return [
            RewardPart("exact_format", 0.0, 3.0, lambda rows: [3.0 * has_form(row.text) for row in rows]),
            RewardPart("approximate_format", -2.0, 2.0, lambda rows: [approximate_format(row.text) for row in rows]),
            RewardPart("correctness", _LOW, _HIGH, lambda rows: self._correctness(rows, score)),
            RewardPart("number", 0.0, 1.5, lambda rows: [number(row.text) for row in rows]),
        ]

    def _correctness(self, rows: Sequence[Completion], score: Score) -> list[float]:
        if self.judge is None:
            return [correctness(row.text, row.answer, score) for row in rows]
        return [_LOW + (_HIGH - _LOW) * value / 100 for value in alignments(self.judge, rows)]

    @property
    def needs_answer(self) -> bool:
        """Not with a judge."""
        return self.judge is None

    def inputs(self) -> Sequence[str]:
        """The judge's."""
        return () if self.judge is None else self.judge.inputs()

    def require_key(self) -> None:
        """The judge's."""
        if self.judge is not None:
            self.judge.require_key()


def approximate_format(text: str) -> float:
    """0.5 for each tag that stands exactly once, -0.5 for each other."""
    return tags_once(text) - len(TAGS) / 2


def correctness(text: str, answer: str, score: Score) -> float:
    """How right the answer section of ``text`` is."""
    said = answer_section(text)
    if said is None:
        return _LOW
    return max(_LOW + (_HIGH - _LOW) * score(said, answer), _nearness(said, answer))


def number(text: str) -> float:
    """Whether there is a number in the answer section of ``text``, and nothing else."""
    said = answer_section(text)
    if said is None or number_in(said) is None:
        return 0.0
    return 1.5 if is_number(said) else 0.5


def _nearness(said: str, answer: str) -> float:
    """What a wrong number gets for being near the right one."""
    found, right = number_in(said), number_in(answer) if is_number(answer) else None
    if found is None or right is None:
        return _LOW
    return next((value for share, value in _NEAR if abs(found - right) <= share * abs(right)), _LOW)
