"""Safe rows weighted in the loss: the baseline that all that is done with safe rows must beat at equal weight.

    L = (1 / N) * (sum over target labels of CE + weight * sum over safe labels of CE)

with N the labels of the whole optimizer step, on all ranks and of both sources, as without it: the target rows keep
their gradient, and the safe ones have ``weight`` times theirs. It stands beside an interleaving defense, which says
which safe rows come and when; so it goes with each of them, and a loop that moves the ratio keeps its weight.

The trainer's loss is left as it is, and (weight - 1) * sum over safe labels of CE / N is added to it.

Source: our own, as a baseline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

from pydantic import Field

from ringfence.core.errors import RingfenceError
from ringfence.defenses.base import (
    DEFENSES,
    Defense,
    DefenseHook,
    Interleaving,
    RLContext,
    Source,
    TrainerContext,
    require_uncompiled,
    require_unpacked,
)
from ringfence.defenses.kl import require_head_seen
from ringfence.defenses.step import Batch, PenaltyInputs

if TYPE_CHECKING:
    import torch

    from ringfence.models.output_head import OutputHead


@DEFENSES.register("safe_weight")
class SafeWeight(Defense):
    """How much a safe row counts."""

    weight: float = Field(gt=0)
    """of the cross-entropy of safe rows; 1 is as without it"""

    @property
    def adds_to_loss(self) -> bool:
        """Unless the weight is 1."""
        return self.weight != 1

    def needs_model_here(self) -> str | None:
        """Nothing: weights of rows are all that it takes."""
        return None

    def row_weight(self, source: Source) -> float:
        """Of safe rows."""
        return self.weight if source == "safe" else 1.0

    def require_beside(self, others: Sequence[Defense]) -> None:
        """Something must bring safe rows."""
        if self.adds_to_loss and not any(isinstance(one, Interleaving) for one in others):
            raise RingfenceError(
                "safe_weight: no defense brings safe rows, so there is nothing to weigh; add one, e.g. "
                "fixed_interleaving: {added: 0.05}"
            )

    def require_arguments(self, training: Mapping[str, Any]) -> None:
        """Not with a compiled model, and not with another loss than plain cross-entropy."""
        if self.adds_to_loss:
            require_told_apart(training, "safe_weight")

    def in_rl(self, context: RLContext) -> Self:
        """Not there."""
        instead = "the ratio" if context.mode == "mixed" else "rl.mode: mixed, where the ratio"
        raise RingfenceError(
            f"safe_weight: not in reinforcement learning; {instead} is the weight of safe rows; leave safe_weight out"
        )

    def guard(self, setup: TrainerContext) -> DefenseHook | None:
        """None at weight 1. Raises :class:`RingfenceError` for an output layer with an adapter on it."""
        if not self.adds_to_loss:
            return None
        require_head_seen(setup, "safe_weight")
        return SafeWeightHook(self.weight - 1)


def require_told_apart(training: Mapping[str, Any], who: str) -> None:
    """Raise :class:`RingfenceError` where ``who`` cannot tell what safe rows add to the loss."""
    require_uncompiled(training, who)
    require_unpacked(training, who)
    if training.get("label_smoothing_factor"):
        raise RingfenceError(
            f"training.label_smoothing_factor: {who} computes plain cross-entropy of safe rows; leave one of them out"
        )
    if training.get("loss_type", "nll") == "dft":
        raise RingfenceError(f"training.loss_type: dft is not the loss that {who} computes; leave one of them out")


class SafeLossHook(DefenseHook):
    """What safe rows add to the loss of one run, by itself."""

    needs_last = True

    def normalizer(self, batch: Batch) -> int:
        """Labels of both sources, as in the trainer's own loss."""
        return int(batch.predicting("response", "both").sum())

    def penalty(self, step: PenaltyInputs) -> torch.Tensor:
        """Cross-entropy in nats, summed over the labels of safe rows."""
        import torch

        from ringfence.models.divergence import summed_nll

        mask = step.batch.predicting("response", "safe")
        following = torch.roll(step.batch.labels, -1, dims=1)
        last, head = cast("torch.Tensor", step.trained.last), cast("OutputHead", step.trained.head)  # by needs_last
        return summed_nll(last[mask], head, following[mask])


class SafeWeightHook(SafeLossHook):
    """What is added to the loss of one run."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
