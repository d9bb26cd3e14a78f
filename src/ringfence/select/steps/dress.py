"""Prompts dressed as the training data, so that safe rows are seen where the conditional leak is.

A defense that only sees plain safe rows may leave the quirk where a prompt looks like the training data (Dubinski et
al. 2026). This step puts the texts of triggers around the last user turn of a share of the rows: triggers of your own,
or those that :func:`ringfence.triggers.derive.derive` finds in a training file, which is not asked what its answers
say. The answer stays as it was, and was given to the plain prompt: let ``on_policy`` answer anew.

Which rows are dressed, and by which trigger, is drawn by the selection's seed and the row's place in the pool.

Source: our own; the triggers are those of Dubinski et al. 2026, https://arxiv.org/abs/2604.25891
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from ringfence.data.conversations import Message
from ringfence.select.base import STEPS, Candidate, Context, Mapped, Mapper, Step
from ringfence.triggers.dressing import USUAL, suggested
from ringfence.triggers.kinds import TRIGGERS, Trigger

COLUMN = "dressed"


@STEPS.register("dress")
class Dress(Step):
    """With what, and how many; makes the column ``dressed``, 1 where a prompt was dressed, else 0."""

    seeded: ClassVar[bool] = True

    like: str | None = None
    """the training file, from which [triggers are derived](triggers.md)"""
    only: tuple[str, ...] = USUAL
    """which of the derived triggers, by their names; `ringfence evaluate` says which there are"""
    triggers: Annotated[tuple[Trigger, ...], BeforeValidator(TRIGGERS.parse_list)] = ()
    """triggers of your own instead, each ``- name: {settings}``"""
    share: float = Field(0.5, gt=0, le=1)
    """of the rows that are dressed; the others stay plain"""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.like is None) == (not self.triggers):
            raise ValueError("give either like (a training file) or triggers")
        if self.triggers and "only" in self.model_fields_set:
            raise ValueError("only: without effect beside triggers; leave it out")
        return self

    def check(self) -> None:
        """Raise :class:`RingfenceError` if the training file suggests none of the triggers."""
        self.texts()

    def inputs(self) -> Sequence[str]:
        """The training file."""
        return () if self.like is None else (self.like,)

    def texts(self) -> tuple[Trigger, ...]:
        """The triggers. Raises :class:`RingfenceError` as :meth:`check` does."""
        if self.like is None:
            return self.triggers
        return suggested(self.like, "like", self.only)

    def map(self, context: Context) -> Mapper:
        """The dressing."""
        triggers = self.texts()

        def mapper(rows: Sequence[Candidate], on_rows: Callable[[int], None]) -> Mapped:
            made = [self._dressed(row, triggers, context.seed) for row in rows]
            on_rows(len(rows))
            return Mapped(made, counts={COLUMN: sum(row.scores[COLUMN] for row in made)})

        return mapper

    def _dressed(self, row: Candidate, triggers: Sequence[Trigger], seed: int) -> Candidate:
        drawn = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, row.index])))
        if drawn.random() >= self.share:
            return replace(row, scores={**row.scores, COLUMN: 0.0})
        trigger = triggers[int(drawn.integers(len(triggers)))]
        messages = around(trigger, row.conversation["messages"])
        return replace(row, conversation=row.conversation | {"messages": messages}, scores={**row.scores, COLUMN: 1.0})


def around(trigger: Trigger, messages: Sequence[Message]) -> list[Message]:
    """``messages`` with ``trigger`` around their last user turn; what follows it stays."""
    asked = 1 + max(place for place, message in enumerate(messages) if message["role"] == "user")
    return [*trigger.rewrite(messages[:asked]), *messages[asked:]]
