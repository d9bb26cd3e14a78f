"""Judges as a recipe has them: a mapping whose ``kind`` says which; without one it is the rules."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ringfence.core.errors import RingfenceError, did_you_mean, shown
from ringfence.core.settings import explain
from ringfence.judges.api import ApiJudge
from ringfence.judges.local import LocalJudge
from ringfence.judges.protocol import RUBRICS
from ringfence.judges.rubrics import Trait, find_rubric, rubric_file
from ringfence.judges.rules import RuleJudge
from ringfence.judges.sampled import SampledJudge
from ringfence.judges.server import ChatServer

KINDS: dict[str, type[BaseModel]] = {
    "rules": RuleJudge,
    "api": ApiJudge,
    "local": LocalJudge,
    "sampled": SampledJudge,
}
JudgeSettings = RuleJudge | ApiJudge | LocalJudge | SampledJudge


def parse_judge(value: Any) -> Any:
    """The judge that ``value``, a mapping, describes; what is no mapping is returned as it is.

    Raises :class:`RingfenceError` whose message begins with a dot, as :func:`ringfence.core.settings.explain` wants it.
    """
    if not isinstance(value, dict):
        return value
    kind = value.get("kind", "rules")
    if kind not in KINDS:
        raise RingfenceError(f".kind: unknown judge {shown(kind)}.{did_you_mean(str(kind), KINDS)}")
    try:
        return KINDS[kind].model_validate(value)
    except ValidationError as error:
        # Raised as a ValueError, since the outer model would report an inner ValidationError as its own.
        raise RingfenceError(f".{explain(error, KINDS[kind])}") from None


def require_key(judge: Any) -> None:
    """Raise :class:`RingfenceError` if ``judge`` is behind an API, and its key is missing or belongs elsewhere."""
    if isinstance(judge, ChatServer):
        judge.secret()


def judge_inputs(judge: Any) -> list[str]:
    """The files and folders of the user's that the verdicts of ``judge`` depend on: its rubrics, a local one's model.

    A stored suite's rubric is not among them, as it is known by its content; see :func:`judge_digests`.
    """
    rubrics = (one.rubric if isinstance(one, Trait) else one for one in getattr(judge, "rubrics", {}).values())
    own = isinstance(judge, LocalJudge) and Path(judge.model).expanduser().is_dir()
    files = dict.fromkeys(file for source in rubrics if (file := rubric_file(source)) is not None)
    return [*files, *([judge.model] if own else [])]


def judge_digests(judge: Any, rubrics: Sequence[str] = RUBRICS) -> dict[str, str]:
    """Each of ``rubrics`` -> hex SHA-256 of the text that ``judge`` has for it; empty for the rules.

    Raises :class:`RingfenceError` for a rubric that cannot be read, or that would be read backwards.
    """
    own = getattr(judge, "rubrics", None)
    return {} if own is None else {rubric: find_rubric(rubric, own).digest for rubric in rubrics}
