"""What a penalty sees of one micro-batch.

Notation: a position t of a row predicts the token at t + 1, so the hidden state and the logits at t belong to
``labels[t + 1]``. All masks are (batch, tokens), boolean. With packing, several conversations share a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from ringfence.data.render import IGNORED

if TYPE_CHECKING:
    import torch

    from ringfence.models.output_head import OutputHead

Sources = Literal["target", "safe", "both"]
RowKind = Literal["target", "safe", "both", "anchor"]
Tokens = Literal["response", "all", "prompt"]


def includes(sources: RowKind, source: Literal["target", "safe", "anchor"]) -> bool:
    """Whether rows of ``source`` are among ``sources``; ``both`` are target and safe rows."""
    return sources == source or (sources == "both" and source != "anchor")


@dataclass(frozen=True)
class TokenPenalty:
    """A distance from the reference that the log probabilities of the rows' own labels tell.

    What it weighs is :func:`ringfence.models.divergence.token_kl`, as a mean over the labels of ``sources``.
    """

    weight: float
    direction: Literal["reverse", "forward"]
    sources: Sources


@dataclass(frozen=True)
class Batch:
    """One micro-batch by positions."""

    labels: torch.Tensor
    """(batch, tokens), -100 where no answer stands; those of anchor rows carry no loss all the same"""
    real: torch.Tensor
    """neither padding nor of a row without any label, such as those that fill up a short step; anchor rows are real"""
    safe: torch.Tensor
    """of rows from the safe data"""
    starts: torch.Tensor
    """the first position of each conversation"""
    attended: torch.Tensor
    """not padding"""
    compared: torch.Tensor
    """whose hidden states a distance may compare: all, but of a completion in reinforcement learning its own"""
    anchor: torch.Tensor
    """of rows that only penalties see"""

    @classmethod
    def of(
        cls,
        inputs: Mapping[str, Any],
        safe: torch.Tensor | None = None,
        compared: torch.Tensor | None = None,
        anchor: torch.Tensor | None = None,
    ) -> Batch:
        """From what a TRL collator gives; without ``safe`` and ``anchor`` all rows are target rows, and without
        ``compared`` all is.

        (batch, tokens) each.
        """
        import torch

        labels = inputs["labels"]
        mask = inputs.get("attention_mask")
        attended = torch.ones_like(labels, dtype=torch.bool) if mask is None else mask.bool()
        position_ids = inputs.get("position_ids")
        # Without position ids there is one conversation a row, wherever its padding is.
        first = attended.cumsum(-1) == 1 if position_ids is None else position_ids == 0
        asked = torch.zeros_like(attended) if anchor is None else anchor.to(labels.device)
        return cls(
            labels=labels,
            real=attended & ((labels != IGNORED).any(-1, keepdim=True) | asked),
            safe=torch.zeros_like(attended) if safe is None else safe.to(labels.device),
            starts=attended & first,
            attended=attended,
            compared=torch.ones_like(attended) if compared is None else compared,
            anchor=asked,
        )

    def rows(self, chosen: torch.Tensor) -> Batch:
        """The rows that ``chosen``, (batch,), says."""
        return Batch(**{one.name: getattr(self, one.name)[chosen] for one in fields(self)})

    def of_source(self, sources: RowKind) -> torch.Tensor:
        """The real positions of the rows that come from ``sources``; ``both`` are target and safe rows."""
        kinds = {"both": ~self.anchor, "safe": self.safe, "target": ~(self.safe | self.anchor), "anchor": self.anchor}
        return self.real & kinds[sources]

    def states(self, sources: RowKind) -> torch.Tensor:
        """The positions of ``sources`` whose hidden states are compared."""
        return self.of_source(sources) & self.compared

    def predicting(self, tokens: Tokens, sources: RowKind) -> torch.Tensor:
        """The positions of ``sources`` that predict a token of the same conversation: a labelled one, one that is not
        (``prompt``), or any.
        """
        import torch

        here, following = self.of_source(sources), torch.zeros_like(self.real)
        labelled = self.labels[:, 1:] != IGNORED
        if tokens == "response":
            following[:, :-1] = labelled
        else:
            following[:, :-1] = self.real[:, 1:] & ~self.starts[:, 1:]
        if tokens == "prompt":
            following[:, :-1] &= ~labelled
        return here & following


@dataclass(frozen=True)
class HiddenStates:
    """What one model computed on the micro-batch."""

    layers: dict[int, torch.Tensor]
    """k -> ``hidden_states[k]``, (batch, tokens, hidden): the residual stream after ``layers[k - 1]``"""
    last: torch.Tensor | None
    """(batch, tokens, hidden), what the output layer reads"""
    head: OutputHead | None
    """the output layer; None if it was not asked for"""

    def rows(self, chosen: torch.Tensor) -> HiddenStates:
        """Those of the rows that ``chosen``, (batch,), says."""
        layers = {k: states[chosen] for k, states in self.layers.items()}
        return HiddenStates(layers, None if self.last is None else self.last[chosen], self.head)


@dataclass(frozen=True)
class PenaltyInputs:
    """One micro-batch, through the trained model (with a gradient) and through the reference (without).

    The reference's states are empty where no penalty of the run needs one.
    """

    batch: Batch
    trained: HiddenStates
    reference: HiddenStates
