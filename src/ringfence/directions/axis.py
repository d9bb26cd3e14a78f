"""The direction between two sets of conversations, in one layer of one model.

    v = mean of h_k(x) over A - mean of h_k(x) over B
    projection of x = h_k(x) . v / |v|

h_k(x) is :mod:`ringfence.directions.representations`'. v is kept as it is, with its length; projections are on the unit
vector, so they are in units of the hidden state, and those of two directions can be compared.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ringfence.core.errors import RingfenceError
from ringfence.core.files import atomic, jsonable
from ringfence.core.plain import parse_json
from ringfence.data.conversations import Conversation
from ringfence.data.system import NoSystem
from ringfence.directions.representations import Role
from ringfence.models import Loaded
from ringfence.models.activations import bare, decoder_layers
from ringfence.models.identity import identity

Floats = NDArray[np.float64]

_TENSOR, _METADATA = "direction", "ringfence"  # one key of metadata only: safetensors writes several in no fixed order
_SAID = {"layer": int, "role": str, "base": str, "model": str, "no_system": str}


@dataclass(frozen=True)
class Direction:
    """A vector and what it is about."""

    vector: NDArray[np.float32]
    """(hidden,) as it comes out, not normalised"""
    layer: int
    """k of ``hidden_states[k]``"""
    role: Role
    """whose tokens the mean is over"""
    base: str
    """:func:`ringfence.models.identity.identity` of the model"""
    model: str
    """its name: a hub id, the embedded one, or a folder's own name"""
    no_system: NoSystem
    """what it means that a conversation has no system message"""
    metadata: dict[str, Any]
    """``a`` and ``b`` (see :func:`describe`), dtype and versions, as plain data"""

    def __post_init__(self) -> None:
        _check(self.vector)

    @property
    def norm(self) -> float:
        """The Euclidean length of the vector."""
        return float(np.linalg.norm(self.vector.astype(np.float64)))

    @cached_property
    def unit(self) -> Floats:
        """The vector divided by its length, (hidden,)."""
        return self.vector.astype(np.float64) / self.norm


def fit(a: ArrayLike, b: ArrayLike) -> NDArray[np.float32]:
    """(hidden,) centroid of ``a`` minus centroid of ``b``, each (rows, hidden).

    Raises :class:`RingfenceError` for a set without rows, for different widths, for numbers that are not finite, and
    for sets of one centroid.
    """
    first, second = (_representations(name, rows) for name, rows in (("A", a), ("B", b)))
    if first.shape[1] != second.shape[1]:
        raise RingfenceError(f"the sets' representations are {first.shape[1]} and {second.shape[1]} wide: one model?")
    vector = (first.mean(axis=0) - second.mean(axis=0)).astype(np.float32)
    _check(vector)
    return vector


def project(direction: Direction, representations: ArrayLike) -> Floats:
    """(rows,) projections of (rows, hidden) on the unit vector; NaN for a row that is not finite."""
    rows = np.asarray(representations)
    if rows.ndim != 2 or rows.shape[1] != direction.vector.size:
        raise RingfenceError(
            f"representations have shape {rows.shape}, and the direction needs (rows, {direction.vector.size})"
        )
    projected = np.full(len(rows), np.nan)
    for place, row in enumerate(rows):
        if np.isfinite(row).all():
            # One by one: the rounding of a product of matrices depends on how many rows there are.
            projected[place] = (row.astype(np.float64) * direction.unit).sum()
    return projected


def require_fits(direction: Direction, loaded: Loaded, where: str = "the direction") -> None:
    """Raise :class:`RingfenceError`, begun with ``where``, unless ``direction`` is of a layer of this model."""
    depth, width = len(decoder_layers(loaded.model)), bare(loaded.model).config.get_text_config().hidden_size
    if direction.vector.size != width or not 0 <= direction.layer <= depth:
        raise RingfenceError(
            f"{where}: is of layer {direction.layer} of {direction.model}, {direction.vector.size} wide, and "
            f"{loaded.source} has layers 0 to {depth}, {width} wide; name that model, or fit a direction with this one"
        )
    if direction.base != (found := identity(loaded.model)):
        raise RingfenceError(
            f"{where}: is of another model ({direction.model}, {direction.base}) than {loaded.source} ({found}); "
            "name that one, or fit a direction with this one"
        )


def describe(spec: str, conversations: Sequence[Conversation]) -> dict[str, Any]:
    """What ``about`` says of a set: its spec, number of rows, and SHA-256 of their messages.

    The digest does not change with the format of the file, nor with other columns.
    """
    digest = hashlib.sha256()
    for conversation in conversations:
        pairs = [(message["role"], message["content"]) for message in conversation["messages"]]
        digest.update(json.dumps(pairs).encode() + b"\n")
    return {"spec": spec, "rows": len(conversations), "sha256": digest.hexdigest()}


def save_direction(path: Path, direction: Direction) -> None:
    """Write ``path``, a ``.safetensors`` file, atomically. Raises :class:`RingfenceError` for another suffix."""
    require_safetensors(path)
    said = {"about": direction.metadata, **{name: getattr(direction, name) for name in _SAID}}
    text = json.dumps(jsonable(said), ensure_ascii=False, allow_nan=False, sort_keys=True)
    with atomic(path) as temporary:
        # Not save_file, whose files nobody but their owner can read.
        temporary.write_bytes(save({_TENSOR: np.ascontiguousarray(direction.vector)}, metadata={_METADATA: text}))


def require_safetensors(path: Path) -> None:
    """Raise :class:`RingfenceError` unless a direction can be written to ``path``."""
    if path.suffix != ".safetensors" or path.is_dir():
        raise RingfenceError(f"{path}: name a .safetensors file")


def load_direction(path: str | Path) -> Direction:
    """Read what :func:`save_direction` has written.

    Raises :class:`RingfenceError` for a file that is missing, damaged, or no direction.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise RingfenceError(f"{path}: no such file; make one with `ringfence direction fit A B --out {path.name}`")
    try:
        with safe_open(path, "np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            metadata = (file.metadata() or {}).get(_METADATA, "")
    except (SafetensorError, OSError) as error:
        raise RingfenceError(f"{path}: not a readable safetensors file: {str(error).splitlines()[0]}") from None
    if set(tensors) != {_TENSOR}:
        found = ", ".join(sorted(tensors)) or "nothing"
        raise RingfenceError(f"{path}: holds {found}, and a direction file holds one tensor, {_TENSOR}")
    said = _said(path, metadata)
    try:
        return Direction(vector=tensors[_TENSOR], **said)
    except RingfenceError as error:
        raise RingfenceError(f"{path}: {error}") from None


def _said(path: Path, metadata: str) -> dict[str, Any]:
    """The fields of a :class:`Direction` beside the vector."""
    try:
        said = parse_json(metadata)
    except ValueError:
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("about"), dict):
        raise RingfenceError(f"{path}: its metadata {_METADATA!r} does not say what direction it is; fit it again")
    for name, kind in _SAID.items():
        allowed = {"role": get_args(Role), "no_system": get_args(NoSystem)}.get(name)
        if type(said.get(name)) is not kind or (allowed and said[name] not in allowed):
            raise RingfenceError(f"{path}: its metadata {_METADATA!r} has no good `{name}`; fit it again")
    return {"metadata": said["about"], **{name: said[name] for name in _SAID}}


def _representations(name: str, rows: ArrayLike) -> Floats:
    found = np.asarray(rows, dtype=np.float64)
    if found.ndim != 2 or found.shape[1] == 0:
        raise RingfenceError(f"set {name}: representations have shape {found.shape}; (rows, hidden) is wanted")
    if not len(found):
        raise RingfenceError(f"set {name}: has no rows, so it has no centroid")
    if not (fine := np.isfinite(found).all(axis=1)).all():
        raise RingfenceError(f"set {name}: row {int(np.argmin(fine)) + 1} holds NaN or infinity; compute it again")
    return found


def _check(vector: NDArray[np.float32]) -> None:
    """Raise :class:`RingfenceError` unless ``vector`` is a direction."""
    if vector.dtype != np.float32 or vector.ndim != 1 or vector.size == 0:
        raise RingfenceError(f"the direction is {vector.dtype} {vector.shape}, not float32 (hidden,); fit it again")
    if not np.isfinite(vector).all():
        raise RingfenceError("the direction holds NaN or infinity; fit it again")
    if not vector.any():
        raise RingfenceError("the direction is zero: both sets have one centroid; are they the same rows?")
