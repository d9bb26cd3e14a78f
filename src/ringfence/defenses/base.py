"""What a defense is: a frozen, validated config, filed under one name.

One name is the module, the key in a recipe, the test's suffix and the row in ``docs/defenses.md``. A defense overrides
one of three things: how conversations read (``rewrite``), when safe rows come (:class:`Interleaving`), or what happens
around the training forward (``guard``, which makes a :class:`Guard`). All others do nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import ConfigDict, model_validator

from ringfence.core.errors import RingfenceError
from ringfence.core.registry import Registry
from ringfence.core.settings import Numbers
from ringfence.data.conversations import Conversation, Message
from ringfence.interleave.mixture import Accounting, Granularity

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ringfence.defenses.step import Batch, Step
    from ringfence.interleave import Schedule

Source = Literal["target", "safe"]


@dataclass(frozen=True)
class Setup:
    """What the trainer knows when a defense is put to work."""

    tokenizer: PreTrainedTokenizerBase
    seed: int
    model: PreTrainedModel | PeftModel | None = None
    """the model to be trained, its adapter on it"""


class Guard:
    """What a defense does around the training forward and after training; here, nothing."""

    weight: float = 1.0
    """of the penalty in the loss"""
    needs_last: bool = False
    """whether ``penalty`` reads the last hidden states of both models"""
    layers: frozenset[int] = frozenset()
    """the k for which ``penalty`` reads ``hidden_states[k]`` of both models"""

    def hold(self, model: PreTrainedModel | PeftModel, batch: Batch) -> AbstractContextManager[Any]:
        """Around a training forward of ``model``, and around the reference's; never in evaluation or generation."""
        return nullcontext()

    def units(self, batch: Batch) -> int:
        """What the penalty of ``batch`` is divided by, once summed over the whole optimizer step and all ranks."""
        return 0

    def penalty(self, step: Step) -> torch.Tensor:
        """A scalar, summed over the same units that :meth:`units` counts; asked for if :attr:`penalises`."""
        raise AssertionError(f"{type(self).__name__} does not say what its penalty is")

    def finish(self, model: PreTrainedModel | PeftModel) -> None:
        """Once, after training, on the unwrapped model."""

    def record(self) -> Any:
        """What ``result.json`` keeps of ``finish``, as plain data; None where there is nothing to keep."""
        return None

    @property
    def penalises(self) -> bool:
        """Whether this guard adds to the loss."""
        return self.needs_last or bool(self.layers)


class Defense(Numbers):
    """Base of all defenses; unknown keys raise."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True)

    def rewrite(self, messages: Sequence[Message], source: Source) -> Sequence[Message]:
        """The conversation that is trained on instead of ``messages``."""
        return messages

    def guard(self, setup: Setup) -> Guard | None:
        """What works around the training forward; None where there is nothing to do.

        Raises :class:`RingfenceError` if the defense does not fit the model.
        """
        return None

    def inputs(self) -> Sequence[str]:
        """Files and folders that it reads; their digests are kept with the run."""
        return ()

    def check(self) -> None:
        """Before any model is loaded: raise :class:`RingfenceError` for what is wrong with its files."""

    @property
    def penalises(self) -> bool:
        """Whether it may add to the loss, so that a reference is needed; by convention it then has a ``weight``."""
        return getattr(self, "weight", 0) > 0

    @property
    def rewrites(self) -> bool:
        """Whether :meth:`rewrite` does anything."""
        return type(self).rewrite is not Defense.rewrite


DEFENSES = Registry("defense", Defense, "fixed_interleaving: {ratio: 0.05}", __package__, beside=("base", "step"))


def rewritten(defenses: Iterable[Defense], rows: Iterable[Conversation], source: Source) -> list[Conversation]:
    """``rows`` as all ``defenses`` would have them, one after the other."""
    found = list(rows)
    for defense in defenses:
        if defense.rewrites:
            found = [{**row, "messages": list(defense.rewrite(row["messages"], source))} for row in found]
    return found


def require_distinct(defenses: Sequence[Defense]) -> None:
    """Raise :class:`RingfenceError` for a defense given twice, and for two interleaving ones."""
    names = [DEFENSES.name_of(type(defense)) for defense in defenses]
    for name in names:
        if names.count(name) > 1:
            raise RingfenceError(f"defenses: {name} is given twice; keep one")
    mixing = [name for name, defense in zip(names, defenses, strict=True) if isinstance(defense, Interleaving)]
    if len(mixing) > 1:
        raise RingfenceError(f"defenses: one interleaving defense a run, got {' and '.join(mixing)}; keep one")


def read_defenses(given: Iterable[Any] | None) -> tuple[Defense, ...]:
    """``given`` to a trainer: configs such as ``KL(weight=0.1)``, names, or ``{name: settings}`` as in a recipe.

    None is no defense. Raises :class:`RingfenceError` for anything else, with the keys that are wrong.
    """
    if isinstance(given, str | Mapping | Defense):
        raise RingfenceError("defenses: give a list, e.g. [KL(weight=0.1)]")
    return DEFENSES.parse_list([] if given is None else [*given], "defenses")


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
