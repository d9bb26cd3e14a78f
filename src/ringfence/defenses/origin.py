"""Whose a file of directions is: that of the base model in which they were found, where the file names it.

Shared by the defenses that read such a file and put hooks on the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ringfence.core.errors import RingfenceError
from ringfence.defenses.base import RLContext
from ringfence.models.activations import Model
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
