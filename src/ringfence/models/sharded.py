"""Weights that are split over ranks (FSDP2, ``fully_shard``): run a part of the model, and have whole weights.

A unit of such a model, a decoder layer for one, gathers its weights when its forward begins and lets go of them
afterwards; in between a parameter is a ``DTensor`` that holds this rank's part. Gathering is a call that all ranks make
together: a rank that makes one more waits for ever. So all of them run the same passes in the same order.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from peft import PeftModel
from torch import nn
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from ringfence.models.identity import base_parameters

T = TypeVar("T")
_RUN = "_ringfence_run"


def is_sharded(model: nn.Module) -> bool:
    """Whether any part of ``model`` is split over ranks."""
    return any(isinstance(part, FSDPModule) for part in model.modules())


def run_inside(model: nn.Module, work: Callable[[], T]) -> T:
    """What ``work`` gives, which runs parts of ``model``, called as if it were the model's forward.

    What the outermost unit does then, the parts rely on: it gathers what is in no other unit, and ends the pass of
    units that have run in part, such as that of the last norm and the output layer.
    """
    if not isinstance(model, FSDPModule):
        return work()
    if not hasattr(model, _RUN):
        setattr(model, _RUN, lambda call: call())
        register_fsdp_forward_method(model, _RUN)
    found: list[T] = []
    getattr(model, _RUN)(lambda: found.append(work()))  # a forward's output would be looked through for tensors
    return found[0]


def split_again(model: nn.Module) -> None:
    """Let go of whatever units keep gathered after a pass: what is written there would not reach the weights."""
    for part in model.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` with the parts of all ranks; itself if it is not split. A call for all ranks."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def overwrite(parameter: torch.Tensor, values: torch.Tensor) -> None:
    """Put the whole ``values`` into ``parameter``, each rank its part. A call for all ranks."""
    if isinstance(parameter, DTensor):
        values = distribute_tensor(values.to(parameter.dtype), parameter.device_mesh, parameter.placements)
    parameter.copy_(values)


def trained_state(model: nn.Module, keep: bool) -> dict[str, torch.Tensor]:
    """Name -> whole tensor on the CPU of what is saved of a split ``model``: its adapters, or without one all of it.

    A call for all ranks, of which those without ``keep`` get nothing. One tensor at a time is gathered.
    """
    state = model.state_dict(keep_vars=True)  # lets go of what is gathered: names lead to the parts again
    base = {id(parameter) for _, parameter in base_parameters(model)} if isinstance(model, PeftModel) else set()
    gathered: dict[int, torch.Tensor] = {}
    for value in state.values():
        if id(value) not in base and id(value) not in gathered:  # tied weights have two names
            one = whole(value.detach())
            gathered[id(value)] = one.cpu() if keep else one.new_empty(0)
    return {name: gathered[id(value)] for name, value in state.items() if keep and id(value) in gathered}
