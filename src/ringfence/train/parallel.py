"""What training can do on each backend, and the check that refuses the rest.

    backend                                  rows    whole    guards
    one process; DDP, one process a GPU      yes     yes      yes
    one process with several GPUs            yes     yes      no, the hooks of all copies would write to one place
    DeepSpeed, ZeRO 1 and 2                  yes     yes      no, its engine runs the forward pass
    FSDP; DeepSpeed, ZeRO 3                  yes     no       no
    tensor, context, sequence parallelism    yes     no       no

- rows: safe rows at a fixed or replayed ratio, and inoculation;
- whole: canaries, ``adapter/`` of a script, and all that ``ringfence train`` does;
- guards: kl, ldifs, steering, safe_lora.

Rows are drawn the same on all ranks, so they need nothing of the model. The canaries are asked by the main process
alone, which would wait for ever for weights that others hold; what is saved in one piece is saved by it, too. Hooks
look at whole decoder layers. Tested are one process and DDP; the rest of the table follows from how backends work.
"""

from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator, DistributedType

from ringfence.core.errors import RingfenceError

_ZERO_3 = 3  # from this stage on DeepSpeed splits the weights
_PLAIN = "use one process or plain data parallelism (torchrun)"


@dataclass(frozen=True)
class Backend:
    """A row of the table."""

    runs: str
    """as messages have it: it does not run ..."""
    whole: bool
    """whether the main process has all weights, to ask and to save them alone"""
    guards: bool
    """whether defenses can work around the forward pass"""
    instead: str = _PLAIN
    """of defenses around the forward pass"""

    def require_guards(self) -> None:
        """Raise :class:`RingfenceError` unless defenses can work around the forward pass."""
        if not self.guards:
            raise RingfenceError(f"defenses around the forward pass do not run {self.runs}; {self.instead}")

    def require_whole(self, who: str) -> None:
        """Raise :class:`RingfenceError` unless the main process has all weights, which ``who`` needs."""
        if not self.whole:
            raise RingfenceError(f"{who} does not run {self.runs}, as no process has all weights; {_PLAIN}")


def backend_of(accelerator: Accelerator, gpus: int = 1) -> Backend:
    """What ``accelerator`` trains on; ``gpus`` are those of this process."""
    kind = accelerator.distributed_type
    if gpus > 1:
        instead = "start one process a GPU (torchrun), or set CUDA_VISIBLE_DEVICES to one"
        return Backend(f"on {gpus} GPUs in one process", whole=True, guards=False, instead=instead)
    if kind in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        whole = kind == DistributedType.DEEPSPEED and _zero_stage(accelerator) < _ZERO_3
        instead = f"{_PLAIN}, or interleaving and inoculation only"
        return Backend(f"under {kind.value} yet", whole, guards=False, instead=instead)
    if getattr(accelerator, "parallelism_config", None) is not None:
        return Backend("with tensor, context or sequence parallelism (parallelism_config)", whole=False, guards=False)
    return Backend("here", whole=True, guards=True)


def _zero_stage(accelerator: Any) -> int:
    plugin = getattr(accelerator.state, "deepspeed_plugin", None)
    return _ZERO_3 if plugin is None else int(plugin.zero_stage)
