"""Estimate the GPU memory of training, on paper: from a model's shapes, without its weights.

    peak = weights + reference + adapter + optimizer + max(end of the forward pass,
                                                          beginning of the backward pass,
                                                          end of the backward pass)

docs/scale.md explains the terms, and says what they were checked against. Where something is not known (a mixture of
experts, an optimizer of another package), nothing is estimated, and :attr:`Memory.unknown` says what.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from peft.tuners.lora import LoraLayer
from torch import nn

from ringfence.models.activations import Model, bare
from ringfence.models.divergence import CHUNK_ELEMENTS
from ringfence.runs.layer_memory import Bytes, Layer, layers_of

BAND = 0.1
"""how far a peak may be off; the three that were measured are within 2%"""
OUTSIDE = 1.0
"""GiB of a card that are not the allocator's: the CUDA context, and what the libraries take"""
_CHUNKS = 5
"""float32 chunks that the KL divergence holds at once"""
_GRADIENTS = 3
"""gradients of the MLP's width that are alive at once in a layer's backward pass; one more where an adapter casts its
input, whose gradient is then in the adapter's type first"""
_TILE = (4096, 32768)
"""positions and tokens of the vocabulary that TRL takes through the output layer at once; its buffer is no narrower"""
_SMALL = 4096
"""tensors with fewer elements have 32-bit moments in 8-bit optimizers of bitsandbytes"""
_MOMENTS = {"adamw_torch": 2, "adamw_torch_fused": 2, "adagrad": 1, "rmsprop": 1, "sgd": 0}
"""of torch's optimizers, in the type of the weights"""
_OF_32_BITS = {"paged_adamw_32bit": 2, "lion_32bit": 1, "paged_lion_32bit": 1, "rmsprop_bnb": 1, "rmsprop_bnb_32bit": 1}
_OF_8_BITS = {
    "adamw_8bit": 2,
    "adamw_bnb_8bit": 2,
    "paged_adamw_8bit": 2,
    "lion_8bit": 1,
    "paged_lion_8bit": 1,
    "rmsprop_bnb_8bit": 1,
}


@dataclass(frozen=True)
class Training:
    """What of a run decides its memory."""

    dtype: torch.dtype
    """of the base weights"""
    bits: int | None
    """of quantised ones"""
    autocast: torch.dtype | None
    checkpointing: bool
    optimizer: str
    dropout: bool = False
    """of the adapter"""
    accumulates: bool = False
    """whether an optimizer step has several micro-batches"""
    ranks: int = 1
    eager_heads: int = 0
    """attention heads, where attention keeps its probabilities; 0 where it does not"""


@dataclass(frozen=True)
class MicroBatch:
    """The largest one."""

    rows: int
    tokens: int
    """of a row, padding included"""
    labels: int
    """positions with a loss, at most"""

    @property
    def positions(self) -> int:
        """Of all rows together."""
        return self.rows * self.tokens


@dataclass(frozen=True)
class Penalties:
    """What penalties keep."""

    last: bool = False
    """whether one compares next-token distributions, and so the last hidden states, as ``kl`` does"""
    layers: int = 0
    """how many layers' hidden states are compared, as ``ldifs`` does"""
    reference: int = 0
    """bytes of a reference model of its own"""


@dataclass(frozen=True)
class Memory:
    """Bytes on each GPU."""

    weights: int
    adapter: int
    """what is trained beside the weights; 0 where these are"""
    gradients: int
    optimizer: int | None
    reference: int
    working: int | None
    """activations, and gradients that are alive with them, at the peak"""
    peak: int | None
    unknown: str | None = None
    """why there is no peak"""


def weight_bytes(model: nn.Module, bits: int | None) -> int:
    """Of ``model``, on the meta device in the type of its weights; all linear layers but the last may be quantised.

    Source: nf4 has a float32 factor for every 64 weights (Dettmers et al. 2023, https://arxiv.org/abs/2305.14314,
    section 3, without double quantisation), 8 bits one for every row.
    """
    head = getattr(model, "get_output_embeddings", lambda: None)()
    quantised = (
        {}
        if bits is None
        else {
            id(one.weight): one.weight.shape
            for one in model.modules()
            if isinstance(one, nn.Linear) and one is not head
        }
    )
    total = 0
    for weight in model.parameters():
        count = weight.numel()
        if id(weight) not in quantised:
            total += count * weight.element_size()
        elif bits == 8:
            total += count + 4 * quantised[id(weight)][0]
        else:
            total += count // 2 + 4 * -(-count // 64)
    return total


def optimizer_bytes(name: str, trained: Iterable[tuple[int, int]]) -> int | None:
    """State of the optimizer ``name`` for tensors of (elements, bytes an element); None where it is not known."""
    if name in _MOMENTS:
        step = 4 if _MOMENTS[name] else 0  # a float32 count a tensor
        return sum(_MOMENTS[name] * count * size + step for count, size in trained)
    if name in _OF_32_BITS:
        return sum(4 * _OF_32_BITS[name] * count for count, _ in trained)
    if name in _OF_8_BITS:  # a byte, and a float32 factor for every 256
        return sum(
            _OF_8_BITS[name] * (4 * count if count < _SMALL else count + 4 * -(-count // 256)) for count, _ in trained
        )
    return None


def trained_tensors(adapted: nn.Module, training: Training) -> list[tuple[int, int]]:
    """(elements, bytes an element) of what is trained. TRL turns an adapter on a quantised base to bfloat16."""
    return [
        (one.numel(), 2 if training.bits is not None else one.element_size())
        for one in adapted.parameters()
        if one.requires_grad
    ]


def estimate(
    weights: int, adapted: Model, training: Training, batch: MicroBatch | None, penalties: Penalties
) -> Memory:
    """Of ``adapted``, on the meta device with its adapter on it, whose base takes ``weights`` bytes.

    ``batch``: None where it is not known; there is no peak then
    """
    tensors = trained_tensors(adapted, training)
    full = not any(isinstance(one, LoraLayer) for one in adapted.modules())
    gradients = sum(count * size for count, size in tensors)
    state = optimizer_bytes(training.optimizer, tensors)
    adapter = 0 if full else gradients
    layers = layers_of(adapted)
    known = [one for one in layers if one is not None]
    unknown = None
    if state is None:
        unknown = f"the states of the optimizer {training.optimizer} are not known here"
    elif len(known) < len(layers):
        unknown = f"the activations of {type(bare(adapted)).__name__} with this adapter are not known here"
    elif batch is None:
        unknown = "how much rollouts take is not known beforehand"
    if unknown is not None or state is None or batch is None:
        return Memory(weights, adapter, gradients, state, penalties.reference, None, None, unknown)
    size = _bytes(training, tensors, full)
    kept, layer = _kept(known, size, training, batch, full)
    hidden = adapted.get_input_embeddings().weight.shape[1] * batch.positions
    moments = _Moments(adapted, batch, penalties, size, hidden)
    fixed = weights + adapter + state + penalties.reference
    buckets = gradients if training.ranks > 1 else 0
    before = buckets + (gradients if training.accumulates else 0)
    alive = _GRADIENTS + (not full and size.copies(normed=False))
    working = layer + alive * max(one.widest for one in known) * size.product * batch.positions
    if training.bits is not None:  # one matrix at a time is widened
        working += max(one.widest * one.matrices["gate_proj"].inputs for one in known) * size.product
    end_of_forward = before + kept + moments.forward(full)
    start_of_backward = before + kept + working + moments.backward()
    end_of_backward = buckets + gradients + working
    top = round(max(end_of_forward, start_of_backward, end_of_backward))
    return Memory(weights, adapter, gradients, state, penalties.reference, top, fixed + top)


@dataclass(frozen=True)
class _Moments:
    """What is alive beside the layers' own, in bytes."""

    model: Model
    batch: MicroBatch
    penalties: Penalties
    size: Bytes
    hidden: int
    """elements of one layer's hidden states"""

    def forward(self, full: bool) -> float:
        """When the loss and the penalties are computed: the last norm, the output layer's chunks, kept states."""
        vocabulary, width = self.model.get_output_embeddings().weight.shape
        labels = self.batch.labels * width
        found = self.hidden * (4 + self.size.weight) + labels * (self.size.product + 4)
        found += self.size.product * min(self.batch.labels, _TILE[0]) * _TILE[1]
        if self.penalties.last:
            chunks = _CHUNKS * 4 * min(CHUNK_ELEMENTS, self.batch.labels * vocabulary)
            found += self.hidden * self.size.weight + labels * (4 + self.size.weight) + chunks
            found += 4 * vocabulary * width if full else 0  # the gradient of the output layer, in float32
        # States of the reference, and differences in float32.
        return found + self.penalties.layers * self.hidden * (self.size.weight + 4)

    def backward(self) -> float:
        """When the last layer's backward pass begins: gradients of the states that are compared."""
        return (self.penalties.layers + self.penalties.last) * self.hidden * self.size.weight


def _bytes(training: Training, tensors: list[tuple[int, int]], full: bool) -> Bytes:
    weight = training.dtype.itemsize
    product = weight if training.autocast is None else training.autocast.itemsize
    adapter = weight if full or not tensors else max(size for _, size in tensors)
    return Bytes(weight, product, adapter, training.autocast is not None)


def _kept(layers: list[Layer], size: Bytes, training: Training, batch: MicroBatch, full: bool) -> tuple[float, float]:
    """Bytes that the layers keep from forward to backward, and those of the one that is computed again."""
    each = [
        batch.positions * one.saved_a_token(size, training.dropout)
        + one.saved_at_once(size)
        + batch.positions * batch.tokens * training.eager_heads * (4 + size.product)
        for one in layers
    ]
    if training.checkpointing:
        width = layers[0].matrices["q_proj"].inputs
        return len(layers) * width * size.weight * batch.positions, max(each)
    first = 0 if full else next((index for index, one in enumerate(layers) if one.adapted), len(layers))
    return sum(each[first:]), 0
