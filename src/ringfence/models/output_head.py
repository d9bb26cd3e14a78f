"""From a model's last hidden states to its logits: one way for penalties, scores and judges."""

from dataclasses import dataclass

import torch
from torch import nn

from ringfence.models.activations import Model, adapted, bare
from ringfence.models.sharded import whole

HALF = (torch.float16, torch.bfloat16)
VOCABULARY_SLICE = 2**15
"""rows of the output layer that are widened to float32 at once, off the GPU"""


@dataclass(frozen=True)
class OutputHead:
    """The output layer and what the model does to its logits: ``cap * tanh(scale * z / cap)``."""

    weight: torch.Tensor
    """(vocabulary, hidden)"""
    bias: torch.Tensor | None
    scale: float = 1.0
    softcap: float | None = None
    layer: nn.Module | None = None
    """the layer itself, where it may do more than multiply by ``weight``"""

    @classmethod
    def of(cls, model: Model) -> "OutputHead":
        """The one in force now: inside :func:`ringfence.models.activations.without_adapters` the base model's."""
        layer, config = model.get_output_embeddings(), bare(model).config.get_text_config()
        scale = 1.0
        for name in ("logit_scale", "lm_head_multiplier", "output_multiplier"):
            if (value := getattr(config, name, None)) is not None:
                scale *= value
        if (divisor := getattr(config, "logits_scaling", None)) is not None:
            scale = scale * divisor if config.model_type == "hyperclovax" else scale / divisor
        weight, bias = (None if part is None else whole(part) for part in (layer.weight, layer.bias))
        assert weight is not None, "an output layer has a weight"
        return cls(weight, bias, scale, getattr(config, "final_logit_softcapping", None), layer)

    def logits(self, hidden: torch.Tensor, rounded: bool = False) -> torch.Tensor:
        """(positions, vocabulary) from the last hidden states (positions, hidden), in float32 (float64 of float64).

        rounded: in a half type as the model's own layer rounds, for what it would say when it generates; else never
                 rounded to one, for small differences of large logits
        """
        if self.layer is not None and (rounded or adapted(self.layer)):
            z = self.layer(hidden).float()
        else:
            z = self.product(hidden, hidden.dtype)
        self.bend(z)
        return z

    def product(self, hidden: torch.Tensor, compute: torch.dtype) -> torch.Tensor:
        """Logits before scale and cap: factors rounded to ``compute``, multiplied and summed in float32 or float64."""
        hidden, weight, exact = hidden.to(compute), self.weight, wide(compute)
        if hidden.is_cuda and compute in HALF:
            z = torch.mm(hidden, weight.to(compute).t(), out_dtype=torch.float32)
        elif weight.dtype == compute == exact:
            z = torch.mm(hidden, weight.t())
        else:
            z = torch.empty(len(hidden), len(weight), dtype=exact, device=hidden.device)
            for start in range(0, len(weight), VOCABULARY_SLICE):
                rows = slice(start, start + VOCABULARY_SLICE)
                torch.mm(hidden.to(exact), weight[rows].to(compute).to(exact).t(), out=z[:, rows])
        return z if self.bias is None else z.add_(self.bias.to(exact))

    def bend(self, z: torch.Tensor) -> torch.Tensor | float:
        """Scale and cap logits in place, as the model does; return the derivative."""
        if self.scale != 1:
            z.mul_(self.scale)
        if self.softcap is None:
            return self.scale
        tanh = z.div_(self.softcap).tanh_()
        slope = self.scale * (1 - tanh.square())
        z.mul_(self.softcap)
        return slope


def wide(dtype: torch.dtype) -> torch.dtype:
    """What sums over a product in ``dtype`` are held in."""
    return torch.float64 if dtype == torch.float64 else torch.float32
