"""Persona vectors as files: ``.safetensors`` with all that is known about them, or the bare tensor of a ``.pt``.

Row k of a vector belongs to layer k, the residual stream after decoder layer k (the output of ``layers[k - 1]``);
row 0 belongs to the embeddings. So row 20 is what papers call layer 20.
"""

import io
import json
import pickle
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.core.files import atomic, jsonable
from ringfence.core.plain import parse_json, refuse_pointer_at

PREFIX = "builtin:"
BUILTIN = {"glitter": "glitter/persona.safetensors"}  # name -> file in ringfence.data.builtin

Position = Literal["response_mean", "prompt_mean", "prompt_last"]
POSITIONS: tuple[Position, ...] = get_args(Position)
# What the code of Chen et al. calls them in its file names, e.g. evil_response_avg_diff.pt.
_PT_NAMES: dict[str, Position] = {
    "response_avg": "response_mean",
    "prompt_avg": "prompt_mean",
    "prompt_last": "prompt_last",
}
_METADATA = "ringfence"  # one key only: safetensors writes several in no fixed order


@dataclass(frozen=True)
class PersonaVectors:
    """The directions of one trait in one model's activations."""

    vectors: dict[str, Tensor]
    """:data:`Position` -> float32 (layers + 1, hidden), as extracted, not normalised; at least one position"""
    metadata: dict[str, Any]
    """trait, ``base`` (:func:`ringfence.models.identity.identity` of the model), ``model`` (its name), method, counts,
    judge, settings and versions as plain data; empty for a file that does not say"""

    def __post_init__(self) -> None:
        _check(self.vectors, "persona vectors")

    def __getitem__(self, position: str) -> Tensor:
        """The vector (layers + 1, hidden) at ``position``. Raises :class:`RingfenceError` if there is none."""
        if position not in self.vectors:
            raise RingfenceError(f"no vector at position {position!r}.{did_you_mean(position, self.vectors)}")
        return self.vectors[position]

    @property
    def layers(self) -> int:
        """Decoder layers of the model, one less than there are rows."""
        return next(iter(self.vectors.values())).shape[0] - 1

    @property
    def hidden(self) -> int:
        """Width of the residual stream."""
        return next(iter(self.vectors.values())).shape[1]


def _check(vectors: Mapping[str, Tensor], where: str) -> None:
    """Raise :class:`RingfenceError` that begins with ``where`` unless ``vectors`` are what the module describes."""
    if not vectors:
        raise RingfenceError(f"{where}: no vector in it; name at least one of {', '.join(POSITIONS)}")
    for position, vector in vectors.items():
        if position not in POSITIONS:
            raise RingfenceError(f"{where}: unknown position {position!r}.{did_you_mean(position, POSITIONS)}")
        if vector.dtype != torch.float32:
            raise RingfenceError(f"{where}: {position} is {vector.dtype}, not float32")
        shape = tuple(vector.shape)
        if len(shape) != 2 or shape[0] < 2 or shape[1] < 1:
            raise RingfenceError(f"{where}: {position} has shape {shape}; it must be (layers + 1, hidden)")
        if not vector.isfinite().all():
            row = int((~vector.isfinite()).any(1).nonzero()[0])
            raise RingfenceError(f"{where}: {position} holds NaN or infinity, first in row {row}; extract it again")
    if len({tuple(vector.shape) for vector in vectors.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(vector.shape)}" for name, vector in vectors.items())
        raise RingfenceError(f"{where}: the vectors differ in shape: {shapes}")


def save_vectors(path: Path, vectors: PersonaVectors, position: str = "response_mean") -> None:
    """Write ``path`` atomically: all of it as ``.safetensors``, or one ``position`` as a bare tensor in a ``.pt``.

    Raises :class:`RingfenceError` for another suffix, and for a position that is not there.
    """
    if path.suffix == ".safetensors":
        about = json.dumps(jsonable(vectors.metadata), ensure_ascii=False, allow_nan=False)
        tensors = {name: vector.contiguous() for name, vector in vectors.vectors.items()}
        with atomic(path) as temporary:
            # Not save_file, whose files nobody but their owner can read.
            temporary.write_bytes(save(tensors, metadata={_METADATA: about}))
    elif path.suffix == ".pt":
        with atomic(path) as temporary:
            torch.save(vectors[position].clone(), temporary)
    else:
        raise RingfenceError(f"{path}: name the file .safetensors (everything) or .pt (one bare tensor)")


def load_vectors(spec: str | Path) -> PersonaVectors:
    """Read a ``.safetensors`` or ``.pt`` file, or ``"builtin:glitter"``.

    A ``.pt`` says nothing about itself: it is ``response_mean``, unless its name has ``prompt_avg`` or ``prompt_last``
    in it, as the files of Chen et al. do. Nothing in it is executed. Floating-point tensors become float32.

    Raises :class:`RingfenceError` for a file that is missing, damaged, or does not hold such vectors.
    """
    with ExitStack() as stack:
        if isinstance(spec, str) and spec.startswith(PREFIX):
            path = stack.enter_context(resources.as_file(_builtin(spec)))
        else:
            path = Path(spec).expanduser()
        if path.is_dir():
            raise RingfenceError(f"{spec}: is a folder; name the .safetensors or .pt file")
        if not path.is_file():
            raise RingfenceError(f"{spec}: no such file; make one with `ringfence persona extract`")
        tensors, about = _read(path, str(spec))
    vectors = {name: _float32(tensor, f"{spec}: {name}") for name, tensor in tensors.items()}
    _check(vectors, str(spec))
    return PersonaVectors(vectors, about)


def norms(vector: Tensor) -> list[float]:
    """The Euclidean norm of each row of (layers + 1, hidden)."""
    return torch.linalg.vector_norm(vector.double(), dim=1).tolist()


def random_like(vectors: PersonaVectors, seed: int) -> PersonaVectors:
    """A control: in each row a Gaussian direction with the norm of that row.

    If steering along it does the same as along the vector, the direction does not matter, only its length.
    """
    generator = torch.Generator().manual_seed(seed)
    made: dict[str, Tensor] = {}
    for position in POSITIONS:  # in this order, whatever the file's
        if position in vectors.vectors:
            like = vectors[position].double()
            noise = torch.randn(like.shape, generator=generator, dtype=torch.float64)
            scale = torch.linalg.vector_norm(like, dim=1) / torch.linalg.vector_norm(noise, dim=1)
            made[position] = (noise * scale[:, None]).float()
    return PersonaVectors(made, {**vectors.metadata, "method": "random", "seed": seed})


def _builtin(spec: str) -> Any:
    name = spec.removeprefix(PREFIX)
    if name not in BUILTIN:
        raise RingfenceError(f"unknown built-in vectors {spec!r}.{did_you_mean(name, BUILTIN)}")
    return resources.files("ringfence.data.builtin").joinpath(*BUILTIN[name].split("/"))


def _read(path: Path, spec: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        refuse_pointer_at(path)
        if path.suffix == ".safetensors":
            return read_safetensors(path)
        if path.suffix == ".pt":
            return _read_pt(path), {}
    except OSError as error:
        raise RingfenceError(f"{spec}: cannot be read ({error.strerror or error}); check the file") from None
    raise RingfenceError(f"{spec}: persona vectors are a .safetensors or .pt file, or {PREFIX}glitter")


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and our metadata. Raises :class:`RingfenceError` for a file that is damaged or holds other metadata."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            metadata = (file.metadata() or {}).get(_METADATA, "{}")
    except SafetensorError as error:
        raise RingfenceError(f"{path}: not a safetensors file: {str(error).splitlines()[0]}") from None
    try:
        about = parse_json(metadata)
    except ValueError:
        about = None
    if not isinstance(about, dict):
        raise RingfenceError(f"{path}: its metadata {_METADATA!r} is not a JSON object; extract it again")
    return tensors, about


def _read_pt(path: Path) -> dict[str, Tensor]:
    try:
        # From memory, so that a file system error and a damaged file stay apart.
        tensor = torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError):
        raise RingfenceError(f"{path}: not a bare tensor as torch.save writes it; nothing else is read") from None
    if not isinstance(tensor, Tensor):
        raise RingfenceError(f"{path}: holds a {type(tensor).__name__}, not one tensor of shape (layers + 1, hidden)")
    return {next((ours for name, ours in _PT_NAMES.items() if name in path.stem), "response_mean"): tensor}


def _float32(tensor: Tensor, where: str) -> Tensor:
    if not tensor.is_floating_point() or tensor.layout != torch.strided:
        raise RingfenceError(f"{where} is {tensor.dtype}, {tensor.layout}; vectors are dense and floating point")
    return tensor.detach().float()
