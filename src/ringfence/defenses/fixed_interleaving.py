"""Safe-data interleaving at a fixed share (Kaczer et al. 2025, section 3.1, "Interleaving").

Two meanings of "5%" stay apart: ``ratio`` = safe / (safe + target), the share p of the mixture (canary paper), and
``added`` = safe / target (Kaczer et al.: 5% of 5,400 target rows are 270 safe rows, a share of 4.76%).

Source: Kaczer et al. 2025, section 3.1, https://arxiv.org/abs/2508.06249
"""

from typing import Self

from pydantic import Field, model_validator

from ringfence.core.errors import RingfenceError
from ringfence.defenses.base import DEFENSES, Interleaving, RLContext, TrainerContext
from ringfence.interleave import Schedule
from ringfence.interleave.mixture import Placement, share

_TIMED = ("early", "late", "rising")


@DEFENSES.register("fixed_interleaving")
class FixedInterleaving(Interleaving):
    """A constant share of safe rows. Give ``ratio`` or ``added``."""

    ratio: float | None = Field(None, ge=0, le=1)
    """safe rows / all rows"""
    added: float | None = Field(None, ge=0)
    """safe rows / target rows"""
    placement: Placement = "exact"
    """``exact``: the exact count, or the nearest whole steps, spread uniformly; ``early``, ``late``: the same count in
    the first or the second half of the run; ``rising``: in steps that hold ever more of it; ``bernoulli``: drawn afresh
    at every step"""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.ratio is None) == (self.added is None):
            raise ValueError("give either ratio (safe / all rows) or added (safe / target rows)")
        if self.placement in _TIMED and self.granularity != "example":
            raise ValueError(f"placement {self.placement} is for granularity: example, where a step holds both")
        if self.placement in ("late", "rising") and self.accounting == "replace" and self.highest_ratio() > 0.5:
            raise ValueError(f"placement {self.placement} with accounting: replace takes a share of at most 0.5")
        return self

    def highest_ratio(self) -> float:
        """The share of the mixture."""
        if self.ratio is not None:
            return self.ratio
        return share(self.added or 0.0)

    def in_rl(self, context: RLContext) -> Self:
        """As the base says; beside every step there is nothing to place."""
        if context.mode == "alternate" and self.placement in _TIMED:
            raise RingfenceError(
                f"fixed_interleaving.placement: {self.placement} is for steps that hold both kinds of rows, and in the "
                "mode alternate whole steps are safe; set exact or bernoulli"
            )
        if context.mode == "mixed" and self.placement != "exact":
            raise RingfenceError(
                "fixed_interleaving.placement: without effect in the mode mixed, where every step has its safe rows; "
                "leave it out"
            )
        return super().in_rl(context)

    def schedule(self, setup: TrainerContext) -> Schedule:
        """A constant ratio."""
        return Schedule(self.highest_ratio(), self.placement)
