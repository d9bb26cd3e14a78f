"""LoRA layers with fewer kernels, for answers on a GPU.

One token of a small batch is bound there by the number of operations, not by arithmetic. PEFT's forward of one LoRA
layer casts, multiplies by A, by B and by the scale, adds and casts back. Here A and B are cast once, the scale is in B:

    y = base(x) + (x A^T)(s B)^T

is two products and a sum beside the base layer. The weights stay apart, so nothing is rounded into the base model and
no second copy of it is needed, as merging would need to leave the trained weights as they were. Autocast, too, looks at
every operation; where the base model is in half precision it has nothing left to do and is off inside.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import nn
from torch.nn.functional import linear
from transformers import PreTrainedModel

_HALF = (torch.bfloat16, torch.float16)


def lean_on_gpu(model: PreTrainedModel | PeftModel) -> AbstractContextManager[int]:
    """:func:`lean_adapters` on a GPU. On a CPU arithmetic decides, and answers are those of PEFT's own forward."""
    return lean_adapters(model) if model.device.type == "cuda" else nullcontext(0)


@contextmanager
def lean_adapters(model: PreTrainedModel | PeftModel) -> Iterator[int]:
    """Plain LoRA on linear layers by two products inside; gives how many layers that is.

    Layers that hold anything else (DoRA, a bias, several active adapters, merged or switched-off ones, quantised
    weights, dropout in training mode) compute as ever. Without gradients only: weights that are trained inside would
    not be seen. The low-rank part is computed in the base layer's type, PEFT's in the adapter's.
    """
    lean = [module for module in model.modules() if type(module) is LoraLinear and _is_plain(module)]
    rest = {one.dtype for name, one in model.named_parameters() if ".lora_" not in name}
    half = len(rest) == 1 and not rest.isdisjoint(_HALF)
    kind = model.device.type
    without_autocast = torch.autocast(kind, enabled=False) if half else nullcontext()
    try:
        with without_autocast:
            for module in lean:
                module.forward = _forward(module)
            yield len(lean)
    finally:
        for module in lean:
            vars(module).pop("forward", None)  # the class's own again


def _is_plain(module: LoraLinear) -> bool:
    """Whether ``module`` has one active LoRA of two matrices on a linear layer, and nothing else."""
    if "forward" in vars(module):
        return False
    active = [name for name in module.active_adapters if name in module.lora_A]
    if len(active) != 1 or module.disable_adapters or module.merged or type(module.base_layer) is not nn.Linear:
        return False
    name = active[0]
    if module.training and type(module.lora_dropout[name]) is not nn.Identity:
        return False
    return name not in module.lora_variant and module.lora_A[name].bias is None and module.lora_B[name].bias is None


def _forward(module: LoraLinear) -> Callable[..., torch.Tensor]:
    name = next(name for name in module.active_adapters if name in module.lora_A)
    base, ordinary = module.base_layer, module.forward
    dtype = _computed_in(base.weight)
    a = module.lora_A[name].weight.detach().to(dtype)  # (rank, in)
    b = (module.lora_B[name].weight.detach() * module.scaling[name]).to(dtype)  # (out, rank)

    def forward(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if args or kwargs:  # a batch of several adapters
            return ordinary(x, *args, **kwargs)
        return base(x).add_(linear(linear(x, a), b))  # (..., out)

    return forward


def _computed_in(weight: torch.Tensor) -> torch.dtype:
    """What a product with ``weight`` is computed in, here and now."""
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
