"""Whose a file of directions is: that of the base model in which they were found, where the file names it.

Shared by the defenses that read such a file and put hooks on the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ringfence.core.errors import RingfenceError, error_prefix
from ringfence.defenses.base import RLContext
from ringfence.directions.vectors import load_vectors
from ringfence.models.activations import Model, bare, decoder_layers
from ringfence.models.identity import identity


@dataclass(frozen=True)
class Origin:
    """What a file says of its base model."""

    key: str
    """of the recipe, such as ``steering.vector``"""
    path: str
    base: Any
    """the identity of that model; None where nobody knows, or where any will do"""
    model: Any
    """its name"""

    @classmethod
    def of(cls, key: str, path: str, metadata: Mapping[str, Any]) -> "Origin":
        """What ``metadata``, the file's own, say."""
        base = metadata.get("base")
        return cls(key, path, base, metadata.get("model", base))

    def needs_original(self) -> str | None:
        """What is wrong with it once the base model's weights are changed; None if nothing is."""
        if self.base is None:
            return None
        return (
            f"{self.key}: {self.path} is of the base model, whose weights are changed by then; set "
            "any_base: true to use it all the same"
        )

    def notes(self) -> Sequence[str]:
        """A line if nobody knows whose it is."""
        who = self.key.partition(".")[0]
        return (
            () if self.base is not None else (f"{who}: {self.path} names no base model, so only its shape is checked",)
        )

    def require_base(self, model: Model, made: str, again: str) -> None:
        """Raise :class:`RingfenceError` for another base model; ``made`` and ``again`` say how such files are made."""
        if self.base is not None and self.base != identity(model):
            raise RingfenceError(
                f"{self.key}: {self.path} was {made} another base model ({self.model}); {again} it anew, or set "
                "any_base: true"
            )


@dataclass(frozen=True)
class VectorFile:
    """A file with a persona vector, as a defense's keys name it: read, and held against the model that it is for."""

    rows: torch.Tensor
    """(layers + 1, hidden)"""
    origin: Origin

    @classmethod
    def read(cls, who: str, path: str, position: str) -> "VectorFile":
        """The file ``path``, which the defense ``who`` names by its keys ``vector`` and ``position``.

        Raises :class:`RingfenceError` for a file that cannot be read, and for a position that is not in it.
        """
        with error_prefix(f"{who}.vector"):
            file = load_vectors(path)
        if position not in file.vectors:
            raise RingfenceError(f"{who}.position: {path} has no {position}, only {', '.join(sorted(file.vectors))}")
        return cls(file.vectors[position], Origin.of(f"{who}.vector", path, file.metadata))

    def rows_for(self, model: Model, *, any_base: bool) -> torch.Tensor:
        """(layers + 1, hidden). Raises :class:`RingfenceError` for another shape or, unless ``any_base``, model."""
        base = bare(model)
        wanted = (len(decoder_layers(base)) + 1, base.config.get_text_config().hidden_size)
        if tuple(self.rows.shape) != wanted:
            raise RingfenceError(
                f"{self.origin.key}: {self.origin.path} is of another model: it has shape {tuple(self.rows.shape)}, "
                f"and this model needs {wanted} (layers + 1, hidden)"
            )
        if not any_base:
            self.origin.require_base(model, "extracted from", "extract")
        return self.rows


def require_no_reentrant(training: Mapping[str, Any], who: str, what: str = "gradients") -> None:
    """Raise :class:`RingfenceError` where layers are computed again without the hooks of ``who``."""
    how = training.get("gradient_checkpointing_kwargs") or {}
    if isinstance(how, Mapping) and how.get("use_reentrant"):
        raise RingfenceError(
            "training.gradient_checkpointing_kwargs: with use_reentrant layers are computed again without the "
            f"hooks of {who}, and {what} would be wrong; set it to false, or leave it out"
        )


def require_own_rollouts(context: RLContext, model: str) -> None:
    """Raise :class:`RingfenceError` where completions come from elsewhere than ``model``, which has the hooks."""
    if context.engine is not None and context.rollouts == "defended":
        raise RingfenceError(
            f"training.{context.engine}: it generates outside of {model}; leave it out, or set rollouts: plain"
        )
