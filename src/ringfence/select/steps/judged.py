"""Score rows by a judge under a rubric, and drop those below a score if one is named.

What is judged is the last assistant turn, as the answer to the last user turn before it; earlier turns and the system
message are not shown to the judge.

Source: "When Does Interleaving Prevent Emergent Misalignment?" (anonymous, without a public address), section 4,
property P1, for the HHH score.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from ringfence.core.errors import error_prefix
from ringfence.data.conversations import Message
from ringfence.judges import JudgeField, JudgeInput, JudgeSettings, Score
from ringfence.select.base import STEPS, Candidate, Context, Dropped, Mapped, Step

OnRows = Callable[[int], None]
_CHUNK = 128  # rows handed to the judge at once, so that progress is seen


def last_exchange(messages: Sequence[Message]) -> JudgeInput:
    """The last assistant turn as response, and as prompt the last user turn before it, "" if there is none."""
    end = max(place for place, message in enumerate(messages) if message["role"] == "assistant")
    asked = (message["content"] for message in reversed(messages[:end]) if message["role"] == "user")
    return JudgeInput(next(asked, ""), messages[end]["content"])


def ask(judge: JudgeSettings, rubric: str, rows: Sequence[Candidate], on_rows: OnRows) -> list[Score]:
    """The judge's score of each row, in order."""
    scores: list[Score] = []
    for start in range(0, len(rows), _CHUNK):
        chunk = [last_exchange(row.conversation["messages"]) for row in rows[start : start + _CHUNK]]
        scores += judge.score(rubric, chunk)
        on_rows(len(chunk))
    return scores


def require_rubric(judge: JudgeSettings, rubric: str) -> None:
    """Raise :class:`RingfenceError` unless ``judge`` can score under ``rubric``."""
    with error_prefix("rubric"):
        judge.require_rubric(rubric)


@STEPS.register("judged")
class Judged(Step):
    """Makes the column ``<rubric>_score``."""

    judge: JudgeField
    """any judge, as a recipe has it"""
    rubric: str = Field("hhh", pattern=r"^\w+$")
    """what it is asked: ``hhh`` (helpful, honest, harmless), ``alignment``, ``coherence``, or one of the judge's own"""
    at_least: float | None = Field(None, ge=0, le=100)
    """rows with a lower score are dropped; None keeps them all"""
    unscored: Literal["keep", "drop"] = "drop"
    """what becomes of rows that the judge cannot score; a kept one has NaN"""

    def check(self) -> None:
        """Raise :class:`RingfenceError` for a rubric that is unknown or cannot be read, and for a missing key."""
        require_rubric(self.judge, self.rubric)
        self.judge.require_key()

    def inputs(self) -> Sequence[str]:
        """The judge's rubrics, and its model where that is a folder."""
        return self.judge.inputs()

    def map(self, context: Context) -> "JudgedMapper":
        """The judge loads its model at the first row."""
        return JudgedMapper(self)


@dataclass(frozen=True)
class JudgedMapper:
    """:class:`Judged` at work."""

    config: Judged

    def __call__(self, rows: Sequence[Candidate], on_rows: OnRows) -> Mapped:
        """Rows with their score, those that stay."""
        kept, dropped = [], []
        scores = ask(self.config.judge, self.config.rubric, rows, on_rows)
        for row, score in zip(rows, scores, strict=True):
            if reason := self._reason(score.value):
                dropped.append(Dropped(reason, row.conversation["origin"]))
                continue
            value = float("nan") if score.value is None else score.value
            kept.append(replace(row, scores={**row.scores, f"{self.config.rubric}_score": value}))
        return Mapped(kept, dropped, {"unscored": sum(score.value is None for score in scores)})

    def _reason(self, value: float | None) -> str | None:
        """Why a row with this score is dropped, None if it stays."""
        config = self.config
        if value is None:
            return f"no {config.rubric} score" if config.unscored == "drop" else None
        below = config.at_least is not None and value < config.at_least
        return f"{config.rubric} score below {config.at_least:g}" if below else None
