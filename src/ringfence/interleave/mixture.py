"""Which rows the next optimizer step trains on. The whole state is a few integers.

Notation: N target rows an epoch, M safe rows, B rows an optimizer step (all ranks and accumulation together), p the
safe share of the mixture, safe / (safe + target).

- granularity ``example``: a step holds p * B safe rows, stochastically rounded; ``step``: the whole step is safe with
  probability p (canary paper, Algorithm 1); ``beside``: B safe rows stand beside the target rows of every step, unless
  p is 0: p is then not a share of the rows, but the weight of their loss.
- accounting ``add``: every target row is trained on once an epoch and safe rows come on top; ``replace``: safe rows
  stand where target rows would have stood, which are skipped in that epoch.
- placement ``bernoulli``: the draws above; all others draw nothing, and the whole run has as many safe rows as the
  share says: ``exact`` spreads them uniformly, ``early`` over the first half of the run, ``late`` over its second half,
  ``rising`` so that their share grows linearly from 0.

``exact`` as a formula: T slots in the run, S safe rows and R rows in all drawn before the step, round() half up. A step
with ``example`` holds

    add        round(R' * S_T / (T + S_T)) - S safe rows, S_T = round(T * p / (1 - p)), R' = min(R + B, T + S_T)
    replace    round(s * p) - S safe rows, s the slots used after it

and with ``step``, where safe rows come in whole steps, it is safe if

    add        B * round(R' * S_T / (T + S_T) / B) > S, S_T = B * round(T * p / (1 - p) / B)
    replace    B * round(s * p / B) > S

The other placements are for ``example``, and want a constant p. With x = R' / (T + S_T) or s / T, the part of the run
that is over after the step, and F(x) = min(1, 2x) for ``early``, max(0, 2x - 1) for ``late``, and x^2 for ``rising``, a
step holds

    add        round(S_T * F(x)) - S safe rows, at most B
    replace    round(T * p * F(x)) - S safe rows, at most B

A *slot* is a place for a target row. Learning rate and stopping count slots. A step never crosses the end of an epoch.
Draws are functions of (seed, step) and orders of (seed, epoch), so nothing but the counters has to be saved. At p = 0
the rows and their order are those of the plain Trainer.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from ringfence.core.errors import RingfenceError
from ringfence.interleave.tally import Tally

Granularity = Literal["example", "step", "beside"]
Accounting = Literal["add", "replace"]
Placement = Literal["exact", "bernoulli", "early", "late", "rising"]
_COME: Mapping[str, Callable[[float], float]] = {
    "early": lambda over: min(1.0, 2 * over),
    "late": lambda over: max(0.0, 2 * over - 1),
    "rising": lambda over: over**2,
}
"""placement -> part of the safe rows that has come when this part of the run is over"""
_DRAW, _SAFE_ORDER = 0, 1  # what a random stream is for


@dataclass(frozen=True, slots=True)
class DrawnRow:
    """One row of a step: from the safe set or the target set, and its index there."""

    safe: bool
    index: int


@dataclass(frozen=True)
class MixtureSizes:
    """What is mixed."""

    target: int
    """rows an epoch (N)"""
    safe: int
    """rows (M)"""
    batch: int
    """rows an optimizer step (B)"""
    target_budget: int
    """target slots after which training is over, e.g. epochs x N"""


@dataclass(frozen=True)
class MixtureConfig:
    """How safe rows come in."""

    granularity: Granularity = "example"
    accounting: Accounting = "add"
    placement: Placement = "bernoulli"
    seed: int = 0
    shuffle: bool = True


@dataclass
class Counters:
    """Where the stream is; all that a checkpoint must hold."""

    step: int = 0
    """optimizer steps drawn"""
    slots: int = 0
    """target slots used"""
    target_rows: int = 0
    safe_rows: int = 0
    ratio_sum: float = 0.0
    """the ratio in force, summed over steps"""
    target: Tally = field(default_factory=Tally)
    """what the target rows held; counted by whoever has the rows"""
    safe: Tally = field(default_factory=Tally)
    anchor_rows: int = 0
    """that stood beside the steps"""
    anchor: Tally = field(default_factory=Tally)


class Mixture:
    """Draws the rows of one optimizer step after the other."""

    def __init__(self, sizes: MixtureSizes, mixing: MixtureConfig) -> None:
        if sizes.target < 1:
            raise RingfenceError("the target dataset has no rows to train on")
        self.sizes = sizes
        self.mixing = mixing
        self.counters = Counters()
        # An epoch's order is asked for at every step.
        self._target_order = lru_cache(maxsize=1)(self._target_order_of)
        self._safe_order = lru_cache(maxsize=1)(self._safe_order_of)

    def draw(self, ratio: float) -> list[DrawnRow]:
        """The rows of the next optimizer step, with safe share ``ratio`` in force; [] when training is over.

        Raises :class:`RingfenceError` for a ratio above 0 without safe rows, and for ratio 1 with accounting ``add``,
        under which the target rows would never be reached.
        """
        if not 0 <= ratio <= 1:
            raise RingfenceError(f"the interleaving ratio must lie in [0, 1], got {ratio}")
        if ratio > 0 and self.sizes.safe == 0:
            raise RingfenceError(f"the interleaving ratio is {ratio} but there are no safe rows; give safe data")
        adding = self.mixing.accounting == "add"
        if adding and ratio == 1:
            raise RingfenceError('ratio 1 with accounting "add" never reaches the target rows; use "replace"')
        rng = _rng(self.mixing.seed, _DRAW, self.counters.step)
        target, safe = (self._add if adding else self._replace)(ratio, rng)
        if target + safe == 0:
            return []
        rows = list(self._rows(target, safe, rng))
        self.counters.step += 1
        self.counters.slots += target if adding else target + safe
        self.counters.target_rows += target
        self.counters.safe_rows += safe
        self.counters.ratio_sum += ratio
        return rows

    def finished(self, ratio: float) -> bool:
        """Whether all slots are used and no safe rows are owed, so that the next :meth:`draw` is empty."""
        return self.counters.slots >= self.sizes.target_budget and self._owed(ratio) <= 0

    @property
    def epoch(self) -> int:
        """Whole epochs done."""
        return self.counters.slots // self.sizes.target

    @property
    def progress(self) -> float:
        """Target progress in optimizer steps of the run without safe rows; whole numbers at ratio 0."""
        epoch, used = divmod(self.counters.slots, self.sizes.target)
        return epoch * self.steps_per_epoch + used / self.sizes.batch

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps an epoch without safe rows; the last one may be short."""
        return math.ceil(self.sizes.target / self.sizes.batch)

    def state_dict(self) -> dict[str, Any]:
        """The counters, as plain JSON."""
        return asdict(self.counters)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`state_dict` gave."""
        tallies = {name: Tally(**state[name]) for name in ("target", "safe", "anchor")}
        self.counters = Counters(**{**state, **tallies})

    # How many rows of each kind: (target, safe).

    def _left(self) -> int:
        """Slots left in this epoch, or in the run."""
        used = self.counters.slots
        return min(self.sizes.target - used % self.sizes.target, self.sizes.target_budget - used)

    def _owed(self, ratio: float) -> int:
        """Safe rows still due once all slots are used; only a mixture that adds and draws nothing can owe any."""
        mixing = self.mixing
        if mixing.placement == "bernoulli" or mixing.accounting != "add" or mixing.granularity == "beside":
            return 0
        return self._added_in_all(ratio) - self.counters.safe_rows

    def _added_in_all(self, ratio: float) -> int:
        """Safe rows that an exact mixture adds to the whole run (S_T)."""
        unit = self.sizes.batch if self.mixing.granularity == "step" else 1
        return unit * nearest(self.sizes.target_budget * added(ratio) / unit)

    def _add(self, ratio: float, rng: np.random.Generator) -> tuple[int, int]:
        batch, left, exact = self.sizes.batch, self._left(), self.mixing.placement != "bernoulli"
        if left == 0:
            return 0, min(batch, max(0, self._owed(ratio)))
        if self.mixing.granularity == "beside":
            return min(batch, left), batch if ratio > 0 else 0
        if self.mixing.granularity == "step":
            safe_step = self._exact_safe_rows(ratio) > 0 if exact else rng.random() < ratio
            return (0, batch) if safe_step else (min(batch, left), 0)
        if exact:
            safe = self._exact_safe_rows(ratio)
            return min(batch - safe, left), safe
        size = min(batch, math.ceil(left / (1 - ratio)))
        safe = _stochastic_round(ratio * size, rng)
        return min(size - safe, left), safe

    def _exact_safe_rows(self, ratio: float) -> int:
        """Safe rows of this step such that after R rows in all, safe rows = round(R * their final share)."""
        counters, total_safe = self.counters, self._added_in_all(ratio)
        total = self.sizes.target_budget + total_safe
        rows_after = min(counters.target_rows + counters.safe_rows + self.sizes.batch, total)
        if come := _COME.get(self.mixing.placement):
            return min(self.sizes.batch, max(0, nearest(total_safe * come(rows_after / total)) - counters.safe_rows))
        unit = self.sizes.batch if self.mixing.granularity == "step" else 1
        return max(0, unit * nearest(rows_after * total_safe / total / unit) - counters.safe_rows)

    def _replace(self, ratio: float, rng: np.random.Generator) -> tuple[int, int]:
        size = min(self.sizes.batch, self._left())
        slots, safe_before = self.counters.slots, self.counters.safe_rows
        if self.mixing.granularity == "step":
            if self.mixing.placement == "exact":  # to the nearest whole step
                safe_step = nearest((slots + size) * ratio / self.sizes.batch) * self.sizes.batch > safe_before
            else:
                safe_step = rng.random() < ratio
            safe = size if safe_step else 0
        elif self.mixing.placement == "exact":
            safe = nearest((slots + size) * ratio) - safe_before
        elif come := _COME.get(self.mixing.placement):
            budget = self.sizes.target_budget
            safe = min(size, nearest(budget * ratio * come((slots + size) / budget)) - safe_before)
        else:
            safe = _stochastic_round(ratio * size, rng)
        return size - safe, safe

    # Which rows.

    def _rows(self, target: int, safe: int, rng: np.random.Generator) -> Iterator[DrawnRow]:
        epoch, slot = divmod(self.counters.slots, self.sizes.target)
        # With "replace" a safe row uses up the slot that it stands in; with "add" it uses none.
        uses_slot = self.mixing.accounting == "replace"
        is_safe = np.zeros(target + safe, dtype=bool)
        is_safe[rng.permutation(target + safe)[:safe]] = True
        taken = self.counters.safe_rows
        for place_is_safe in is_safe:
            if place_is_safe:
                cycle, place = divmod(taken, self.sizes.safe)
                yield DrawnRow(True, self._safe_order(cycle)[place])
                taken += 1
            else:
                yield DrawnRow(False, self._target_order(epoch)[slot])
            slot += 1 if uses_slot or not place_is_safe else 0

    def _target_order_of(self, epoch: int) -> list[int]:
        if not self.mixing.shuffle:
            return list(range(self.sizes.target))
        import torch

        # The order that accelerate's SeedableRandomSampler gives the plain Trainer.
        generator = torch.Generator().manual_seed(self.mixing.seed + epoch)
        return torch.randperm(self.sizes.target, generator=generator).tolist()

    def _safe_order_of(self, cycle: int) -> list[int]:
        return drawn_order(self.mixing.seed, _SAFE_ORDER, cycle, self.sizes.safe)


def added(ratio: float) -> float:
    """safe / target for a safe share of the mixture ``ratio`` = safe / (safe + target)."""
    return ratio / (1 - ratio)


def share(added_rows: float) -> float:
    """The safe share of the mixture for ``added_rows`` = safe / target; the inverse of :func:`added`."""
    return added_rows / (1 + added_rows)


def drawn_order(seed: int, purpose: int, cycle: int, rows: int) -> list[int]:
    """``rows`` in an order that is a function of the rest; ``purpose`` keeps one use of a seed from another."""
    order: list[int] = _rng(seed, purpose, cycle).permutation(rows).tolist()
    return order


def _rng(seed: int, purpose: int, index: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, purpose, index])))


def nearest(value: float) -> int:
    """Half up. The nudge undoes the rounding error of share -> added, e.g. 270 from 5400 * 0.05."""
    return math.floor(value + 0.5 + 1e-9)


def _stochastic_round(value: float, rng: np.random.Generator) -> int:
    whole = math.floor(value)
    return whole + int(rng.random() < value - whole)
