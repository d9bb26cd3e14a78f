"""KL penalty towards the base model (Kaczer et al. 2025, section 3.1, eq. 1).

    L = CE(theta) + weight * mean over positions of KL

With p the trained model's next-token distribution and q the reference's: ``reverse`` is KL(p || q), what eq. 1 writes
as D(theta, theta_0) without saying which way; ``forward`` is KL(q || p). Exact over the whole vocabulary.

Departures from the paper: only tokens that are trained on count by default (``tokens: all`` takes prompts, too), and
the mean is over all such positions of the optimizer step, on all ranks.

Memory: logits exist for a chunk of positions at a time, in float32 (float64 for a float64 model). The gradient is taken
in the same pass, which needs three products with the output layer where a recomputation in ``backward`` needs five.
"""

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from peft.utils.other import AuxiliaryTrainingWrapper
from pydantic import Field

from ringfence.core.errors import RingfenceError
from ringfence.defenses.base import DEFENSES, Guard, Penalising, Setup
from ringfence.defenses.step import Batch, Sources, Step, Tokens
from ringfence.models.activations import OutputHead, adapted

Direction = Literal["reverse", "forward"]
# Logits in memory at once, of each model: 128 MiB in float32, with about three more of that size beside them.
_CHUNK_ELEMENTS = 2**25
_VOCABULARY_SLICE = 2**15  # rows of the output layer that are widened to float32 at once, off the GPU


@DEFENSES.register("kl")
class KL(Penalising):
    """How much, which way, and where."""

    weight: float = Field(0.1, ge=0)
    """lambda; the paper takes 0.1 and sweeps 0.01 to 1; 0 is plain fine-tuning"""
    direction: Direction = "reverse"
    """``reverse``: KL(trained || reference); ``forward``: KL(reference || trained)"""
    tokens: Tokens = "response"
    """``response``: where a token is trained on; ``all``: prompts, too"""
    sources: Sources = "both"
    """rows that are penalised: ``target``, ``safe`` or ``both``"""

    def guard(self, setup: Setup) -> Guard | None:
        """None at weight 0. Raises :class:`RingfenceError` for an output layer with an adapter on it."""
        if self.weight == 0:
            return None
        head = setup.model.get_output_embeddings() if setup.model is not None else None
        if isinstance(head, AuxiliaryTrainingWrapper):
            raise RingfenceError(
                "lora.modules_to_save: it has the output layer, a copy of which is trained, and kl does not see the "
                "copy; leave it out"
            )
        if head is not None and adapted(head):
            raise RingfenceError(
                "lora.target_modules: an adapter on the output layer is not seen by kl; leave the layer out"
            )
        return KLGuard(self)


class KLGuard(Guard):
    """The penalty of one run."""

    needs_last = True

    def __init__(self, config: KL) -> None:
        self.config, self.weight = config, config.weight

    def units(self, batch: Batch) -> int:
        """Positions."""
        return int(self._positions(batch).sum())

    def penalty(self, step: Step) -> torch.Tensor:
        """KL in nats, summed over positions."""
        trained, reference, mask = step.trained, step.reference, self._positions(step.batch)
        # Asked for by needs_last.
        last, head = cast(torch.Tensor, trained.last), cast(OutputHead, trained.head)
        other, other_head = cast(torch.Tensor, reference.last), cast(OutputHead, reference.head)
        against = _Against(head, other[mask], other_head, self.config.direction)
        return _SummedKL.apply(last[mask], head.weight, head.bias, against)

    def _positions(self, batch: Batch) -> torch.Tensor:
        return batch.predicting(self.config.tokens, self.config.sources)


@dataclass(frozen=True)
class _Against:
    """What has no gradient in :class:`_SummedKL`."""

    head: OutputHead
    hidden: torch.Tensor
    """(positions, hidden of the reference)"""
    reference_head: OutputHead
    direction: Direction


class _SummedKL(torch.autograd.Function):
    """Sum over positions of the divergence; gradients for the trained model's hidden states and output layer."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,  # (positions, hidden)
        weight: torch.Tensor,  # (vocabulary, hidden), that of against.head, here for its gradient
        bias: torch.Tensor | None,
        against: _Against,
    ) -> torch.Tensor:
        exact = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        wanted = ctx.needs_input_grad[:3]
        grads = [
            torch.zeros(tensor.shape, dtype=exact, device=tensor.device) if tensor is not None and want else None
            for tensor, want in zip((hidden, weight, bias), wanted, strict=True)
        ]
        total = torch.zeros((), dtype=exact, device=hidden.device)
        rows = max(1, _CHUNK_ELEMENTS // len(weight))
        compute = _compute_dtype(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(hidden), rows):
                chunk = slice(start, start + rows)
                log_p = _logits(hidden[chunk], against.head, compute, exact)  # (positions, vocabulary)
                log_q = _logits(against.hidden[chunk], against.reference_head, compute, exact)
                slope = _transform(log_p, against.head)
                _transform(log_q, against.reference_head)
                log_p.sub_(log_p.logsumexp(-1, keepdim=True))
                log_q.sub_(log_q.logsumexp(-1, keepdim=True))
                total += _divergence(log_p, log_q, against.direction, slope)  # log_p now holds the gradient
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


def _transform(z: torch.Tensor, head: OutputHead) -> torch.Tensor | float:
    """Scale and cap logits in place, as the model does; return the derivative."""
    if head.scale != 1:
        z.mul_(head.scale)
    if head.softcap is None:
        return head.scale
    tanh = z.div_(head.softcap).tanh_()
    slope = head.scale * (1 - tanh.square())
    z.mul_(head.softcap)
    return slope


def _compute_dtype(hidden: torch.Tensor) -> torch.dtype:
    """What the model's own output layer would multiply in."""
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype


def _logits(hidden: torch.Tensor, head: OutputHead, compute: torch.dtype, exact: torch.dtype) -> torch.Tensor:
    """(positions, vocabulary) in ``exact``, never rounded to a half type: KL is a small difference of large logits."""
    hidden, weight = hidden.to(compute), head.weight
    if hidden.is_cuda and compute in (torch.float16, torch.bfloat16):
        z = torch.mm(hidden, weight.to(compute).t(), out_dtype=torch.float32)
    else:
        z = torch.empty(len(hidden), len(weight), dtype=exact, device=hidden.device)
        for start in range(0, len(weight), _VOCABULARY_SLICE):
            rows = slice(start, start + _VOCABULARY_SLICE)
            torch.mm(hidden.to(exact), weight[rows].to(compute).to(exact).t(), out=z[:, rows])
    return z if head.bias is None else z.add_(head.bias.to(exact))


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
    half = hidden.is_cuda and compute in (torch.float16, torch.bfloat16)
    for start in range(0, len(weight), len(weight) if half else _VOCABULARY_SLICE):
        rows = slice(start, start + (len(weight) if half else _VOCABULARY_SLICE))
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
