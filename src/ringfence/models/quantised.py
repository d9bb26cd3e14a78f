"""Linear layers whose weights a quantizer has packed, such as those of bitsandbytes."""

import torch
from torch import nn


def is_packed(module: nn.Module) -> bool:
    """Whether the weights of the linear layer ``module`` are no numbers of 16 bits or more."""
    weight = getattr(module, "weight", None) if isinstance(module, nn.Linear) else None
    return isinstance(weight, torch.Tensor) and (not weight.is_floating_point() or weight.element_size() < 2)


def keep_differentiable(model: nn.Module) -> None:
    """Have 4-bit layers keep the weights in the form that has a gradient; of other layers this changes nothing.

    On processors that multiply bfloat16 (AVX-512), bitsandbytes rearranges them for good at the first forward pass in
    evaluation mode, e.g. that of a reference or a canary. The product with rearranged weights has no gradient, and
    nothing says so.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
