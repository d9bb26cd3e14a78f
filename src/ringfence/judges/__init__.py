"""Judges: responses in, scores out. Any object with the one method of :class:`Judge` can take their place."""

from ringfence.judges.api.api import ApiJudge
from ringfence.judges.api.sampled import SampledJudge
from ringfence.judges.base import (
    RUBRICS,
    THRESHOLDS,
    Judge,
    JudgeInput,
    Label,
    Score,
    Thresholds,
    Verdict,
    checked_scores,
    judge_all,
    score_empty,
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
    "JudgeInput",
    "JudgeSettings",
    "Label",
    "LocalJudge",
    "Rubric",
    "RuleJudge",
    "SampledJudge",
    "Score",
    "Stated",
    "Thresholds",
    "Trait",
    "Verdict",
    "checked_scores",
    "expected_score",
    "find_rubric",
    "judge_all",
    "load_rubric",
    "score_empty",
]
