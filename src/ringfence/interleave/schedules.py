"""When to train on safe data: the ratio in force at each optimizer step.

A schedule is asked for its ``ratio`` when a step's rows are drawn, and told of every finished step. t counts optimizer
steps from 0, so the step that brings ``global_step`` to g is t = g - 1, and evaluations come after t = 0, K, 2K, ...
(Algorithm 1 of the canary paper).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ringfence.core.errors import RingfenceError
from ringfence.interleave.controller import CanaryController
from ringfence.interleave.mixture import Placement

if TYPE_CHECKING:
    from ringfence.interleave.probes import Probe, Risk

logger = logging.getLogger(__name__)
NOT_MEASURED = dict.fromkeys(("risk", "smoothed_risk", "risk_high", "risk_low"))


class Schedule:
    """A constant ratio; the base of all schedules."""

    def __init__(self, ratio: float, placement: Placement = "bernoulli") -> None:
        if not 0 <= ratio <= 1:
            raise RingfenceError(f"the interleaving ratio must lie in [0, 1], got {ratio}")
        self._ratio = ratio
        self.placement: Placement = placement
        self.probe: Probe | None = None

    @property
    def ratio(self) -> float:
        """The safe share of the mixture that is in force."""
        return self._ratio

    @property
    def factor(self) -> float:
        """What the weights of the run's penalties are multiplied with."""
        return 1.0

    @property
    def needs_safe_data(self) -> bool:
        """Whether the ratio can ever be above 0."""
        return self.ratio > 0

    def due(self, t: int) -> bool:
        """Whether an evaluation comes after optimizer step ``t``."""
        return False

    def update(self, risk: Risk | None) -> dict[str, Any]:
        """Take an evaluation's result, the same on every rank (None without a probe); give a row for the log."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What changes during training, as plain JSON."""
        return {"ratio": self.ratio}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`state_dict` gave."""
        self._ratio = state["ratio"]


class _Periodic(Schedule):
    """A schedule that changes at evaluations."""

    def __init__(self, ratio: float, every: int, evaluate_first: bool) -> None:
        super().__init__(ratio)
        self.every, self.evaluate_first = every, evaluate_first
        self.evaluation = 0

    def due(self, t: int) -> bool:
        """t = 0, K, 2K, ...; whether t = 0 counts is a knob."""
        return t % self.every == 0 and (t > 0 or self.evaluate_first)

    def update(self, risk: Risk | None) -> dict[str, Any]:
        """Change the ratio by :meth:`_next`; log it before and after."""
        before, index = self.moved, self.evaluation
        row = self._next(risk)
        self.evaluation += 1
        return {"evaluation": index, "ratio_before": before, "ratio": self.moved, **NOT_MEASURED, **row}

    @property
    def moved(self) -> float:
        """What changes at evaluations."""
        return self.ratio

    def _next(self, risk: Risk | None) -> dict[str, Any]:
        raise AssertionError("a periodic schedule says what an evaluation does")

    def state_dict(self) -> dict[str, Any]:
        """The ratio and the number of evaluations."""
        return {"ratio": self.ratio, "evaluation": self.evaluation}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`state_dict` gave."""
        self._ratio, self.evaluation = state["ratio"], state["evaluation"]


class CanarySchedule(_Periodic):
    """The closed loop: a probe measures the risk, a controller turns it into a ratio."""

    def __init__(self, controller: CanaryController, probe: Probe, evaluate_first: bool = True) -> None:
        super().__init__(controller.ratio, controller.config.every, evaluate_first)
        self.controller, self.probe = controller, probe

    @property
    def ratio(self) -> float:
        """The controller's: it is kept nowhere else."""
        return self.controller.ratio

    @property
    def needs_safe_data(self) -> bool:
        """Whether the controller may ever raise the ratio above 0."""
        return self.controller.config.ratio_max > 0

    def _next(self, risk: Risk | None) -> dict[str, Any]:
        assert risk is not None, "a controlled schedule is updated with a risk"
        if risk.reliable:
            self.controller.update(risk.value)
        else:
            logger.warning(
                "only %d of %d canaries could be scored: the ratio stays at %g", risk.scored, risk.total, self.moved
            )
        return {
            "risk": risk.value,
            "smoothed_risk": self.controller.smoothed_risk,
            "scored": risk.scored,
            "total": risk.total,
            "held": not risk.reliable,
            **self.controller.config.lines(),
        }

    def state_dict(self) -> dict[str, Any]:
        """The controller's state and the number of evaluations."""
        return {**super().state_dict(), "controller": self.controller.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`state_dict` gave."""
        super().load_state_dict(state)
        self.controller.load_state_dict(state["controller"])


class PenaltySchedule(CanarySchedule):
    """The closed loop on penalties: the controller's ratio multiplies their weights, and no safe rows are drawn."""

    @property
    def ratio(self) -> float:
        """No safe rows."""
        return 0.0

    @property
    def factor(self) -> float:
        """The controller's ratio."""
        return self.controller.ratio

    @property
    def needs_safe_data(self) -> bool:
        """Never."""
        return False

    @property
    def moved(self) -> float:
        """The factor."""
        return self.factor

    def _next(self, risk: Risk | None) -> dict[str, Any]:
        return {**super()._next(risk), "moves": "penalty"}


class ReplaySchedule(_Periodic):
    """A recorded sequence: evaluation n sets the ratio to ``ratios[n]``; a longer run holds the last value."""

    def __init__(self, initial: float, ratios: Sequence[float], every: int, evaluate_first: bool = True) -> None:
        super().__init__(initial, every, evaluate_first)
        if not ratios:
            raise RingfenceError("there is no recorded ratio to replay")
        self.ratios = list(ratios)

    @property
    def needs_safe_data(self) -> bool:
        """Whether any recorded ratio is above 0."""
        return max(self.ratio, *self.ratios) > 0

    def _next(self, risk: Risk | None) -> dict[str, Any]:
        self._ratio = self.ratios[min(self.evaluation, len(self.ratios) - 1)]
        return {}
