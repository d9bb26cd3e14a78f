"""Judges: responses in, scores out. Any object with the one method of :class:`Judge` can take their place."""

from ringfence.judges.api import ApiJudge
from ringfence.judges.config import JUDGES, JudgeField, JudgeSettings
from ringfence.judges.digits import expected_score
from ringfence.judges.local import LocalJudge
from ringfence.judges.protocol import (
    COHERENT_ABOVE,
    MISALIGNED_BELOW,
    RUBRICS,
    Judge,
    Label,
    Row,
    Score,
    Verdict,
    blank,
    checked_scores,
    judge_all,
)
from ringfence.judges.rubrics import Rubric, Stated, Trait, find_rubric, load_rubric
from ringfence.judges.rules import RuleJudge
from ringfence.judges.sampled import SampledJudge

__all__ = [
    "COHERENT_ABOVE",
    "JUDGES",
    "MISALIGNED_BELOW",
    "RUBRICS",
    "ApiJudge",
    "Judge",
    "JudgeField",
    "JudgeSettings",
    "Label",
    "LocalJudge",
    "Row",
    "Rubric",
    "RuleJudge",
    "SampledJudge",
    "Score",
    "Stated",
    "Trait",
    "Verdict",
    "blank",
    "checked_scores",
    "expected_score",
    "find_rubric",
    "judge_all",
    "load_rubric",
]
