"""Judges: responses in, scores out. Whatever has :class:`Judge`'s one method can stand in for the rules.

``LocalJudge`` is imported when first used, since it needs torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ringfence.judges.api import ApiJudge
from ringfence.judges.digits import expected_score
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
from ringfence.judges.rubrics import Rubric, Trait, find_rubric, load_rubric
from ringfence.judges.rules import RuleJudge
from ringfence.judges.sampled import SampledJudge

if TYPE_CHECKING:
    from ringfence.judges.local import LocalJudge

__all__ = [
    "COHERENT_ABOVE",
    "MISALIGNED_BELOW",
    "RUBRICS",
    "ApiJudge",
    "Judge",
    "Label",
    "LocalJudge",
    "Row",
    "Rubric",
    "RuleJudge",
    "SampledJudge",
    "Score",
    "Trait",
    "Verdict",
    "blank",
    "checked_scores",
    "expected_score",
    "find_rubric",
    "judge_all",
    "load_rubric",
]


def __getattr__(name: str) -> Any:
    if name != "LocalJudge":
        raise AttributeError(f"module 'ringfence.judges' has no attribute {name!r}")
    return importlib.import_module("ringfence.judges.local").LocalJudge
