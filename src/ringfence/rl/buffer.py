"""The completions of a generation that is not used up yet, in a checkpoint: one file a rank, tensors only."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from ringfence.core.errors import RingfenceError
from ringfence.core.files import atomic

Completed = Mapping[str, torch.Tensor]
"""one micro-batch of completions, by TRL's names"""


def save_buffer(checkpoint: Path, rank: int, buffer: Sequence[Completed]) -> None:
    """Write the micro-batches of ``buffer`` in their order."""
    tensors = {
        f"{index}.{name}": tensor.detach().cpu().clone().contiguous()  # slices of one generation share their memory
        for index, completed in enumerate(buffer)
        for name, tensor in completed.items()
    }
    with atomic(_path(checkpoint, rank)) as path:
        save_file(tensors, path)


def load_buffer(checkpoint: Path, rank: int, device: torch.device) -> list[dict[str, torch.Tensor]]:
    """What :func:`save_buffer` wrote. Raises :class:`RingfenceError` where it wrote nothing for ``rank``."""
    path = _path(checkpoint, rank)
    if not path.is_file():
        raise RingfenceError(f"{path}: is missing; resume on as many processes as the checkpoint was saved by")
    found: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in load_file(path, device=str(device)).items():
        index, _, name = key.partition(".")
        found.setdefault(int(index), {})[name] = tensor
    return [found[index] for index in sorted(found)]


def _path(checkpoint: Path, rank: int) -> Path:
    return checkpoint / f"completions_{rank}.safetensors"
