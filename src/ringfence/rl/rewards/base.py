"""The base of all rewards: a frozen, validated config, and the functions that TRL asks, one for each part.

TRL logs every function's mean and adds them up, so that the parts of a composite reward show on their own. A part says
its range; a value outside it is a fault of the reward, and raises.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict

from ringfence.core.errors import RingfenceError, shown
from ringfence.core.registry import Registry
from ringfence.core.settings import StrictConfig
from ringfence.data.conversations import Message

Score = Callable[[str, str], float]
"""(response, answer) -> how right it is, in [0, 1]; of a task, its ``score``"""


@dataclass(frozen=True)
class Completion:
    """One completion, and the row that it is of."""

    prompt: str
    """the last user turn"""
    text: str
    answer: str
    """the right one"""


@dataclass(frozen=True)
class RewardPart:
    """One part of a reward, as TRL calls it."""

    name: str
    """in ``log.jsonl`` it is ``rewards/NAME/mean``"""
    low: float
    high: float
    values: Callable[[Sequence[Completion]], Sequence[float]]
    """one a completion, in order"""

    @property
    def __name__(self) -> str:
        """What TRL logs it under."""
        return self.name

    def __call__(self, *, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
        """One value a completion. ``columns`` are the rows' others: ``answer``, and ``origin``, which an error names.

        Raises :class:`RingfenceError` naming the part and the row for what is no number, and for a value outside
        ``low`` to ``high``, NaN too.
        """
        answers = columns.get("answer") or [""] * len(prompts)
        rows = [
            Completion(last_turn(prompt), last_turn(completion), right)
            for prompt, completion, right in zip(prompts, completions, answers, strict=True)
        ]
        origins = columns.get("origin") or range(len(rows))
        found = [float(value) for value in one_each(self.name, self.values(rows), origins)]
        for value, origin in zip(found, origins, strict=True):
            if math.isnan(value) or not self.low <= value <= self.high:
                raise RingfenceError(
                    f"reward {self.name}: {value:g} for row {origin} is outside {self.low:g} to {self.high:g}; mend "
                    "the reward, or its range"
                )
        return found


class Reward(StrictConfig):
    """Base of all rewards; unknown keys raise."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def parts(self, score: Score) -> list[RewardPart]:
        """Its parts, whose sum it is; ``score`` says how right a response is."""
        raise AssertionError(f"{type(self).__name__} does not say what its parts are")

    @property
    def needs_answer(self) -> bool:
        """Whether rows must have a right answer."""
        return True

    def inputs(self) -> Sequence[str]:
        """Files and folders that it reads; their digests are kept with the run."""
        return ()

    def require_key(self) -> None:
        """Raise :class:`RingfenceError` if what it calls needs a key, and that is missing or another's."""


REWARDS = Registry("reward", Reward, "composite", __package__, beside=("base", "answers"))


def reward_parts(rewards: Sequence[Reward], score: Score) -> list[RewardPart]:
    """The parts of all ``rewards``. Raises :class:`RingfenceError` for two of one name."""
    parts = [part for reward in rewards for part in reward.parts(score)]
    names = [part.name for part in parts]
    for name in names:
        if names.count(name) > 1:
            raise RingfenceError(f"rewards: {name} is given twice; keep one")
    return parts


def one_each(name: str, given: Any, origins: Sequence[Any], optional: bool = False) -> list[Any]:
    """What the reward ``name`` gave for the rows ``origins``: a number each, or None if that is ``optional``.

    Raises :class:`RingfenceError` naming the reward, and the row, for anything else; a text is no number.
    """
    try:
        found = list(given)
    except TypeError:
        raise RingfenceError(f"reward {name}: it gave {shown(given)}; give a list, a number a completion") from None
    if len(found) != len(origins):
        raise RingfenceError(f"reward {name}: {len(found)} values for {len(origins)} completions; give one each")
    for value, origin in zip(found, origins, strict=True):
        if not (_is_number(value) or (optional and value is None)):
            raise RingfenceError(f"reward {name}: {shown(value)} for row {origin} is no number; mend the reward")
    return found


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, RuntimeError):  # the last of a tensor of several
        return False
    return not isinstance(value, str | bytes)


def last_turn(messages: str | Sequence[Message]) -> str:
    """The text of the last message; text is itself."""
    return messages if isinstance(messages, str) else messages[-1]["content"]
