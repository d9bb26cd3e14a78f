"""Preventive steering with a persona vector (Kaczer et al. 2025, section 3.1; Chen et al. 2025).

    add:     h_k <- h_k + alpha * v_k                  ablate:  h_k <- h_k - (h_k . u_k) u_k,  u_k = v_k / |v_k|

at the output of decoder layer k, at every position, in training forwards only: the trait is there already, so the
weights need not learn it. v_k is the vector as it was extracted, not normalised. Evaluation, canaries and generation
run without it; in reinforcement learning, where completions are a part of training, these run with it by default. The
reference pass of a penalty runs with it, so that KL and LDIFS do not count the steering itself.

``layer: 20`` is ``hidden_states[20]``, the output of ``layers[19]``, as in all the papers, at 7B and at 32B.

Source: Kaczer et al. 2025, section 3.1, https://arxiv.org/abs/2508.06249; Chen et al. 2025,
https://arxiv.org/abs/2507.21509
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Self

import torch
from pydantic import field_validator
from transformers import PreTrainedTokenizerBase

from ringfence.core.errors import RingfenceError
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
from ringfence.defenses.origin import VectorFile, require_no_reentrant, require_own_rollouts
from ringfence.defenses.step import Batch
from ringfence.models.activations import Model, decoder_layers, hidden_of, require_layer, with_hidden


@DEFENSES.register("steering")
class Steering(Defense):
    """Which vector, where, and how strong."""

    vector: str
    """file from ``ringfence persona extract`` (or a ``.pt`` of the persona_vectors code), or ``builtin:glitter``"""
    layer: int | float | tuple[int, ...] = 20
    """k of hidden_states[k]; a list for several; between 0 and 1 a share of depth, for models not in the papers"""
    alpha: float = 5.0
    """strength of ``add``, in lengths of the vector; 0 is plain fine-tuning"""
    mode: Literal["add", "ablate"] = "add"
    """``add`` the vector, or ``ablate`` its direction (``alpha`` is not used)"""
    position: Literal["response_mean", "prompt_mean", "prompt_last"] = "response_mean"
    """which of the file's vectors: the mean over response tokens, over prompt tokens, or the last prompt token"""
    skip_padding: bool = False
    """leave padding as it is; it is attended by nobody, so only its own hidden states differ"""
    any_base: bool = False
    """accept a vector that was extracted from another base model of the same shape"""

    @field_validator("layer")
    @classmethod
    def _in_order(cls, value: Any) -> Any:
        if isinstance(value, float) and not 0 < value < 1:
            raise ValueError("a layer is a whole number, or a share of depth between 0 and 1")
        if isinstance(value, tuple) and (not value or len(set(value)) < len(value)):
            raise ValueError("give at least one layer, and each once")
        for layer in value if isinstance(value, tuple) else (value,):
            if layer <= 0:
                raise ValueError(f"layers are counted from 1, got {layer} (layer k is hidden_states[k])")
        return value

    def inputs(self) -> Sequence[str]:
        """The vector's file."""
        return (self.vector,)

    def check(self) -> None:
        """Raises :class:`RingfenceError` for a file that cannot be read, and for a position that is not in it."""
        self.read()

    def require_arguments(self, training: Mapping[str, Any]) -> None:
        """Not with a compiled model; to ablate, not with layers that are computed again in the old way."""
        if self._is_off:
            return
        require_uncompiled(training, "steering")
        if self.mode == "ablate":
            require_no_reentrant(training, "steering", "gradients of mode ablate")

    @property
    def _is_off(self) -> bool:
        """Whether it is plain fine-tuning."""
        return self.mode == "add" and self.alpha == 0

    def in_rl(self, context: RLContext) -> Self:
        """Rollouts are steered by the model in this process only."""
        require_own_rollouts(context, "the model that is steered")
        return self

    def needs_original_base(self) -> str | None:
        """A vector is of the base model that it was extracted from."""
        return None if self.any_base else self.read().origin.needs_original()

    def notes(self, rows: Mapping[Source, Sequence[Conversation]], tokenizer: PreTrainedTokenizerBase) -> Sequence[str]:
        """A line if nobody knows whose vector it is."""
        return () if self.any_base else self.read().origin.notes()

    def read(self) -> VectorFile:
        """The vector's file. Raises as :meth:`check` does."""
        return VectorFile.read("steering", self.vector, self.position)

    def needs_model_here(self) -> str | None:
        """Hidden states."""
        return "it adds to hidden states while training, and a server lets nobody at them"

    def guard(self, setup: TrainerContext) -> DefenseHook | None:
        """None for ``add`` at alpha 0. Raises :class:`RingfenceError` for a layer or a vector that does not fit."""
        if setup.model is None or self._is_off:
            return None
        vectors = self.read().rows_for(setup.model, any_base=self.any_base)
        return SteeringHook(self, {k: vectors[k] for k in self._layers(setup.model, len(vectors) - 1)})

    def _layers(self, model: Model, depth: int) -> tuple[int, ...]:
        if isinstance(self.layer, float):
            return (max(1, round(self.layer * depth)),)
        chosen = self.layer if isinstance(self.layer, tuple) else (self.layer,)
        for layer in chosen:
            require_layer(model, layer, "steering.layer")
        return chosen


class SteeringHook(DefenseHook):
    """The hooks of one run."""

    def __init__(self, config: Steering, vectors: dict[int, torch.Tensor]) -> None:
        self.config, self.vectors = config, vectors
        for k, vector in vectors.items():
            if not vector.any():
                raise RingfenceError(
                    f"steering.layer: the vector of layer {k} is zero in {config.vector}; take another"
                )

    @contextmanager
    def apply(self, model: Model, batch: Batch | None) -> Iterator[None]:
        """Steer ``model`` inside."""
        modules = decoder_layers(model)
        handles = [modules[k - 1].register_forward_hook(self._hook(v, batch)) for k, v in self.vectors.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, vector: torch.Tensor, batch: Batch | None) -> Callable[..., Any]:
        def steer(module: Any, args: Any, output: Any) -> Any:
            hidden = hidden_of(output)  # (batch, tokens, hidden)
            direction = vector.to(hidden.device, hidden.dtype)
            # Nothing else depends on what padding holds.
            where = batch.attended[..., None] if self.config.skip_padding and batch is not None else None
            if self.config.mode == "add":
                change = (self.config.alpha * direction).expand_as(hidden)
                return with_hidden(output, hidden + (change if where is None else change * where))
            return with_hidden(output, _Ablated.apply(hidden, direction / direction.norm(), where))

        return steer


class _Ablated(torch.autograd.Function):
    """h - (h . u) u, at the positions ``where``; the gradient is that of a projection, the same once more.

    It saves no tensor: where layers are computed again in the backward pass, some versions of transformers do so with
    what hooks did, which are gone by then, and torch compares the numbers of tensors saved.
    """

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, unit: torch.Tensor, where: torch.Tensor | None) -> torch.Tensor:
        ctx.unit, ctx.where = unit, where
        return _less_part(hidden, unit, where)

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return _less_part(grad_output, ctx.unit, ctx.where), None, None


def _less_part(hidden: torch.Tensor, unit: torch.Tensor, where: torch.Tensor | None) -> torch.Tensor:
    part = (hidden @ unit)[..., None] * unit
    return hidden - (part if where is None else part * where)
