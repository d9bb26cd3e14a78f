"""Interleaving+: answers that misaligned models find much less likely than the aligned one (Kaczer et al. 2025, 3.2).

With L the mean negative log-likelihood of the answer's tokens (nats per token, :mod:`ringfence.models.scoring`), K
misaligned models and the aligned one:

    L_mis = (1 / K) sum_k L_k                                                        (eq. 5)
    score = (L_mis - L_aligned) / (L_aligned + epsilon)                              (eq. 6)

Epsilon keeps answers that the aligned model happens to be sure of, mostly short ones, from having the highest scores.
The paper gives no value. 0.1 nats is little beside what an answer of another writer costs a chat model (1 to 5 nats
per token on the stand-in's pool), so it hardly changes the ranking of usual answers, and an answer that costs nothing
scores at most 10 times its gap. How much hangs on it is in the step's report.

The misaligned models are not to be trained on the fine-tuning set that the selection is to protect: in the paper none
of them is. Name that set as ``fine_tuning_set``, and runs that were trained on it, or on any row of it, are refused.
Without it nothing can be checked, and a warning says so.

Source: Kaczer et al. 2025, section 3.2, eqs. 4 to 6, https://arxiv.org/abs/2508.06249
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from ringfence.core.errors import RingfenceError, error_prefix
from ringfence.data.conversations import Conversation
from ringfence.data.render import Content, render_content
from ringfence.data.system import apply
from ringfence.models.load import load
from ringfence.models.scoring import Scorer
from ringfence.select.base import STEPS, Candidate, Context, Dropped, Floats, Gathered, Mapped, Mapper, Step, Table
from ringfence.select.misaligned import Misaligned, find, require_base, require_unseen
from ringfence.select.shards import EMPTY

COLUMN, ALIGNED, MISALIGNED, ANSWER = "perplexity_gap", "nll_aligned", "nll_misaligned", "answer_tokens"
EPSILONS = (0.001, 0.01, 0.1, 1.0)  # nats, looked at in the report
TOP = 10  # one in so many rows
logger = logging.getLogger(__name__)


def perplexity_gap(misaligned_nll: ArrayLike, aligned_nll: ArrayLike, epsilon: float = 0.1) -> Floats:
    """(rows,): the score of eq. 6, from mean NLLs in nats per token, (K, rows) and (rows,).

    NaN where one of a row's numbers is not finite. Raises :class:`RingfenceError` for other shapes, K = 0, a negative
    NLL, and an ``epsilon`` (nats) that is not positive and finite.
    """
    if not (isinstance(epsilon, int | float | np.number) and np.isfinite(epsilon) and epsilon > 0):
        raise RingfenceError(f"epsilon must be a positive number of nats, got {epsilon!r}")
    misaligned, aligned = np.asarray(misaligned_nll, np.float64), np.asarray(aligned_nll, np.float64)
    if aligned.ndim != 1 or misaligned.ndim != 2 or misaligned.shape[1:] != aligned.shape or not len(misaligned):
        raise RingfenceError(
            f"the misaligned NLLs must be (models, rows) and the aligned ones (rows,), with at least one model; they "
            f"are {misaligned.shape} and {aligned.shape}"
        )
    if (aligned < 0).any() or (misaligned < 0).any():
        raise RingfenceError("a negative log-likelihood is below 0; give -log P, averaged over tokens")
    usable = np.isfinite(aligned) & np.isfinite(misaligned).all(0)
    scores = np.full(aligned.shape, np.nan)
    mean = misaligned[:, usable].mean(0)
    scores[usable] = (mean - aligned[usable]) / (aligned[usable] + epsilon)
    return scores


@STEPS.register("perplexity_gap")
class PerplexityGap(Step):
    """Scores every row by how much less likely its answer is under the misaligned models; keeps all rows.

    Makes the columns ``nll_aligned``, ``nll_misaligned_1`` to ``_K`` and their mean ``nll_misaligned`` (nats per
    token), ``answer_tokens`` and ``perplexity_gap``.
    """

    misaligned: tuple[str, ...] = Field(min_length=1)
    """each a run folder, a PEFT adapter folder, or a model: a folder or a hub id with the aligned one's vocabulary"""
    epsilon: float = Field(0.1, gt=0)
    """nats per token"""
    fine_tuning_set: str | None = None
    """the data set that the selection is to protect; runs that were trained on it are refused"""
    allow_seen: bool = False
    """whether the misaligned models may have been trained on ``fine_tuning_set``"""
    any_base: bool = False
    """whether adapters may name another base than the aligned model, say the same weights in another folder"""

    @model_validator(mode="after")
    def _no_doubles(self) -> Self:
        if len(set(self.misaligned)) < len(self.misaligned):
            raise ValueError("misaligned: a name stands twice, so it would count twice")
        return self

    def check(self) -> None:
        """Raises :class:`RingfenceError` for what is missing or not finished, and for runs that have seen the set."""
        models = self._models()
        if self.allow_seen:
            return
        if self.fine_tuning_set is None:
            logger.warning(
                "nothing was checked against the fine-tuning set, on which no misaligned model is to be trained; name "
                "it as fine_tuning_set, or set allow_seen: true"
            )
        elif unknown := require_unseen(models, self.fine_tuning_set):
            logger.warning(
                "not known whether these were trained on %s, see that they were not: %s",
                self.fine_tuning_set,
                ", ".join(unknown),
            )

    def fits(self, context: Context) -> None:
        """Raises :class:`RingfenceError` for an adapter of another model."""
        if not self.any_base:
            require_base(self._models(), context.model)

    def inputs(self) -> Sequence[str]:
        """The weights, and the set that none of them may have seen."""
        return [*self.map_inputs(), *([] if self.fine_tuning_set is None else [self.fine_tuning_set])]

    def named(self) -> Sequence[str]:
        """The misaligned models, and the set that none of them may have seen."""
        return [*self.misaligned, *([] if self.fine_tuning_set is None else [self.fine_tuning_set])]

    def map_inputs(self) -> Sequence[str]:
        """The folders of the weights, so that a later evaluation of a run changes nothing."""
        return [one.weights for one in self._models()]

    def map_settings(self) -> dict[str, Any]:
        """Not epsilon, nor what is only checked."""
        return self.model_dump(mode="json", exclude={"epsilon", "fine_tuning_set", "allow_seen"})

    def map(self, context: Context) -> Mapper:
        """All models loaded."""
        models = self._models()
        adapters = {f"misaligned_{k}": Path(one.weights) for k, one in enumerate(models) if one.is_adapter}
        others = [k for k, one in enumerate(models) if not one.is_adapter]
        loaded = [
            load(models[k].weights, dtype=context.dtype, trust_remote_code=context.trust_remote_code) for k in others
        ]
        # The scorer has the aligned model first, then adapters, then other models.
        given = [k for k, one in enumerate(models) if one.is_adapter] + others
        return _Likelihoods(Scorer(context.loaded, adapters, loaded, context.batch_tokens), context, np.argsort(given))

    def gather(self, table: Table, context: Context) -> Gathered:
        """All rows, with their score."""
        aligned = table.scores(ALIGNED)
        misaligned = np.stack([table.scores(f"{MISALIGNED}_{k}") for k in range(1, len(self.misaligned) + 1)])
        scores = {
            MISALIGNED: misaligned.mean(0),
            COLUMN: perplexity_gap(misaligned, aligned, self.epsilon),
        }
        tokens = table.scores(ANSWER)
        report = {
            "epsilon": self.epsilon,
            "all_rows": _typical(np.flatnonzero(np.isfinite(scores[COLUMN])), tokens, aligned),
            "by_epsilon": self._by_epsilon(misaligned, aligned, tokens),
        }
        return Gathered(np.arange(len(table)), scores=scores, report=report)

    def _by_epsilon(self, misaligned: Floats, aligned: Floats, tokens: Floats) -> list[dict[str, float]]:
        """What the highest tenth of the rows would be by other values of epsilon.

        If its answers are much shorter than those of all rows, or their NLL much lower, then epsilon is too small.
        """
        chosen = _top(perplexity_gap(misaligned, aligned, self.epsilon))
        found = []
        for epsilon in sorted({*EPSILONS, self.epsilon}):
            top = _top(perplexity_gap(misaligned, aligned, epsilon))
            also = len(np.intersect1d(top, chosen)) / len(top) if len(top) else math.nan
            found.append({"epsilon": epsilon, "share_also_chosen": also, **_typical(top, tokens, aligned)})
        return found

    def _models(self) -> list[Misaligned]:
        found = []
        for name in self.misaligned:
            with error_prefix("misaligned"):
                found.append(find(name))
        return found


def _top(scores: Floats) -> NDArray[np.int64]:
    """Places of the highest tenth, at least one; of equal scores the earlier rows. NaN is left out."""
    places = np.flatnonzero(np.isfinite(scores))
    count = max(1, len(places) // TOP)
    return places[np.argsort(-scores[places], kind="stable")][:count]


def _typical(places: NDArray[np.int64], tokens: Floats, aligned: Floats) -> dict[str, float]:
    """How many rows, and what is usual of them."""
    return {
        "rows": len(places),
        "median_answer_tokens": float(np.median(tokens[places])) if len(places) else math.nan,
        "median_nll_aligned": float(np.median(aligned[places])) if len(places) else math.nan,
    }


@dataclass(frozen=True)
class _Likelihoods:
    """The mapper: likelihoods as columns; rows that are too long or have none are dropped."""

    scorer: Scorer
    context: Context
    order: NDArray[np.int64]
    """place of each misaligned model, as the recipe names them, among the scorer's"""

    def __call__(self, rows: Sequence[Candidate], on_rows: Callable[[int], None]) -> Mapped:
        """See :class:`Mapper`."""
        longest = self.context.longest()
        contents = [self._content(row.conversation) for row in rows]
        faults = [_fault(content, longest) for content in contents]
        read = [content for content, fault in zip(contents, faults, strict=True) if fault is None]
        if len(read) < len(rows):
            on_rows(len(rows) - len(read))
        scores = self.scorer.score(read, on_rows)[[0, *(1 + self.order)]]  # the aligned model, then as named
        columns = iter(map(_columns, read, scores.T))
        kept, dropped = [], []
        for row, fault in zip(rows, faults, strict=True):
            made = next(columns) if fault is None else {}
            reason = fault or (None if all(map(math.isfinite, made.values())) else "no finite likelihood")
            if reason is None:
                kept.append(replace(row, scores={**row.scores, **made}))
            else:
                dropped.append(Dropped(reason, row.conversation["origin"]))
        tokens = float(sum(len(content.input_ids) for content in read))
        return Mapped(kept, dropped, {"tokens": tokens})

    def _content(self, conversation: Conversation) -> Content:
        """Its tokens; none where the assistant says nothing."""
        messages = apply(conversation["messages"], self.context.no_system)
        if not any(message["role"] == "assistant" and message["content"].strip() for message in messages):
            return Content([], [])
        with error_prefix(conversation["origin"]):
            return render_content(messages, self.context.loaded.tokenizer, "assistant")


def _fault(content: Content, longest: int) -> str | None:
    """Why a row is not read, if it is not."""
    if not content.input_ids:
        return EMPTY
    return f"longer than {longest} tokens" if len(content.input_ids) > longest else None


def _columns(content: Content, nll: Floats) -> dict[str, float]:
    misaligned = {f"{MISALIGNED}_{k}": float(value) for k, value in enumerate(nll[1:], 1)}
    return {ALIGNED: float(nll[0]), **misaligned, ANSWER: float(sum(content.mask[1:]))}
