"""The course of reinforcement learning, from ``log.jsonl``: the reward, its parts, completions, ratio."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from ringfence.core.files import JsonlLog
from ringfence.report.reading import as_numbers

STEP, REWARD = "step", "reward"
_PART, _MEAN = "rewards/", "/mean"
OTHERS = {"completions/mean_length": "completion length", "kl": "kl", "ratio": "ratio"}
"""key of the log -> name"""
LAST = 10
"""rows of the log whose mean is the reward at the end"""


def read_rewards(path: Path) -> pd.DataFrame:
    """One row a logged step that has a reward: ``step``, ``reward``, each part by its name, and :data:`OTHERS`.

    Columns that no row has are left out; without any reward it is empty.
    """
    rows = [_row(row) for row in JsonlLog(path).read() if row.get(REWARD) is not None]
    names = dict.fromkeys([STEP, REWARD, *(name for row in rows for name in row)])
    names = {name: None for name in names if name not in OTHERS.values()} | {
        name: None for name in OTHERS.values() if any(name in row for row in rows)
    }
    return as_numbers(pd.DataFrame(rows, columns=list(names)), path)


def at_the_end(rewards: pd.DataFrame) -> float:
    """The mean reward of the last :data:`LAST` logged steps; NaN without any."""
    return float(rewards[REWARD].tail(LAST).mean()) if len(rewards) else math.nan


def _row(row: dict[str, Any]) -> dict[str, Any]:
    parts = {
        key.removeprefix(_PART).removesuffix(_MEAN): value
        for key, value in row.items()
        if key.startswith(_PART) and key.endswith(_MEAN)
    }
    parts = parts if len(parts) > 1 else {}  # a lone one is the reward itself
    return {STEP: row.get(STEP), REWARD: row[REWARD], **parts} | {
        name: row[key] for key, name in OTHERS.items() if key in row
    }
