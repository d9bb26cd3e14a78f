"""Score labelled positions only, where TRL would score every position: on a CPU that is up to half of a step.

TRL's loss takes hidden states through the output layer in tiles. With Triton it leaves out the positions without a
label; on other devices it scores all of them and drops what it does not need, so that compiled tiles keep their shape.
A CPU compiles nothing. The loss and its gradient are the same sums, equal to rounding.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from trl.trainer import utils

_DECIDES = "_use_triton"
"""TRL's function of a device, by which its output layer decides; not of its public interface"""


@contextmanager
def labelled_only() -> Iterator[None]:
    """Inside, TRL leaves out positions without a label on a CPU, too; if its version decides otherwise, as it does."""
    before: Any = getattr(utils, _DECIDES, None)
    if before is None:
        yield
        return

    def decide(device: torch.device) -> bool:
        return device.type == "cpu" or before(device)

    setattr(utils, _DECIDES, decide)
    try:
        yield
    finally:
        setattr(utils, _DECIDES, before)
