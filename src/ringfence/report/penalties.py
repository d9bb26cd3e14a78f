"""The course of the loss's parts, from ``log.jsonl``: each penalty, and the loss without them."""

from pathlib import Path
from typing import Any

import pandas as pd

from ringfence.core.files import JsonlLog
from ringfence.report.reading import as_numbers

STEP = "step"
LOSSES = {"task_loss": "loss without penalties", "rl_loss": "RL loss", "safe_loss": "loss on safe rows"}
"""key of the log -> name"""


def read_penalties(path: Path, recipe: dict[str, Any]) -> pd.DataFrame:
    """One row a logged step that has a part: ``step``, :data:`LOSSES`, and each penalty, unweighted, by its defense.

    recipe: of the run; a penalty is logged by the name of its defense

    Columns that no row has are left out; without any part it is empty.
    """
    names = LOSSES | {name: name for name in defenses_of(recipe)}
    rows = [
        {STEP: row.get(STEP), **{name: row[key] for key, name in names.items() if key in row}}
        for row in JsonlLog(path).read()
        if any(key in row for key in LOSSES)  # "kl" alone is TRL's own
    ]
    known = [name for name in names.values() if any(name in row for row in rows)]
    return as_numbers(pd.DataFrame(rows, columns=[STEP, *known]), path)


def defenses_of(recipe: dict[str, Any]) -> list[str]:
    """The names of the defenses of all stages, each once."""
    parts = (recipe, *(recipe.get("stages") or ()))
    items = [item for part in parts for item in part.get("defenses") or ()]
    return list(dict.fromkeys(str(item if isinstance(item, str) else next(iter(item))) for item in items))
