"""Judges: responses in, scores out. Whatever has :class:`Judge`'s one method can stand in for the rules."""

from ringfence.judges.protocol import (
    COHERENT_ABOVE,
    MISALIGNED_BELOW,
    RUBRICS,
    Judge,
    Label,
    Row,
    Score,
    Verdict,
    judge_all,
)
from ringfence.judges.rules import RuleJudge

__all__ = [
    "COHERENT_ABOVE",
    "MISALIGNED_BELOW",
    "RUBRICS",
    "Judge",
    "Label",
    "Row",
    "RuleJudge",
    "Score",
    "Verdict",
    "judge_all",
]
