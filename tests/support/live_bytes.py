"""Bytes of all tensors that are alive at once, on any device: what a GPU's allocator would count."""

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only


class LiveBytes(TorchDispatchMode):
    """Inside, every storage that an operation makes is counted until it is freed; ``peak`` is the most at once."""

    def __init__(self, *present: torch.Tensor) -> None:
        """``present``: what is there already and counts."""
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()
        for tensor in present:
            self._see(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self._see, made)
        return made

    def _see(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen.add(storage._cdata)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        return tensor

    def _gone(self, address: int, size: int) -> None:
        self._seen.discard(address)
        self.now -= size
