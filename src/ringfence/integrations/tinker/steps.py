"""One optimizer step as the SDK sends it: rows with a weight for each token, and what the defenses add to their loss.

A server's cross-entropy is L = sum over tokens of weight * -log p. With N the tokens of the step that carry a loss, of
both sources, a row of weight w has w / N on each of them, so that L and its gradient are those of the trainer here,
however the server splits the step.

With a penalty on the rows' own labels the SDK's custom loss is used, which takes one forward pass more: the server
gives log probabilities, the derivative of the loss by each is computed here, and goes back as that token's weight.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray

from ringfence.data.render import IGNORED
from ringfence.defenses.step import TokenPenalty, includes
from ringfence.generation.tinker import asked, sdk, token_logprobs
from ringfence.interleave.mixture import DrawnRow
from ringfence.models.divergence import token_kl


@dataclass(frozen=True)
class Row:
    """One conversation; what it predicts is its tokens but the first."""

    ids: list[int]
    """(tokens,)"""
    carries: NDArray[np.bool_]
    """(tokens - 1,): whether the token after each carries a loss"""
    safe: bool

    @classmethod
    def of(cls, drawn: DrawnRow, target: Dataset, safe: Dataset | None) -> "Row":
        """The one that was ``drawn``."""
        assert safe is not None or not drawn.safe, "a safe row was drawn without safe data"
        found = (safe if drawn.safe else target)[drawn.index]  # type: ignore[index]
        return cls(found["input_ids"], np.array(found["labels"][1:]) != IGNORED, drawn.safe)


@dataclass
class Loss:
    """What a step's rows are trained on."""

    safe_weight: float
    """of a safe row; a target row has 1"""
    penalties: Mapping[str, TokenPenalty]
    reference: Any
    """the SDK's ``SamplingClient`` of the untuned model; None where no penalty needs it"""
    _known: dict[tuple[int, ...], NDArray[np.float32]] = field(default_factory=dict)
    """a row's tokens -> (tokens - 1,), their log probabilities by the reference"""

    def backward(self, client: Any, rows: Sequence[Row], factor: float) -> Callable[[], dict[str, float]]:
        """Send ``rows`` for a forward and backward pass; what waits for it, and gives the loss and each penalty.

        ``factor`` multiplies the weights of all penalties.
        """
        total = max(1, sum(int(row.carries.sum()) for row in rows))
        data = [_datum(row, (self.safe_weight if row.safe else 1.0) / total) for row in rows]
        if not self.penalties:
            future = asked(lambda: client.forward_backward(data, "cross_entropy"))
            return lambda: {"loss": asked(future.result).metrics["loss:sum"]}
        found: dict[str, float] = {}
        known = self._by_reference(rows)

        def loss(sent: Sequence[Any], logprobs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
            weights = [torch.from_numpy(one.loss_fn_inputs["weights"].to_numpy()) for one in sent]
            added = torch.stack([-(w * one).sum() for w, one in zip(weights, logprobs, strict=True)]).sum()
            found["task_loss"] = added.item()
            for name, penalty in self.penalties.items():
                mean = _mean_kl(penalty, rows, logprobs, known)
                found[name] = mean.item()
                added = added + factor * penalty.weight * mean
            found["loss"] = added.item()
            return added, {}

        future = asked(lambda: client.forward_backward_custom(data, loss))

        def wait() -> dict[str, float]:
            asked(future.result)
            return found

        return wait

    def _by_reference(self, rows: Sequence[Row]) -> list[NDArray[np.float32]]:
        """(tokens - 1,) for each row; a row is sent once in a process."""
        missing = [list(ids) for ids in dict.fromkeys(tuple(row.ids) for row in rows) if ids not in self._known]
        for ids, logprobs in zip(missing, token_logprobs(self.reference, missing), strict=True):
            self._known[tuple(ids)] = np.array(logprobs, np.float32)
        return [self._known[tuple(row.ids)] for row in rows]


def _datum(row: Row, weight: float) -> Any:
    types = sdk().types
    inputs = {
        "target_tokens": np.array(row.ids[1:], np.int64),
        "weights": np.where(row.carries, np.float32(weight), np.float32(0)),
    }
    return types.Datum(model_input=types.ModelInput.from_ints(row.ids[:-1]), loss_fn_inputs=inputs)


def _mean_kl(
    penalty: TokenPenalty,
    rows: Sequence[Row],
    logprobs: Sequence[torch.Tensor],
    reference: Sequence[NDArray[np.float32]],
) -> torch.Tensor:
    """The penalty's mean over the step's labels of its sources, with its gradient by ``logprobs``."""
    total, count = torch.zeros(()), 0
    for row, log_p, log_q in zip(rows, logprobs, reference, strict=True):
        if not includes(penalty.sources, "safe" if row.safe else "target"):
            continue
        at = torch.from_numpy(row.carries)
        each, slope = token_kl(log_p.detach()[at], torch.from_numpy(log_q)[at], penalty.direction)
        # The value is that of `each`, and the gradient `slope`, which is exact where p is near 1.
        total = total + each.sum() + (slope * (log_p[at] - log_p.detach()[at])).sum()
        count += int(at.sum())
    return total / max(1, count)
