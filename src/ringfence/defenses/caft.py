"""Concept ablation fine-tuning (CAFT; Casademunt et al. 2025): take a subspace out of the residual stream in training.

    h_k <- h_k - share * Q_k Q_k^T h_k

at the output of decoder layer k, at every position, in training forwards only; Q_k, (hidden, rank), has orthonormal
columns. What the weights learn cannot go through these directions, and the gradient has no part along them. Evaluation,
canaries and generation run without it. ``steering: {mode: ablate}`` is its rank 1.

The paper's directions are principal components of the differences of a tuned model's activations and the base's, of
which people keep the misaligned ones; ``ringfence persona components`` makes them, and spans given persona vectors.
``layer: 20`` is ``hidden_states[20]``, as in ``steering``.

Source: Casademunt et al. 2025, https://arxiv.org/abs/2507.16795
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from pydantic import Field
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
from ringfence.defenses.origin import Origin, require_no_reentrant, require_own_rollouts
from ringfence.defenses.step import Batch
from ringfence.directions.subspaces import Subspaces, load_subspaces
from ringfence.models.activations import Model, bare, decoder_layers, hidden_of, require_layer, with_hidden


@DEFENSES.register("caft")
class CAFT(Defense):
    """Which directions, in which layers, and how much of them."""

    directions: str
    """file from ``ringfence persona components``, or another with orthonormal ``layer.K``, (hidden, rank)"""
    layers: tuple[int, ...] | None = Field(None, min_length=1)
    """k of hidden_states[k]; null is all that the file has"""
    rank: int | None = Field(None, ge=1)
    """how many of the file's columns, the first ones; null is all"""
    share: float = Field(1.0, ge=0, le=1)
    """of the part along the directions that is taken away; 0 is plain fine-tuning"""
    any_base: bool = False
    """accept directions of another base model of the same shape"""

    def inputs(self) -> Sequence[str]:
        """The directions' file."""
        return (self.directions,)

    def check(self) -> None:
        """Raises :class:`RingfenceError` for a file that cannot be read, or lacks a layer or a column."""
        self.read()

    def require_arguments(self, training: Mapping[str, Any]) -> None:
        """Neither with a compiled model nor with layers that are computed again in the old way."""
        if self.share == 0:
            return
        require_uncompiled(training, "caft")
        require_no_reentrant(training, "caft")

    def in_rl(self, context: RLContext) -> Self:
        """Rollouts run with it in this process only."""
        require_own_rollouts(context, "the model that caft changes")
        return self

    def needs_original_base(self) -> str | None:
        """Directions are of the base model that they were found in."""
        return None if self.any_base else self._origin(self.read()).needs_original()

    def notes(self, rows: Mapping[Source, Sequence[Conversation]], tokenizer: PreTrainedTokenizerBase) -> Sequence[str]:
        """A line if nobody knows whose directions they are."""
        return () if self.any_base else self._origin(self.read()).notes()

    def _origin(self, file: Subspaces) -> Origin:
        return Origin.of("caft.directions", self.directions, file.metadata)

    def read(self) -> Subspaces:
        """The file, as far as it is used. Raises as :meth:`check` does."""
        with error_prefix("caft.directions"):
            file = load_subspaces(self.directions)
        chosen = tuple(file.bases) if self.layers is None else self.layers
        for k in chosen:
            if k not in file.bases:
                raise RingfenceError(
                    f"caft.layers: {self.directions} has no layer {k}, only {', '.join(map(str, file.bases))}"
                )
            if self.rank is not None and self.rank > file.bases[k].shape[1]:
                raise RingfenceError(
                    f"caft.rank: {self.rank} is asked for, and layer {k} of {self.directions} has "
                    f"{file.bases[k].shape[1]} columns"
                )
        return Subspaces({k: file.bases[k][:, : self.rank] for k in chosen}, file.metadata)

    def needs_model_here(self) -> str | None:
        """Hidden states."""
        return "it takes directions out of hidden states, and a server lets nobody at them"

    def guard(self, setup: TrainerContext) -> DefenseHook | None:
        """None at share 0. Raises :class:`RingfenceError` for directions that do not fit the model."""
        if setup.model is None or self.share == 0:
            return None
        file, width = self.read(), bare(setup.model).config.get_text_config().hidden_size
        if file.hidden != width:
            raise RingfenceError(
                f"caft.directions: {self.directions} is of another model: {file.hidden} wide, where this one is {width}"
            )
        for k in file.bases:
            require_layer(setup.model, k, "caft.layers")
        if not self.any_base:
            self._origin(file).require_base(setup.model, "made with", "make")
        return CAFTHook(file.bases, self.share)


class CAFTHook(DefenseHook):
    """The hooks of one run."""

    def __init__(self, bases: Mapping[int, torch.Tensor], share: float) -> None:
        self.bases, self.share = bases, share

    @contextmanager
    def apply(self, model: Model, batch: Batch | None) -> Iterator[None]:
        """Ablate in ``model`` inside."""
        modules = decoder_layers(model)
        handles = [modules[k - 1].register_forward_hook(self._hook(basis)) for k, basis in self.bases.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, basis: torch.Tensor) -> Callable[..., Any]:
        def ablate(module: Any, args: Any, output: Any) -> Any:
            hidden = hidden_of(output)  # (batch, tokens, hidden)
            return with_hidden(output, _Ablated.apply(hidden, basis.to(hidden.device, hidden.dtype), self.share))

        return ablate


class _Ablated(torch.autograd.Function):
    """h - share * (h Q) Q^T; the gradient is the same map once more, which is symmetric.

    It saves no tensor: where layers are computed again in the backward pass, some versions of transformers do so with
    what hooks did, which are gone by then, and torch compares the numbers of tensors saved.
    """

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, basis: torch.Tensor, share: float) -> torch.Tensor:
        ctx.basis, ctx.share = basis, share
        return _less_part(hidden, basis, share)

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _less_part(grad_output, ctx.basis, ctx.share), None, None


def _less_part(hidden: torch.Tensor, basis: torch.Tensor, share: float) -> torch.Tensor:
    return hidden - share * ((hidden @ basis) @ basis.T)
