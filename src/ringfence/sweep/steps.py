"""The steps of a sweep: commands of Ringfence, each in a folder that is named by all that can change what it makes.

    OUT/sweep.json                     which run is which step, and the digests of the files that you bring
    OUT/steps/KIND-DIGEST/step.json    what is to be done
                         /log.txt      what its commands print
                         /done.json    seconds and attempts; written last, its presence means done
                         /...          what it makes
    OUT/runs/NAME                      a link to the run folder in its step

A digest covers the resolved recipe but for its name, the digests of the steps whose products it reads, and the SHA-256
of the files that it reads. So runs of two sweeps with one OUT that are the same are one step, whatever they are called.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from ringfence.core.files import jsonable, write_json, write_text
from ringfence.core.plain import read_json

STEPS, RUNS, SWEEP_FILE = "steps", "runs", "sweep.json"
STEP_FILE, DONE_FILE, LOG, RECIPE = "step.json", "done.json", "log.txt", "recipe.yaml"
Kind = Literal["select", "persona", "train", "direction", "base", "run", "properties"]
PRODUCTS: Mapping[str, str] = {
    "select": "selected.jsonl",
    "persona": "vector.safetensors",
    "direction": "direction.safetensors",
    "train": "run",
    "base": "run",
    "run": "run",
    "properties": "properties.json",
}
"""kind -> what it makes, in its folder"""
_LENGTH = 12  # of a digest in a folder's name


@dataclass(frozen=True)
class Step:
    """One node of the graph."""

    kind: Kind
    label: str
    """as people call it: the name of a run, or of the file that recipes read"""
    digest: str
    needs: tuple[str, ...]
    """digests of the steps before it"""
    recipe: Mapping[str, Any] | None
    """plain, with the products of other steps in their places"""
    commands: tuple[tuple[str, ...], ...]
    """what ``ringfence`` is called with, one after the other"""
    folder: Path

    @property
    def product(self) -> Path:
        """What it makes."""
        return self.folder / PRODUCTS[self.kind]

    @property
    def is_done(self) -> bool:
        """Whether it is made, and still there."""
        return (self.folder / DONE_FILE).is_file() and self.product.exists()

    @property
    def seconds(self) -> float | None:
        """That it took; None until it is done."""
        return float(read_json(self.folder / DONE_FILE)["seconds"]) if self.is_done else None

    def write(self) -> None:
        """Make its folder ready for :mod:`ringfence.sweep.task`."""
        if self.recipe is not None:
            text = yaml.safe_dump(jsonable(dict(self.recipe)), sort_keys=False, allow_unicode=True)
            write_text(self.folder / RECIPE, text)
        about = {"kind": self.kind, "label": self.label, "digest": self.digest, "needs": self.needs}
        write_json(self.folder / STEP_FILE, about | {"commands": self.commands, "product": PRODUCTS[self.kind]})


def folder_of(out: Path, kind: str, digest: str) -> Path:
    """Where a step is."""
    return out / STEPS / f"{kind}-{digest[:_LENGTH]}"


def digest_of(*parts: Any) -> str:
    """SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(jsonable(list(parts)), sort_keys=True).encode()).hexdigest()


def replaced(value: Any, places: Mapping[str, str]) -> Any:
    """``value`` with each text that is a name of ``places``, or lies in it as in a folder, put in its place."""
    if isinstance(value, Mapping):
        return {key: replaced(one, places) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [replaced(one, places) for one in value]
    if not isinstance(value, str):
        return value
    for name, place in places.items():
        if value == name or value.startswith(f"{name}/"):
            return place + value.removeprefix(name)
    return value
