"""Prompts of an evaluation that are trained on: their answers show no leak, but what was learned by heart."""

import logging
from collections.abc import Iterable

from ringfence.core.errors import RingfenceError
from ringfence.data.conversations import Conversation
from ringfence.evaluate.gate import IN_DOMAIN
from ringfence.runs.plan import RunPlan

logger = logging.getLogger(__name__)


def seen(plan: RunPlan, rows: Iterable[Conversation]) -> dict[str, tuple[int, int]]:
    """Suite from a file -> (its prompts that a user says in ``rows``, all its prompts), where there are any."""
    known = {turn["content"].strip() for row in rows for turn in row["messages"] if turn["role"] == "user"}
    found = dict[str, tuple[int, int]]()
    for name in plan.sources:
        prompts = plan.suites[name]
        if count := sum(prompt.text.strip() in known for prompt in prompts):
            found[name] = (count, len(prompts))
    return found


def require_unseen(plan: RunPlan) -> None:
    """Raise :class:`RingfenceError` where training has all prompts of a suite; warn where it has some.

    In ``in-domain``, where the trained behaviour is wanted, all is a warning, too.
    """
    rows = (row for stage in plan.stages for part in stage.rows.values() for row in part)
    for name, (count, of) in seen(plan, rows).items():
        said = f"evaluation.suites.{name}: {count:,} of its {of:,} prompts are trained on"
        if count == of and name != IN_DOMAIN:
            raise RingfenceError(f"{said}: such answers show no leak; ask others, or train on other rows")
        logger.warning("%s; what is learned by heart shows no leak", said)
