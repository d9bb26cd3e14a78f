"""Fingerprints on disk: each is computed once for the weights that it is of, and read from then on."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from ringfence.core.files import cache_folder, write_json
from ringfence.core.plain import read_json
from ringfence.generation.self_check import Fingerprint


def mark(text: str) -> str:
    """A short name for ``text`` that no other has."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def in_cache(weights: str) -> Path:
    """The file of an untuned model's fingerprint, for all that it is asked for."""
    return cache_folder() / "fingerprints" / f"{mark(weights)}.json"


def kept(path: Path, weights: str, make: Callable[[], Fingerprint]) -> Fingerprint:
    """The fingerprint in ``path`` if it is of ``weights``; else the one that ``make`` gives, which is kept there."""
    if path.is_file():
        known = Fingerprint.from_json(read_json(path), str(path))
        if known.model == weights:
            return known
    made = make()
    write_json(path, made.to_json())
    return made
