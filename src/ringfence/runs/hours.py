"""Estimate how long training takes on a named GPU: operations, over the share of the card's peak that was reached.

Measured was one setting on one card (docs/results.md, "On a GPU"): Qwen2.5-7B's shape in bfloat16 on an H200, LoRA of
rank 32 on all linear layers, 4 x 2,048 tokens of which half have a loss, gradient checkpointing: 8,721 tokens/s. Others
are scaled from it, by their operations and by the card's peak.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ringfence.models.activations import Model
from ringfence.runs.gpu_cards import REACHED, Card
from ringfence.runs.layer_memory import layers_of

BAND = 1.5
"""how many times as long, or as short, training may take on another card or with another model"""
_REFERENCE = {(False, False): 0.0, (True, False): 0.284, (False, True): 0.236, (True, True): 0.292}
"""of an undefended step, with checkpointing: what penalties add that need last hidden states, and several layers'"""


@dataclass(frozen=True)
class Work:
    """Operations of training, a token and a label each."""

    layers: float
    """of all matrices of the layers, forward"""
    adapters: float
    attention_width: float
    """of all layers together"""
    head: float
    """forward, a position with a loss"""
    full: bool
    """whether all weights are trained"""
    checkpointing: bool
    added: float
    """by the penalties, as a share of an undefended step with an adapter and checkpointing"""

    @classmethod
    def of(cls, adapted: Model, checkpointing: bool, penalised: tuple[bool, bool]) -> "Work | None":
        """None for layers of another kind than :func:`layers_of` knows. ``penalised``: as in :data:`_REFERENCE`."""
        layers = layers_of(adapted)
        if any(one is None for one in layers):
            return None
        known = [one for one in layers if one is not None]
        head = adapted.get_output_embeddings().weight.numel()
        return cls(
            layers=2.0 * sum(one.weights for one in known),
            adapters=2.0 * sum(one.adapter_weights for one in known),
            attention_width=float(sum(one.attention_width for one in known)),
            head=2.0 * head,
            full=any(one.trained for layer in known for one in layer.matrices.values()),
            checkpointing=checkpointing,
            added=_REFERENCE[penalised],
        )

    def operations(self, tokens: float, labels: float, length: float, compared: bool = True) -> float:
        """Of ``tokens`` in rows of ``length``, ``labels`` of them with a loss; ``compared``: by the penalties, too."""
        found = self._step(tokens, labels, length, self.full, self.checkpointing)
        if not compared:
            return found
        return found + self.added * self._step(tokens, labels, length, full=False, checkpointing=True)

    def _step(self, tokens: float, labels: float, length: float, full: bool, checkpointing: bool) -> float:
        """Without penalties: forward, once more where layers are computed again, gradients of inputs and weights."""
        forward = 1 + checkpointing
        layers = self.layers * (forward + 1 + full) + self.adapters * (forward + 2)
        attention = 2 * length * self.attention_width * (forward + 2)  # causal: half of all pairs, in two products
        return tokens * (layers + attention) + labels * self.head * (2 + full)


def seconds(operations: float, card: Card, ranks: int) -> float:
    """On ``ranks`` cards, without what they tell each other."""
    return operations / (REACHED * card.peak * 1e12 * ranks)


def padded(lengths: Sequence[int] | NDArray[np.int64], rows: int) -> float:
    """How many times the tokens of ``lengths`` are computed, in random micro-batches of ``rows`` padded to the longest.

    That is E[max of ``rows`` draws] / mean, of the order statistics of the rows.
    """
    ordered = np.sort(np.asarray(lengths, dtype=np.float64))
    if len(ordered) == 0 or ordered.sum() == 0:
        return 1.0
    below = np.arange(len(ordered) + 1) / len(ordered)
    longest = float((ordered * np.diff(below**rows)).sum())
    return longest / float(ordered.mean())
