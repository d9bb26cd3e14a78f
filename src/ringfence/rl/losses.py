"""The parts of the loss, as means over the optimizer steps since the last row of the log."""

from dataclasses import dataclass, field

import torch
from accelerate import Accelerator

RL, SAFE_LOSS = "rl_loss", "safe_loss"


@dataclass
class LossParts:
    """Sums over micro-batches, and the optimizer steps that had each part."""

    sums: dict[str, torch.Tensor] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)

    def begin(self, part: str) -> None:
        """An optimizer step with ``part`` begins."""
        self.steps[part] = self.steps.get(part, 0) + 1

    def add(self, part: str, loss: torch.Tensor) -> None:
        """Add a micro-batch's loss, scaled as it is trained on: the step's is the sum, and the mean over ranks."""
        before = self.sums.get(part)
        self.sums[part] = loss.detach() if before is None else before + loss.detach()

    def take(self, accelerator: Accelerator) -> dict[str, float]:
        """Each part's mean over its steps and the ranks; one that no step had is not in it. Begins anew."""
        sums, steps, self.sums, self.steps = self.sums, self.steps, {}, {}
        return {part: accelerator.reduce(sums[part], "mean").item() / steps[part] for part in sorted(sums)}
