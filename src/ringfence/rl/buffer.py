"""The completions of a generation that is not used up yet, in a checkpoint: one file a rank, tensors only.

Beside them, where TRL is to log completions, what it would log of that generation, as JSON.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ringfence.core.errors import RingfenceError
from ringfence.core.files import atomic, write_json
from ringfence.core.plain import read_json

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
    for key, tensor in load_file(path).items():
        index, _, name = key.partition(".")
        found.setdefault(int(index), {})[name] = tensor.to(device)
    return [found[index] for index in sorted(found)]


def save_logs(checkpoint: Path, rank: int, logs: Mapping[str, Any]) -> None:
    """Write TRL's ``logs``: queues of what was said, and of each reward."""
    columns = {
        name: {key: list(values) for key, values in column.items()} if isinstance(column, Mapping) else list(column)
        for name, column in logs.items()
    }
    write_json(_path(checkpoint, rank).with_suffix(".json"), columns)


def load_logs(checkpoint: Path, rank: int, logs: Mapping[str, Any]) -> None:
    """Put into ``logs`` what :func:`save_logs` wrote; nothing where it wrote nothing."""
    path = _path(checkpoint, rank).with_suffix(".json")
    for name, column in (read_json(path) if path.is_file() else {}).items():
        for queue, values in (
            [(logs[name][key], values) for key, values in column.items()]
            if isinstance(column, dict)
            else [(logs[name], column)]
        ):
            queue.extend(values)


def _path(checkpoint: Path, rank: int) -> Path:
    return checkpoint / f"completions_{rank}.safetensors"
