"""What reinforcement learning generated, for ``result.json``."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

_LENGTH = "completions/mean_length"


def generated(trained_on: int, args: Any, history: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Prompts asked, ``rollouts`` (completions), and their tokens.

    ``trained_on`` is how many completions were, each as often as it was; ``args`` are TRL's. Tokens are counted from
    the log's mean lengths, so that they are NaN without a log, and near where a row of it ends within a generation.
    """
    rollouts = trained_on // args.num_iterations
    rows = [row for row in history if _LENGTH in row]
    before, tokens = 0.0, 0.0
    for row in rows:
        tokens += row[_LENGTH] * (row["target_rows"] - before) / args.num_iterations
        before = row["target_rows"]
    return {
        "prompts": rollouts // args.num_generations,
        "rollouts": rollouts,
        "completion_tokens": round(tokens) if rows or not rollouts else math.nan,
    }
