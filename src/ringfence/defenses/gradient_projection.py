"""Gradient projection: where target and safe rows pull against each other, the target's pull along the safe one goes.

    g_target <- g_target - share * min(0, g_target . g_safe) / |g_safe|^2 * g_safe,        g = g_target + g_safe

over all trained weights together, once in an optimizer step, from the gradients of all its micro-batches and ranks, and
before clipping. g_target and g_safe are what target and safe rows add to the gradient of the trainer's own loss, so at
``share`` 0, and where they do not conflict, it is plain interleaving. A step without safe rows is left as it is: at a
small ratio these are most steps, so larger steps are projected more often.

It takes a second backward pass for micro-batches that have safe rows, and the memory of one more gradient. The log has
``gradient_cosine``, of g_target and g_safe, as a mean over the steps that have safe rows.

Departure from the paper, whose safe gradient is that of a KL to the aligned model's answers: here the safe rows' own
cross-entropy, as everywhere in Ringfence. Safe rows that the base model has answered (``on_policy``) come near to it.

Source: Yi et al. 2025 (SafeGrad), https://arxiv.org/abs/2508.07172
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field

from ringfence.core.errors import RingfenceError
from ringfence.defenses.base import DEFENSES, Defense, DefenseHook, Interleaving, RLContext, TrainerContext
from ringfence.defenses.kl import require_head_seen
from ringfence.defenses.safe_weight import SafeLossHook, require_told_apart
from ringfence.defenses.step import Batch

if TYPE_CHECKING:
    import torch


@DEFENSES.register("gradient_projection")
class GradientProjection(Defense):
    """How much of the conflict is taken away."""

    share: float = Field(1.0, ge=0, le=1)
    """of the target gradient's part along the safe one, where it points the other way; 0 is plain interleaving"""

    @property
    def adds_to_loss(self) -> bool:
        """Unless the share is 0: it computes what safe rows add to the loss once more."""
        return self.share > 0

    def require_beside(self, others: Sequence[Defense]) -> None:
        """Something must bring safe rows into the target's steps, and nothing else may be in the loss."""
        if not self.adds_to_loss:
            return
        mixing = [one for one in others if isinstance(one, Interleaving)]
        if not mixing:
            raise RingfenceError(
                "gradient_projection: no defense brings safe rows, so there is nothing to project on; add one, e.g. "
                "fixed_interleaving: {added: 0.05}"
            )
        if mixing[0].granularity != "example":
            raise RingfenceError(
                f"{DEFENSES.name_of(type(mixing[0]))}.granularity: with step no step has target and safe rows both, "
                "so gradient_projection never sees a conflict; use example"
            )
        if adding := [DEFENSES.name_of(type(one)) for one in others if one.adds_to_loss]:
            raise RingfenceError(
                f"gradient_projection: beside {adding[0]} the rest of the gradient is not that of target rows alone; "
                "leave one of them out"
            )

    def require_arguments(self, training: Mapping[str, Any]) -> None:
        """Neither with another loss than plain cross-entropy, nor where a second backward pass cannot be had."""
        if not self.adds_to_loss:
            return
        require_told_apart(training, "gradient_projection")
        if training.get("fp16"):
            raise RingfenceError(
                "training.fp16: gradients are scaled there until they are clipped, which gradient_projection does not "
                "see; use bf16"
            )
        how = training.get("gradient_checkpointing_kwargs") or {}
        if isinstance(how, Mapping) and how.get("use_reentrant"):
            raise RingfenceError(
                "training.gradient_checkpointing_kwargs: use_reentrant allows no second backward pass, which "
                "gradient_projection takes; set it to false, or leave it out"
            )

    def in_rl(self, context: RLContext) -> Self:
        """Not there."""
        raise RingfenceError(
            "gradient_projection: not in reinforcement learning, whose target rows have no cross-entropy; leave it out"
        )

    def needs_model_here(self) -> str | None:
        """Gradients."""
        return "it changes gradients, which stay at the server"

    def guard(self, setup: TrainerContext) -> DefenseHook | None:
        """None at share 0. Raises :class:`RingfenceError` for an output layer with an adapter on it."""
        if not self.adds_to_loss:
            return None
        require_head_seen(setup, "gradient_projection")
        return GradientProjectionHook(self.share)


class GradientProjectionHook(SafeLossHook):
    """The safe rows' gradient of the optimizer step that goes on."""

    apart = True

    def __init__(self, share: float) -> None:
        self.share = share
        self._safe: list[torch.Tensor] = []
        """of each weight, summed over the micro-batches so far; empty without a safe row"""

    def begin(self) -> None:
        """Forget what a step that was cut short has left."""
        self._safe = []

    def collect(self, batch: Batch, share: torch.Tensor, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Add the gradient of ``share``; the graph stays for the trainer's own backward pass."""
        import torch

        if not bool(batch.predicting("response", "safe").any()):
            return
        found = torch.autograd.grad(share, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
        self._safe = [a + b for a, b in zip(self._safe, found, strict=True)] if self._safe else list(found)

    def finish(
        self, parameters: Sequence[torch.nn.Parameter], summed: Callable[[torch.Tensor], torch.Tensor]
    ) -> Mapping[str, float]:
        """Project; the cosine of the two gradients, if there are two."""
        import torch

        safe, self._safe = self._safe, []
        if not summed(torch.tensor(float(bool(safe)))).item():
            return {}
        safe = [summed(one) for one in (safe or [torch.zeros_like(parameter) for parameter in parameters])]
        product = size = other = 0.0
        for parameter, one in zip(parameters, safe, strict=True):  # one weight at a time: no further gradient in memory
            target = -one if parameter.grad is None else parameter.grad - one
            product, size, other = product + _dot(target, one), size + _dot(one, one), other + _dot(target, target)
        if not size * other > 0:  # one of them has no gradient
            return {}
        if product < 0:
            for parameter, one in zip(parameters, safe, strict=True):
                if parameter.grad is not None:
                    parameter.grad.sub_(one, alpha=self.share * product / size)
        return {"gradient_cosine": product / (size * other) ** 0.5}


def _dot(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first.double() * second.double()).sum())
