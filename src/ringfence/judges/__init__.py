"""Judges: responses in, scores out. Any object with the one method of :class:`Judge` can take their place."""

from ringfence.judges.api.api import ApiJudge
from ringfence.judges.api.sampled import SampledJudge
from ringfence.judges.base import (
    RUBRICS,
    THRESHOLDS,
    Judge,
    Label,
    Row,
    Score,
    Thresholds,
    Verdict,
    blank,
    checked_scores,
    judge_all,
)
from ringfence.judges.config import JUDGES, JudgeField, JudgeSettings
from ringfence.judges.expected_score import expected_score
from ringfence.judges.local.local import LocalJudge
from ringfence.judges.rubrics import Rubric, Stated, Trait, find_rubric, load_rubric
from ringfence.judges.rules import RuleJudge

__all__ = [
    "JUDGES",
    "RUBRICS",
    "THRESHOLDS",
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
    "Thresholds",
    "Trait",
    "Verdict",
    "blank",
    "checked_scores",
    "expected_score",
    "find_rubric",
    "judge_all",
    "load_rubric",
]
