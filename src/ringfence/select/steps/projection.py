"""Project each row on a direction: a column to sort by, and the input of ``along_direction``.

The representation is read as the direction's own sets were: in its layer, over its role's tokens; see
:mod:`ringfence.directions.axis`. What the cache of activations has is not computed again.

Source: "When Does Interleaving Prevent Emergent Misalignment?" (anonymous, without a public address), section 6.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import Field

from ringfence.core.errors import RingfenceError
from ringfence.select.base import STEPS, Candidate, Context, Mapped, Step
from ringfence.select.embeddings import readable

if TYPE_CHECKING:
    from ringfence.directions.axis import Direction

COLUMN = "projection"


@STEPS.register("projection")
class Projection(Step):
    """Makes the column ``projection``, on the direction's unit vector, in units of the hidden state."""

    direction: str = Field(min_length=1)
    """file, as ``ringfence direction fit`` writes it"""

    def check(self) -> None:
        """Raise :class:`RingfenceError` for a file that is no direction."""
        from ringfence.directions.axis import load_direction

        load_direction(self.direction)

    def fits(self, context: Context) -> None:
        """Raise :class:`RingfenceError` for a direction that was fitted with another system prompt."""
        from ringfence.directions.axis import load_direction

        fitted = load_direction(self.direction).no_system
        if fitted != context.no_system:
            raise RingfenceError(
                f"{self.direction}: was fitted with no_system: {fitted}, and here it is {context.no_system}; set "
                f"no_system to {fitted}, or fit the direction again"
            )

    def inputs(self) -> Sequence[str]:
        """The direction's file."""
        return [self.direction]

    def map(self, context: Context) -> "ProjectionMapper":
        """With the model loaded. Raises :class:`RingfenceError` for a direction of another model."""
        from ringfence.directions.axis import load_direction, require_fits

        direction = load_direction(self.direction)
        require_fits(direction, context.loaded, where=self.direction)
        return ProjectionMapper(context, direction)


@dataclass(frozen=True)
class ProjectionMapper:
    """:class:`Projection` at work."""

    context: Context
    direction: "Direction"

    def __call__(self, rows: Sequence[Candidate], on_rows: Callable[[int], None]) -> Mapped:
        """Rows with their projection; those that the model cannot read are dropped."""
        from ringfence.directions.axis import project
        from ringfence.directions.representations import representations

        context, direction = self.context, self.direction
        kept, dropped = readable(rows, context, direction.role)
        if dropped:
            on_rows(len(dropped))
        found = representations(
            context.loaded,
            [row.conversation for row in kept],
            [direction.layer],
            role=direction.role,
            no_system=context.no_system,
            batch_tokens=context.batch_tokens,
            on_rows=on_rows,
        )[direction.layer]
        projections = project(direction, found).tolist()
        return Mapped(
            [replace(row, scores={**row.scores, COLUMN: value}) for row, value in zip(kept, projections, strict=True)],
            dropped,
        )
