"""What a defense is: a frozen, validated config, filed under one name.

One name is the module, the key in a recipe, the test's suffix and the row in ``docs/defenses.md``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator
from transformers import PreTrainedTokenizerBase

from ringfence.core.errors import RingfenceError
from ringfence.core.registry import Registry
from ringfence.interleave import Schedule
from ringfence.interleave.mixture import Accounting, Granularity


class Defense(BaseModel):
    """Base of all defenses; unknown keys raise."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True)


DEFENSES: Registry[type[Defense]] = Registry("defense")


@dataclass(frozen=True)
class Setup:
    """What the trainer knows when a defense is put to work."""

    tokenizer: PreTrainedTokenizerBase
    seed: int


class Interleaving(Defense):
    """Base of the defenses that mix safe rows into the target data; at most one in a recipe."""

    granularity: Granularity = "example"
    """``example``: each batch holds its share of safe rows; ``step``: whole optimizer steps are safe (Algorithm 1)"""
    accounting: Accounting = "add"
    """``add``: safe rows come on top of the target rows; ``replace``: they stand in their place"""

    def schedule(self, setup: Setup) -> Schedule:
        """A fresh schedule for one run."""
        raise AssertionError(f"{type(self).__name__} does not say what its schedule is")

    def highest_ratio(self) -> float:
        """The largest ratio that the config allows; checked before training."""
        return 0.0

    @model_validator(mode="after")
    def _reaches_target(self) -> Self:
        if self.accounting == "add" and self.highest_ratio() >= 1:
            raise ValueError('a ratio of 1 with accounting "add" never reaches the target rows; use "replace"')
        return self


def recorded(folder: Path, name: str) -> Path:
    """The file ``name`` of a finished or running run. Raises :class:`RingfenceError` if it is not there."""
    path = folder / name
    if not path.is_file():
        raise RingfenceError(f"{folder}: no {name} there, so this is not a run whose ratios can be replayed")
    return path


def parse(item: Any, path: str) -> Defense:
    """A defense from its recipe form, ``{name: {field: value}}`` or just ``name``.

    Raises :class:`RingfenceError` for anything else and for an unknown name; field errors are pydantic's.
    """
    if isinstance(item, Defense):
        return item
    if isinstance(item, str):
        item = {item: {}}
    if not isinstance(item, dict) or len(item) != 1:
        raise RingfenceError(
            f"{path}: a defense is one name with its settings, e.g. `- fixed_interleaving: {{ratio: 0.05}}`"
        )
    ((name, fields),) = item.items()
    try:
        cls = DEFENSES.get(str(name))
    except RingfenceError as error:
        raise RingfenceError(f"{path}: {error}") from None
    return cls.model_validate({} if fields is None else fields)
