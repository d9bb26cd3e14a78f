"""What turns canary risk into a safe share: a threshold with hysteresis (canary paper), or a ratio that follows it.

Notation: r_n the risk at evaluation n = 0, 1, ...; s_n the smoothed risk; p the safe share of the mixture; D the delay.

    s_n = smoothing * r_n + (1 - smoothing) * s_{n-1},   s_{-1} = 0                        (eq. 2)
    p <- min(ratio_max, p + step_up)     if s_{n-D} > risk_high
         max(ratio_min, p - step_down)   if s_{n-D} < risk_low                             (eq. 3)
         p                               otherwise, and while n < D

Departure: the paper does not state the initial ratio; here it is ``ratio_init``, 0.05 by default.

``rule: proportional`` (proportional-integral) is not the paper's. With e_n = s_{n-D} - setpoint,

    p <- gain * e_n + integral_gain * I_n,   I_n = I_{n-1} + e_n,   held within ratio_min and ratio_max,

and I_n = I_{n-1} where p is at a bound already and e_n would push it further (no wind-up).
"""

import math
from collections import deque
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ringfence.core.settings import refuse_other

_OWN = {
    "threshold": ("risk_high", "risk_low", "step_up", "step_down"),
    "proportional": ("setpoint", "gain", "integral_gain"),
}


class CanaryControllerConfig(BaseModel):
    """The controller's constants; defaults are the paper's (section 4.1)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rule: Literal["threshold", "proportional"] = "threshold"
    """``threshold``: the paper's, with hysteresis; ``proportional``: the ratio follows the risk"""
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
    setpoint: float = Field(0.3, ge=0, le=1)
    """of ``proportional``: smoothed risk that is borne without safe rows"""
    gain: float = Field(0.3, ge=0)
    """of ``proportional``: ratio for each unit of smoothed risk above the setpoint"""
    integral_gain: float = Field(0.0, ge=0)
    """of ``proportional``: ratio for each unit of the same, summed over evaluations"""
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
    def _of_the_rule(self) -> Self:
        other = "threshold" if self.rule == "proportional" else "proportional"
        refuse_other(self, _OWN[other], f"rule: {self.rule}")
        return self

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

    def lines(self) -> dict[str, float | None]:
        """What the smoothed risk is compared with, for the log: two thresholds, or the setpoint alone."""
        if self.rule == "threshold":
            return {"risk_high": self.risk_high, "risk_low": self.risk_low}
        return {"risk_high": None, "risk_low": self.setpoint}


class CanaryController:
    """Turns a sequence of risks into a sequence of ratios. Pure arithmetic: no model, no clock."""

    def __init__(self, config: CanaryControllerConfig) -> None:
        self.config = config
        self.ratio = config.ratio_init
        self.smoothed_risk = 0.0
        self._summed = 0.0  # I_n
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
        follow = self._threshold if config.rule == "threshold" else self._proportional
        self.ratio = follow(self._recent[0])
        return self.ratio

    def _threshold(self, compared: float) -> float:
        config = self.config
        if compared > config.risk_high:
            return min(config.ratio_max, self.ratio + config.step_up)
        if compared < config.risk_low:
            return max(config.ratio_min, self.ratio - config.step_down)
        return self.ratio

    def _proportional(self, compared: float) -> float:
        config, error = self.config, compared - self.config.setpoint
        wanted = config.gain * error + config.integral_gain * (self._summed + error)
        ratio = min(config.ratio_max, max(config.ratio_min, wanted))
        if wanted == ratio or (wanted > ratio) == (error < 0):
            self._summed += error
        return ratio

    def state_dict(self) -> dict[str, Any]:
        """All that :meth:`update` depends on besides the config; plain JSON."""
        return {
            "ratio": self.ratio,
            "smoothed_risk": self.smoothed_risk,
            "summed": self._summed,
            "recent": list(self._recent),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`state_dict` gave."""
        self.ratio = state["ratio"]
        self.smoothed_risk = state["smoothed_risk"]
        self._summed = state["summed"]
        self._recent = deque(state["recent"], maxlen=self.config.delay + 1)
