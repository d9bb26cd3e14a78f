"""What LoRA adapters add to linear layers, as pairs of thin matrices, put on a model by hooks and taken off again.

    y = W_0 x + sum over adapters of s B A x,      s = alpha / r, or alpha / sqrt(r) for rsLoRA

The model's own modules, parameters and PEFT adapters stay as they are, so nothing of it is trained, saved or switched
with them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.utils.constants import SAFETENSORS_WEIGHTS_NAME
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import linear

from ringfence.core.errors import RingfenceError
from ringfence.core.plain import refuse_pointer_at
from ringfence.models.activations import Model, bare
from ringfence.models.adapters import require_beside

_PREFIX, _DOWN, _UP = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
_MATRIX = 2  # dimensions


@dataclass(frozen=True)
class Update:
    """Of one linear layer: up @ down, (out, in), is what is added to its weight."""

    down: Tensor
    """float32 (r, in)"""
    up: Tensor
    """float32 (out, r), the adapter's scaling in it"""

    @property
    def norm(self) -> float:
        """Frobenius norm of up @ down, which is not formed: its square is the trace of (up^T up)(down down^T)."""
        up, down = self.up.double(), self.down.double()
        return float(((up.T @ up) * (down @ down.T)).sum().clamp(min=0).sqrt())


Updates = Mapping[str, Update]
"""name of the layer in the base model -> its update"""


def load_updates(folder: Path) -> dict[str, Update]:
    """Of the LoRA adapter in ``folder``.

    Raises :class:`RingfenceError` for one that does more than to add a product of two matrices to linear layers, and
    for files that are missing or damaged.
    """
    path = folder / SAFETENSORS_WEIGHTS_NAME
    if not path.is_file():
        raise RingfenceError(f"{folder}: has no {SAFETENSORS_WEIGHTS_NAME}; give the folder of a LoRA adapter")
    config = require_beside(folder)
    if not isinstance(config, LoraConfig) or config.use_dora or config.modules_to_save:
        kind = "DoRA" if isinstance(config, LoraConfig) and config.use_dora else f"a {config.peft_type} adapter"
        what = "with modules_to_save" if getattr(config, "modules_to_save", None) else kind
        raise RingfenceError(f"{folder}: is {what}; only plain LoRA can be added beside what is trained")
    refuse_pointer_at(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise RingfenceError(f"{path}: is no whole safetensors file ({str(error).splitlines()[0][:100]})") from None
    names = [name.removesuffix(_DOWN) for name in tensors if name.endswith(_DOWN)]
    known = {f"{name}{end}" for name in names for end in (_DOWN, _UP)}
    if odd := sorted(known ^ tensors.keys()):
        raise RingfenceError(
            f"{path}: {odd[0]} is missing, or no part of a linear layer's LoRA; save it anew with PEFT"
        )
    return {
        name.removeprefix(_PREFIX): _update(tensors[f"{name}{_DOWN}"], tensors[f"{name}{_UP}"], name, config, path)
        for name in sorted(names)
    }


def _update(down: Tensor, up: Tensor, name: str, config: LoraConfig, path: Path) -> Update:
    if down.dim() != _MATRIX or up.dim() != _MATRIX or len(down) != up.shape[1]:
        raise RingfenceError(f"{path}: {name} is no LoRA of a linear layer: {tuple(down.shape)} and {tuple(up.shape)}")
    alphas = config.alpha_pattern or {}
    alpha = alphas.get(get_pattern_key(list(alphas), name), config.lora_alpha)
    scaling = alpha / (len(down) ** 0.5 if config.use_rslora else len(down))
    return Update(down.float(), up.float() * scaling)


def random_like(updates: Updates, seed: int) -> dict[str, Update]:
    """A control: in every layer a random update of the same rank and the same Frobenius norm."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, one in sorted(updates.items()):
        drawn = Update(torch.randn(one.down.shape, generator=generator), torch.randn(one.up.shape, generator=generator))
        found[name] = Update(drawn.down, drawn.up * (one.norm / drawn.norm))
    return found


def summed(several: Sequence[Updates], scale: float = 1.0) -> dict[str, Update]:
    """``scale`` times what adapters add together."""
    found = {}
    for name in sorted({name for one in several for name in one}):
        there = [one[name] for one in several if name in one]
        found[name] = Update(
            torch.cat([one.down for one in there]), scale * torch.cat([one.up for one in there], dim=1)
        )
    return found


def require_place(model: Model, updates: Updates) -> None:
    """Raise :class:`RingfenceError` for an update without a linear layer of its shape in ``model``."""
    for name, one in updates.items():
        layer = _layer(model, name)
        wanted = (one.up.shape[0], one.down.shape[1])
        found = None if layer is None else (getattr(layer, "out_features", None), getattr(layer, "in_features", None))
        if found != wanted:
            what = f"is {found[0]} x {found[1]}" if found is not None else "is not there"
            raise RingfenceError(f"{name} {what}, and the adapter changes one of {wanted[0]} x {wanted[1]}")


def _layer(model: Model, name: str) -> nn.Module | None:
    """The model's own layer, below the adapters on it."""
    try:
        found = bare(model).get_submodule(name)
    except AttributeError:
        return None
    while isinstance(inner := getattr(found, "base_layer", None), nn.Module):
        found = inner
    return found


class Adding:
    """Updates on their way into a model, which they fit, see :func:`require_place`."""

    def __init__(self, updates: Updates) -> None:
        self.updates = updates
        self._cast: dict[tuple[str, torch.device, torch.dtype], Update] = {}

    @contextmanager
    def on(self, model: Model) -> Iterator[None]:
        """Inside, the layers of ``model`` give what they give plus the updates."""
        handles = []
        try:
            for name in self.updates:
                layer = _layer(model, name)
                assert layer is not None, f"{name} was looked for when the updates were put to work"
                handles.append(layer.register_forward_hook(partial(self._add, name)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _add(self, name: str, module: Any, args: Any, output: Tensor) -> Tensor:
        # In the type of what is added to: a half-precision model needs no float32 pass over its activations.
        key = (name, output.device, output.dtype)
        if key not in self._cast:
            one = self.updates[name]
            self._cast[key] = Update(one.down.to(output.device, output.dtype), one.up.to(output.device, output.dtype))
        cast = self._cast[key]
        return output + linear(linear(args[0].to(output.dtype), cast.down), cast.up)
