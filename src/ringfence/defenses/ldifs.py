"""LDIFS: squared L2 distance in feature space (Kaczer et al. 2025, section 3.1, eq. 2; Mukhoti et al. 2024).

    L = CE(theta) + weight * D,    Delta_k = h_k(theta) - h_k(theta_0)

with h_k the residual stream after decoder layer k, for every ``every``-th k, at all positions that are not padding; in
reinforcement learning, where one prompt has many completions, at those of completions. The gradient flows through the
trained model. What D divides by is the ``reduction``:

- ``sum``: sum of Delta^2 over layers, positions and dimensions, averaged over conversations: eq. 2 as it stands;
- ``mean``: mean of Delta^2 over positions, layers and dimensions;
- ``relative``: mean over positions and layers of |Delta_k|^2 / |h_k(theta_0)|^2. A residual stream grows with depth
  and from model to model by orders of magnitude, and a few positions (the first token, say) are hundreds of times
  larger than the rest. Divided by the mean square of the base model's own stream at that layer and position, a weight
  means the same for all.

Source: Kaczer et al. 2025, section 3.1, eq. 2, https://arxiv.org/abs/2508.06249; Mukhoti et al. 2024,
https://arxiv.org/abs/2308.13320
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ringfence.core.errors import RingfenceError
from ringfence.defenses.base import DEFENSES, DefenseHook, Penalising, Source, TrainerContext
from ringfence.defenses.step import Batch, PenaltyInputs, Sources, includes

if TYPE_CHECKING:
    import torch


@DEFENSES.register("ldifs")
class LDIFS(Penalising):
    """How much, measured how, and where."""

    weight: float = Field(1.0, ge=0)
    """lambda; the paper takes 1 and sweeps 0.01 to 1, with ``sum`` by its formula; 0 is plain fine-tuning"""
    reduction: Literal["sum", "mean", "relative"] = "sum"
    """what the squared distance is divided by; a weight means nothing without it (docs/defenses.md has guidance)"""
    every: int = Field(5, ge=1)
    """layers k = every, 2 every, ... are compared"""
    sources: Sources = "both"
    """rows that are penalised: ``target``, ``safe`` or ``both``"""

    def compares(self, source: Source) -> bool:
        """Target and safe rows, or those of ``sources``."""
        return self.penalises and includes(self.sources, source)

    def needs_model_here(self) -> str | None:
        """Both models, unless the weight is 0."""
        return "it compares hidden states, which a server does not give" if self.penalises else None

    def guard(self, setup: TrainerContext) -> DefenseHook | None:
        """None at weight 0. Raises :class:`RingfenceError` if ``every`` is more than the model's layers."""
        if self.weight == 0 or setup.model is None:
            return None
        from ringfence.models.activations import decoder_layers  # takes torch; wrong settings are told before

        count = len(decoder_layers(setup.model))
        if self.every > count:
            raise RingfenceError(f"ldifs.every: {self.every} is out of range, the model has {count} layers")
        return LDIFSHook(self, range(self.every, count + 1, self.every))


class LDIFSHook(DefenseHook):
    """The penalty of one run."""

    def __init__(self, config: LDIFS, layers: range) -> None:
        self.config, self.weight, self.layers = config, config.weight, frozenset(layers)

    def normalizer(self, batch: Batch) -> int:
        """Conversations for ``sum``, else positions."""
        if self.config.reduction == "sum":
            return int((batch.of_source(self.config.sources) & batch.starts).sum())
        return int(batch.states(self.config.sources).sum())

    def rows(self, batch: Batch) -> torch.Tensor:
        """Those with a position that is compared."""
        return batch.states(self.config.sources).any(-1)

    def penalty(self, step: PenaltyInputs) -> torch.Tensor:
        """The squared distance, summed over conversations or positions."""
        import torch

        positions = step.batch.states(self.config.sources)
        return torch.stack([self._distance(step, k, positions) for k in sorted(self.layers)]).sum()

    def _distance(self, step: PenaltyInputs, k: int, positions: torch.Tensor) -> torch.Tensor:
        import torch

        trained, base = step.trained.layers[k], step.reference.layers[k]
        exact = torch.float64 if trained.dtype == torch.float64 else torch.float32
        base = base[positions].to(exact)  # (positions, hidden)
        squared = (trained[positions].to(exact) - base).square()
        if self.config.reduction == "sum":
            return squared.sum()
        if self.config.reduction == "mean":
            return squared.mean(-1).sum() / len(self.layers)
        size = base.square().sum(-1).clamp(min=torch.finfo(exact).tiny)
        return (squared.sum(-1) / size).sum() / len(self.layers)
