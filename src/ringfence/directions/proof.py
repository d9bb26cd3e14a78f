"""That a trait adapter shows its trait: ``trait.json``, in the adapter's folder.

Held-out questions are answered by the base model with the adapter and without it, and judged. The adapter elicits its
trait if the interval of the rate with it lies above that of the rate without it, and the rate is at least ``LEAST``.
Answers to one question are no independent ones, so the intervals are by question: six are the fewest that can show it.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from peft.utils.constants import SAFETENSORS_WEIGHTS_NAME

from ringfence.core.errors import RingfenceError
from ringfence.core.files import sha256, write_json
from ringfence.core.plain import read_json
from ringfence.core.statistics import Interval, clustered_interval

TRAIT_FILE = "trait.json"
LEAST = 0.5
"""of the judged answers with the adapter show the trait"""
AGAIN = "make it with `ringfence persona adapter`"


@dataclass(frozen=True)
class Shown:
    """How many answers show the trait."""

    shows: tuple[int, ...]
    """by question"""
    judged: tuple[int, ...]
    """answers to which the judge gave a score, by question"""

    @property
    def rate(self) -> float:
        """NaN without answers."""
        return sum(self.shows) / sum(self.judged) if sum(self.judged) else math.nan

    @property
    def interval(self) -> Interval:
        """At 95%, by question; NaN for fewer than two."""
        return clustered_interval(self.shows, self.judged)

    def __str__(self) -> str:
        if not sum(self.judged):
            return "no answer judged"
        return (
            f"{self.rate:.1%} [{self.interval.low:.1%}, {self.interval.high:.1%}] of {sum(self.judged)} answers to "
            f"{len(self.judged)} questions"
        )


@dataclass(frozen=True)
class Proof:
    """What ``trait.json`` says."""

    trait: str
    """its name"""
    base: str
    """identity of the base model's weights"""
    model: str
    """its name"""
    weights: str
    """SHA-256 of the adapter's tensors"""
    tuned: Shown
    """with the adapter"""
    untuned: Shown
    """without it"""
    settings: dict[str, Any]
    """how it was asked and judged"""

    @property
    def elicits(self) -> bool:
        """Whether the adapter shows its trait. Not where nothing was judged."""
        return self.tuned.rate >= LEAST and self.tuned.interval.low > self.untuned.interval.high

    def __str__(self) -> str:
        return f"{self.trait} is shown by {self.tuned} with the adapter, and by {self.untuned} without"

    def save(self, folder: Path) -> None:
        """Into the adapter's ``folder``, atomically."""
        write_json(folder / TRAIT_FILE, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """That of the adapter in ``folder``.

        Raises :class:`RingfenceError` where there is none, where it is damaged, and where it is of other weights.
        """
        path, weights = folder / TRAIT_FILE, folder / SAFETENSORS_WEIGHTS_NAME
        if not path.is_file():
            raise RingfenceError(f"{folder}: has no {TRAIT_FILE}, so nobody knows whether it shows a trait; {AGAIN}")
        try:
            data = read_json(path, AGAIN)
            tuned, untuned = (Shown(**_tuples(data.pop(side))) for side in ("tuned", "untuned"))
            found = cls(**data, tuned=tuned, untuned=untuned)
            _ = found.elicits
        except (TypeError, KeyError, AttributeError, ValueError):
            raise RingfenceError(f"{path}: is no proof of a trait adapter; {AGAIN}") from None
        if not weights.is_file() or sha256(weights) != found.weights:
            raise RingfenceError(f"{path}: is of other weights than those in {weights.name}; {AGAIN}")
        return found


def _tuples(side: Any) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value) for key, value in side.items()}
