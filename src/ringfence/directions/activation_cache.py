"""Cache of activation vectors on disk, keyed by what they were computed from.

A folder holds ``.safetensors`` files of a few hundred vectors each, named by their keys, and a file is named by the
keys in it. Files appear whole, by rename, and are never changed. So any number of processes may read and write one
folder: at worst two of them compute the same vector at the same time, and either's file will do.
"""

import hashlib
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ringfence.core.errors import RingfenceError
from ringfence.core.files import atomic

Vector = NDArray[np.float32]


class ActivationCache:
    """The vectors, (width,) float32 each, that the files of one folder hold."""

    def __init__(self, folder: Path, width: int) -> None:
        self.folder, self.width = folder, width

    def find(self, keys: Collection[str]) -> dict[str, Path]:
        """Those of ``keys`` that some file has, and which. Reads the headers of files that are new, no tensors.

        Raises :class:`RingfenceError`, naming the file, for one that is damaged.
        """
        wanted, found = set(keys), dict[str, Path]()
        for path in sorted(self.folder.glob("*.safetensors")) if wanted else ():
            try:
                status = path.stat()
            except FileNotFoundError:  # somebody empties the cache
                continue
            for key in wanted & _names(path, status.st_mtime_ns, status.st_size):
                found.setdefault(key, path)
        return found

    def load(self, found: Mapping[str, Path]) -> dict[str, Vector]:
        """The vectors that :meth:`find` has found. Raises :class:`RingfenceError` for a damaged file."""
        vectors: dict[str, Vector] = {}
        for path in sorted(set(found.values())):
            keys = [key for key, place in found.items() if place == path]
            try:
                with safe_open(path, "np") as file:
                    read = {key: file.get_tensor(key) for key in keys}
            except (SafetensorError, OSError) as error:
                raise RingfenceError(_damaged(path, str(error))) from None
            for key, vector in read.items():
                if vector.shape != (self.width,) or vector.dtype != np.float32 or not np.isfinite(vector).all():
                    wanted = f"{self.width} finite float32 numbers"
                    raise RingfenceError(_damaged(path, f"{key[:12]} is {vector.dtype} {vector.shape}, not {wanted}"))
            vectors |= read
        return vectors

    def add(self, vectors: Mapping[str, Vector]) -> None:
        """Write ``vectors`` as one file, atomically; nothing if there are none."""
        if vectors:
            ordered = {key: np.ascontiguousarray(vectors[key]) for key in sorted(vectors)}
            name = hashlib.sha256("\n".join(ordered).encode()).hexdigest()
            with atomic(self.folder / f"{name}.safetensors") as temporary:
                temporary.write_bytes(save(ordered))


@cache  # a file is never changed; its time and size are there for one that somebody replaced
def _names(path: Path, changed: int, size: int) -> frozenset[str]:
    try:
        with safe_open(path, "np") as file:
            return frozenset(file.keys())
    except (SafetensorError, OSError) as error:
        raise RingfenceError(_damaged(path, str(error))) from None


def _damaged(path: Path, reason: str) -> str:
    return f"{path}: damaged ({(reason.splitlines() or ['unreadable'])[0]}); delete it, and it is computed again"
