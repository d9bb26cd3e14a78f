"""The threshold controller with hysteresis on smoothed canary risk (canary paper, eqs. 2 and 3).

Notation: r_n the risk at evaluation n = 0, 1, ...; s_n the smoothed risk; p the safe share of the mixture; D the delay.

    s_n = smoothing * r_n + (1 - smoothing) * s_{n-1},   s_{-1} = 0                        (eq. 2)
    p <- min(ratio_max, p + step_up)     if s_{n-D} > risk_high
         max(ratio_min, p - step_down)   if s_{n-D} < risk_low                             (eq. 3)
         p                               otherwise, and while n < D

Departure: the paper does not state the initial ratio; here it is ``ratio_init``, 0.05 by default.
"""

import math
from collections import deque
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class CanaryControllerConfig(BaseModel):
    """The controller's constants; defaults are the paper's (section 4.1)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    smoothing: float = Field(0.5, gt=0, le=1)
    """weight of the newest risk (alpha in the paper); 1 = no smoothing"""
    risk_high: float = Field(0.08, ge=0, le=1)
    """smoothed risk above which the ratio goes up; a fraction of the canaries"""
    risk_low: float = Field(0.02, ge=0, le=1)
    """smoothed risk below which the ratio goes down"""
    step_up: float = Field(0.04, ge=0, le=1)
    """added to the ratio at once when risk is high"""
    step_down: float = Field(0.005, ge=0, le=1)
    """taken from the ratio at once when risk is low"""
    ratio_min: float = Field(0.0, ge=0, le=1)
    """lower bound of the safe share of the mixture"""
    ratio_max: float = Field(0.20, ge=0, le=1)
    """upper bound of the safe share of the mixture"""
    ratio_init: float = Field(0.05, ge=0, le=1)
    """safe share before the first evaluation (not stated in the paper)"""
    every: int = Field(30, ge=1)
    """optimizer steps between evaluations (K in the paper)"""
    delay: int = Field(0, ge=0)
    """evaluations by which the compared risk is old (D in the paper's ablation)"""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.risk_low >= self.risk_high:
            raise ValueError(f"risk_low ({self.risk_low}) must be below risk_high ({self.risk_high})")
        if not self.ratio_min <= self.ratio_init <= self.ratio_max:
            raise ValueError(
                f"ratio_init ({self.ratio_init}) must lie between ratio_min ({self.ratio_min}) and "
                f"ratio_max ({self.ratio_max})"
            )
        return self


class CanaryController:
    """Turns a sequence of risks into a sequence of ratios. Pure arithmetic: no model, no clock."""

    def __init__(self, config: CanaryControllerConfig) -> None:
        self.config = config
        self.ratio = config.ratio_init
        self.smoothed_risk = 0.0
        self._recent: deque[float] = deque(maxlen=config.delay + 1)  # s_{n-D} ... s_n

    def update(self, risk: float) -> float:
        """Take one evaluation's risk, a fraction in [0, 1]; return the new ratio. Raises ``ValueError`` outside."""
        if not math.isfinite(risk) or not 0 <= risk <= 1:
            raise ValueError(f"risk must lie in [0, 1], got {risk}")
        config = self.config
        self.smoothed_risk = config.smoothing * risk + (1 - config.smoothing) * self.smoothed_risk
        self._recent.append(self.smoothed_risk)
        if len(self._recent) <= config.delay:
            return self.ratio
        compared = self._recent[0]
        if compared > config.risk_high:
            self.ratio = min(config.ratio_max, self.ratio + config.step_up)
        elif compared < config.risk_low:
            self.ratio = max(config.ratio_min, self.ratio - config.step_down)
        return self.ratio

    def state_dict(self) -> dict[str, Any]:
        """All that :meth:`update` depends on besides the config; plain JSON."""
        return {"ratio": self.ratio, "smoothed_risk": self.smoothed_risk, "recent": list(self._recent)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`state_dict` gave."""
        self.ratio = state["ratio"]
        self.smoothed_risk = state["smoothed_risk"]
        self._recent = deque(state["recent"], maxlen=self.config.delay + 1)
