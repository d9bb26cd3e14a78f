"""Hidden states of a decoder, taken from a forward pass that somebody else runs.

Layer k is what the papers call it: ``hidden_states[k]``, the output of ``layers[k - 1]``; 0 is the embeddings. The last
one is the raw residual stream here, whereas the last entry of a Hugging Face ``hidden_states`` is after the final norm.

Forward hooks on whole decoder layers run once, also with gradient checkpointing, and see the tensors of the graph.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn
from transformers import PreTrainedModel

from ringfence.core.errors import RingfenceError

Model: TypeAlias = PreTrainedModel | PeftModel
_ADAPTED = (BaseTunerLayer, AuxiliaryTrainingWrapper)


def bare(model: Model) -> PreTrainedModel:
    """The model inside a PEFT wrapper, its adapter layers in place."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def decoder_layers(model: Model) -> nn.ModuleList:
    """The decoder's layers, first to last. Raises :class:`RingfenceError` for a model that has none to be found."""
    layers = getattr(bare(model).get_decoder(), "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise RingfenceError(f"{type(bare(model)).__name__}: its decoder has no `layers`, so none can be looked at")
    return layers


def require_layer(model: Model, layer: int, key: str) -> None:
    """Raise :class:`RingfenceError` unless 1 <= ``layer`` <= number of decoder layers; ``key`` is the recipe's."""
    count = len(decoder_layers(model))
    if not 1 <= layer <= count:
        raise RingfenceError(
            f"{key}: layer {layer} is out of range, the model has layers 1 to {count} (layer k is hidden_states[k])"
        )


def hidden_of(output: Any) -> torch.Tensor:
    """The hidden states in a decoder layer's output, which may be a tensor or a tuple that begins with it."""
    return output[0] if isinstance(output, tuple) else output


def with_hidden(output: Any, hidden: torch.Tensor) -> Any:
    """``output`` with other hidden states."""
    return (hidden, *output[1:]) if isinstance(output, tuple) else hidden


Reduce = Callable[[torch.Tensor], torch.Tensor]
"""of one layer's hidden states, (batch, tokens, hidden), what is kept"""


@dataclass
class Captured:
    """What :func:`capture_hidden_states` found."""

    layers: dict[int, torch.Tensor] = field(default_factory=dict)
    """k -> (batch, tokens, hidden), or what ``reduce`` made of it"""
    last: torch.Tensor | None = None
    """(batch, tokens, hidden), after the final norm"""
    frozen: Any = None
    """the raw output of the layer that was asked for as ``frozen``"""
    autocast: torch.dtype | None = None
    """what autocast had the decoder multiply in; None without autocast"""


class _ReachedError(Exception):
    """The highest layer that is asked for has been run."""


@dataclass(frozen=True)
class _Keeper:
    """The hooks that fill ``found``, each in the first forward pass only."""

    found: Captured
    reduce: Reduce | None
    last: bool
    until: int | None  # the layer after which the forward pass ends

    def keep(self, k: int, hidden: torch.Tensor) -> None:
        if k not in self.found.layers:
            self.found.layers[k] = hidden if self.reduce is None else self.reduce(hidden)
        if k == self.until:
            raise _ReachedError

    def embeddings(self, module: Any, args: Any, kwargs: Any) -> None:
        self.keep(0, args[0] if args else kwargs["hidden_states"])

    def layer(self, k: int) -> Callable[..., None]:
        return lambda module, args, output: self.keep(k, hidden_of(output))

    def decoder(self, module: Any, args: Any, output: Any) -> None:
        kind = output.last_hidden_state.device.type
        if torch.is_autocast_enabled(kind):
            self.found.autocast = torch.get_autocast_dtype(kind)
        if self.last and self.found.last is None:
            self.found.last = output.last_hidden_state

    def frozen(self, module: Any, args: Any, output: Any) -> None:
        self.found.frozen = output if self.found.frozen is None else self.found.frozen


@contextmanager
def capture_hidden_states(
    model: Model,
    layers: Collection[int],
    *,
    reduce: Reduce | None = None,
    last: bool = False,
    frozen: int = 0,
    stop: bool = False,
) -> Iterator[Captured]:
    """Take hidden states from the first forward pass inside; TRL may run a second one, for its metrics.

    layers: k from 0, the embeddings, to the number of decoder layers
    reduce: what to keep of a layer, at once, so that no more than one layer's hidden states are held at a time
    last:   also the last hidden states, after the final norm
    frozen: k > 0 also keeps the output of ``layers[k - 1]`` as it was before any other hook changed it
    stop:   end the forward pass after the highest of ``layers``; what follows it inside is not run
    """
    found, modules = Captured(), decoder_layers(model)
    hooks = _Keeper(found, reduce, last, max(layers) if stop else None)
    handles = [modules[0].register_forward_pre_hook(hooks.embeddings, with_kwargs=True)] if 0 in layers else []
    handles += [modules[k - 1].register_forward_hook(hooks.layer(k)) for k in layers if k]
    handles.append(bare(model).get_decoder().register_forward_hook(hooks.decoder))
    if frozen:
        handles.append(modules[frozen - 1].register_forward_hook(hooks.frozen, prepend=True))
    try:
        yield found
    except _ReachedError:
        pass
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def without_adapters(model: Model) -> Iterator[None]:
    """The base model inside. Unlike PEFT's ``disable_adapter``, leaves ``requires_grad`` alone, and is cheap."""
    enabled = [module for module in model.modules() if isinstance(module, _ADAPTED) and not module.disable_adapters]
    for module in enabled:
        module._disable_adapters = True
    try:
        yield
    finally:
        for module in enabled:
            module._disable_adapters = False


def untouched_layers(model: Model) -> int:
    """How many of the lowest decoder layers compute the same with and without the adapter, dropout included.

    0 if anything before them is trained or adapted, so that nothing can be shared.
    """
    layers = decoder_layers(model)
    embeddings = bare(model).get_input_embeddings()
    if not isinstance(model, PeftModel) or _changes(embeddings):
        return 0
    for count, layer in enumerate(layers):
        if _changes(layer):
            return count
    return len(layers)


def adapted(module: nn.Module) -> bool:
    """Whether an adapter sits on ``module`` or on anything inside it."""
    return any(isinstance(part, _ADAPTED) for part in module.modules())


def _changes(module: nn.Module) -> bool:
    """Whether training changes what ``module`` computes, or dropout makes two passes differ."""
    return (
        adapted(module)
        or any(parameter.requires_grad for parameter in module.parameters())
        or any(isinstance(part, nn.Dropout) and part.p > 0 for part in module.modules())
        or any(getattr(part, "attention_dropout", 0) for part in module.modules())
        or "forward" in vars(module)  # somebody else has replaced it already
    )


@contextmanager
def reusing(model: Model, count: int, output: Any) -> Iterator[None]:
    """Inside, the lowest ``count`` decoder layers compute nothing; the last of them returns ``output``."""
    layers = decoder_layers(model)[:count]
    for layer in layers:
        layer.forward = lambda hidden, *args, **kwargs: with_hidden(output, hidden)
    if count:
        layers[-1].forward = lambda hidden, *args, **kwargs: output
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
