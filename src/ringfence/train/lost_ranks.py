"""Ranks that have ended or are late: one line on each rank that is left, and no checkpoint that others cannot see."""

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from torch import distributed

from ringfence.core.errors import RingfenceError
from ringfence.core.files import TEMPORARY, scratch
from ringfence.core.ranks import is_main_process, several_nodes

_OF_RANKS = re.compile(
    r"gloo|nccl|process ?group|tcpstore|socket|connection (closed|reset|refused)|broken pipe|clients joined",
    re.IGNORECASE,
)
_LATE = re.compile(r"time[d ]*out", re.IGNORECASE)


@contextmanager
def explained(timeout: float) -> Iterator[None]:
    """Raise :class:`RingfenceError` instead of what a call of all ranks raises where one of them is gone or late.

    timeout: seconds that such a call waits, ``ddp_timeout``

    Gloo notices a closed connection at once. NCCL does not raise: it ends the process itself when the time is over, and
    says ``Watchdog caught collective operation timeout``.
    """
    try:
        yield
    except RuntimeError as error:
        text = " ".join(str(error).split())
        if not (isinstance(error, distributed.DistError) or _OF_RANKS.search(text)):
            raise
        rank, world = (os.environ.get(name, "?") for name in ("RANK", "WORLD_SIZE"))
        raise RingfenceError(f"rank {rank} of {world}: {_what(text, timeout)} ({text[:200]})") from error


def _what(text: str, timeout: float) -> str:
    again = "then the same command goes on from the last checkpoint"
    if _LATE.search(text):
        return (
            f"another rank did not answer within {timeout:g} s (ddp_timeout). Look at what each rank printed last: one "
            "may have stopped, or not have been started. The main process alone judges canaries and evaluates while "
            f"the others wait; if that takes longer, raise training.ddp_timeout; {again}"
        )
    return (
        "another rank has ended. Its own error is in its output: look at the first rank that failed, for one that was "
        f"killed at the memory of its machine (dmesg); {again}"
    )


def require_shared(folder: Path) -> None:
    """Raise :class:`RingfenceError` on every rank unless all nodes see ``folder``, where each rank writes its part.

    Nothing is asked where all ranks are on one machine.
    """
    if not (several_nodes() and distributed.is_initialized()):
        return
    name = [uuid.uuid4().hex]
    distributed.broadcast_object_list(name)
    seen = [False] * distributed.get_world_size()
    with scratch(folder) if is_main_process() else nullcontext() as here:
        if here is not None:
            (here / name[0]).touch()
        distributed.barrier()
        distributed.all_gather_object(seen, any(folder.glob(f"{TEMPORARY}*/{name[0]}")))
    if not all(seen):
        raise RingfenceError(
            f"{folder}: is not one folder for all nodes, and checkpoints hold a part of each rank; name one on a disk "
            "that all of them share"
        )
