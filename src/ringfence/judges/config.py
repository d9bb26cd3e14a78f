"""Judges in a recipe: a mapping whose ``kind`` names the judge; without one it is ``rules``.

A judge is one file: a frozen config that scores, filed under its ``kind``. What its verdicts depend on, it says itself.
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, SerializeAsAny

from ringfence.core.registry import TaggedRegistry
from ringfence.core.settings import StrictConfig
from ringfence.judges.base import RUBRICS, JudgeInput, Score


class JudgeSettings(StrictConfig):
    """Base of all judges that a recipe can name; unknown keys raise."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def score(self, rubric: str, rows: Sequence[JudgeInput]) -> list[Score]:
        """One score a row, in the rows' order."""
        raise AssertionError(f"{type(self).__name__} does not say how it scores")

    def inputs(self) -> Sequence[str]:
        """Files and folders of the user's that it reads; their digests are kept with the run.

        A stored suite's rubric is not among them, as it is known by its content; see :meth:`digests`.
        """
        return ()

    def models(self) -> Sequence[str]:
        """Models that it loads; the commit of one from the hub is kept with the run."""
        return ()

    def digests(self, rubrics: Sequence[str] = RUBRICS) -> dict[str, str]:
        """Each of ``rubrics`` -> hex SHA-256 of the text that it asks with; empty if it asks no model.

        Raises :class:`RingfenceError` for a rubric that cannot be read, or that would be read backwards.
        """
        return {}

    def require_rubric(self, rubric: str) -> None:
        """Raise :class:`RingfenceError` unless it can score under ``rubric``."""
        self.digests((rubric,))

    def require_key(self) -> None:
        """Raise :class:`RingfenceError` for a key that is missing or belongs elsewhere, and a missing package."""


JUDGES = TaggedRegistry("judge", JudgeSettings, "{misaligned_pattern: '...'}", tag="kind", default="rules")
JudgeField = Annotated[SerializeAsAny[JudgeSettings], BeforeValidator(JUDGES.parse)]
"""the type of a field that holds a judge"""
