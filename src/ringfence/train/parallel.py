"""What training can do on each backend, and the check that refuses the rest.

    backend                                  rows    whole    guards
    one process; DDP, one process a GPU      yes     yes      yes
    FSDP2 by accelerate                      yes     yes      yes; every rank takes part in all of it
    one process with several GPUs            yes     yes      no, the hooks of all copies would write to one place
    DeepSpeed, ZeRO 1 and 2                  yes     yes      no, its engine runs the forward pass
    FSDP 1; DeepSpeed, ZeRO 3                yes     no       no
    tensor, context, sequence parallelism    yes     no       no

- rows: safe rows at a fixed or replayed ratio, and inoculation;
- whole: canaries, ``adapter/`` of a script, and all that ``ringfence train`` does;
- guards: kl, ldifs, steering, safe_lora.

Rows are drawn the same on all ranks, so they need nothing of the model. The canaries are asked by the main process
alone, where it has all weights; under FSDP2 all ranks ask them in step, and the main process judges. Hooks look at
whole decoder layers. Tested are one process, DDP and FSDP2, two ranks of each on a CPU; the rest of the table follows
from how backends work.
"""

from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator, DistributedType

from ringfence.core.errors import RingfenceError
from ringfence.core.ranks import is_split_run

_ZERO_3 = 3  # from this stage on DeepSpeed splits the weights
_FSDP2 = "FSDP2 (accelerate launch --use_fsdp --fsdp_version 2)"
_PLAIN = f"use one process, plain data parallelism (torchrun) or {_FSDP2}"


@dataclass(frozen=True)
class Backend:
    """A row of the table."""

    name: str
    """as ``result.json`` has it"""
    runs: str
    """as messages have it: it does not run ..."""
    whole: bool
    """whether canaries can be asked, and weights be saved in one piece"""
    guards: bool
    """whether defenses can work around the forward pass"""
    instead: str = _PLAIN
    """of defenses around the forward pass"""
    split: bool = False
    """whether each rank holds a part of the weights, so that all of them run the model in step"""

    def require_guards(self) -> None:
        """Raise :class:`RingfenceError` unless defenses can work around the forward pass."""
        if not self.guards:
            raise RingfenceError(f"defenses around the forward pass do not run {self.runs}; {self.instead}")

    def require_whole(self, who: str) -> None:
        """Raise :class:`RingfenceError` unless the weights can be had in one piece, which ``who`` needs."""
        if not self.whole:
            raise RingfenceError(f"{who} does not run {self.runs}, as no process has all weights; {_PLAIN}")

    def require_unsplit(self, who: str) -> None:
        """Raise :class:`RingfenceError` where each rank holds a part of the weights, which ``who`` cannot do with."""
        if self.split:
            raise RingfenceError(
                f"{who} does not run {self.runs}; use one process or plain data parallelism (torchrun)"
            )


def require_asked(accelerator: Accelerator) -> None:
    """Raise :class:`RingfenceError` if ``accelerate launch`` was asked for FSDP and does something else instead."""
    if is_split_run() and accelerator.distributed_type != DistributedType.FSDP:
        raise RingfenceError(
            "FSDP was asked for, but accelerate offers it on accelerators only: here every process would hold the "
            "whole model; train where there are GPUs, or use torchrun"
        )


def backend_of(accelerator: Accelerator, gpus: int = 1) -> Backend:
    """What ``accelerator`` trains on; ``gpus`` are those of this process."""
    kind = accelerator.distributed_type
    if gpus > 1:
        instead = "start one process a GPU (torchrun), or set CUDA_VISIBLE_DEVICES to one"
        return Backend(
            "one process, several GPUs", f"on {gpus} GPUs in one process", whole=True, guards=False, instead=instead
        )
    if getattr(accelerator, "parallelism_config", None) is not None:
        what = "tensor, context or sequence parallelism"
        return Backend(what, f"with {what} (parallelism_config)", whole=False, guards=False)
    if kind == DistributedType.FSDP:
        if getattr(accelerator.state.fsdp_plugin, "fsdp_version", 1) == 2:
            return Backend("FSDP2", "under FSDP2", whole=True, guards=True, split=True)
        return Backend("FSDP 1", "under FSDP 1", whole=False, guards=False, instead=f"use {_FSDP2}")
    if kind == DistributedType.DEEPSPEED:
        stage = _zero_stage(accelerator)
        instead = f"{_PLAIN}, or interleaving and inoculation only"
        name = f"DeepSpeed ZeRO {stage}"
        return Backend(name, f"under {name}", whole=stage < _ZERO_3, guards=False, instead=instead)
    return Backend("one process" if kind == DistributedType.NO else "DDP", "here", whole=True, guards=True)


def _zero_stage(accelerator: Any) -> int:
    plugin = getattr(accelerator.state, "deepspeed_plugin", None)
    return _ZERO_3 if plugin is None else int(plugin.zero_stage)
