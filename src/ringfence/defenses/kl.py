"""KL penalty towards the base model (Kaczer et al. 2025, section 3.1, eq. 1).

    L = CE(theta) + weight * mean over positions of KL

With p the trained model's next-token distribution and q the reference's: ``reverse`` is KL(p || q), what eq. 1 writes
as D(theta, theta_0) without saying which way; ``forward`` is KL(q || p). Exact over the whole vocabulary.

Departures from the paper: only tokens that are trained on count by default (``tokens: all`` takes prompts, too), and
the mean is over all such positions of the optimizer step, on all ranks.

``over: target_token`` is another, weaker penalty: the KL between "the row's own token" and "any other" at each label,
which log probabilities of the rows' own tokens tell. It is a lower bound of the exact one, and 0 only where the two
models give the token the same probability; how the others share the rest is not held.

The sums themselves are :func:`ringfence.models.divergence.summed_kl` and ``summed_token_kl``.

Source: Kaczer et al. 2025, section 3.1, eq. 1, https://arxiv.org/abs/2508.06249
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self, cast

from pydantic import Field, model_validator

from ringfence.core.errors import RingfenceError
from ringfence.defenses.base import DEFENSES, DefenseHook, Penalising, RLContext, Source, TrainerContext
from ringfence.defenses.step import Batch, PenaltyInputs, Sources, TokenPenalty, Tokens, includes

if TYPE_CHECKING:
    import torch

    from ringfence.models.output_head import OutputHead


@DEFENSES.register("kl")
class KL(Penalising):
    """How much, which way, and where."""

    weight: float = Field(0.1, ge=0)
    """lambda; the paper takes 0.1 and sweeps 0.01 to 1; 0 is plain fine-tuning"""
    direction: Literal["reverse", "forward"] = "reverse"
    """``reverse``: KL(trained || reference); ``forward``: KL(reference || trained)"""
    tokens: Tokens = "response"
    """``response``: where a token is trained on; ``prompt``: where none is; ``all``: both"""
    sources: Sources = "both"
    """rows that are penalised: ``target``, ``safe`` or ``both``"""
    over: Literal["vocabulary", "target_token"] = "vocabulary"
    """``vocabulary``: the whole distributions; ``target_token``: the row's own token against all others, a lower bound
    that log probabilities of the rows tell, as [a server](tinker.md) gives them"""

    @model_validator(mode="after")
    def _labels_are_known(self) -> Self:
        if self.over == "target_token" and self.tokens != "response":
            raise ValueError(f"tokens: {self.tokens} does not go with over: target_token, which compares at the labels")
        return self

    def compares(self, source: Source) -> bool:
        """Target and safe rows, or those of ``sources``."""
        return self.penalises and includes(self.sources, source)

    def needs_model_here(self) -> str | None:
        """The whole distributions, unless it compares at the labels."""
        if self.weight == 0 or self.over == "target_token":
            return None
        return (
            "it compares whole distributions, and a server gives log probabilities of the rows' own tokens; set "
            "kl.over: target_token, which needs no more"
        )

    def token_penalty(self) -> TokenPenalty | None:
        """With ``over: target_token``."""
        if self.weight == 0 or self.over == "vocabulary":
            return None
        return TokenPenalty(self.weight, self.direction, self.sources)

    def in_rl(self, context: RLContext) -> Self:
        """Not beside TRL's own penalty, which holds the policy to the same reference."""
        if context.beta and self.weight:
            raise RingfenceError(
                f"training.beta: {context.beta:g} is TRL's own KL penalty, and kl is one as well; leave one of them out"
            )
        return self

    def guard(self, setup: TrainerContext) -> DefenseHook | None:
        """None at weight 0. Raises :class:`RingfenceError` for an output layer with an adapter on it."""
        if self.weight == 0:
            return None
        require_head_seen(setup, "kl")
        return KLHook(self)


def require_head_seen(setup: TrainerContext, who: str) -> None:
    """Raise :class:`RingfenceError` for an output layer with an adapter on it, of which ``who`` reads the weight."""
    # These take torch; wrong settings are told before.
    from peft.utils.other import AuxiliaryTrainingWrapper

    from ringfence.models.activations import adapted

    head = setup.model.get_output_embeddings() if setup.model is not None else None
    if isinstance(head, AuxiliaryTrainingWrapper):
        raise RingfenceError(
            f"lora.modules_to_save: it has the output layer, a copy of which is trained, and {who} does not see the "
            "copy; leave it out"
        )
    if head is not None and adapted(head):
        raise RingfenceError(
            f"lora.target_modules: an adapter on the output layer is not seen by {who}; leave the layer out"
        )


class KLHook(DefenseHook):
    """The penalty of one run."""

    needs_last = True

    def __init__(self, config: KL) -> None:
        self.config, self.weight = config, config.weight

    def normalizer(self, batch: Batch) -> int:
        """Positions."""
        return int(self._positions(batch).sum())

    def rows(self, batch: Batch) -> torch.Tensor:
        """Those with a position that is compared."""
        return self._positions(batch).any(-1)

    def penalty(self, step: PenaltyInputs) -> torch.Tensor:
        """KL in nats, summed over positions."""
        import torch

        from ringfence.models.divergence import summed_kl, summed_token_kl

        trained, reference, mask = step.trained, step.reference, self._positions(step.batch)
        # Asked for by needs_last.
        last, head = cast("torch.Tensor", trained.last), cast("OutputHead", trained.head)
        other, other_head = cast("torch.Tensor", reference.last), cast("OutputHead", reference.head)
        if self.config.over == "target_token":
            following = torch.roll(step.batch.labels, -1, dims=1)[mask]
            return summed_token_kl(last[mask], head, other[mask], other_head, self.config.direction, following)
        return summed_kl(last[mask], head, other[mask], other_head, self.config.direction)

    def _positions(self, batch: Batch) -> torch.Tensor:
        return batch.predicting(self.config.tokens, self.config.sources)
