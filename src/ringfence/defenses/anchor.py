"""Anchor rows: rows that only a penalty sees, beside target and safe rows.

    L = CE(target and safe rows) + weight * D(anchor rows)

D is the distance of ``kl`` or ``ldifs`` from the base model, on the rows of ``data.anchor`` alone. Any prompts will do,
since nothing is learned from them: an answer is one that is given, the base model's own (``ringfence select`` with the
step ``on_policy``), or none at all, and then the tokens of the prompt are compared. ``added`` = anchor rows / target
rows; they stand beside the rows of a step, and change neither these nor the number of steps. Other penalties of the
run do not see them.

Source: our own; the distances are those of Kaczer et al. 2025, section 3.1, https://arxiv.org/abs/2508.06249
"""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ringfence.core.errors import RingfenceError
from ringfence.core.settings import refuse_other
from ringfence.defenses.base import (
    DEFENSES,
    DefenseHook,
    Penalising,
    RLContext,
    Source,
    TrainerContext,
    require_unpacked,
)
from ringfence.defenses.kl import KL
from ringfence.defenses.ldifs import LDIFS
from ringfence.defenses.step import Tokens

_OWN = {"kl": ("direction", "tokens"), "ldifs": ("reduction", "every")}


@DEFENSES.register("anchor")
class Anchor(Penalising):
    """How many rows, and which distance on them."""

    added: float = Field(0.125, ge=0)
    """anchor rows / target rows"""
    weight: float = Field(1.0, ge=0)
    """lambda; 0 is plain fine-tuning"""
    penalty: Literal["kl", "ldifs"] = "kl"
    """the distance from the base model"""
    tokens: Tokens = "all"
    """of ``kl``: ``response`` where an answer stands, ``prompt`` where none does, ``all`` for both"""
    direction: Literal["reverse", "forward"] = "reverse"
    """of ``kl``, as there"""
    reduction: Literal["sum", "mean", "relative"] = "relative"
    """of ``ldifs``, as there"""
    every: int = Field(5, ge=1)
    """of ``ldifs``, as there"""

    @model_validator(mode="after")
    def _of_the_chosen(self) -> Self:
        other = "ldifs" if self.penalty == "kl" else "kl"
        refuse_other(self, _OWN[other], f"penalty: {self.penalty}")
        return self

    @property
    def penalises(self) -> bool:
        """Unless the weight is 0, or no rows come."""
        return self.weight > 0 and self.added > 0

    @property
    def anchored(self) -> float:
        """None are drawn for a penalty that is off."""
        return self.added if self.penalises else 0.0

    def require_arguments(self, training: Mapping[str, Any]) -> None:
        """Neither with a compiled model nor with packing."""
        super().require_arguments(training)
        if self.penalises:
            require_unpacked(training, "anchor")

    def require_anchors(self, rows: int, answered: int) -> None:
        """There must be some, with answers if these are compared."""
        if not self.penalises:
            return
        if not rows:
            raise RingfenceError(
                "anchor: there are no anchor rows for its penalty; name them in data.anchor, or leave anchor out"
            )
        if self.penalty == "kl" and self.tokens == "response" and not answered:
            raise RingfenceError(
                f"anchor.tokens: response compares answers, and none of {rows} anchor rows has one; set tokens: all"
            )

    def in_rl(self, context: RLContext) -> Self:
        """Not there: target rows are completions, which are made while it trains."""
        raise RingfenceError(
            "anchor: not in reinforcement learning, where no rows can stand beside completions; leave it out, and give "
            "the rows as safe rows under kl: {sources: safe}"
        )

    def compares(self, source: Source) -> bool:
        """Anchor rows."""
        return self.penalises and source == "anchor"

    def needs_model_here(self) -> str | None:
        """Both models, unless the weight is 0."""
        return "it compares the two models on rows without a loss, which a server does not" if self.penalises else None

    def guard(self, setup: TrainerContext) -> DefenseHook | None:
        """None at weight 0. Raises :class:`RingfenceError` as the chosen penalty does."""
        return self._distance().guard(setup) if self.penalises else None

    def _distance(self) -> KL | LDIFS:
        on_anchors = {"sources": "anchor"}  # which a recipe cannot say of kl or ldifs itself
        if self.penalty == "kl":
            return KL(weight=self.weight, direction=self.direction, tokens=self.tokens).model_copy(update=on_anchors)
        return LDIFS(weight=self.weight, reduction=self.reduction, every=self.every).model_copy(update=on_anchors)
