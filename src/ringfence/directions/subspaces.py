"""Subspaces of the residual stream, one a layer: orthonormal columns Q_k, (hidden, rank), that span it.

They come from given vectors (:func:`spanned`), or are principal components of differences of activations
(:func:`principal`): the right singular vectors of the differences as they are, without taking out their mean, so that
the first one of differences that all point one way is that way.

Source: Casademunt et al. 2025, https://arxiv.org/abs/2507.16795
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from ringfence.core.errors import RingfenceError
from ringfence.core.files import atomic, jsonable
from ringfence.core.plain import refuse_pointer_at
from ringfence.directions.vectors import PersonaVectors, read_safetensors

_PREFIX, _METADATA = "layer.", "ringfence"
_TOLERANCE = 1e-3  # of Q^T Q, for files in half precision
_MATRIX = 2  # dimensions


@dataclass(frozen=True)
class Subspaces:
    """Of one model."""

    bases: dict[int, Tensor]
    """layer k of hidden_states[k], from 1 -> float32 (hidden, rank), orthonormal columns"""
    metadata: dict[str, Any]
    """``base``, ``model``, method and settings as plain data; empty for a file that does not say"""

    def __post_init__(self) -> None:
        _check(self.bases, "subspaces")

    @property
    def hidden(self) -> int:
        """Width of the residual stream."""
        return next(iter(self.bases.values())).shape[0]


def spanned(given: Sequence[PersonaVectors], position: str, layers: Sequence[int] = ()) -> Subspaces:
    """What the vectors at ``position`` of all files span, in ``layers``, or in all.

    Raises :class:`RingfenceError` for files of different models, for a layer that is not there, and where one vector is
    zero or a mix of the others.
    """
    first = given[0]
    for other in given[1:]:
        if other[position].shape != first[position].shape or other.metadata.get("base") != first.metadata.get("base"):
            raise RingfenceError("the vectors are of different models; give vectors of one")
    bases = {}
    for k in layers or range(1, first.layers + 1):
        if not 1 <= k <= first.layers:
            raise RingfenceError(f"layer {k} is out of range, the vectors have layers 1 to {first.layers}")
        rows = torch.stack([one[position][k] for one in given]).double()  # (vectors, hidden)
        units = rows / rows.norm(dim=1, keepdim=True)
        # Of a zero vector the units are NaN, which is not above the bound either.
        if not torch.linalg.svdvals(units.nan_to_num())[-1] > _TOLERANCE:
            raise RingfenceError(f"layer {k}: a vector is zero, or a mix of the others; leave it out")
        bases[k] = torch.linalg.qr(units.T).Q.float()
    about: dict[str, Any] = {key: first.metadata[key] for key in ("base", "model") if key in first.metadata}
    return Subspaces(bases, {**about, "method": "spanned", "traits": [one.metadata.get("trait") for one in given]})


def principal(differences: Mapping[int, Tensor], count: int, metadata: Mapping[str, Any]) -> Subspaces:
    """The first ``count`` principal components of ``differences``: k -> (rows, hidden).

    Raises :class:`RingfenceError` where so many directions are not to be had.
    """
    bases = {}
    for k, rows in differences.items():
        _, sizes, components = torch.linalg.svd(rows.double(), full_matrices=False)
        rank = int((sizes > _TOLERANCE * sizes.max()).sum()) if sizes.numel() and sizes.max() > 0 else 0
        if rank < count:
            raise RingfenceError(
                f"layer {k}: {len(rows)} differences span {rank} directions, and {count} are asked for; give more "
                "rows, or ask for fewer"
            )
        bases[k] = components[:count].T.float().contiguous()
    return Subspaces(bases, {**metadata, "method": "principal", "count": count})


def save_subspaces(path: Path, subspaces: Subspaces) -> None:
    """Write ``path``, a ``.safetensors`` file, atomically."""
    about = json.dumps(jsonable(subspaces.metadata), ensure_ascii=False, allow_nan=False)
    tensors = {f"{_PREFIX}{k}": basis.contiguous() for k, basis in subspaces.bases.items()}
    with atomic(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={_METADATA: about}))


def load_subspaces(spec: str | Path) -> Subspaces:
    """Read a ``.safetensors`` file of tensors ``layer.K``, (hidden, rank) each.

    Raises :class:`RingfenceError` for one that is missing, damaged, or holds anything else, such as columns that are
    not orthonormal.
    """
    path = Path(spec).expanduser()
    if not path.is_file() or path.suffix != ".safetensors":
        raise RingfenceError(f"{spec}: no such .safetensors file; make one with `ringfence persona components`")
    try:
        refuse_pointer_at(path)
        tensors, about = read_safetensors(path)
    except OSError as error:
        raise RingfenceError(f"{spec}: cannot be read ({error.strerror or error}); check the file") from None
    bases = {}
    for name, tensor in tensors.items():
        number = name.removeprefix(_PREFIX)
        if not (name.startswith(_PREFIX) and number.isdecimal() and int(number) > 0 and tensor.is_floating_point()):
            raise RingfenceError(
                f"{spec}: holds {name!r}, and a file of directions holds layer.1, layer.2 and so on; make one with "
                "`ringfence persona components`"
            )
        bases[int(number)] = tensor.float()
    _check(bases, str(spec))
    return Subspaces(dict(sorted(bases.items())), about)


def _check(bases: Mapping[int, Tensor], where: str) -> None:
    if not bases:
        raise RingfenceError(f"{where}: there is no layer in it")
    for k, basis in bases.items():
        if basis.dim() != _MATRIX or not 1 <= basis.shape[1] <= basis.shape[0]:
            raise RingfenceError(f"{where}: layer {k} has shape {tuple(basis.shape)}; it must be (hidden, rank)")
        product = basis.double().T @ basis.double()
        off = (product - torch.eye(len(product), dtype=torch.float64)).abs().max().item()
        if not off <= _TOLERANCE:  # NaN is not
            raise RingfenceError(
                f"{where}: the columns of layer {k} are not orthonormal (off by {off:.2g}); make the file with "
                "`ringfence persona components`"
            )
    if len({basis.shape[0] for basis in bases.values()}) > 1:
        raise RingfenceError(f"{where}: the layers differ in width; they are of different models")
