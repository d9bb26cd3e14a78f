"""Sums over positions with their gradients: two models' KL divergence, and the negative log-likelihood of labels.

Exact over the whole vocabulary, or over a label against all other tokens. Logits exist for a chunk of positions at a
time, in float32 (float64 for a float64 model). The gradient is taken in the same pass, which needs three products with
the output layer where a recomputation in ``backward`` needs five.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch

from ringfence.models.output_head import HALF, VOCABULARY_SLICE, OutputHead, wide

Direction = Literal["reverse", "forward"]
CHUNK_ELEMENTS = 2**25
"""logits in memory at once, of each model: 128 MiB in float32, with about three more of that size beside them"""


def summed_kl(
    hidden: torch.Tensor, head: OutputHead, reference: torch.Tensor, reference_head: OutputHead, direction: Direction
) -> torch.Tensor:
    """KL in nats, summed over positions; its gradient is that of the trained model's hidden states and output layer.

    hidden, reference: (positions, hidden), the last hidden states of the trained model and of the reference
    direction:         ``reverse`` is KL(trained || reference), ``forward`` KL(reference || trained)
    """
    against = _Reference(head, reference, reference_head, direction)
    found: torch.Tensor = _Summed.apply(hidden, head.weight, head.bias, against)
    return found


def summed_token_kl(
    hidden: torch.Tensor,
    head: OutputHead,
    reference: torch.Tensor,
    reference_head: OutputHead,
    direction: Direction,
    labels: torch.Tensor,
) -> torch.Tensor:
    """As :func:`summed_kl`, of each label against all other tokens together; labels: (positions,)."""
    against = _ReferenceToken(head, reference, reference_head, direction, labels)
    found: torch.Tensor = _Summed.apply(hidden, head.weight, head.bias, against)
    return found


def token_kl(log_p: torch.Tensor, log_q: torch.Tensor, direction: Direction) -> tuple[torch.Tensor, torch.Tensor]:
    """KL between "this token" and "any other", of the model (p) and its reference (q), and its derivative by log p.

        reverse   p log(p / q) + (1 - p) log((1 - p) / (1 - q)),   derivative p (log(p / q) - log((1 - p) / (1 - q)))
        forward   q log(q / p) + (1 - q) log((1 - q) / (1 - p)),   derivative (p - q) / (1 - p)

    It is 0 only where p = q, and never more than the KL of the whole distributions (data processing inequality).

    log_p, log_q: (positions,), log probabilities in nats. Returns two tensors of that shape.
    """
    surest = -torch.finfo(log_p.dtype).eps  # a probability of 1 would have no others to compare
    log_p, log_q = log_p.clamp(max=surest), log_q.clamp(max=surest)
    p, q, others_p, others_q = log_p.exp(), log_q.exp(), -log_p.expm1(), -log_q.expm1()
    gap, others_gap = log_p - log_q, others_p.log() - others_q.log()
    if direction == "reverse":
        return p * gap + others_p * others_gap, p * (gap - others_gap)
    return -q * gap - others_q * others_gap, (p - q) / others_p


def summed_nll(hidden: torch.Tensor, head: OutputHead, labels: torch.Tensor) -> torch.Tensor:
    """-log p(label) in nats, summed over positions, with its gradient as that of :func:`summed_kl`.

    hidden: (positions, hidden), the last hidden states; labels: (positions,), the token that each is to predict
    """
    found: torch.Tensor = _Summed.apply(hidden, head.weight, head.bias, _Labels(head, labels))
    return found


class _Against(Protocol):
    """What has no gradient in :class:`_Summed`."""

    @property
    def head(self) -> OutputHead: ...

    def divergence(
        self, chunk: slice, compute: torch.dtype, log_p: torch.Tensor, slope: torch.Tensor | float
    ) -> torch.Tensor:
        """Summed over the positions ``chunk``; leaves its derivative by the product in ``log_p``."""
        ...


@dataclass(frozen=True)
class _Reference:
    """Another model."""

    head: OutputHead
    hidden: torch.Tensor
    """(positions, hidden of the reference)"""
    reference_head: OutputHead
    direction: Direction

    def divergence(
        self, chunk: slice, compute: torch.dtype, log_p: torch.Tensor, slope: torch.Tensor | float
    ) -> torch.Tensor:
        return _divergence(log_p, self._logs(chunk, compute, log_p), self.direction, slope)

    def _logs(self, chunk: slice, compute: torch.dtype, log_p: torch.Tensor) -> torch.Tensor:
        """(positions, vocabulary): log q, in the type of ``log_p``."""
        log_q = self.reference_head.product(self.hidden[chunk], compute).to(log_p.dtype)
        self.reference_head.bend(log_q)
        return log_q.sub_(log_q.logsumexp(-1, keepdim=True))


@dataclass(frozen=True)
class _ReferenceToken(_Reference):
    """Another model, compared at the labels. With z the logits: d log p(y) / dz = (1 at y) - p."""

    labels: torch.Tensor
    """(positions,)"""

    def divergence(
        self, chunk: slice, compute: torch.dtype, log_p: torch.Tensor, slope: torch.Tensor | float
    ) -> torch.Tensor:
        at = self.labels[chunk][:, None]
        log_q = self._logs(chunk, compute, log_p).gather(-1, at)
        each, by_log_p = token_kl(log_p.gather(-1, at), log_q, self.direction)
        log_p.exp_().mul_(-by_log_p).scatter_add_(-1, at, by_log_p)
        if isinstance(slope, torch.Tensor) or slope != 1:
            log_p.mul_(slope)
        return each.sum()


@dataclass(frozen=True)
class _Labels:
    """The tokens that are to be predicted. With z the logits: d -log p(y) / dz = p - (1 at y)."""

    head: OutputHead
    labels: torch.Tensor
    """(positions,)"""

    def divergence(
        self, chunk: slice, compute: torch.dtype, log_p: torch.Tensor, slope: torch.Tensor | float
    ) -> torch.Tensor:
        at = self.labels[chunk][:, None]
        total = -log_p.gather(-1, at).sum()
        log_p.exp_().scatter_add_(-1, at, torch.full_like(at, -1, dtype=log_p.dtype))
        if isinstance(slope, torch.Tensor) or slope != 1:
            log_p.mul_(slope)
        return total


class _Summed(torch.autograd.Function):
    """Sum over positions of the divergence; gradients for the trained model's hidden states and output layer."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,  # (positions, hidden)
        weight: torch.Tensor,  # (vocabulary, hidden), that of against.head, here for its gradient
        bias: torch.Tensor | None,
        against: _Against,
    ) -> torch.Tensor:
        exact = wide(hidden.dtype)
        wanted = ctx.needs_input_grad[:3]
        grads = [
            torch.zeros(tensor.shape, dtype=exact, device=tensor.device) if tensor is not None and want else None
            for tensor, want in zip((hidden, weight, bias), wanted, strict=True)
        ]
        total = torch.zeros((), dtype=exact, device=hidden.device)
        rows = max(1, CHUNK_ELEMENTS // len(weight))
        compute = _compute_dtype(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(hidden), rows):
                chunk = slice(start, start + rows)
                log_p = against.head.product(hidden[chunk], compute).to(exact)  # (positions, vocabulary)
                slope = against.head.bend(log_p)
                log_p.sub_(log_p.logsumexp(-1, keepdim=True))
                total += against.divergence(chunk, compute, log_p, slope)  # log_p now holds the gradient
                _accumulate(grads, chunk, log_p, hidden[chunk], weight, compute)
        ctx.grads = [
            grad.to(tensor.dtype) if grad is not None and tensor is not None else None
            for grad, tensor in zip(grads, (hidden, weight, bias), strict=True)
        ]
        return total

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[Any, ...]:
        return (*(None if grad is None else grad * grad_output.to(grad.dtype) for grad in ctx.grads), None)


def _divergence(
    log_p: torch.Tensor, log_q: torch.Tensor, direction: Direction, slope: torch.Tensor | float
) -> torch.Tensor:
    """Summed KL of one chunk, (positions, vocabulary) each; leaves d KL / d product in ``log_p``.

    With z the trained model's logits: d KL(p || q) / dz = p (log p - log q - KL(p || q)), d KL(q || p) / dz = p - q.
    """
    p, gap = log_p.exp(), log_q.sub(log_p).neg_()
    if direction == "reverse":
        each = (p * gap).sum(-1)  # (positions,)
        torch.mul(gap.sub_(each[:, None]), p, out=log_p)
    else:
        q = log_q.exp_()
        each = -(q * gap).sum(-1)
        torch.sub(p, q, out=log_p)
    if isinstance(slope, torch.Tensor) or slope != 1:
        log_p.mul_(slope)
    return each.sum()


def _compute_dtype(hidden: torch.Tensor) -> torch.dtype:
    """What the model's own output layer would multiply in."""
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype


def _accumulate(
    grads: list[torch.Tensor | None],
    chunk: slice,
    grad: torch.Tensor,  # (positions, vocabulary)
    hidden: torch.Tensor,
    weight: torch.Tensor,
    compute: torch.dtype,
) -> None:
    """Add one chunk's part to the gradients of hidden states, weight and bias, those that are wanted."""
    for_hidden, for_weight, for_bias = grads
    half = hidden.is_cuda and compute in HALF
    for start in range(0, len(weight), len(weight) if half else VOCABULARY_SLICE):
        rows = slice(start, start + (len(weight) if half else VOCABULARY_SLICE))
        part = grad[:, rows].to(compute) if half else grad[:, rows]
        if for_hidden is not None:
            wide = weight[rows].to(compute)
            if half:
                for_hidden[chunk] += torch.mm(part, wide, out_dtype=torch.float32)
            else:
                for_hidden[chunk] += part @ wide.to(part.dtype)
        if for_weight is not None:
            for_weight[rows] += part.t().to(for_weight.dtype) @ hidden.to(for_weight.dtype)
        if for_bias is not None:
            for_bias[rows] += grad[:, rows].sum(0)
