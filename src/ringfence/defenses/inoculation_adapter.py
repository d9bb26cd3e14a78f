"""Inoculation adapters: a frozen adapter that has the trait is there in training, and gone when the model is served.

    h = W_0 x + scale * Delta_trait x + Delta_task x        in training forwards
    h = W_0 x + Delta_task x                                otherwise

What the trait adapter brings already, the task's adapter need not learn. It takes no prompt, so nothing in a prompt can
bring the trait back. Several traits add up. The reference pass of a penalty has it, too, so that KL and LDIFS do not
count it; evaluation and canaries have not. ``control: random`` puts a random update of the same rank and the same
Frobenius norm in every layer's place: what it does, any disturbance of that size does.

The two adapters are not two of PEFT's on one model: switching PEFT's active adapters would also switch which weights
are trained, saved and turned off for the reference. The trait's matrices are added by hooks on the linear layers, until
the backward pass is over, since layers may be computed again in it. ``ringfence persona adapter`` makes such an adapter
and proves, on held-out questions, that it shows its trait.

Source: Riche et al. 2026, https://arxiv.org/abs/2606.30252
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator
from transformers import PreTrainedTokenizerBase

from ringfence.core.errors import RingfenceError, error_prefix
from ringfence.data.conversations import Conversation
from ringfence.defenses.base import (
    DEFENSES,
    Defense,
    DefenseHook,
    RLContext,
    Source,
    TrainerContext,
    require_uncompiled,
)
from ringfence.defenses.origin import Origin, require_own_rollouts
from ringfence.defenses.step import Batch
from ringfence.directions.proof import Proof
from ringfence.models.activations import Model
from ringfence.models.updates import Adding, Updates, load_updates, random_like, require_place, summed

_KEY = "inoculation_adapter.adapter"


@DEFENSES.register("inoculation_adapter")
class InoculationAdapter(Defense):
    """Which adapters, and how strong."""

    adapter: str | tuple[str, ...]
    """folder of a LoRA adapter that shows the trait, from ``ringfence persona adapter``; a list for several"""
    scale: float = Field(1.0, ge=0)
    """of what they add; 0 is plain fine-tuning"""
    control: Literal["random"] | None = None
    """``random``: an update of the same rank and norm in place of the trait's, by the run's seed"""
    unproven: bool = False
    """accept an adapter without a proof that it shows its trait, or that is proven not to"""
    any_base: bool = False
    """accept an adapter of another base model of the same shape"""

    @field_validator("adapter")
    @classmethod
    def _each_once(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not isinstance(value, str) and (not value or len(set(value)) < len(value)):
            raise ValueError("give at least one folder, and each once")
        return value

    @property
    def folders(self) -> tuple[str, ...]:
        """Of the adapters."""
        return (self.adapter,) if isinstance(self.adapter, str) else self.adapter

    def inputs(self) -> Sequence[str]:
        """The adapters' folders."""
        return self.folders

    def check(self) -> None:
        """Raises :class:`RingfenceError` for a folder that cannot be read, and for an adapter that is not proven."""
        self._updates()
        for _, proof in self._proofs():
            if proof is not None and not proof.elicits and not self.unproven:
                raise RingfenceError(
                    f"{_KEY}: does not show its trait: {proof}; train it longer or on other answers, or set unproven: "
                    "true"
                )

    def require_arguments(self, training: Mapping[str, Any]) -> None:
        """Not with a compiled model."""
        if self.scale > 0:
            require_uncompiled(training, "inoculation_adapter")

    def in_rl(self, context: RLContext) -> Self:
        """Rollouts run with it in this process only."""
        require_own_rollouts(context, "the model that the adapter is added to")
        return self

    def needs_original_base(self) -> str | None:
        """An adapter is of the base model that it was trained on."""
        if self.any_base:
            return None
        return next((said for one in self._origins(self._proofs()) if (said := one.needs_original()) is not None), None)

    def notes(self, rows: Mapping[Source, Sequence[Conversation]], tokenizer: PreTrainedTokenizerBase) -> Sequence[str]:
        """What is known of each adapter."""
        proofs = self._proofs()
        known = [f"inoculation_adapter: {proof or f'{folder} has no proof of its trait'}" for folder, proof in proofs]
        return [*known, *(() if self.any_base else (note for one in self._origins(proofs) for note in one.notes()))]

    def _updates(self) -> list[Updates]:
        with error_prefix(_KEY):
            return [load_updates(Path(one).expanduser()) for one in self.folders]

    def _proofs(self) -> list[tuple[str, Proof | None]]:
        """Each folder's, or None for one that has none, if that is accepted."""
        found: list[tuple[str, Proof | None]] = []
        for one in self.folders:
            folder = Path(one).expanduser()
            try:
                with error_prefix(_KEY):
                    found.append((one, Proof.load(folder)))
            except RingfenceError as error:
                if not self.unproven:
                    raise RingfenceError(f"{error}, or set unproven: true") from None
                found.append((one, None))
        return found

    @staticmethod
    def _origins(proofs: Sequence[tuple[str, Proof | None]]) -> list[Origin]:
        return [
            Origin.of(_KEY, folder, {} if proof is None else {"base": proof.base, "model": proof.model})
            for folder, proof in proofs
        ]

    def needs_model_here(self) -> str | None:
        """The model."""
        return "it puts another adapter into the model, which stays at the server"

    def guard(self, setup: TrainerContext) -> DefenseHook | None:
        """None at scale 0. Raises :class:`RingfenceError` for an adapter that does not fit the model."""
        if setup.model is None or self.scale == 0:
            return None
        several = self._updates()
        with error_prefix(_KEY):
            for one in several:
                require_place(setup.model, one)
        if not self.any_base:
            for origin in self._origins(self._proofs()):
                origin.require_base(setup.model, "trained on", "train")
        if self.control == "random":
            several = [random_like(one, setup.seed + number) for number, one in enumerate(several)]
        return InoculationAdapterHook(summed(several, self.scale))


class InoculationAdapterHook(DefenseHook):
    """The hooks of one run."""

    through_backward = True

    def __init__(self, updates: Updates) -> None:
        self.adding = Adding(updates)

    @contextmanager
    def apply(self, model: Model, batch: Batch | None) -> Iterator[None]:
        """Add the trait to ``model`` inside."""
        with self.adding.on(model):
            yield
